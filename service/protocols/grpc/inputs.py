"""The arrays of a Predict request, checked against the signature before anything is called.

Source:
    TensorFlow Serving, `predict_util.cc`.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

import numpy as np

from service.engine.interface import Arrays
from service.engine.signature import Signature, TensorSpec
from service.engine.tensorflow.protos import load_protos
from service.engine.tensorflow.tensor_protos import decode_tensor, weigh_tensor
from service.engine.tensorflow.tensor_sizes import check_size
from service.errors import InvalidPayload

Parsed = TypeVar("Parsed")


def decode_inputs(tensors: Any, signature: Signature, most_bytes: int) -> Arrays:
    """The arrays in a request, of the types that the signature states.

    Args:
        tensors: `TensorProto` by input name.
        signature: what the arrays are for.
        most_bytes: what the inputs of a request may take; see `check_size`.

    Raises:
        InvalidPayload: they do not fit the signature.
    """
    extra, missing = set(tensors) - set(signature.inputs), signature.required - set(tensors)
    if (extra or missing) and len(tensors) != len(signature.inputs):
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
    inputs = {name: spec for name, spec in signature.inputs.items() if name in tensors}
    check_size([parse(weigh_tensor, tensors[name], name) for name in inputs], most_bytes)
    return {name: decode_input(tensors[name], spec, most_bytes) for name, spec in inputs.items()}


def parse(read: Callable[[Any], Parsed], proto: Any, name: str) -> Parsed:
    """What a function reads from an input's `TensorProto`; its errors name the input."""
    try:
        return read(proto)
    except InvalidPayload as error:
        raise InvalidPayload(f"tensor parsing error: {name}. Reason: {error}") from None


def decode_input(proto: Any, spec: TensorSpec, most_bytes: int) -> np.ndarray:
    """One input's array."""
    array = parse(partial(decode_tensor, most_bytes=most_bytes), proto, spec.name)
    if not spec.is_servable or array.dtype != spec.numpy_dtype:
        types = load_protos("tensorflow.core.framework.types_pb2").DataType
        raise InvalidPayload(
            f"input tensor {spec.name} does not match signature: expected {spec.dtype}, got {types.Name(proto.dtype)}."
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
