"""Messages between the front ends and the engine, over a stream socket on one machine.

A message is a head of fixed size, a JSON document and the raw bytes of arrays. Numbers travel as they lie in memory;
strings as their lengths (uint32) followed by their bytes.
"""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from service.engine.interface import Arrays

# Kind, bytes of the document, bytes of the arrays, and the number by which a request and its answer know each other.
HEAD = struct.Struct("<IIQQ")
CALL, ADMINISTER, ANSWER, FAILURE = range(4)

Buffers = list[Any]
# Name, numpy's name of the type, shape and bytes of one array.
Outline = tuple[str, str, Sequence[int], int]


@dataclass(frozen=True, slots=True)
class Message:
    """A message that has arrived.

    Attributes:
        kind: CALL, ADMINISTER, ANSWER or FAILURE.
        document: what the kind has it to be.
        arrays: the arrays, which share memory with the message.
        number: the request's; its answer has the same.
    """

    kind: int
    document: Any
    arrays: Arrays
    number: int = 0


def encode(kind: int, document: Any, arrays: Arrays | None = None, number: int = 0) -> Buffers:
    """A message as buffers to be sent one after another.

    Args:
        kind: one of the kinds.
        document: a JSON value.
        arrays: numbers of any type, or object arrays of `bytes`.
        number: the request's.
    """
    outlines: list[Outline] = []
    buffers: Buffers = [b"", b""]
    total = 0
    for name, array in (arrays or {}).items():
        parts = encode_strings(array) if array.dtype.kind == "O" else [as_bytes(array)]
        size = sum(map(len, parts))
        outlines.append((name, array.dtype.str, array.shape, size))
        if size:
            buffers += parts
        total += size
    head = orjson.dumps([document, outlines], option=orjson.OPT_NON_STR_KEYS)
    buffers[0], buffers[1] = HEAD.pack(kind, len(head), total, number), head
    return buffers


def as_bytes(array: np.ndarray) -> np.ndarray:
    """The array's memory, row after row."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def encode_strings(array: np.ndarray) -> Buffers:
    """The lengths and the bytes of an array of strings."""
    items = [item if isinstance(item, bytes) else str(item).encode() for item in array.ravel().tolist()]
    lengths = np.fromiter(map(len, items), np.uint32, len(items))
    return [lengths.tobytes(), b"".join(items)]


def decode(kind: int, head: bytes | memoryview, content: bytes | memoryview, number: int = 0) -> Message:
    """A message from its two parts behind the head of fixed size."""
    document, outlines = orjson.loads(head)
    arrays: Arrays = {}
    start = 0
    for name, dtype, shape, size in outlines:
        count = math.prod(shape)
        if dtype == "|O":
            arrays[name] = decode_strings(content[start : start + size], count).reshape(shape)
        elif count:
            arrays[name] = np.frombuffer(content, dtype, count, start).reshape(shape)
        else:
            arrays[name] = np.empty(shape, dtype)
        start += size
    return Message(kind, document, arrays, number)


def decode_strings(content: bytes | memoryview, count: int) -> np.ndarray:
    """An array of `bytes`, of one axis."""
    lengths = np.frombuffer(content, np.uint32, count).tolist()
    strings = np.empty(count, dtype=object)
    place = 4 * count
    for index, length in enumerate(lengths):
        strings[index] = bytes(content[place : place + length])
        place += length
    return strings
