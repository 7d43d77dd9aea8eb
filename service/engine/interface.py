"""What the front ends (HTTP and gRPC) know of the engine that runs the models: a catalogue, calls and administration.

The engine is a process of its own (`service/engine/ipc/client.py` speaks with it); tests put a fake in its place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from service.engine.signature import Signature

# A version's life, in TensorFlow Serving's words.
START, LOADING, AVAILABLE, UNLOADING, END = "START", "LOADING", "AVAILABLE", "UNLOADING", "END"

# What `model.json` says: task, labels, features, metrics, an example; empty for a SavedModel of another make.
Description = dict[str, Any]

# Versions are numbers up to an int64, as in TensorFlow Serving.
LARGEST_VERSION = 2**63 - 1

# One array per input or output; strings are arrays of `bytes` objects.
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class BatchingState:
    """Whether rows of several requests for one signature run as one call.

    Attributes:
        enabled: whether they do.
        reason: why, or why not, in a sentence.
    """

    enabled: bool
    reason: str


@dataclass(frozen=True)
class Version:
    """One version of a model and what has become of it.

    Attributes:
        name, number: which one.
        state: START, LOADING, AVAILABLE, UNLOADING or END.
        error: why it could not be loaded, or what else is wrong with it, or "".
        signatures: by name; empty until it is AVAILABLE.
        description: what its `model.json` says.
        loaded_at: when it became AVAILABLE, in seconds since 1970, or 0.
        batching: by signature, whether requests share calls, and why.
    """

    name: str
    number: int
    state: str = START
    error: str = ""
    signatures: Mapping[str, Signature] = field(default_factory=dict)
    description: Description = field(default_factory=dict)
    loaded_at: float = 0.0
    batching: Mapping[str, BatchingState] = field(default_factory=dict)

    @property
    def error_code(self) -> str:
        """TensorFlow Serving's name of the version's status; one that can be called is OK, whatever there is to say."""
        return "UNKNOWN" if self.error and self.state != AVAILABLE else "OK"


@dataclass(frozen=True)
class ServedModel:
    """A model and its versions.

    Attributes:
        name: the model's.
        versions: newest first, those included that could not be loaded or are being unloaded.
        labels: version numbers by label, e.g. `{"stable": 3}`.
        obstacle: why the service is not ready for the sake of this model, or "".
        pending_labels: labels whose version is not loaded yet.
    """

    name: str
    versions: tuple[Version, ...] = ()
    labels: Mapping[str, int] = field(default_factory=dict)
    obstacle: str = ""
    pending_labels: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Catalog:
    """What is served at one moment. Requests that look at the same catalogue see the same versions.

    Attributes:
        models: by name.
        obstacle: why the service as a whole is not ready, or "".
        starting: whether models may be there of which the engine does not know yet.
        problems: entries of the repository that cannot be served as they lie there, and what to do about each.
    """

    models: Mapping[str, ServedModel] = field(default_factory=dict)
    obstacle: str = ""
    starting: bool = False
    problems: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Statistics:
    """What one version has done since it was loaded; times in nanoseconds, summed over the calls.

    Attributes:
        name, version: which one.
        last_call: when it was last called, in seconds since 1970, or 0.
        rows: rows that were predicted.
        calls: requests that succeeded, and `failures` those that did not.
        executions: calls into TensorFlow; fewer than requests where rows ran together.
        total_ns, failure_ns: from a request's arrival in the engine to its answer.
        queue_ns: what of that was waiting.
        compute_ns: what the executions took.
        batches: count and nanoseconds of the executions, by rows in the call.
    """

    name: str
    version: int
    last_call: float = 0.0
    rows: int = 0
    calls: int = 0
    failures: int = 0
    executions: int = 0
    total_ns: int = 0
    failure_ns: int = 0
    queue_ns: int = 0
    compute_ns: int = 0
    batches: dict[int, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Choice:
    """Which versions of a model to serve.

    Attributes:
        latest: the so many newest that can be loaded; 0 for all.
        specific: exactly these, in which case `latest` does not count.
    """

    latest: int = 1
    specific: tuple[int, ...] = ()


class Engine(Protocol):
    """The models, wherever they run. Every method may be called from several threads."""

    def catalog(self) -> Catalog:
        """What is served now; cheap enough to be asked for by every request."""

    def silent_seconds(self) -> float:
        """For how long the engine has given no sign of life; 0 while it is being started."""

    def note_demand(self, model: str) -> None:
        """Somebody asks for a model that is not loaded now; those are loaded first."""

    def call(self, call: "Call") -> Arrays:
        """Runs a signature.

        Returns:
            One array per output that was asked for.

        Raises:
            InvalidInput: the graph refused the inputs.
            ModelUnavailable: the version is not loaded any more, or the engine is not there.
            QueueFull: too many rows are waiting already.
            DeadlineExceeded: there was no answer in time.
        """

    def load(self, model: str) -> None:
        """Looks for versions of a model now, serves them (again), and returns when they are loaded.

        Raises:
            UnknownModel: there is no such folder, or nothing in it.
            ModelUnavailable: none of its versions can be loaded.
        """

    def unload(self, model: str) -> None:
        """Serves a model no longer, until it is loaded again.

        Raises:
            UnknownModel: it is not served.
        """

    def set_label(self, model: str, label: str, version: int | None) -> None:
        """Points a label at an available version, or takes it away where `version` is None.

        Raises:
            UnknownModel: no such model, or version that is available, or label to take away.
        """

    def configure(self, choices: Mapping[str, Choice], labels: Mapping[str, Mapping[str, int]]) -> None:
        """Serves exactly these models, by these choices and labels, and returns when they are loaded.

        Raises:
            InvalidConfiguration: a label names a version that is not served.
            ModelUnavailable: a model or version cannot be loaded.
        """

    def statistics(self) -> list[Statistics]:
        """What every available version has done."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request for a prediction.

    Attributes:
        model, version, signature: what to run.
        inputs: one array per input, of the shapes and types that the signature states.
        outputs: the outputs that are wanted, in this order; empty for all.
        deadline: clock of `time.monotonic` at which nobody waits any more, or None.
    """

    model: str
    version: int
    signature: str
    inputs: Arrays
    outputs: Sequence[str] = ()
    deadline: float | None = None
