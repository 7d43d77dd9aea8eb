"""What a `saved_model.pb` or `saved_model.pbtxt` says: its graphs and their signatures."""

import stat
from pathlib import Path
from typing import Any

from service.engine.signature import DTYPES, Signature, TensorSpec
from service.engine.tensorflow.protos import load_protos

SERVE = "serve"


def read_definitions(path: Path) -> list[Any]:
    """The `MetaGraphDef`s of a SavedModel.

    Args:
        path: the version's folder.

    Raises:
        ValueError: the file is not a SavedModel.
    """
    file = path / "saved_model.pb"
    if not file.exists() and (path / "saved_model.pbtxt").exists():
        file = path / "saved_model.pbtxt"
    if not stat.S_ISREG(file.stat().st_mode):
        raise ValueError(f"{file} is not a regular file")
    content = file.read_bytes()
    model = load_protos("tensorflow.core.protobuf.saved_model_pb2").SavedModel()
    text = load_protos("google.protobuf.text_format")
    errors = load_protos("google.protobuf.message")
    try:
        if file.suffix == ".pb":
            model.ParseFromString(content)
        else:
            text.Parse(content, model)
    except (errors.DecodeError, text.ParseError):
        raise ValueError(f"{file} is not a SavedModel, or was cut short") from None
    if not model.meta_graphs:
        raise ValueError(f"{file} holds no graph")
    return list(model.meta_graphs)


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


def servable_definitions(definition: Any) -> dict[str, Any]:
    """The `SignatureDef`s that can be served, by name.

    Raises:
        ValueError: there are none; the sentence says what each lacks.
    """
    named = {key: value for key, value in definition.signature_def.items() if not key.startswith("__")}
    problems = {key: find_problem(value) for key, value in sorted(named.items())}
    if all(problems.values()):
        found = "; ".join(f"signature '{key}' {problem}" for key, problem in problems.items())
        raise ValueError(f"The SavedModel has no signature that can be served: {found or 'it has none at all'}")
    return {key: named[key] for key, problem in problems.items() if not problem}


def find_problem(definition: Any) -> str:
    """Why a `SignatureDef` cannot be served, in words that follow its name; "" for one that can."""
    if not definition.outputs:
        return "has no outputs"
    types = load_protos("tensorflow.core.framework.types_pb2")
    for side, tensors in (("input", definition.inputs), ("output", definition.outputs)):
        for name in sorted(tensors):
            if tensors[name].WhichOneof("encoding") != "name":
                return f"has the {side} '{name}', which is not one dense tensor"
            if types.DataType.Name(tensors[name].dtype) not in DTYPES:
                return f"has the {side} '{name}' of type {types.DataType.Name(tensors[name].dtype)}"
    return ""


def describe(definition: Any) -> Signature:
    """A `SignatureDef` that can be served, in plain Python; its tensors in alphabetical order."""
    defaults = frozenset(definition.defaults)
    inputs = describe_tensors(definition.inputs, defaults)
    return Signature(inputs, describe_tensors(definition.outputs), definition.method_name)


def describe_tensors(tensors: Any, defaults: frozenset[str] = frozenset()) -> dict[str, TensorSpec]:
    """The `TensorInfo`s of a `SignatureDef`."""
    types = load_protos("tensorflow.core.framework.types_pb2")
    specs = {}
    for name in sorted(tensors):
        info = tensors[name]
        shape = None if info.tensor_shape.unknown_rank else tuple(dim.size for dim in info.tensor_shape.dim)
        specs[name] = TensorSpec(name, types.DataType.Name(info.dtype), shape, info.name, name in defaults)
    return specs
