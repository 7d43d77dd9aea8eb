"""Runs a signature for any protocol, and says what the signature takes where the graph refuses the inputs."""

from collections.abc import Sequence

import numpy as np

from service.engine.interface import Arrays
from service.engine.model import InvalidInput
from service.engine.repository import Model
from service.engine.signature import Signature, TensorSpec, describe_shapes
from service.errors import InvalidPayload


def call_model(
    model: Model, signature_name: str, inputs: Arrays, outputs: Sequence[str], deadline: float | None
) -> Arrays:
    """Runs a signature on inputs of its types.

    Their shapes are for the graph to judge, as in TensorFlow Serving. Strings of shape [N, 1] that it refuses where the
    signature has one axis are tried once more as [N]: clients of the Open Inference Protocol send texts like that.

    Args:
        model: the version to run.
        signature_name: its name, which the version has.
        inputs: arrays by name; inputs with a default may be missing.
        outputs: those that are wanted; empty for all.
        deadline: see `Call`.

    Returns:
        One array per output.

    Raises:
        InvalidPayload: the graph refused the inputs.
        ServiceError: as `Engine.call` says.
    """
    signature = model.signatures[signature_name]
    try:
        return model.call(signature_name, inputs, outputs, deadline)
    except InvalidInput as error:
        refusal = str(error)
    flattened = flatten_strings(inputs, signature)
    if flattened is not None:
        try:
            return model.call(signature_name, flattened, outputs, deadline)
        except InvalidInput:
            pass
    raise InvalidPayload(f"The model refused the inputs: {refusal.rstrip('.')}. {describe_shapes(signature)}")


def flatten_strings(inputs: Arrays, signature: Signature) -> Arrays | None:
    """The inputs with strings of shape [N, 1] as [N] where the signature has one axis; None where there are none."""
    flattened = {
        name: array.reshape(-1) for name, array in inputs.items() if is_string_column(array, signature.inputs[name])
    }
    return inputs | flattened if flattened else None


def is_string_column(array: np.ndarray, spec: TensorSpec) -> bool:
    """Whether an array holds strings with one axis more than its input has, of size 1."""
    has_one_axis = spec.shape is not None and len(spec.shape) == 1
    return has_one_axis and array.dtype == object and array.ndim == 2 and array.shape[1] == 1
