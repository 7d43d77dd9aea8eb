"""One version of a model in memory: any SavedModel, called by signature with numpy arrays."""

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from service.engine.model import InvalidInput
from service.engine.signature import Signature, TensorSpec
from service.engine.tensorflow_runtime import import_tensorflow
from service.engine.warmup import warm_up

SERVE = "serve"
# What TensorFlow wraps its sentence into: names of nodes and functions, and where the graph was built.
WRAPPING = re.compile(r"[ \t]*(\{\{[^}]*\}\}|\[\[.*?\]\]|\[Op:[^\]]*\])[ \t]*")
PREAMBLE = re.compile(r"^(Graph execution error:|Detected at node|<stack traces|\s|\[\[|\d+ (root|derived) error)")


class TensorFlowLoader:
    """Loads versions of models.

    Args:
        threads: see `import_tensorflow`.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads

    def __call__(self, path: Path, name: str, version: int) -> "LoadedModel":
        """Loads and warms up one version.

        Args:
            path: the version's folder.
            name: the model's.
            version: its number.

        Returns:
            The model, whose first real request takes no longer than the next.
        """
        tensorflow = import_tensorflow(self._threads)
        definitions = read_definitions(path)
        tags = [SERVE] if len(definitions) > 1 else None
        loaded = tensorflow.saved_model.load(str(path), tags=tags)
        model = LoadedModel(name, version, tensorflow, loaded, choose_definition(definitions))
        warm_up(model, path)
        return model


class LoadedModel:
    """A SavedModel's signatures.

    Args:
        name, version: which one it is.
        tensorflow: the module.
        loaded: what `tf.saved_model.load` gave.
        definition: the `MetaGraphDef` that was loaded, which knows the names, types and shapes.

    Attributes:
        signatures: those that can be called, by name.
    """

    def __init__(self, name: str, version: int, tensorflow: ModuleType, loaded: Any, definition: Any) -> None:
        self.name = name
        self.version = version
        self._constant = tensorflow.constant
        self._refusals = (tensorflow.errors.InvalidArgumentError, tensorflow.errors.OutOfRangeError)
        # TensorFlow frees a SavedModel's variables when the object goes away, even while its functions are still held.
        self._loaded = loaded
        self._functions = dict(loaded.signatures)
        self.signatures = {
            key: describe(value) for key, value in definition.signature_def.items() if key in self._functions
        }

    def call(self, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs a signature; see `Model.call`.

        Raises:
            InvalidInput: the graph refused the inputs.
        """
        # By name: a positional argument makes TensorFlow bind and check the signature anew, at ten times the cost.
        tensors = {name: self._constant(array) for name, array in inputs.items()}
        try:
            outputs = self._functions[signature](**tensors)
        except self._refusals as error:
            raise InvalidInput(clean(error.message)) from None
        except UnicodeDecodeError:
            # TensorFlow's sentence quotes bytes of the input, which are no text.
            raise InvalidInput("its reason quotes bytes that are no text") from None
        return {name: outputs[name].numpy() for name in self.signatures[signature].outputs}


def read_definitions(path: Path) -> list[Any]:
    """The `MetaGraphDef`s of a SavedModel."""
    from tensorflow.core.protobuf import saved_model_pb2

    return list(saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes()).meta_graphs)


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


def describe(definition: Any) -> Signature:
    """A `SignatureDef` in plain Python, its tensors in alphabetical order."""
    return Signature(describe_tensors(definition.inputs), describe_tensors(definition.outputs), definition.method_name)


def describe_tensors(tensors: Any) -> dict[str, TensorSpec]:
    """The `TensorInfo`s of a `SignatureDef`."""
    from tensorflow.core.framework import types_pb2

    specs = {}
    for name in sorted(tensors):
        info = tensors[name]
        shape = None if info.tensor_shape.unknown_rank else tuple(dim.size for dim in info.tensor_shape.dim)
        specs[name] = TensorSpec(name, types_pb2.DataType.Name(info.dtype), shape, info.name)
    return specs


def clean(message: str) -> str:
    """TensorFlow's sentence without the names of nodes and the stack of the program that built the graph."""
    lines = [line for line in WRAPPING.sub("", message).splitlines() if line and not PREAMBLE.match(line)]
    return " ".join(line.strip() for line in lines) or "The graph refused the inputs"
