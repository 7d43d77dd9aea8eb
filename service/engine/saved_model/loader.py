"""Brings a SavedModel into memory: complete, with operations that run here, warmed up, and its rows examined."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

from service.engine.batching.options import describe_obstacle
from service.engine.interface import BatchingState
from service.engine.saved_model.completeness import check_complete
from service.engine.saved_model.definitions import choose_definition, read_definitions, servable_definitions
from service.engine.saved_model.graph import Graph
from service.engine.saved_model.loaded_model import MOST_BYTES, LoadedModel
from service.engine.saved_model.probe_rows import Material
from service.engine.saved_model.row_probe import STUCK, Probe, probe_in_time
from service.engine.saved_model.warmup import warm_up
from service.engine.sources.files import read_description
from service.engine.tensorflow.library import load_operations

logger = logging.getLogger(__name__)

PROVEN = BatchingState(True, "its export has proven that its rows are independent")
PROBED = BatchingState(True, "a probe at loading found no difference between a row alone and among others")
UNANSWERED = BatchingState(False, STUCK)


@dataclass(frozen=True)
class Examination:
    """What the first load of a version found, for those that follow.

    Attributes:
        batching: see `Model`.
    """

    batching: Mapping[str, BatchingState] = field(default_factory=dict)

    def to_json(self) -> str:
        """The examination as text."""
        return json.dumps({name: asdict(state) for name, state in self.batching.items()})

    @classmethod
    def from_json(cls, text: str) -> "Examination":
        """The examination that a text says."""
        return cls({name: BatchingState(**state) for name, state in json.loads(text).items()})


class SavedModelLoader:
    """Loads versions of models.

    Args:
        threads: how many threads may work on one operation.
        max_answer_bytes: the largest outputs of a call.
        op_libraries: libraries of custom operations, which are loaded at once.
        probe_seconds: how long a signature's rows are examined; what is not shown by then counts as not so.

    Raises:
        InvalidSettings: a library cannot be loaded.
    """

    def __init__(
        self,
        threads: int,
        max_answer_bytes: int = MOST_BYTES,
        op_libraries: Sequence[Path] = (),
        probe_seconds: float = 2.0,
    ) -> None:
        self._threads = threads
        self._max_answer_bytes = max_answer_bytes
        self._probe_seconds = probe_seconds
        if op_libraries:
            load_operations(op_libraries)

    def __call__(
        self, path: Path, name: str, version: int, examination: Examination | None = None, *, is_again: bool = False
    ) -> LoadedModel:
        """Loads and warms up one version.

        Args:
            path: the version's folder.
            name: the model's.
            version: its number.
            examination: what `examine` found; None: the version is examined here.
            is_again: whether it was served by an engine that has ended, and is missed: see `warm_up`.

        Returns:
            The model, warmed up.

        Raises:
            TensorFlowError: it cannot be loaded, or cannot run.
            ValueError: it is not a SavedModel, none for serving, lacks files, or needs operations that cannot run here.
            InvalidInput: it refuses one of the requests that it brings for warming up.
        """
        load = Loading(path, f"{name} version {version}")
        model = load.run(self._threads, self._max_answer_bytes, is_again=is_again)
        model.batching = (examination or load.examine(model, self._probe_seconds)).batching
        return model

    def examine(
        self, path: Path, name: str, version: int, report: Callable[[Examination], None] = lambda _: None
    ) -> Examination:
        """Loads, warms up and probes a version, in a process that ends afterwards: a call of the probe may still run.

        Args:
            path: the version's folder.
            name: the model's.
            version: its number.
            report: told what is known before the probe, which may end the process.

        Returns:
            What to load the version with.

        Raises:
            Exception: as loading does.
        """
        load = Loading(path, f"{name} version {version}")
        model = load.run(self._threads, self._max_answer_bytes)
        report(Examination({key: load.judge(model, key) or UNANSWERED for key in model.signatures}))
        return load.examine(model, self._probe_seconds)


class Loading:
    """One version on its way into memory.

    Args:
        path: the version's folder.
        title: what to call it in the log.

    Raises:
        ValueError: see `SavedModelLoader`.
    """

    def __init__(self, path: Path, title: str) -> None:
        self._path = path
        self._title = title
        self._definition = choose_definition(read_definitions(path))
        self._graph = Graph(self._definition)
        self._nodes = {
            key: self._graph.reach(
                [info.name for info in value.outputs.values()], [info.name for info in value.inputs.values()]
            )
            for key, value in servable_definitions(self._definition).items()
        }
        if problem := self._graph.describe_unrunnable([node for nodes in self._nodes.values() for node in nodes]):
            raise ValueError(problem)
        check_complete(path, self._definition, self._graph)
        proven = read_description(path).get("independent_rows")
        self._proven = proven if isinstance(proven, list) else []

    def run(self, threads: int, max_answer_bytes: int, *, is_again: bool = False) -> LoadedModel:
        """Loads and warms up."""
        with ExitStack() as failure:
            model = LoadedModel(self._path, self._definition, threads, max_answer_bytes)
            failure.callback(model.close)
            stateless = {key for key, nodes in self._nodes.items() if not self._graph.find_state(nodes)}
            warm_up(model, self._path, stateless, self._title, is_again=is_again)
            failure.pop_all()
        return model

    def judge(self, model: LoadedModel, key: str) -> BatchingState | None:
        """Whether requests for a signature may share a call, where that is known without a probe."""
        if obstacle := describe_obstacle(model.signatures[key]):
            return BatchingState(False, obstacle)
        if key in self._proven:
            return PROVEN
        feeds = {spec.tensor: spec.shape for spec in model.signatures[key].inputs.values()}
        dependence = self._graph.describe_dependence(self._nodes[key], feeds)
        return BatchingState(False, dependence) if dependence else None

    def examine(self, model: LoadedModel, seconds: float) -> Examination:
        """Probes the signatures of which nothing is known."""
        material = Material(self._path, self._definition)
        found: dict[str, BatchingState] = {}
        for key in model.signatures:
            state = self.judge(model, key)
            if state is None and model.is_stuck:
                state = UNANSWERED
            elif state is None:
                problem = probe_in_time(Probe(model, key, material), seconds)
                model.is_stuck = problem == UNANSWERED.reason
                state = BatchingState(False, problem) if problem else PROBED
            found[key] = state
            logger.info("Signature %s of %s: %s", key, self._title, state.reason)
        return Examination(found)
