"""One version of a model in memory: any SavedModel, called by signature with numpy arrays."""

import ctypes
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from service.engine.interface import Arrays, BatchingState
from service.engine.model import InvalidInput
from service.engine.saved_model.definitions import describe, servable_definitions
from service.engine.signature import Signature, TensorSpec
from service.engine.tensorflow.library import (
    INVALID_ARGUMENT,
    OUT_OF_RANGE,
    Buffer,
    Output,
    Status,
    TensorFlowError,
    load_library,
)
from service.engine.tensorflow.protos import load_protos
from service.engine.tensorflow.tensor_protos import decode_tensor
from service.engine.tensorflow.tensors import NUMBERS, count_bytes, make_tensor, read_tensor
from service.errors import AnswerTooLarge

# What TensorFlow wraps its sentence into: names of nodes and functions, and where the graph was built.
WRAPPING = re.compile(r"[ \t]*(\{\{[^}]*\}\}|\[\[.*?\]\]|\[Op:[^\]]*\])[ \t]*")
PREAMBLE = re.compile(r"^(Graph execution error:|Detected at node|<stack traces|\s|\[\[|\d+ (root|derived) error)")
# Run every operation in the thread that calls, which for small graphs takes less than half the time of a thread pool;
# calls run side by side in threads of ours.
RUN_OPTIONS = {"inter_op_thread_pool": -1}
# The largest message of protocol buffers, and so the largest value in one.
MOST_BYTES = 2**31 - 1
# What `DataType` adds to the number of a type for a reference to it.
REFERENCE = 100


