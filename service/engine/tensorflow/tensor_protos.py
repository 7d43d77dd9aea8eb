"""`TensorProto` to numpy and back, without TensorFlow.

Values come as raw bytes (`tensor_content`) or in a typed field (`float_val` and its like). Fewer typed values than the
shape has places for are legal: the last one fills the rest. More of them are refused, where TensorFlow drops them.

Source:
    TensorFlow, `tensor.proto`, `Tensor::FromProto` in `tensor.cc`, and `DecodeStringList` in `tensor_coding.cc`.
"""

import math
from functools import cache
from typing import Any

import numpy as np

from service.engine.signature import DTYPES
from service.engine.tensorflow.protos import load_protos
from service.errors import InvalidPayload

# The typed field of each type.
FIELDS = {
    "DT_FLOAT": "float_val",
    "DT_DOUBLE": "double_val",
    "DT_INT8": "int_val",
    "DT_INT16": "int_val",
    "DT_INT32": "int_val",
    "DT_INT64": "int64_val",
    "DT_UINT8": "int_val",
    "DT_UINT16": "int_val",
    "DT_UINT32": "uint32_val",
    "DT_UINT64": "uint64_val",
    "DT_BOOL": "bool_val",
    "DT_STRING": "string_val",
    "DT_HALF": "half_val",
    "DT_BFLOAT16": "half_val",
    "DT_COMPLEX64": "scomplex_val",
    "DT_COMPLEX128": "dcomplex_val",
}
STRING = np.dtype(object)
BOOL = np.dtype(bool)
# numpy's limit.
MOST_AXES = 64
# Types whose values travel as the 16 bits in `half_val`.
HALVES = frozenset({np.dtype(np.float16), np.dtype("V2")})


@cache
def types_by_number() -> dict[int, tuple[np.dtype, str]]:
    """The numpy type and the typed field for each number in `DataType`."""
    number = load_protos("tensorflow.core.framework.types_pb2").DataType.Value
    return {number(name): (np.dtype(DTYPES[name][0]), field) for name, field in FIELDS.items()}


@cache
def numbers_by_type() -> dict[np.dtype, tuple[int, str]]:
    """The number in `DataType` and the typed field for each numpy type."""
    return {dtype: (number, field) for number, (dtype, field) in types_by_number().items()}


def weigh_tensor(proto: Any) -> tuple[np.dtype, int, int]:
    """What a tensor will take, for `check_size`: type, number of values, and bytes of its strings.

    Args:
        proto: a `TensorProto`.

    Raises:
        InvalidPayload: the type or the shape is impossible.
    """
    dtype, _ = find_type(proto.dtype)
    count = math.prod(decode_shape(proto.tensor_shape))
    if dtype != STRING:
        return dtype, count, 0
    given = proto.string_val
    filled = max(count - len(given), 0) * len(given[-1]) if given else 0
    return dtype, count, len(proto.tensor_content) + sum(map(len, given)) + filled


def decode_tensor(proto: Any, most_bytes: int) -> np.ndarray:
    """Gives a tensor's values.

    Args:
        proto: a `TensorProto`.
        most_bytes: the largest array to make, apart from what its strings take; see `weigh_tensor` for those.

    Returns:
        An array of the tensor's shape and type, as `Arrays` hold it; it shares its memory with the message's bytes and
        cannot be written to.

    Raises:
        InvalidPayload: the type, the shape or the number of values is impossible.
    """
    dtype, field = find_type(proto.dtype)
    shape = decode_shape(proto.tensor_shape)
    count = math.prod(shape)
    if count * dtype.itemsize > most_bytes:
        raise InvalidPayload(f"a tensor of shape {list(shape)} is larger than the {most_bytes} bytes that are accepted")
    content = proto.tensor_content
    if content:
        flat = decode_content(content, dtype, count)
    else:
        flat = fill(decode_values(getattr(proto, field), dtype, field), dtype, count, field)
    try:
        return flat.reshape(shape)
    except ValueError:
        raise InvalidPayload(f"shape {list(shape)} has more or larger axes than an array can have") from None


def find_type(number: int) -> tuple[np.dtype, str]:
    """The numpy type and the typed field of a `DataType`.

    Raises:
        InvalidPayload: tensors of this type cannot be served.
    """
    known = types_by_number().get(number)
    if known is None:
        types = load_protos("tensorflow.core.framework.types_pb2").DataType
        name = types.Name(number) if number in types.values() else str(number)
        raise InvalidPayload(f"type {name} is not supported. Types: {', '.join(FIELDS)}")
    return known


