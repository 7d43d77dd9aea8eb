"""The arrays of a Predict request, checked against the signature before anything is called.

Source:
    TensorFlow Serving, `predict_util.cc`.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from service.engine.interface import Arrays
from service.engine.protos import load_protos
from service.engine.signature import Signature, TensorSpec
from service.engine.tensor_protos import decode_tensor
from service.errors import InvalidPayload


def decode_inputs(tensors: Any, signature: Signature, most_bytes: int) -> Arrays:
    """The arrays in a request, as the signature states them.

    Args:
        tensors: `TensorProto` by input name.
        signature: what the arrays are for.
        most_bytes: the largest array to make.

    Raises:
        InvalidPayload: they do not fit the signature.
    """
    if len(tensors) != len(signature.inputs):
        extra, missing = set(tensors) - set(signature.inputs), set(signature.inputs) - set(tensors)
        raise InvalidPayload(
            f"input size does not match signature: {len(tensors)}!={len(signature.inputs)} "
            f"len({listed(tensors)}) != len({listed(signature.inputs)}). "
            f"Sent extra: {listed(extra)}. Missing but required: {listed(missing)}."
        )
    for alias in tensors:
        if alias not in signature.inputs:
            raise InvalidPayload(
                f"input tensor alias not found in signature: {alias[:256]}. "
                f"Inputs expected to be in the set {listed(signature.inputs)}."
            )
    return {name: decode_input(tensors[name], spec, most_bytes) for name, spec in signature.inputs.items()}


def decode_input(proto: Any, spec: TensorSpec, most_bytes: int) -> np.ndarray:
    """One input's array."""
    try:
        array = decode_tensor(proto, most_bytes)
    except InvalidPayload as error:
        raise InvalidPayload(f"tensor parsing error: {spec.name}. Reason: {error}") from None
    if array.dtype != spec.numpy_dtype or not spec.accepts(array.shape):
        types = load_protos("tensorflow.core.framework.types_pb2").DataType
        expected = "any shape" if spec.shape is None else f"shape {list(spec.shape)}"
        raise InvalidPayload(
            f"input tensor {spec.name} does not match signature: expected {spec.dtype} of {expected}, "
            f"got {types.Name(proto.dtype)} of shape {list(array.shape)}."
        )
    return array


def check_filter(aliases: list[str], signature: Signature) -> list[str]:
    """The outputs that a request wants; empty for all.

    Raises:
        InvalidPayload: there is no such output, or it is named twice.
    """
    seen = set()
    for alias in aliases:
        if alias not in signature.outputs:
            raise InvalidPayload(
                f"output tensor alias not found in signature: {alias[:256]} "
                f"Outputs expected to be in the set {listed(signature.outputs)}."
            )
        if alias in seen:
            raise InvalidPayload(f"duplicate output tensor alias: {alias}")
        seen.add(alias)
    return aliases


def listed(names: Iterable[str]) -> str:
    """Names as TensorFlow Serving writes a set of them."""
    return "{" + ",".join(sorted(names))[:1024] + "}"