class LoadedModel:
    """A SavedModel's signatures, run by one of TensorFlow's sessions.

    Args:
        path: the version's folder.
        definition: the `MetaGraphDef` to load, which knows the names, types and shapes.
        threads: how many threads may work on one operation.
        max_answer_bytes: the largest outputs of a call.

    Attributes:
        signatures: those that can be called, by name.
        batching: see `Model`; the loader sets it.
        warning: see `Model`.
        is_stuck: whether a call of the loader's never ended, which uses the memory still.

    Raises:
        TensorFlowError: it cannot be loaded.
        ValueError: it has no signature that can be served, or one that its graph does not keep.
    """

    def __init__(self, path: Path, definition: Any, threads: int, max_answer_bytes: int = MOST_BYTES) -> None:
        self.batching: Mapping[str, BatchingState] = {}
        self.is_stuck = False
        self.warning = ""
        self._max_answer_bytes = max_answer_bytes
        self._library = load_library()
        self._graph: int = self._library.TF_NewGraph()
        self._session = 0
        with ExitStack() as failure:
            failure.callback(self.close)
            self._session = self._load(path, list(definition.meta_info_def.tags), threads)
            self._plans = {
                key: Plan(self._library, self._graph, describe(value), decode_defaults(value))
                for key, value in servable_definitions(definition).items()
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

    def run(self, signature: str, parts: Sequence[Arrays], outputs: Sequence[str] = ()) -> Arrays:
        """Runs a signature on inputs that follow each other along the first axis.

        Args:
            signature: its name.
            parts: the inputs of one or several requests, in the order of their rows; an input that has a default may
                be missing, in all of them.
            outputs: those that are wanted; empty for all.

        Returns:
            One array per output, for all parts, which share no memory with the inputs.

        Raises:
            InvalidInput: the graph refused the inputs.
            AnswerTooLarge: the outputs are larger than may be.
            TensorFlowError: it failed in another way.
        """
        plan = self._plans[signature]
        wanted = outputs or plan.outputs
        tensors: list[int] = []
        try:
            for name, spec in plan.signature.inputs.items():
                default = plan.defaults.get(name)
                arrays = [part[name] for part in parts] if default is None or name in parts[0] else [default]
                check_types(spec, arrays)
                tensors.append(make_tensor(spec.dtype, arrays))
            return self._run(plan, tensors, wanted)
        except TensorFlowError as error:
            if error.code in (INVALID_ARGUMENT, OUT_OF_RANGE):
                raise InvalidInput(clean(str(error)) + describe_misfit(plan.signature, parts[0])) from None
            raise
        finally:
            for tensor in tensors:
                self._library.TF_DeleteTensor(tensor)

    def _run(self, plan: "Plan", tensors: list[int], wanted: Sequence[str]) -> Arrays:
        feeds = (ctypes.c_void_p * len(tensors))(*tensors)
        fetches = plan.all_fetches if wanted is plan.outputs else plan.fetch(wanted)
        # Pointers to tensors, none of which is NULL after a call that succeeded.
        results: Any = (ctypes.c_void_p * len(wanted))()
        library = self._library
        with Status(library) as status:
            library.TF_SessionRun(
                self._session, ctypes.byref(self._options), plan.feeds, feeds, len(tensors), fetches, results,
                len(wanted), None, 0, None, status,
            )  # fmt: skip
        try:
            size = sum([count_bytes(results[index], plan.dtypes[name]) for index, name in enumerate(wanted)])
            if size > self._max_answer_bytes:
                raise AnswerTooLarge(
                    f"The answer has {size} bytes, and at most {self._max_answer_bytes} are given. Send fewer rows at "
                    "a time, or ask for fewer outputs."
                )
            return {name: read_tensor(results[index], plan.dtypes[name]) for index, name in enumerate(wanted)}
        finally:
            for tensor in results:
                library.TF_DeleteTensor(tensor)

    def close(self) -> None:
        """Gives the memory back; no call may be running, and none may follow."""
        if self.is_stuck:
            return
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
        defaults: what inputs are where a request has none.

    Raises:
        ValueError: the graph has no such place, or another type there.
    """

    def __init__(self, library: ctypes.CDLL, graph: int, signature: Signature, defaults: Arrays) -> None:
        def places(specs: Sequence[TensorSpec]) -> "ctypes.Array[Output]":
            return (Output * len(specs))(*(find_place(library, graph, spec) for spec in specs))

        self.signature = signature
        self.defaults = defaults
        self.outputs = tuple(signature.outputs)
        self.dtypes: dict[str, np.dtype] = {
            name: spec.numpy_dtype for name, spec in signature.outputs.items() if spec.is_servable
        }
        self.feeds = places(list(signature.inputs.values()))
        self.all_fetches = places(list(signature.outputs.values()))

    def fetch(self, names: Sequence[str]) -> "ctypes.Array[Output]":
        """The places of some outputs."""
        return (Output * len(names))(*(self.all_fetches[self.outputs.index(name)] for name in names))


def check_types(spec: TensorSpec, arrays: Sequence[np.ndarray]) -> None:
    """Refuses arrays of another type, whose memory TensorFlow would misread.

    A front end sends some where a version was replaced by a different one of the same number.

    Raises:
        InvalidInput: an array is of another type.
    """
    for array in arrays:
        if array.dtype != spec.numpy_dtype:
            raise InvalidInput(f"Input '{spec.name}' takes {spec.type_name}, but came as {array.dtype}")


def decode_defaults(definition: Any) -> Arrays:
    """The values of a `SignatureDef` for inputs that a request lacks."""
    return {name: decode_tensor(tensor, MOST_BYTES) for name, tensor in definition.defaults.items()}


def describe_misfit(signature: Signature, inputs: Arrays) -> str:
    """How inputs that TensorFlow refused differ from the signature's shapes, in a sentence; "" where they do not."""
    misfits = [
        f"input '{name}' has shape {list(array.shape)}, and the signature states {list(spec.shape or ())}"
        for name, array in inputs.items()
        if (spec := signature.inputs.get(name)) is not None and not spec.accepts(array.shape)
    ]
    return f" ({'; '.join(misfits)})" if misfits else ""


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
