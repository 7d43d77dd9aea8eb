"""One version of a model in memory: any SavedModel, called by signature with numpy arrays."""

import ctypes
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from service.engine.definitions import choose_definition, describe, read_definitions
from service.engine.interface import Arrays
from service.engine.model import InvalidInput
from service.engine.protos import load_protos
from service.engine.signature import Signature, TensorSpec
from service.engine.tensorflow_library import (
    INVALID_ARGUMENT,
    OUT_OF_RANGE,
    Buffer,
    Output,
    Status,
    TensorFlowError,
    load_library,
)
from service.engine.tensors import NUMBERS, make_tensor, read_tensor
from service.engine.warmup import warm_up

# What TensorFlow wraps its sentence into: names of nodes and functions, and where the graph was built.
WRAPPING = re.compile(r"[ \t]*(\{\{[^}]*\}\}|\[\[.*?\]\]|\[Op:[^\]]*\])[ \t]*")
PREAMBLE = re.compile(r"^(Graph execution error:|Detected at node|<stack traces|\s|\[\[|\d+ (root|derived) error)")
# Run every operation in the thread that calls, which for small graphs takes less than half the time of a thread pool;
# calls run side by side in threads of ours.
RUN_OPTIONS = {"inter_op_thread_pool": -1}
# What `DataType` adds to the number of a type for a reference to it.
REFERENCE = 100


class SavedModelLoader:
    """Loads versions of models.

    Args:
        threads: how many threads may work on one operation.
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

        Raises:
            TensorFlowError: it cannot be loaded.
            ValueError: it is no SavedModel, or none for serving.
            InvalidInput: it refuses one of the requests that it brings for warming up.
        """
        definition = choose_definition(read_definitions(path))
        with ExitStack() as failure:
            model = LoadedModel(path, definition, self._threads)
            failure.callback(model.close)
            warm_up(model, path, f"{name} version {version}")
            failure.pop_all()
        return model


class LoadedModel:
    """A SavedModel's signatures, run by one of TensorFlow's sessions.

    Args:
        path: the version's folder.
        definition: the `MetaGraphDef` to load, which knows the names, types and shapes.
        threads: how many threads may work on one operation.

    Attributes:
        signatures: those that can be called, by name.

    Raises:
        TensorFlowError: it cannot be loaded.
    """

    def __init__(self, path: Path, definition: Any, threads: int) -> None:
        self._library = load_library()
        self._graph: int = self._library.TF_NewGraph()
        self._session = 0
        with ExitStack() as failure:
            failure.callback(self.close)
            self._session = self._load(path, list(definition.meta_info_def.tags), threads)
            self._plans = {
                key: Plan(self._library, self._graph, signature)
                for key, value in definition.signature_def.items()
                if not key.startswith("__") and (signature := describe(value)) is not None
            }
            failure.pop_all()
        options = load_protos("tensorflow.core.protobuf.config_pb2").RunOptions(**RUN_OPTIONS).SerializeToString()
        self._options_bytes = ctypes.create_string_buffer(options, len(options))
        self._options = Buffer(ctypes.addressof(self._options_bytes), len(options), None)
        self.signatures: Mapping[str, Signature] = {key: plan.signature for key, plan in self._plans.items()}

    def _load(self, path: Path, tags: list[str], threads: int) -> int:
        library = self._library
        config = load_protos("tensorflow.core.protobuf.config_pb2").ConfigProto(
            intra_op_parallelism_threads=threads, inter_op_parallelism_threads=1
        )
        text = config.SerializeToString()
        names = (ctypes.c_char_p * len(tags))(*(tag.encode() for tag in tags))
        options = library.TF_NewSessionOptions()
        try:
            with Status(library) as status:
                library.TF_SetConfig(options, text, len(text), status)
            with Status(library) as status:
                session: int = library.TF_LoadSessionFromSavedModel(
                    options, None, str(path).encode(), names, len(tags), self._graph, None, status
                )
        finally:
            library.TF_DeleteSessionOptions(options)
        return session

    def call(self, signature: str, inputs: Arrays, outputs: Sequence[str] = ()) -> Arrays:
        """Runs a signature; see `Model.call`."""
        return self.run(signature, [inputs], outputs)

    def run(self, signature: str, parts: Sequence[Arrays], outputs: Sequence[str] = (), padding: int = 0) -> Arrays:
        """Runs a signature on inputs that follow each other along the first axis.

        Args:
            signature: its name.
            parts: the inputs of one or several requests, in the order of their rows.
            outputs: those that are wanted; empty for all.
            padding: how often the last row is repeated at the end.

        Returns:
            One array per output, for all parts and the padding.

        Raises:
            InvalidInput: the graph refused the inputs.
            TensorFlowError: it failed in another way.
        """
        plan = self._plans[signature]
        wanted = outputs or plan.outputs
        tensors: list[int] = []
        try:
            for name, spec in plan.signature.inputs.items():
                arrays = [part[name] for part in parts]
                check_types(spec, arrays)
                tensors.append(make_tensor(spec.dtype, arrays, padding))
            return self._run(plan, tensors, wanted)
        except TensorFlowError as error:
            if error.code in (INVALID_ARGUMENT, OUT_OF_RANGE):
                raise InvalidInput(clean(str(error))) from None
            raise
        finally:
            for tensor in tensors:
                self._library.TF_DeleteTensor(tensor)

    def _run(self, plan: "Plan", tensors: list[int], wanted: Sequence[str]) -> Arrays:
        feeds = (ctypes.c_void_p * len(tensors))(*tensors)
        fetches = plan.all_fetches if wanted is plan.outputs else plan.fetch(wanted)
        results = (ctypes.c_void_p * len(wanted))()
        library = self._library
        with Status(library) as status:
            library.TF_SessionRun(
                self._session, ctypes.byref(self._options), plan.feeds, feeds, len(tensors), fetches, results,
                len(wanted), None, 0, None, status,
            )  # fmt: skip
        try:
            return {name: read_tensor(results[index], plan.dtypes[name]) for index, name in enumerate(wanted)}
        finally:
            for tensor in results:
                library.TF_DeleteTensor(tensor)

    def close(self) -> None:
        """Gives the memory back; no call may be running, and none may follow."""
        session, self._session = self._session, 0
        graph, self._graph = self._graph, 0
        if session:
            with Status(self._library) as status:
                self._library.TF_CloseSession(session, status)
            with Status(self._library) as status:
                self._library.TF_DeleteSession(session, status)
        if graph:
            self._library.TF_DeleteGraph(graph)


