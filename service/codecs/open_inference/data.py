"""The `data` of the Open Inference Protocol's JSON tensors: flat or nested lists to arrays, arrays to flat lists."""

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from service.codecs.json.document import dump
from service.codecs.json.values import convert_leaves, find_first
from service.codecs.open_inference.datatypes import name_datatype, show_shape
from service.engine.signature import TensorSpec
from service.errors import InvalidPayload, NonFiniteOutput

EXPECTED = {"f": "a number", "i": "a whole number", "u": "a whole number", "b": "true or false", "O": "a string"}


def decode_data(data: Any, spec: TensorSpec, shape: tuple[int, ...]) -> np.ndarray:
    """Turns a tensor's `data` into an array.

    Args:
        data: a flat list in row-major order, or lists nested as the shape is; a bare value where it has no axes.
            Strings may be `{"b64": ...}`, as TensorFlow Serving has it.
        spec: the input that it is for, of a type that JSON can carry.
        shape: the array's; sizes are not negative.

    Returns:
        An array of the spec's type; strings become `bytes` objects.

    Raises:
        InvalidPayload: the data are no such lists, or hold a value of another type or out of the type's range.
    """
    values = flatten(data, spec, shape)
    array = convert_leaves(values, spec)
    if array is None:
        raise find_mistake(values, spec, shape)
    return array.reshape(shape)


def flatten(data: Any, spec: TensorSpec, shape: tuple[int, ...]) -> list[Any]:
    """The values in row-major order, as many as the shape has.

    Raises:
        InvalidPayload: there are more or fewer, or the lists are nested otherwise than the shape is.
    """
    if type(data) is not list:
        if shape:
            raise InvalidPayload(f"Input '{spec.name}' has data {dump(data)}, but takes a list")
        return [data]
    values: list[Any] = data
    count = math.prod(shape)
    if not values or type(values[0]) is not list:
        if len(values) != count:
            raise InvalidPayload(
                f"Input '{spec.name}' has {len(values)} values in data, but its shape {show_shape(shape)} takes {count}"
            )
        return values
    if len(values) != (shape[0] if shape else -1):
        raise InvalidPayload(
            f"Input '{spec.name}' has {len(values)} lists in data, but its shape is {show_shape(shape)}"
        )
    for level, size in enumerate(shape[1:], 1):
        for index, item in enumerate(values):
            if type(item) is not list or len(item) != size:
                place = show_place(index, shape[:level])
                raise InvalidPayload(
                    f"Input '{spec.name}' has {dump(item)} at data{place}, "
                    f"but its shape {show_shape(shape)} takes a list of {size} there"
                )
        values = list(chain.from_iterable(values))
    return values


def find_mistake(values: list[Any], spec: TensorSpec, shape: tuple[int, ...]) -> InvalidPayload:
    """The error for the first value that the type cannot take."""
    index = find_first(values, lambda part: convert_leaves(part, spec) is not None)
    kind = spec.numpy_dtype.kind
    limits = np.finfo(spec.numpy_dtype) if kind == "f" else np.iinfo(spec.numpy_dtype) if kind in "iu" else None
    range_of_type = f" from {limits.min} to {limits.max}" if limits is not None else ""
    return InvalidPayload(
        f"Input '{spec.name}' has {dump(values[index])} at data{show_place(index, shape)}, "
        f"but {name_datatype(spec)} takes {EXPECTED[kind]}{range_of_type}"
    )


def show_place(index: int, shape: Sequence[int]) -> str:
    """The place of the value with this index in row-major order, e.g. `[3][2]`."""
    place = []
    for size in reversed(shape):
        index, position = divmod(index, size)
        place.append(f"[{position}]")
    return "".join(reversed(place))


def encode_data(name: str, array: np.ndarray, *, nan_tokens: bool) -> np.ndarray | list[Any]:
    """Gives an array's values in row-major order, as something that orjson writes.

    Args:
        name: the output's.
        array: of a type that JSON can carry; strings are `bytes` objects.
        nan_tokens: whether NaN and infinity may be among them, in which case they come as a list of floats.

    Raises:
        NonFiniteOutput: there is NaN or infinity among them, and it may not.
        InvalidPayload: a string is not UTF-8.
    """
    flat = np.ascontiguousarray(array).ravel()
    if array.dtype.kind == "O":
        return decode_text(name, flat.tolist())
    if array.dtype.kind != "f" or np.isfinite(flat).all():
        return flat
    if nan_tokens:
        return flat.tolist()
    place = show_place(int(np.argmin(np.isfinite(flat))), array.shape)
    raise NonFiniteOutput(
        f"The model's output '{name}' is not a finite number at {name}{place}, and JSON has no form for that. "
        "Ask for it as binary data, or are the inputs out of the range that the model knows?"
    )


def decode_text(name: str, strings: list[bytes]) -> list[str]:
    """The strings as text."""
    try:
        return [string.decode() for string in strings]
    except UnicodeDecodeError:
        raise InvalidPayload(
            f"The model's output '{name}' has strings that are not UTF-8, for which JSON has no form. "
            "Ask for it as binary data."
        ) from None
