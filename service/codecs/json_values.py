"""JSON values to an array, value by value: strict, and able to say which one is wrong and where.

The messages are TensorFlow Serving's, with the place added. This is the slow way, for strings, bools and mistakes;
`json_tensors` takes numbers to arrays in one step.
"""

import base64
import binascii
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from service.codecs.json_document import dump, type_name
from service.engine.signature import TensorSpec
from service.errors import InvalidPayload, UnsupportedType

MOST_AXES = 32

Convert = Callable[[Any, str], Any]


def decode_tensor(value: Any, spec: TensorSpec, place: str) -> np.ndarray:
    """Turns nested lists into an array; the shape is that of the lists.

    Args:
        value: a JSON value.
        spec: the input that it is for; its shape is not checked here.
        place: where in the body it stands, e.g. `instances[3]`.

    Returns:
        An array of the spec's type; strings become `bytes` objects.

    Raises:
        InvalidPayload: lists of different lengths, a value of another type or out of the type's range.
        UnsupportedType: JSON has no form for the type.
    """
    if spec.numpy_dtype is None:
        raise UnsupportedType(f"Conversion of JSON Value: {dump(value)} to type: {spec.type_name}")
    shape = outline(value, place)
    leaves = list(flatten(value, shape, place, converter(spec)))
    return np.array(leaves, dtype=spec.numpy_dtype).reshape(shape)


def outline(value: Any, place: str) -> tuple[int, ...]:
    """The shape that the first values of nested lists promise."""
    shape: list[int] = []
    while isinstance(value, list):
        shape.append(len(value))
        if len(shape) > MOST_AXES:
            raise InvalidPayload(f"Lists are nested deeper than {MOST_AXES} levels (at {place})")
        if not value:
            break
        value = value[0]
    return tuple(shape)


def flatten(value: Any, shape: tuple[int, ...], place: str, convert: Convert, level: int = 0) -> Iterator[Any]:
    """Yields the converted values in row-major order, checking that every list has the length its axis has."""
    rank = len(shape)
    if level == rank:
        if isinstance(value, list):
            raise InvalidPayload(f"Encountered list at unexpected level: {level} expected < {rank} (at {place})")
        yield convert(value, place)
        return
    if not isinstance(value, list):
        raise InvalidPayload(
            f"JSON Value: {dump(value)} found at incorrect level: {level} in the JSON DOM. "
            f"Expected at level: {rank} (at {place})"
        )
    if len(value) != shape[level]:
        raise InvalidPayload(
            f"Encountered list at unexpected size: {len(value)} at level: {level} "
            f"expected size: {shape[level]} (at {place})"
        )
    for index, item in enumerate(value):
        yield from flatten(item, shape, f"{place}[{index}]", convert, level + 1)


def converter(spec: TensorSpec) -> Convert:
    """The conversion of one value to the spec's type."""
    check = {"f": to_float, "i": to_integer, "u": to_integer, "b": to_bool, "O": to_bytes}[spec.numpy_dtype.kind]
    return lambda value, place: check(value, spec, place)


def to_float(value: Any, spec: TensorSpec, place: str) -> float:
    """A number whose rounding to the type is finite; integers are numbers."""
    if type(value) not in (int, float):
        raise wrong_type(value, spec, place)
    if abs(value) > float(np.finfo(spec.numpy_dtype).max):
        raise out_of_range(value, spec, place)
    return value


def to_integer(value: Any, spec: TensorSpec, place: str) -> int:
    """A whole number without a point, in the type's range."""
    if type(value) is not int:
        raise wrong_type(value, spec, place)
    limits = np.iinfo(spec.numpy_dtype)
    if not limits.min <= value <= limits.max:
        raise out_of_range(value, spec, place)
    return value


def to_bool(value: Any, spec: TensorSpec, place: str) -> bool:
    """`true` or `false`, and nothing that merely resembles them."""
    if type(value) is not bool:
        raise wrong_type(value, spec, place)
    return value


def to_bytes(value: Any, spec: TensorSpec, place: str) -> bytes:
    """A string as UTF-8, or the bytes of `{"b64": "..."}`."""
    if type(value) is str:
        return value.encode()
    if type(value) is dict:
        if not is_base64(value) or type(value["b64"]) is not str:
            raise InvalidPayload(f"JSON Value: {dump(value)} not formatted correctly for base64 data (at {place})")
        return decode_base64(value["b64"], place)
    raise wrong_type(value, spec, place)


def decode_base64(text: str, place: str) -> bytes:
    """Bytes of standard base64; the padding may be missing, as TensorFlow Serving has it."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidPayload(f"Unable to base64 decode (at {place})") from None


def is_base64(value: Any) -> bool:
    """Whether the value is an object that stands for bytes."""
    return type(value) is dict and len(value) == 1 and "b64" in value


def wrong_type(value: Any, spec: TensorSpec, place: str) -> InvalidPayload:
    """The error for a value of another type."""
    return InvalidPayload(
        f"JSON Value: {dump(value)} Type: {type_name(value)} is not of expected type: {spec.type_name} (at {place})"
    )


def out_of_range(value: Any, spec: TensorSpec, place: str) -> InvalidPayload:
    """The error for a number that the type cannot hold."""
    limits = np.finfo(spec.numpy_dtype) if spec.numpy_dtype.kind == "f" else np.iinfo(spec.numpy_dtype)
    return InvalidPayload(
        f"JSON Value: {dump(value)} is out of range for type: {spec.type_name}, "
        f"which holds {limits.min} to {limits.max} (at {place})"
    )
