"""Tensors as the Open Inference Protocol's binary extension has them: little-endian, row-major, nothing in between.

A bool is one byte, 0 or 1. A string is its length in four bytes and then its bytes.

Source:
    Triton Inference Server, `extension_binary_data.md`.
"""

import math
from struct import Struct

import numpy as np

from service.codecs.open_inference.datatypes import name_datatype, show_shape
from service.engine.signature import TensorSpec
from service.errors import InvalidPayload

LENGTH = Struct("<I")


def decode_binary(data: memoryview, spec: TensorSpec, shape: tuple[int, ...]) -> np.ndarray:
    """Takes an array from bytes; numbers and bools stay where they are.

    Args:
        data: the tensor's bytes, of any alignment.
        spec: the input that they are for.
        shape: the array's; sizes are not negative.

    Returns:
        An array of the spec's type, read-only unless it holds strings.

    Raises:
        InvalidPayload: the shape takes more or fewer bytes, or a byte is not a bool.
    """
    dtype = spec.numpy_dtype
    if dtype.kind == "O":
        return decode_strings(data, spec, shape)
    expected = math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        raise InvalidPayload(
            f"Input '{spec.name}' of shape {show_shape(shape)} and type {name_datatype(spec)} takes {expected} bytes, "
            f"but its binary data has {len(data)}"
        )
    if dtype.kind == "b" and np.frombuffer(data, np.uint8).max(initial=0) > 1:
        raise InvalidPayload(f"Input '{spec.name}' has a byte that is neither 0 nor 1 in its binary data of type BOOL")
    return np.frombuffer(data, dtype).reshape(shape)


def decode_strings(data: memoryview, spec: TensorSpec, shape: tuple[int, ...]) -> np.ndarray:
    """Takes an array of `bytes` objects from strings with their lengths before them."""
    count = math.prod(shape)
    if count * LENGTH.size > len(data):
        raise InvalidPayload(
            f"Input '{spec.name}' of shape {show_shape(shape)} takes {count} strings with 4 bytes of length each, "
            f"but its binary data has {len(data)} bytes"
        )
    strings = []
    offset = 0
    for index in range(count):
        start = offset + LENGTH.size
        length = LENGTH.unpack_from(data, offset)[0] if start <= len(data) else 0
        offset = start + length
        if offset > len(data):
            raise InvalidPayload(f"Input '{spec.name}': string {index} runs past the end of the binary data")
        strings.append(bytes(data[start:offset]))
    if offset != len(data):
        raise InvalidPayload(
            f"Input '{spec.name}' of shape {show_shape(shape)} takes {count} strings, "
            f"but {len(data) - offset} bytes follow them in its binary data"
        )
    array = np.empty(count, dtype=object)
    array[:] = strings
    return array.reshape(shape)


def encode_binary(array: np.ndarray) -> bytes | memoryview:
    """Gives an array's bytes, in place where they lie in order already.

    Args:
        array: of any shape; strings are `bytes` objects.
    """
    if array.dtype.kind != "O":
        return np.ascontiguousarray(array).data
    parts: list[bytes] = []
    for string in array.ravel().tolist():
        parts += (LENGTH.pack(len(string)), string)
    return b"".join(parts)