def decode_shape(proto: Any) -> tuple[int, ...]:
    """The sizes in a `TensorShapeProto`.

    Raises:
        InvalidPayload: the rank or a size is unknown, or impossible.
    """
    if proto.unknown_rank:
        raise InvalidPayload("the shape has an unknown rank; a value has a known one")
    if len(proto.dim) > MOST_AXES:
        raise InvalidPayload(f"the shape has {len(proto.dim)} axes; at most {MOST_AXES} are possible")
    shape = tuple([axis.size for axis in proto.dim])
    if shape and min(shape) < 0:
        raise InvalidPayload(f"shape {list(shape)} has a negative size")
    return shape


def decode_content(content: bytes, dtype: np.dtype, count: int) -> np.ndarray:
    """The `count` values in `tensor_content`, in one axis."""
    if dtype == STRING:
        return decode_strings(content, count)
    if len(content) != count * dtype.itemsize:
        raise InvalidPayload(
            f"tensor_content has {len(content)} bytes; the shape and type need {count * dtype.itemsize}"
        )
    if dtype == BOOL:
        # A byte that is neither 0 nor 1 would be a bool that is neither true nor false.
        bools: np.ndarray = np.frombuffer(content, np.uint8) != 0
        return bools
    return np.frombuffer(content, dtype)


def decode_strings(content: bytes, count: int) -> np.ndarray:
    """The strings in `tensor_content`: all lengths as varints, then all bytes."""
    if count > len(content):
        raise InvalidPayload(f"tensor_content has {len(content)} bytes, which is too few for {count} strings")
    lengths, position = [], 0
    for _ in range(count):
        length, position = decode_varint(content, position)
        lengths.append(length)
    if position + sum(lengths) != len(content):
        raise InvalidPayload(f"tensor_content has {len(content)} bytes; its strings need {position + sum(lengths)}")
    strings = np.empty(count, STRING)
    for index, length in enumerate(lengths):
        strings[index] = content[position : position + length]
        position += length
    return strings


def decode_varint(content: bytes, position: int) -> tuple[int, int]:
    """A number in base 128, least digit first, and the position behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(content):
            break
        byte = content[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise InvalidPayload("the bytes end, or run on, within a number such as the length of a string")


def decode_values(values: Any, dtype: np.dtype, field: str) -> np.ndarray:
    """The values of a typed field, as many as there are."""
    if dtype == STRING:
        strings = np.empty(len(values), STRING)
        strings[:] = values
        return strings
    if dtype in HALVES:
        return narrow(np.array(values, np.int32), np.dtype(np.uint16), field).view(dtype)
    if field == "int_val":
        return narrow(np.array(values, np.int32), dtype, field)
    if dtype.kind == "c":
        if len(values) % 2:
            raise InvalidPayload(f"{field} has {len(values)} values; complex numbers have two each")
        return np.array(values, f"f{dtype.itemsize // 2}").view(dtype)
    return np.array(values, dtype)


def narrow(values: np.ndarray, dtype: np.dtype, field: str) -> np.ndarray:
    """The same integers in a smaller type.

    Raises:
        InvalidPayload: one does not fit.
    """
    narrowed = values.astype(dtype)
    if not np.array_equal(narrowed, values):
        worst = values[narrowed != values][0]
        raise InvalidPayload(f"{field} has {worst}, which is out of range for {dtype}")
    return narrowed


def fill(values: np.ndarray, dtype: np.dtype, count: int, field: str) -> np.ndarray:
    """As many values as the shape has places: the last one repeated, or zeros and empty strings where there is none."""
    if len(values) == count:
        return values
    if len(values) > count:
        raise InvalidPayload(f"{field} has {len(values)} values; the shape takes {count}")
    filled = np.full(count, b"", STRING) if dtype == STRING else np.zeros(count, dtype)
    if len(values):
        filled[: len(values)] = values
        filled[len(values) :] = values[-1]
    return filled


def encode_tensor(array: np.ndarray, proto: Any, *, typed: bool = False) -> None:
    """Writes an array into an empty `TensorProto`.

    Args:
        array: of a type that `Arrays` may have.
        proto: the message, e.g. an entry of `PredictResponse.outputs`.
        typed: numbers go to the typed field, for clients that read `float_val` and its like; otherwise to
            `tensor_content`, which is many times faster for both sides. Strings always go to `string_val`, since
            `tf.make_ndarray` reads them only there.
    """
    number, field = numbers_by_type()[array.dtype]
    proto.dtype = number
    axes = proto.tensor_shape.dim
    for size in array.shape:
        axes.add().size = size
    if not typed and array.dtype != STRING:
        proto.tensor_content = array.tobytes()
        return
    flat = array.reshape(-1)
    if array.dtype in HALVES:
        flat = flat.view(np.uint16)
    elif array.dtype.kind == "c":
        flat = np.ascontiguousarray(flat).view(f"f{array.dtype.itemsize // 2}")
    getattr(proto, field).extend(flat.tolist())
