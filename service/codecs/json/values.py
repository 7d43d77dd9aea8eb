"""Nested JSON values to an array: strict, at the speed of list operations, and able to say which value is wrong.

A list of values is checked and converted as a whole. Only where that fails is the mistake looked for, by halving: a
large body with one mistake takes about twice the time of a right one. The messages are TensorFlow Serving's, with the
place added.
"""

import base64
import binascii
from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy as np

from service.codecs.json.document import dump, type_name
from service.engine.signature import TensorSpec
from service.errors import InvalidPayload, UnsupportedType

MOST_AXES = 32
NUMBERS = frozenset({int, float})


def decode_tensor(value: Any, spec: TensorSpec, place: str) -> np.ndarray:
    """Turns nested lists into an array; the shape is that of the lists.

    Args:
        value: a JSON value.
        spec: the input that it is for.
        place: where in the body it stands, e.g. `instances[3]`.

    Returns:
        An array of the spec's type; strings become `bytes` objects.

    Raises:
        InvalidPayload: lists of different lengths, a value of another type or out of the type's range.
        UnsupportedType: JSON has no form for the type.
    """
    shape = outline(value)
    array = convert(value, shape, spec)
    if array is None:
        raise explain_tensor(value, shape, spec, place)
    return array


def outline(value: Any) -> tuple[int, ...]:
    """The shape that the first values of nested lists promise; not followed deeper than arrays can be."""
    shape: list[int] = []
    while isinstance(value, list) and len(shape) <= MOST_AXES:
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return tuple(shape)


def convert(value: Any, shape: tuple[int, ...], spec: TensorSpec) -> np.ndarray | None:
    """Nested lists of this shape as an array of the spec's type; None where there is any mistake."""
    if not spec.has_json or len(shape) > MOST_AXES:
        return None
    leaves = gather(value, shape)
    if leaves is None:
        return None
    array = convert_leaves(leaves, spec)
    return None if array is None else array.reshape(shape)


def gather(value: Any, shape: tuple[int, ...]) -> list[Any] | None:
    """The values in row-major order, or None where the lists are not of this shape."""
    level = [value]
    for size in shape:
        if set(map(type, level)) != {list} or set(map(len, level)) != {size}:
            return None
        level = level[0] if len(level) == 1 else list(chain.from_iterable(level))
    return None if list in set(map(type, level)) else level


def convert_leaves(leaves: list[Any], spec: TensorSpec) -> np.ndarray | None:
    """Values as an array of one axis; None where one is of another type or out of range."""
    kind = spec.numpy_dtype.kind
    types = set(map(type, leaves))
    if kind == "f":
        return to_floats(np.array(leaves, np.float64), spec.numpy_dtype) if types <= NUMBERS else None
    if kind in "iu":
        return to_integers(leaves, spec.numpy_dtype) if types <= {int} else None
    if kind == "b":
        return np.array(leaves, np.bool_) if types <= {bool} else None
    return to_strings(leaves, types)


def to_floats(numbers: np.ndarray, dtype: np.dtype) -> np.ndarray | None:
    """Doubles to the type; None where one is finite and its rounding is not."""
    try:
        with np.errstate(over="raise"):
            return numbers.astype(dtype, copy=False)
    except FloatingPointError:
        return None


def to_integers(leaves: list[int], dtype: np.dtype) -> np.ndarray | None:
    """Whole numbers to the type; None where one is out of its range."""
    try:
        return np.array(leaves, dtype)
    except OverflowError:
        return None


def to_strings(leaves: list[Any], types: set[type]) -> np.ndarray | None:
    """Strings as UTF-8 and `{"b64": ...}` as the bytes it stands for; None where there is something else."""
    if types <= {str}:
        strings = [text.encode() for text in leaves]
    elif types <= {str, dict}:
        strings = [leaf.encode() if type(leaf) is str else decode_base64(leaf) for leaf in leaves]
        if None in strings:
            return None
    else:
        return None
    return np.array(strings, object)


