"""What TensorFlow Serving's REST API tells of models: states and metadata, in the JSON form of its messages.

Source:
    TensorFlow Serving, `get_model_status.proto` and `get_model_metadata.proto`; TensorFlow, `meta_graph.proto`.
"""

from typing import Any

from service.engine.interface import Version
from service.engine.repository import Model, describe_state
from service.engine.signature import Signature, TensorSpec


def describe_status(versions: list[Version]) -> dict[str, Any]:
    """The states of versions, newest first."""
    return {"model_version_status": [describe_state(version) for version in versions]}


def describe_metadata(model: Model) -> dict[str, Any]:
    """A model's signatures."""
    signatures = {name: describe_signature(signature) for name, signature in model.signatures.items()}
    return {
        "model_spec": {"name": model.name, "signature_name": "", "version": str(model.version)},
        "metadata": {"signature_def": {"signature_def": signatures}},
    }


def describe_signature(signature: Signature) -> dict[str, Any]:
    """A signature as the JSON form of `SignatureDef`."""
    return {
        "inputs": {name: describe_tensor(spec) for name, spec in signature.inputs.items()},
        "outputs": {name: describe_tensor(spec) for name, spec in signature.outputs.items()},
        "method_name": signature.method_name,
    }


def describe_tensor(spec: TensorSpec) -> dict[str, Any]:
    """An input or output as the JSON form of `TensorInfo`; sizes are strings, since they are 64-bit integers."""
    dimensions = [{"size": str(size), "name": ""} for size in spec.shape or ()]
    return {
        "dtype": spec.dtype,
        "tensor_shape": {"dim": dimensions, "unknown_rank": spec.shape is None},
        "name": spec.tensor,
    }
