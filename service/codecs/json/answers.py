"""Arrays to JSON text, in TensorFlow Serving's row and columnar forms.

JSON has no NaN or infinity. An answer with one is refused, naming the place, unless the settings say to write them as
tokens, which TensorFlow Serving does.
"""

import base64
import json
from typing import Any

import numpy as np
import orjson

from service.engine.interface import Arrays
from service.errors import InvalidPayload, NonFiniteOutput, UnsupportedType


def encode_predictions(outputs: Arrays, *, nan_tokens: bool = False) -> bytes:
    """Row format: `{"predictions": [...]}` with a value per row, or an object per row where there are several outputs.

    Args:
        outputs: one array per output, with the batch as first axis.
        nan_tokens: whether `NaN`, `Infinity` and `-Infinity` may be written.

    Raises:
        InvalidPayload: an output has no batch axis, or another batch size than the others; `inputs` would work.
        NonFiniteOutput: an output holds NaN or infinity.
        UnsupportedType: JSON has no form for an output's type.
    """
    check_batch(outputs)
    if not outputs:
        raise InvalidPayload("Cannot convert empty tensor map to JSON")
    values = {name: to_json(name, array, nan_tokens=nan_tokens) for name, array in outputs.items()}
    if len(values) == 1:
        [rows] = values.values()
    else:
        rows = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    return write({"predictions": rows}, outputs, nan_tokens=nan_tokens)


def encode_outputs(outputs: Arrays, *, nan_tokens: bool = False) -> bytes:
    """Columnar format: `{"outputs": ...}` with the one output's tensor, or an object of tensors by name.

    Args:
        outputs: one array per output.
        nan_tokens: whether `NaN`, `Infinity` and `-Infinity` may be written.

    Raises:
        InvalidPayload: there are no outputs.
        NonFiniteOutput: an output holds NaN or infinity.
        UnsupportedType: JSON has no form for an output's type.
    """
    if not outputs:
        raise InvalidPayload("Cannot convert empty tensor map to JSON")
    values = {name: to_json(name, array, nan_tokens=nan_tokens) for name, array in outputs.items()}
    answer: Any = values
    if len(values) == 1:
        [answer] = values.values()
    return write({"outputs": answer}, outputs, nan_tokens=nan_tokens)


def check_batch(outputs: Arrays) -> None:
    """Refuses outputs that cannot be cut into rows."""
    batch = None
    for name, array in outputs.items():
        if array.ndim == 0:
            raise InvalidPayload(f"Tensor name: {name} has no shape information ")
        if batch not in (None, len(array)):
            raise InvalidPayload(f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {batch}")
        batch = len(array)


def to_json(name: str, array: np.ndarray, *, nan_tokens: bool = False) -> Any:
    """What orjson writes for an array: the array itself where it can, else lists or one value."""
    if array.dtype.kind == "O":
        return strings_to_json(array, as_base64=name.endswith("_bytes"))
    if array.dtype.kind == "V":
        array = widen(array)
    if array.dtype.kind not in "fiub":
        raise UnsupportedType(f"Output '{name}' is of type {array.dtype}, for which JSON has no form")
    if array.dtype.kind == "f" and not nan_tokens and not np.isfinite(array).all():
        place = "".join(f"[{index}]" for index in np.argwhere(~np.isfinite(array))[0])
        raise NonFiniteOutput(
            f"The model's output '{name}' is not a finite number at {name}{place}, and JSON has no form for that. "
            "Are the inputs in the range that the model knows?"
        )
    return np.ascontiguousarray(array) if array.ndim else array[()]


def widen(array: np.ndarray) -> np.ndarray:
    """bfloat16, for which numpy has no type, as float32, of which it is the upper half."""
    halves = np.ascontiguousarray(array).view("<u2").reshape(array.shape)
    return (halves.astype(np.uint32) << 16).view(np.float32)


def write(document: Any, outputs: Arrays, *, nan_tokens: bool) -> bytes:
    """The JSON text of a document that is made of the outputs."""
    if nan_tokens and any(has_token(array) for array in outputs.values()):
        return json.dumps(document, default=to_plain, separators=(",", ":")).encode()
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


def has_token(array: np.ndarray) -> bool:
    """Whether there is a NaN or infinity in it."""
    if array.dtype.kind == "V":
        array = widen(array)
    return array.dtype.kind == "f" and not np.isfinite(array).all()


def to_plain(value: np.ndarray | np.generic) -> Any:
    """Arrays and scalars of numpy as Python's own json module can write them, with no more digits than they have."""
    array = np.asarray(value)
    if array.dtype.kind == "f" and array.dtype.itemsize < 8:
        array = array.astype("U").astype(np.float64)
    return array.tolist()


def strings_to_json(array: np.ndarray, *, as_base64: bool) -> Any:
    """Byte strings as text, or as `{"b64": ...}` where the output's name asks for it or they are no UTF-8."""
    values = np.empty(array.size, dtype=object)
    for index, item in enumerate(array.ravel().tolist()):
        values[index] = string_to_json(item, as_base64=as_base64)
    return values.reshape(array.shape).tolist()


def string_to_json(item: bytes | str, *, as_base64: bool) -> str | dict[str, str]:
    """One string."""
    if isinstance(item, str):
        item = item.encode()
    if not as_base64:
        try:
            return item.decode()
        except UnicodeDecodeError:
            pass
    return {"b64": base64.b64encode(item).decode()}
