"""What the inputs of a request take in memory, told before they are made: a few bytes can ask for any size."""

from collections.abc import Iterable

import numpy as np

from service.errors import InvalidPayload

# What a string takes beside its bytes: an object in Python, its place in an array, and TensorFlow's own 24 bytes.
STRING_BYTES = 64


def check_size(tensors: Iterable[tuple[np.dtype, int, int]], most_bytes: int) -> None:
    """Refuses inputs that take too much memory together.

    Args:
        tensors: the type of each, how many values it has, and the bytes of all its strings, 0 for numbers. What is
            filled up counts as often as it will be there.
        most_bytes: what they may take together; see `most_input_bytes`.

    Raises:
        InvalidPayload: they would take more.
    """
    needed = sum(
        count * (STRING_BYTES if dtype.kind == "O" else dtype.itemsize) + string_bytes
        for dtype, count, string_bytes in tensors
    )
    if needed > most_bytes:
        raise InvalidPayload(
            f"The inputs would take {needed} bytes of memory, and at most {most_bytes} are allowed (twice "
            "KILN_MAX_BODY_BYTES). Send fewer rows at a time."
        )


def most_input_bytes(max_body_bytes: int) -> int:
    """The most that a request's inputs may take: some are larger in memory than in the body that they came in."""
    return 2 * max_body_bytes
