"""What a `saved_model.pb` says: its graphs and their signatures."""

from pathlib import Path
from typing import Any

from service.engine.protos import load_protos
from service.engine.signature import DTYPES, Signature, TensorSpec

SERVE = "serve"


def read_definitions(path: Path) -> list[Any]:
    """The `MetaGraphDef`s of a SavedModel.

    Args:
        path: the version's folder.

    Raises:
        ValueError: the file is no SavedModel.
    """
    file = path / "saved_model.pb"
    content = file.read_bytes()
    protos = load_protos("tensorflow.core.protobuf.saved_model_pb2")
    errors = load_protos("google.protobuf.message")
    try:
        graphs = list(protos.SavedModel.FromString(content).meta_graphs)
    except errors.DecodeError:
        raise ValueError(f"{file} is no SavedModel, or was cut short") from None
    if not graphs:
        raise ValueError(f"{file} holds no graph")
    return graphs


def choose_definition(definitions: list[Any]) -> Any:
    """The one that is meant for serving, or the only one.

    Raises:
        ValueError: there are several and none is tagged `serve`.
    """
    if len(definitions) == 1:
        return definitions[0]
    for definition in definitions:
        if set(definition.meta_info_def.tags) == {SERVE}:
            return definition
    tags = [sorted(definition.meta_info_def.tags) for definition in definitions]
    raise ValueError(f"The SavedModel has no graph tagged '{SERVE}'; its graphs are tagged {tags}")


def describe(definition: Any) -> Signature | None:
    """A `SignatureDef` in plain Python, its tensors in alphabetical order; None for one that cannot be served.

    That is one without outputs, or with a tensor of a type that no protocol carries, or that is no plain tensor.
    """
    specs = describe_tensors(definition.inputs), describe_tensors(definition.outputs)
    if not specs[1] or any(
        not spec.tensor or spec.dtype not in DTYPES for tensors in specs for spec in tensors.values()
    ):
        return None
    return Signature(*specs, definition.method_name)


def describe_tensors(tensors: Any) -> dict[str, TensorSpec]:
    """The `TensorInfo`s of a `SignatureDef`."""
    types = load_protos("tensorflow.core.framework.types_pb2")
    specs = {}
    for name in sorted(tensors):
        info = tensors[name]
        shape = None if info.tensor_shape.unknown_rank else tuple(dim.size for dim in info.tensor_shape.dim)
        specs[name] = TensorSpec(name, types.DataType.Name(info.dtype), shape, info.name)
    return specs