def decode_base64(value: Any) -> bytes | None:
    """The bytes of `{"b64": ...}`, or None where there are none."""
    return read_base64(value["b64"]) if is_base64(value) and type(value["b64"]) is str else None


def read_base64(text: str | bytes) -> bytes | None:
    """The bytes that base64 stands for, or None where it is none; blanks do not count, and padding may be missing.

    Source:
        Abseil, `absl::Base64Unescape`, which TensorFlow Serving reads `{"b64": ...}` with.
    """
    try:
        packed = b"".join((text.encode("ascii") if isinstance(text, str) else text).split())
        padding = b"" if b"=" in packed[-2:] else b"=" * (-len(packed) % 4)
        return base64.b64decode(packed + padding, validate=True)
    except (binascii.Error, ValueError):
        return None


def is_base64(value: Any) -> bool:
    """Whether the value is an object that stands for bytes."""
    return type(value) is dict and len(value) == 1 and "b64" in value


def find_first(items: list[Any], is_right: Callable[[list[Any]], bool]) -> int:
    """The index of the first item that is wrong; one of them is.

    Args:
        items: a list.
        is_right: whether a part of the list has no wrong item.
    """
    start, end = 0, len(items)
    while end - start > 1:
        middle = (start + end) // 2
        if is_right(items[start:middle]):
            start = middle
        else:
            end = middle
    return start


def find_wrong_part(parts: list[Any], shape: tuple[int, ...], spec: TensorSpec) -> int:
    """The index of the first of several nested lists that is not of this shape, or has a value that is wrong."""
    return find_first(parts, lambda some: convert(some, (len(some), *shape), spec) is not None)


def explain_tensor(
    value: Any, shape: tuple[int, ...], spec: TensorSpec, place: str
) -> InvalidPayload | UnsupportedType:
    """The error for nested lists that `convert` does not take: about the first mistake in them."""
    if not spec.has_json:
        return UnsupportedType(f"Conversion of JSON Value: {dump(value)} to type: {spec.type_name}")
    rank = len(shape)
    if rank > MOST_AXES:
        return InvalidPayload(f"Lists are nested deeper than {MOST_AXES} levels (at {place})")
    for level, size in enumerate(shape):
        if not isinstance(value, list):
            return InvalidPayload(
                f"JSON Value: {dump(value)} found at incorrect level: {level} in the JSON DOM. "
                f"Expected at level: {rank} (at {place})"
            )
        if len(value) != size:
            return InvalidPayload(
                f"Encountered list at unexpected size: {len(value)} at level: {level} "
                f"expected size: {size} (at {place})"
            )
        index = find_wrong_part(value, shape[level + 1 :], spec)
        value, place = value[index], f"{place}[{index}]"
    if isinstance(value, list):
        return InvalidPayload(f"Encountered list at unexpected level: {rank} expected < {rank} (at {place})")
    return explain_value(value, spec, place)


def explain_value(value: Any, spec: TensorSpec, place: str) -> InvalidPayload:
    """The error for a value that is none of the spec's type."""
    kind = spec.numpy_dtype.kind
    if type(value) in {"f": (int, float), "i": (int,), "u": (int,)}.get(kind, ()):
        limits = np.finfo(spec.numpy_dtype) if kind == "f" else np.iinfo(spec.numpy_dtype)
        return InvalidPayload(
            f"JSON Value: {dump(value)} is out of range for type: {spec.type_name}, "
            f"which holds {limits.min} to {limits.max} (at {place})"
        )
    if kind == "O" and is_base64(value) and type(value["b64"]) is str:
        return InvalidPayload(f"Unable to base64 decode (at {place})")
    if kind == "O" and type(value) is dict:
        return InvalidPayload(f"JSON Value: {dump(value)} not formatted correctly for base64 data (at {place})")
    return InvalidPayload(
        f"JSON Value: {dump(value)} Type: {type_name(value)} is not of expected type: {spec.type_name} (at {place})"
    )
