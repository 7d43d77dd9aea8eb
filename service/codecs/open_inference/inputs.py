"""The tensors of an Open Inference Protocol request, held against a signature, as arrays."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from service.codecs.json.document import dump
from service.codecs.json.values import read_base64
from service.codecs.open_inference.binary import decode_binary
from service.codecs.open_inference.data import decode_data
from service.codecs.open_inference.datatypes import (
    BASE64,
    DATATYPES,
    check_codec,
    list_codecs,
    name_datatype,
    show_shape,
)
from service.codecs.open_inference.request import (
    SHARED_MEMORY,
    InferRequest,
    read_parameters,
    refuse,
)
from service.engine.interface import Arrays
from service.engine.signature import Signature, TensorSpec
from service.engine.tensorflow.tensor_sizes import check_size, most_input_bytes
from service.errors import InvalidPayload, UnsupportedType

MOST_AXES = 32
MOST_ELEMENTS = 2**40


def decode_inputs(request: InferRequest, signature: Signature, most_bytes: int) -> Arrays:
    """Takes the arrays from a request.

    Args:
        request: what was sent.
        signature: what the arrays are for.
        most_bytes: the largest body that is accepted; the arrays of strings may take twice that.

    Returns:
        One array per input that was sent, of the type that the signature states and of the shape that the request
        states; those sent as binary data are read-only views of the body, which may not be aligned.

    Raises:
        InvalidPayload: the tensors do not fit the signature, or their sizes the body.
        UnsupportedType: JSON has no form for an input's type, or the protocol has none.
    """
    arrays: Arrays = {}
    sizes: list[tuple[np.dtype, int, int]] = []
    offset = 0
    for tensor in request.inputs:
        spec = find_spec(tensor, signature)
        if spec.name in arrays:
            raise InvalidPayload(f"Input '{spec.name}' is given twice")
        shape = read_shape(tensor, spec)
        place = f"Input '{spec.name}'"
        parameters = read_parameters(tensor, place)
        refuse(parameters, SHARED_MEMORY, place)
        codec = parameters.get("content_type")
        check_codec(codec, place, list_codecs(spec))
        size = read_binary_size(tensor, parameters, place)
        if size is None:
            array = decode_json(tensor, spec, shape)
            arrays[spec.name] = decode_elements(array, spec) if codec == BASE64 else array
            continue
        if size > len(request.binary) - offset:
            raise InvalidPayload(
                f"Input '{spec.name}' announces {size} bytes of binary data, "
                f"but {len(request.binary) - offset} are left in the body"
            )
        if spec.numpy_dtype.kind == "O":
            sizes.append((spec.numpy_dtype, math.prod(shape), size))
            check_size(sizes, most_input_bytes(most_bytes))
        array = decode_binary(request.binary[offset : offset + size], spec, shape)
        arrays[spec.name] = decode_elements(array, spec) if codec == BASE64 else array
        offset += size
    if offset != len(request.binary):
        raise InvalidPayload(
            f"The body has {len(request.binary)} bytes of binary data, but the inputs announce {offset}"
        )
    missing = [f"'{name}'" for name in signature.inputs if name in signature.required and name not in arrays]
    if missing:
        raise InvalidPayload(f"Missing inputs: {', '.join(missing)}")
    return arrays


def find_spec(tensor: dict[str, Any], signature: Signature) -> TensorSpec:
    """What the signature says of an input, whose type is checked."""
    name = tensor.get("name")
    spec = signature.inputs.get(name) if type(name) is str else None
    if spec is None:
        known = ", ".join(f"'{known}'" for known in signature.inputs) or "none"
        raise InvalidPayload(f"Unknown input {dump(name)}. Inputs: {known}")
    if spec.dtype not in DATATYPES:
        raise UnsupportedType(f"Input '{name}' is of type {spec.type_name}, which the protocol does not have")
    datatype = tensor.get("datatype")
    if datatype != DATATYPES[spec.dtype]:
        raise InvalidPayload(f"Input '{name}' has datatype {dump(datatype)}, but takes {name_datatype(spec)}")
    return spec


def read_shape(tensor: dict[str, Any], spec: TensorSpec) -> tuple[int, ...]:
    """An input's shape, as numpy can have it; whether it is right is TensorFlow's to say.

    Raises:
        InvalidPayload: it is none.
    """
    sizes = tensor.get("shape")
    if type(sizes) is not list or not all(type(size) is int and size >= 0 for size in sizes):
        raise InvalidPayload(f"Input '{spec.name}' has shape {dump(sizes)}, but it must be a list of sizes")
    shape = tuple(sizes)
    if len(shape) > MOST_AXES:
        raise InvalidPayload(f"Input '{spec.name}' has {len(shape)} axes, but at most {MOST_AXES} are possible")
    if 0 in shape and math.prod(size or 1 for size in shape) > MOST_ELEMENTS:
        raise InvalidPayload(f"Input '{spec.name}' has shape {dump(sizes)}, whose sizes are too large")
    return shape


def decode_elements(array: np.ndarray, spec: TensorSpec) -> np.ndarray:
    """What strings in base64 stand for.

    Raises:
        InvalidPayload: one of them is not base64.
    """
    decoded = np.empty(array.size, object)
    for index, text in enumerate(array.ravel().tolist()):
        decoded[index] = read_base64(text)
        if decoded[index] is None:
            raise InvalidPayload(
                f"Input '{spec.name}' has 'base64' as parameter 'content_type', but its string {index} is not base64"
            )
    return decoded.reshape(array.shape)


def read_binary_size(tensor: dict[str, Any], parameters: Mapping[str, Any], place: str) -> int | None:
    """How many bytes of the binary data are an input's; None where its data are in the JSON."""
    size = parameters.get("binary_data_size")
    if size is None:
        return None
    if type(size) is not int or size < 0:
        raise InvalidPayload(f"{place} has {dump(size)} as parameter 'binary_data_size', but it must be a size")
    if "data" in tensor:
        raise InvalidPayload(f"{place} has both 'data' and the parameter 'binary_data_size'")
    return size


