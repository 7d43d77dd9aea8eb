"""What a message takes in memory, told before it is parsed: of two bytes, an empty example becomes 40.

Source:
    Protocol Buffers, "Encoding", for wire types and varints.
"""

from typing import Any

from service.engine.tensorflow.tensor_protos import decode_varint
from service.errors import InvalidPayload

VARINT, FIXED_64, LENGTH, FIXED_32 = 0, 1, 2, 5
# What an object in memory takes beside its bytes, and a number.
OBJECT_BYTES, NUMBER_BYTES = 64, 8
# Messages within messages; parsers end there too.
MOST_LEVELS = 100


def check_message(content: bytes, descriptor: Any, most_bytes: int) -> None:
    """Refuses a message that takes too much memory. It walks over the fields, so it is meant for large messages only.

    Args:
        content: the message.
        descriptor: of its type.
        most_bytes: what it may take, beside its own bytes.

    Raises:
        InvalidPayload: it would take more, or is not a message.
    """
    Walk(content, most_bytes).add(0, len(content), descriptor, MOST_LEVELS)


class Walk:
    """A walk over a message's fields, which ends where they take too much.

    Args:
        content: the message.
        most_bytes: what they may take.
    """

    def __init__(self, content: bytes, most_bytes: int) -> None:
        self._content = content
        self._most_bytes = self._left = most_bytes

    def add(self, position: int, end: int, descriptor: Any, levels: int) -> None:
        """Adds the fields of a message of this type between two positions, and of messages in it."""
        if not levels:
            raise InvalidPayload(f"The message has more than {MOST_LEVELS} messages within each other.")
        fields = descriptor.fields_by_number
        while position < end:
            tag, position = self._read(position)
            kind = tag & 7
            if kind == LENGTH:
                size, position = self._read(position)
                field = fields.get(tag >> 3)
                self._take(OBJECT_BYTES)
                if size and field is not None and field.message_type is not None:
                    self.add(position, min(position + size, end), field.message_type, levels - 1)
                elif size and field is not None and field.type not in (field.TYPE_STRING, field.TYPE_BYTES):
                    # Numbers side by side; those of one byte need the most.
                    self._take(size * NUMBER_BYTES if field.type not in (field.TYPE_FLOAT, field.TYPE_DOUBLE) else size)
                position += size
            elif kind == VARINT:
                _, position = self._read(position)
                self._take(NUMBER_BYTES)
            elif kind in (FIXED_64, FIXED_32):
                position += 8 if kind == FIXED_64 else 4
                self._take(NUMBER_BYTES)
            else:
                raise InvalidPayload(f"The message has a field of wire type {kind}, which is not supported.")

    def _read(self, position: int) -> tuple[int, int]:
        """A number, and the position behind it; most have one byte."""
        byte = self._content[position] if position < len(self._content) else 0x80
        return (byte, position + 1) if byte < 0x80 else decode_varint(self._content, position)

    def _take(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise InvalidPayload(
                f"The message of {len(self._content)} bytes would take more than {self._most_bytes} bytes of memory "
                "(twice KILN_MAX_BODY_BYTES). Send fewer rows at a time, and numbers as tensor_content."
            )