class Plan:
    """A signature with the places in the graph that its names stand for.

    Args:
        library: see `load_library`.
        graph: the pointer to the graph.
        signature: what it takes and gives.

    Raises:
        ValueError: the graph has no such place, or another type there.
    """

    def __init__(self, library: ctypes.CDLL, graph: int, signature: Signature) -> None:
        def places(specs: Sequence[TensorSpec]) -> "ctypes.Array[Output]":
            return (Output * len(specs))(*(find_place(library, graph, spec) for spec in specs))

        self.signature = signature
        self.outputs = tuple(signature.outputs)
        self.dtypes: dict[str, np.dtype] = {
            name: spec.numpy_dtype for name, spec in signature.outputs.items() if spec.numpy_dtype is not None
        }
        self.feeds = places(list(signature.inputs.values()))
        self.all_fetches = places(list(signature.outputs.values()))

    def fetch(self, names: Sequence[str]) -> "ctypes.Array[Output]":
        """The places of some outputs."""
        return (Output * len(names))(*(self.all_fetches[self.outputs.index(name)] for name in names))


def check_types(spec: TensorSpec, arrays: Sequence[np.ndarray]) -> None:
    """Refuses arrays of another type, whose memory TensorFlow would misread.

    A front sends some where a version was replaced by a different one of the same number.

    Raises:
        InvalidInput: an array is of another type.
    """
    for array in arrays:
        if array.dtype != spec.numpy_dtype:
            raise InvalidInput(f"Input '{spec.name}' takes {spec.type_name}, but came as {array.dtype}")


def find_place(library: ctypes.CDLL, graph: int, spec: TensorSpec) -> Output:
    """The place of a tensor such as `dense:0`.

    Raises:
        ValueError: the graph has no such place, or another type there.
    """
    name, _, index = spec.tensor.partition(":")
    operation = library.TF_GraphOperationByName(graph, name.encode())
    place = Output(operation, int(index or 0))
    if not operation or not 0 <= place.index < library.TF_OperationNumOutputs(operation):
        raise ValueError(f"The SavedModel's signature names the tensor '{spec.tensor}', which its graph does not have")
    # A reference to a variable, as TensorFlow 1 has them, is of the type of the variable.
    number = library.TF_OperationOutputType(place) % REFERENCE
    if number != NUMBERS[spec.dtype]:
        raise ValueError(
            f"The SavedModel's signature says that the tensor '{spec.tensor}' is {spec.dtype}, but in its graph it is "
            f"of type {number}"
        )
    return place


def clean(message: str) -> str:
    """TensorFlow's sentence without the names of nodes and the stack of the program that built the graph."""
    lines = [line for line in WRAPPING.sub("", message).splitlines() if line and not PREAMBLE.match(line)]
    return " ".join(line.strip() for line in lines) or "The graph refused the inputs"
