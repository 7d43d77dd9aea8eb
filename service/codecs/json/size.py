"""What a JSON text takes in memory when it is read, told before it is: `[],[],...` takes 40 times its length.

Sizes are weighed by counting characters, 2 ms for a megabyte. Commas and brackets within strings count too, so the
estimate is too high for such texts.
"""

from collections.abc import Iterator

import numpy as np

from service.errors import InvalidPayload

# Shorter texts take little, whatever is in them.
SHORT_BYTES = 2**20
# What a request may take, in bytes per byte of the largest body, with some left for what is not counted here.
MOST_BYTES_PER_BYTE = 7
# What is taken at most, in the process that reads the text and in the one that runs the model together: per byte of the
# text, and per value, list, object and string. Measured by their largest resident sizes, for the worst texts of each
# kind, as tests/service/test_memory.py does.
TEXT_BYTES, VALUE_BYTES, LIST_BYTES, OBJECT_BYTES, STRING_BYTES = 4, 48, 96, 64, 448
CHUNK_BYTES = 2**18


def check_structure(text: bytes, most_body_bytes: int) -> None:
    """Refuses a text whose values would take several times the memory of the largest body.

    Args:
        text: JSON, or what claims to be.
        most_body_bytes: the largest body that is accepted.

    Raises:
        InvalidPayload: there are too many values in it.
    """
    if len(text) <= SHORT_BYTES:
        return
    commas, lists, objects, quotes = (count_byte(text, character) for character in b',[{"')
    # A quote behind one backslash is a part of a string; behind two it may be either, and counts.
    escaped = text.count(b'\\"') - text.count(b'\\\\"')
    strings = (quotes - escaped + 1) // 2
    needed = len(text) * TEXT_BYTES + commas * VALUE_BYTES
    needed += lists * LIST_BYTES + objects * OBJECT_BYTES + strings * STRING_BYTES
    most = most_body_bytes * MOST_BYTES_PER_BYTE
    if needed > most:
        raise InvalidPayload(
            f"The JSON has {commas} commas, {lists} lists, {objects} objects and {strings} strings in {len(text)} "
            f"bytes and would take {needed} bytes of memory; {most} are allowed. Send fewer rows at a time, or binary "
            "data by the Open Inference Protocol or gRPC."
        )


def count_byte(text: bytes, character: int) -> int:
    """How often a byte occurs in a text, at the speed of memory however often that is."""
    return sum(int(np.count_nonzero(chunk == character)) for chunk in split(text))


def split(text: bytes) -> Iterator[np.ndarray]:
    """The text in pieces, as uint8, that need no second copy of it while they are compared."""
    array = np.frombuffer(text, np.uint8)
    for start in range(0, len(array), CHUNK_BYTES):
        yield array[start : start + CHUNK_BYTES]
