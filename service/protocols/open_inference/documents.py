"""What the Open Inference Protocol tells of the service and its models: metadata, configuration, index, statistics.

Source:
    KServe, `specification/protocol/inference_rest.md`; Triton Inference Server, `extension_model_configuration.md`,
    `extension_model_repository.md` and `extension_statistics.md`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from service import VERSION
from service.codecs.open_inference.datatypes import name_datatype
from service.engine.interface import AVAILABLE, END, LOADING, START, UNLOADING, Catalog, Statistics, Version
from service.engine.repository import Model
from service.engine.signature import DEFAULT_SIGNATURE, Signature, TensorSpec
from service.errors import InvalidPayload

EXTENSIONS = (
    "binary_tensor_data",
    "model_configuration",
    "model_repository",
    "model_repository(unload_dependents)",
    "statistics",
)
PLATFORM = "tensorflow_savedmodel"
# Triton's words for the states of a version.
STATES = {START: "LOADING", LOADING: "LOADING", AVAILABLE: "READY", UNLOADING: "UNLOADING", END: "UNAVAILABLE"}
NEVER: Mapping[str, int] = {"count": 0, "ns": 0}


def describe_service() -> dict[str, Any]:
    """The service's metadata."""
    return {"name": "kiln", "version": VERSION, "extensions": EXTENSIONS}


def find_signature(model: Model, name: str) -> tuple[str, Signature]:
    """A signature and its name; with name "" `serving_default`, or the only one where there is no other.

    Raises:
        InvalidPayload: the model has none of that name.
    """
    signatures = model.signatures
    if not name:
        name = next(iter(signatures)) if len(signatures) == 1 else DEFAULT_SIGNATURE
    signature = signatures.get(name)
    if signature is None:
        known = ", ".join(f"'{known}'" for known in sorted(signatures)) or "none"
        raise InvalidPayload(
            f"Model '{model.name}' has no signature '{name[:256]}'. "
            f"The request's parameter 'signature_name' chooses one of: {known}"
        )
    return name, signature


def default_signature(model: Model) -> Signature:
    """The signature of requests that name none; one without inputs or outputs where they have to."""
    try:
        return find_signature(model, "")[1]
    except InvalidPayload:
        return Signature({}, {})


def describe_model(model: Model, versions: Iterable[int]) -> dict[str, Any]:
    """A model's metadata: `inputs` and `outputs` are those of the default signature, `signatures` has the others.

    Args:
        model: the version to describe.
        versions: the numbers that may be asked for.
    """
    default = default_signature(model)
    others = {name: signature for name, signature in model.signatures.items() if signature is not default}
    description = {
        "name": model.name,
        "versions": [str(number) for number in sorted(versions)],
        "platform": PLATFORM,
    } | describe_signature(default)
    if others:
        description["signatures"] = {name: describe_signature(signature) for name, signature in others.items()}
    return description


def describe_signature(signature: Signature) -> dict[str, Any]:
    """The inputs and outputs of a signature."""
    return {
        "inputs": [describe_tensor(spec) for spec in signature.inputs.values()],
        "outputs": [describe_tensor(spec) for spec in signature.outputs.values()],
    }


def describe_tensor(spec: TensorSpec) -> dict[str, Any]:
    """An input or output; the protocol has no word for an unknown number of axes, which becomes one of any size."""
    return {"name": spec.name, "datatype": name_datatype(spec), "shape": [-1] if spec.shape is None else spec.shape}


def describe_configuration(model: Model, largest_batch: int) -> dict[str, Any]:
    """The part of Triton's model configuration that says what clients may send.

    Args:
        model: the version to describe.
        largest_batch: rows in one call, of a model whose inputs and outputs all have a batch axis.
    """
    signature = default_signature(model)
    specs = [*signature.inputs.values(), *signature.outputs.values()]
    has_batch = bool(specs) and all(spec.shape and spec.shape[0] == -1 for spec in specs)
    return {
        "name": model.name,
        "platform": PLATFORM,
        "backend": "tensorflow",
        "max_batch_size": largest_batch if has_batch else 0,
        "input": [configure_tensor(spec, has_batch) | {"format": "FORMAT_NONE"} for spec in signature.inputs.values()],
        "output": [configure_tensor(spec, has_batch) for spec in signature.outputs.values()],
    }


def configure_tensor(spec: TensorSpec, has_batch: bool) -> dict[str, Any]:
    """An input or output as Triton's model configuration has it: without the batch axis."""
    datatype = name_datatype(spec)
    shape = (-1,) if spec.shape is None else spec.shape
    return {
        "name": spec.name,
        "data_type": f"TYPE_{'STRING' if datatype == 'BYTES' else datatype}",
        "dims": shape[1:] if has_batch else shape,
    }


def describe_index(catalog: Catalog, *, only_ready: bool) -> list[dict[str, str]]:
    """The repository's index: an entry per version, or per model that has none; and what is not a model, and why."""
    entries = [
        {"name": name, "state": "UNAVAILABLE", "reason": problem}
        for name, problem in catalog.problems.items()
        if name not in catalog.models
    ]
    for model in catalog.models.values():
        if not model.versions:
            entries.append({"name": model.name, "state": "UNAVAILABLE", "reason": model.obstacle})
        entries += [
            {
                "name": model.name,
                "version": str(version.number),
                "state": STATES[version.state],
                "reason": explain_state(version),
            }
            for version in model.versions
        ]
    return [entry for entry in entries if not only_ready or entry["state"] == "READY"]


def explain_state(version: Version) -> str:
    """Why a version is in its state, where that needs a reason."""
    return version.error or ("unloaded" if version.state == END else "")


def describe_statistics(statistics: Statistics) -> dict[str, Any]:
    """What one version has done; input and output are not timed by themselves."""
    calls = statistics.calls
    return {
        "name": statistics.name,
        "version": str(statistics.version),
        "last_inference": int(statistics.last_call * 1000),
        "inference_count": statistics.rows,
        "execution_count": statistics.executions,
        "inference_stats": {
            "success": {"count": calls, "ns": statistics.total_ns},
            "fail": {"count": statistics.failures, "ns": statistics.failure_ns},
            "queue": {"count": calls, "ns": statistics.queue_ns},
            "compute_input": NEVER,
            "compute_infer": {"count": calls, "ns": statistics.compute_ns},
            "compute_output": NEVER,
            "cache_hit": NEVER,
            "cache_miss": NEVER,
        },
        "batch_stats": [
            {
                "batch_size": rows,
                "compute_input": NEVER,
                "compute_infer": {"count": count, "ns": nanoseconds},
                "compute_output": NEVER,
            }
            for rows, (count, nanoseconds) in sorted(statistics.batches.items())
        ],
    }