def decode_json(tensor: dict[str, Any], spec: TensorSpec, shape: tuple[int, ...]) -> np.ndarray:
    """An input whose data are in the JSON."""
    if "data" not in tensor:
        raise InvalidPayload(f"Input '{spec.name}' needs 'data', or the parameter 'binary_data_size'")
    if not spec.has_json:
        raise UnsupportedType(
            f"Input '{spec.name}' is of type {name_datatype(spec)}, for which JSON has no form. Send it as binary data."
        )
    return decode_data(tensor["data"], spec, shape)


def decode_raw(body: bytes, signature: Signature) -> Arrays:
    """Takes the one input from a body that is nothing but its bytes.

    Args:
        body: the tensor; of a string, its bytes alone.
        signature: must have or require one input, of which at most one size is open; of a string input there is one.

    Raises:
        InvalidPayload: the signature or the body is not of that make.
        UnsupportedType: the protocol does not have the input's type.
    """
    spec = signature.bare_input
    if spec is None:
        raise InvalidPayload(
            f"A body without JSON needs a signature with one input, but this one has {len(signature.inputs)}"
        )
    if spec.dtype not in DATATYPES:
        raise UnsupportedType(f"Input '{spec.name}' is of type {spec.type_name}, which the protocol does not have")
    if spec.shape is None or spec.shape.count(-1) > 1:
        raise InvalidPayload(
            f"A body without JSON does not tell the shape of input '{spec.name}', which takes {show_shape(spec.shape)}"
        )
    fixed = math.prod(size for size in spec.shape if size != -1)
    if spec.dtype == "DT_STRING":
        if fixed != 1:
            raise InvalidPayload(f"A body without JSON is one string, but input '{spec.name}' takes {fixed} of them")
        array = np.empty(1, dtype=object)
        array[0] = body
        return {spec.name: array.reshape([1] * len(spec.shape))}
    row = fixed * spec.numpy_dtype.itemsize
    rows = len(body) // row if row and -1 in spec.shape else 1
    shape = tuple(rows if size == -1 else size for size in spec.shape)
    return {spec.name: decode_binary(memoryview(body), spec, shape)}
