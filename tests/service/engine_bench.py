"""Models on numpy and what it takes to put requests to them, for the tests of the engine's core."""

import threading
import time

import numpy as np

from service.engine.batching.executor import Executor
from service.engine.batching.options import Batching, describe_obstacle
from service.engine.batching.scheduler import Scheduler, never
from service.engine.batching.statistics import StatisticsCollector
from service.engine.interface import BatchingState, Call
from service.engine.model import InvalidInput
from service.engine.signature import Signature, TensorSpec

SECONDS = 20


def spec(name, shape=(-1, 2), dtype="DT_FLOAT"):
    return TensorSpec(name, dtype, shape, f"{name}:0")


def signature(inputs, outputs):
    return Signature({item.name: item for item in inputs}, {item.name: item for item in outputs})


def check(x):
    """NaN is refused, infinity is a failure."""
    if np.isnan(x).any():
        raise InvalidInput("NaN is not for me")
    if np.isinf(x).any():
        raise RuntimeError("secret detail")


def double(x):
    return {"y": x * 2, "first": x[:, 0]}


def widen(x):
    """As many columns as the largest number in the batch says."""
    return {"y": np.tile(x[:, :1], (1, max(int(x.max()), 0) if x.size else 0))}


ROWS = signature([spec("x")], [spec("y"), spec("first", (-1,))])
ANY = signature([spec("x", (-1, -1))], [spec("y", (-1, -1)), spec("first", (-1,))])
SIGNATURES = {
    "rows": (ROWS, double),
    "any": (ANY, double),
    "total": (signature([spec("x")], [spec("y", (-1,))]), lambda x: {"y": x.sum(axis=1).sum(keepdims=True)}),
    "scalar": (signature([spec("x")], [spec("y", (-1,))]), lambda x: {"y": x.sum()}),
    "positive": (signature([spec("x")], [spec("y")]), lambda x: {"y": x[x[:, 0] > 0]}),
    "wide": (signature([spec("x")], [spec("y", (-1, -1))]), widen),
    "any_wide": (signature([spec("x", (-1, -1))], [spec("y", (-1, -1))]), widen),
    "fixed": (signature([spec("x", (2,))], [spec("y", (2,))]), lambda x: {"y": x + 1}),
    "unknown": (signature([spec("x", None)], [spec("y", None)]), lambda x: {"y": x + 1}),
    "number": (signature([spec("x", ())], [spec("y", ())]), lambda x: {"y": x + 1}),
}


class NumpyModel:
    """A model whose signatures are functions of one array; it notes what runs, and can be held up."""

    def __init__(self):
        self.signatures = {name: made for name, (made, _) in SIGNATURES.items()}
        self.batching = {
            name: BatchingState(not obstacle, obstacle or "as its tests want it")
            for name, made in self.signatures.items()
            for obstacle in [describe_obstacle(made)]
        }
        self.calls = []
        self.go_on = threading.Event()
        self.go_on.set()
        self.is_running = threading.Event()

    def run(self, name, parts, outputs=()):
        arrays = [part["x"] for part in parts]
        self.calls.append([len(array) if array.ndim else 0 for array in arrays])
        self.is_running.set()
        assert self.go_on.wait(SECONDS)
        made, function = SIGNATURES[name]
        array = np.concatenate(arrays) if len(arrays) > 1 else arrays[0]
        check(array)
        answered = function(array)
        return {output: answered[output] for output in outputs or made.outputs}

    def alone(self, call):
        """What a request gets that shares its call with nobody, or its error."""
        try:
            return self.run(call.signature, [call.inputs], call.outputs)
        except (InvalidInput, RuntimeError) as error:
            return error


class NoMetrics:
    """Counts nothing."""

    def executed(self, *_arguments):
        pass

    waited = executed


class Bench:
    """A scheduler and an executor for models, by name; every version number will do.

    Attributes:
        queued: rows that wait, by signature key.
        statistics: what was counted.
    """

    def __init__(self, most_calls=1, models=("m",), batching=None, exclusive=lambda _name, _version: False, **options):
        self.models = {name: NumpyModel() for name in models}
        self.queued = {}
        self.statistics = StatisticsCollector(NoMetrics())
        self.batching = batching or Batching(**options)
        self.scheduler = Scheduler(
            lambda name, _: self.models.get(name), lambda _: self.batching, most_calls,
            self.queued.__setitem__, self.statistics.dropped, exclusive,
        )  # fmt: skip
        self.executor = Executor(self.scheduler, self.statistics)

    @property
    def model(self):
        return self.models["m"]

    def ask(self, x, name="rows", model="m", is_abandoned=never, **options):
        """Queues a request."""
        return self.submit(make_call(x, name, model, **options), is_abandoned)

    def submit(self, call, is_abandoned=never):
        outcome = Outcome(call)
        self.scheduler.submit(call, outcome, is_abandoned)
        return outcome

    def run(self):
        """Runs what waits; gives the number of batches."""
        count = 0
        while (batch := self.scheduler.take()) is not None:
            self.executor.run(batch)
            count += 1
        return count


class Outcome:
    """What a request is answered, exactly once."""

    def __init__(self, call):
        self.call = call
        self.value = None
        self.came = threading.Event()

    def __call__(self, value):
        assert not self.came.is_set(), "answered twice"
        self.value = value
        self.came.set()

    def wait(self):
        assert self.came.wait(SECONDS), "never answered"
        return self.value


def make_call(x, name="rows", model="m", outputs=(), seconds=None):
    deadline = None if seconds is None else time.monotonic() + seconds
    return Call(model, 1, name, {"x": np.asarray(x, np.float32)}, outputs, deadline)


def rows(*first):
    """A row of two numbers for each number."""
    return np.array([[number, number + 0.5] for number in first], np.float32).reshape(-1, 2)


def assert_same(answered, expected):
    """The same outputs, or the same kind of error."""
    if isinstance(expected, Exception):
        assert isinstance(answered, Exception), answered
        return
    assert not isinstance(answered, Exception), answered
    assert list(answered) == list(expected)
    for name, array in expected.items():
        assert answered[name].shape == array.shape, name
        np.testing.assert_array_equal(answered[name], array)
