"""TensorFlow Serving's JSON: `instances` and `inputs` to arrays, arrays to `predictions` and `outputs`.

Numbers go to float32 and back without loss: what the model answered is what parses, as float32, from the answer. JSON
has no NaN or infinity, so such an answer is refused, naming the place; TensorFlow Serving writes tokens that are no
JSON. Small integers are range-checked, which TensorFlow Serving does not do.
"""

from typing import Any

import numpy as np

from service.codecs.json_document import Document, dump
from service.codecs.json_values import decode_tensor, is_base64
from service.engine.signature import Signature, TensorSpec
from service.errors import InvalidPayload, UnsupportedType

Arrays = dict[str, np.ndarray]


def decode_instances(document: Document, signature: Signature) -> Arrays:
    """Row format: one element of `instances` per row of the batch.

    Args:
        document: a body whose value is an object with the key `instances`.
        signature: what the arrays are for.

    Returns:
        One array per input, with the batch as first axis, of the shapes and types that the signature states.

    Raises:
        InvalidPayload: the rows do not fit the signature.
    """
    rows = document.value["instances"]
    if not isinstance(rows, list):
        raise InvalidPayload(f"JSON Value: {dump(rows)} Expecting 'instances' to be an list/array")
    if not rows:
        raise InvalidPayload(f"JSON Value: {dump(document.value)} No values in 'instances' array")
    if is_named(rows[0]):
        return decode_named_rows(rows, signature, document)
    if len(signature.inputs) != 1:
        raise InvalidPayload(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            f"tensorinfo_map. Inputs: {', '.join(signature.inputs)}"
        )
    [spec] = signature.inputs.values()
    return {spec.name: decode_batch(rows, spec, "", document)}


def decode_named_rows(rows: list[Any], signature: Signature, document: Document) -> Arrays:
    """Rows that are objects keyed by input name."""
    names = signature.inputs.keys()
    for index, row in enumerate(rows):
        if not is_named(row):
            kind = "list" if isinstance(row, list) else "value"
            raise InvalidPayload(f"Expecting object but got {kind} at item {index} of input list")
        if row.keys() != names:
            raise wrong_keys(row, index, signature)
    return {
        name: decode_batch([row[name] for row in rows], spec, f".{name}", document)
        for name, spec in signature.inputs.items()
    }


def wrong_keys(row: dict[str, Any], index: int, signature: Signature) -> InvalidPayload:
    """The error for a row whose keys are not the signature's inputs."""
    names = ",".join(signature.inputs)
    for key in row:
        if key not in signature.inputs:
            return InvalidPayload(
                f"Failed to process element: {index} key: {key} of 'instances' list. Error: INVALID_ARGUMENT: "
                f"JSON object: does not have named input: {key}. Inputs: {names}"
            )
    return InvalidPayload(
        f"Failed to process element: {index} of 'instances' list. "
        f"JSON object: {dump(row)} keys must be equal to: {names}"
    )


def decode_batch(rows: list[Any], spec: TensorSpec, key: str, document: Document) -> np.ndarray:
    """One input's values of all rows as one array; `key` is `.name` where rows are objects."""
    array = convert_numbers(rows, spec, document)
    if array is None:
        array = decode_elements(rows, spec, key)
    if not spec.accepts(array.shape):
        if spec.shape and spec.accepts((spec.shape[0], *array.shape[1:])):
            raise InvalidPayload(f"'instances' has {len(rows)} rows, but input '{spec.name}' takes {spec.shape[0]}")
        sentence = f"instances[0]{key} has shape {list(array.shape[1:])}, but input '{spec.name}' takes "
        raise wrap(InvalidPayload(f"{sentence}{row_shape(spec)} {spec.type_name}"), 0, key)
    return array


