"""TensorFlow Serving's JSON to arrays: `instances` and `inputs` of a parsed body.

Names and types are checked; whether the shapes are right is TensorFlow's to say, as in TensorFlow Serving. Small
integers are range-checked, which TensorFlow Serving does not do. `json_numbers` does the same for the bodies that
have only numbers, several times faster; what it does not take comes here, and every error sentence is from here.
"""

from collections.abc import Set
from typing import Any

import numpy as np

from service.codecs.json.document import dump
from service.codecs.json.values import (
    convert,
    convert_leaves,
    decode_tensor,
    explain_tensor,
    find_first,
    is_base64,
    outline,
)
from service.engine.interface import Arrays
from service.engine.signature import Signature, TensorSpec
from service.errors import InvalidPayload, UnsupportedType


def decode_instances(document: dict[str, Any], signature: Signature) -> Arrays:
    """Row format: one element of `instances` per row of the batch.

    Args:
        document: a body with the key `instances`.
        signature: what the arrays are for.

    Returns:
        One array per input that was sent, of the type that the signature states and of the shape of the lists.

    Raises:
        InvalidPayload: the rows do not fit the signature.
    """
    rows = document["instances"]
    if not isinstance(rows, list):
        raise InvalidPayload(f"JSON Value: {dump(document)} Expecting 'instances' to be an list/array")
    if not rows:
        raise InvalidPayload(f"JSON Value: {dump(document)} No values in 'instances' array")
    if is_named(rows[0]):
        return decode_named_rows(rows, signature)
    spec = signature.bare_input
    if spec is None:
        raise InvalidPayload(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            f"tensorinfo_map. Inputs: {', '.join(signature.inputs)}"
        )
    return {spec.name: decode_batch(rows, spec, "")}


def decode_named_rows(rows: list[Any], signature: Signature) -> Arrays:
    """Rows that are objects keyed by input name, all with the same keys; inputs with a default may be missing."""
    sent = [spec for name, spec in signature.inputs.items() if name in rows[0]]
    names = {spec.name for spec in sent}
    expected = names if names >= signature.required else signature.inputs.keys()
    for index, row in enumerate(rows):
        if not is_named(row):
            kind = "list" if isinstance(row, list) else "value"
            raise InvalidPayload(f"Expecting object but got {kind} at item {index} of input list")
        if row.keys() != expected:
            raise wrong_keys(row, index, signature, expected)
    arrays = convert_scalars(rows, sent)
    if arrays is not None:
        return arrays
    return {spec.name: decode_batch([row[spec.name] for row in rows], spec, f".{spec.name}") for spec in sent}


def convert_scalars(rows: list[dict[str, Any]], specs: list[TensorSpec]) -> Arrays | None:
    """All inputs in one step where each is one value per row and all are of one type, such as a table's columns."""
    first = specs[0] if specs else None
    if first is None or not first.has_json:
        return None
    if any(spec.dtype != first.dtype or spec.shape != (-1,) for spec in specs):
        return None
    array = convert_leaves([row[spec.name] for spec in specs for row in rows], first)
    if array is None:
        return None
    return dict(zip((spec.name for spec in specs), array.reshape(len(specs), len(rows)), strict=True))


def wrong_keys(row: dict[str, Any], index: int, signature: Signature, expected: Set[str]) -> InvalidPayload:
    """The error for a row whose keys are not those expected: the first row's, or the signature's inputs."""
    for key in row:
        if key not in signature.inputs:
            return InvalidPayload(
                f"Failed to process element: {index} key: {key} of 'instances' list. Error: INVALID_ARGUMENT: "
                f"JSON object: does not have named input: {key}. Inputs: {','.join(signature.inputs)}"
            )
    names = ",".join(name for name in signature.inputs if name in expected)
    optional = ", ".join(name for name in signature.inputs if name not in signature.required)
    advice = f". Inputs that may be missing, in all rows: {optional}" if optional else ""
    return InvalidPayload(
        f"Failed to process element: {index} of 'instances' list. "
        f"JSON object: {dump(row)} keys must be equal to: {names}{advice}"
    )


def decode_batch(rows: list[Any], spec: TensorSpec, key: str) -> np.ndarray:
    """One input's values of all rows as one array; `key` is `.name` where rows are objects."""
    shape = outline(rows[0])
    array = convert(rows, (len(rows), *shape), spec)
    if array is None:
        raise explain_rows(rows, shape, spec, key)
    return array


def explain_rows(rows: list[Any], shape: tuple[int, ...], spec: TensorSpec, key: str) -> InvalidPayload:
    """The error for rows of which one is wrong in itself, or not of the first one's shape."""
    index = find_first(rows, lambda part: convert(part, (len(part), *shape), spec) is not None)
    row = rows[index]
    if is_named(row):
        return InvalidPayload(f"Expecting value/list but got object at item {index} of input list")
    given = outline(row)
    if convert(row, given, spec) is None:
        return wrap(explain_tensor(row, given, spec, f"instances[{index}]{key}"), index, key)
    size, expected = (int(np.prod(sizes)) for sizes in (given, shape))
    if size != expected:
        unlike = f"Expecting tensor size: {expected} but got: {size}"
    else:
        unlike = "Expecting shape {} but got: {}".format(
            *(str(list(sizes)).replace(" ", "") for sizes in (shape, given))
        )
    return wrap(InvalidPayload(f"{unlike} (at instances[{index}])"), index, key)


def wrap(error: InvalidPayload | UnsupportedType, index: int, key: str) -> InvalidPayload:
    """The error of one row as TensorFlow Serving reports it."""
    code = "UNIMPLEMENTED" if isinstance(error, UnsupportedType) else "INVALID_ARGUMENT"
    named = f" key: {key[1:]}" if key else ""
    return InvalidPayload(f"Failed to process element: {index}{named} of 'instances' list. Error: {code}: {error}")


def decode_inputs(document: dict[str, Any], signature: Signature) -> Arrays:
    """Columnar format: a whole tensor, or an object with one per input; further names are ignored.

    Args:
        document: a body with the key `inputs`.
        signature: what the arrays are for.

    Returns:
        One array per input that was sent, of the type that the signature states and of the shape of the lists.

    Raises:
        InvalidPayload: the tensors do not fit the signature.
        UnsupportedType: JSON has no form for an input's type.
    """
    value = document["inputs"]
    if is_named(value):
        for name in signature.inputs:
            if name not in value and name in signature.required:
                raise InvalidPayload(f"Missing named input: {name} in 'inputs' object.")
        return {
            name: decode_tensor(value[name], spec, f"inputs.{name}")
            for name, spec in signature.inputs.items()
            if name in value
        }
    spec = signature.bare_input
    if spec is None:
        raise InvalidPayload(
            "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
            f"tensorinfo_map. Inputs: {', '.join(signature.inputs)}"
        )
    return {spec.name: decode_tensor(value, spec, "inputs")}


def is_named(value: Any) -> bool:
    """Whether the value is an object keyed by input name, and not one that stands for bytes."""
    return isinstance(value, dict) and not is_base64(value)