def decode_elements(rows: list[Any], spec: TensorSpec, key: str) -> np.ndarray:
    """The rows one by one, so that an error names the row and the place in it."""
    elements: list[np.ndarray] = []
    for index, row in enumerate(rows):
        if is_named(row):
            raise InvalidPayload(f"Expecting value/list but got object at item {index} of input list")
        try:
            element = decode_tensor(row, spec, f"instances[{index}]{key}")
            check_alike(elements[0] if elements else element, element, index)
        except (InvalidPayload, UnsupportedType) as error:
            raise wrap(error, index, key) from None
        elements.append(element)
    return np.stack(elements)


def check_alike(first: np.ndarray, element: np.ndarray, index: int) -> None:
    """Refuses a row of another size or shape than the first."""
    if element.size != first.size:
        raise InvalidPayload(f"Expecting tensor size: {first.size} but got: {element.size} (at instances[{index}])")
    if element.shape != first.shape:
        expected, given = (str(list(shape)).replace(" ", "") for shape in (first.shape, element.shape))
        raise InvalidPayload(f"Expecting shape {expected} but got: {given} (at instances[{index}])")


def wrap(error: InvalidPayload | UnsupportedType, index: int, key: str) -> InvalidPayload:
    """The error of one row as TensorFlow Serving reports it."""
    code = "UNIMPLEMENTED" if isinstance(error, UnsupportedType) else "INVALID_ARGUMENT"
    named = f" key: {key[1:]}" if key else ""
    return InvalidPayload(f"Failed to process element: {index}{named} of 'instances' list. Error: {code}: {error}")


def row_shape(spec: TensorSpec) -> str:
    """The shape of one row as a sentence shows it."""
    if not spec.shape:
        return "no rows: it has no batch axis; use 'inputs' for this signature:"
    return str(list(spec.shape[1:]))


def decode_inputs(document: Document, signature: Signature) -> Arrays:
    """Columnar format: a whole tensor, or an object with one per input; further names are ignored.

    Args:
        document: a body whose value is an object with the key `inputs`.
        signature: what the arrays are for.

    Returns:
        One array per input, of the shapes and types that the signature states.

    Raises:
        InvalidPayload: the tensors do not fit the signature.
        UnsupportedType: JSON has no form for an input's type.
    """
    value = document.value["inputs"]
    if is_named(value):
        for name in signature.inputs:
            if name not in value:
                raise InvalidPayload(f"Missing named input: {name} in 'inputs' object.")
        return {
            name: decode_whole(value[name], spec, f"inputs.{name}", document) for name, spec in signature.inputs.items()
        }
    if len(signature.inputs) != 1:
        raise InvalidPayload(
            "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
            f"tensorinfo_map. Inputs: {', '.join(signature.inputs)}"
        )
    [spec] = signature.inputs.values()
    return {spec.name: decode_whole(value, spec, "inputs", document)}


def decode_whole(value: Any, spec: TensorSpec, place: str, document: Document) -> np.ndarray:
    """One input's tensor."""
    array = convert_numbers(value, spec, document)
    if array is None:
        array = decode_tensor(value, spec, place)
    if not spec.accepts(array.shape):
        raise InvalidPayload(
            f"{place} has shape {list(array.shape)}, but input '{spec.name}' takes {list(spec.shape)} {spec.type_name}"
        )
    return array


def convert_numbers(values: Any, spec: TensorSpec, document: Document) -> np.ndarray | None:
    """Numbers to an array in one step, or None where value by value is needed: strings, bools and mistakes."""
    dtype = spec.numpy_dtype
    if dtype is None or dtype.kind not in "fiu" or document.has_booleans:
        return None
    try:
        array = np.array(values)
    except ValueError:  # lists of different lengths
        return None
    if array.dtype.kind not in ("fiu" if dtype.kind == "f" else "iu"):
        return None
    if array.dtype == dtype:
        return array
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            array = array.astype(dtype)
        return array if np.isfinite(array).all() else None
    limits = np.iinfo(dtype)
    if array.min() < limits.min or array.max() > limits.max:
        return None
    return array.astype(dtype)


def is_named(value: Any) -> bool:
    """Whether the value is an object keyed by input name, and not one that stands for bytes."""
    return isinstance(value, dict) and not is_base64(value)
