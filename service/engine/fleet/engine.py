"""An engine whose models run elsewhere, in a TensorFlow Serving fleet behind gRPC.

The fleet is administered where it runs, so loads, labels and configuration are refused here. Labels are not known: the
protocol does not tell them.
"""

import itertools
import logging
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import grpc

from service.engine.fleet.calls import deadline_exceeded, decode_outputs, encode_call, pushback, translate
from service.engine.fleet.survey import Survey, Surveyor
from service.engine.fleet.target import Target
from service.engine.interface import AVAILABLE, Arrays, Call, Catalog, Choice, ServedModel, Statistics
from service.errors import InvalidConfiguration, UnknownModel

logger = logging.getLogger(__name__)

ATTEMPTS = 3
FIRST_PAUSE_SECONDS = 0.05
SURVEY_TIMEOUT_SECONDS = 2.0
# A server that is stopping cancels the calls that it has not begun.
PASSING = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})


class RemoteEngine:
    """Models in a TensorFlow Serving fleet; see `Engine`. Not to be made before a fork.

    Args:
        targets: `host:port` of each; a name may stand for several servers.
        names: the models; the protocol has no list of them.
        poll_seconds: how often to ask for the versions.
        timeout_seconds: the longest that a call may take.
        publish: is given the catalogue whenever it has changed, in the thread that asks.
    """

    def __init__(
        self,
        targets: Sequence[str],
        names: Sequence[str],
        poll_seconds: float = 1.0,
        timeout_seconds: float = 30.0,
        publish: Callable[[Catalog], None] | None = None,
    ) -> None:
        self._targets = [Target(address) for address in targets]
        self._surveyor = Surveyor(self._targets, names, SURVEY_TIMEOUT_SECONDS)
        self._survey = Survey(
            Catalog({name: ServedModel(name) for name in names}, "TensorFlow Serving is being asked.", starting=True)
        )
        self._poll_seconds = poll_seconds
        self._timeout_seconds = timeout_seconds
        self._publish = publish or (lambda _catalog: None)
        self._turns = itertools.count()
        self._lock = threading.Lock()
        self._statistics: dict[tuple[str, int], Statistics] = {}
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="fleet", daemon=True)

    def start(self) -> None:
        """Asks the fleet, and goes on asking."""
        self._publish(self._survey.catalog)
        self._look()
        self._thread.start()

    def close(self) -> None:
        """Stops asking, and ends the calls in flight."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()
        for target in self._targets:
            target.close()

    def catalog(self) -> Catalog:
        """What the fleet had when it was asked last."""
        return self._survey.catalog

    def silent_seconds(self) -> float:
        """0: a fleet that does not answer is an obstacle to readiness."""
        return 0.0

    def note_demand(self, model: str) -> None:
        """Is of no use to a fleet."""

    def call(self, call: Call) -> Arrays:
        """Runs a signature where its version is; see `Engine.call`.

        Raises:
            FleetFailed: TensorFlow Serving failed in a way that is not the request's fault.
        """
        started = time.perf_counter_ns()
        outputs = None
        try:
            outputs = self._predict(call)
        finally:
            self._count(call, time.perf_counter_ns() - started, failed=outputs is None)
        return outputs

    def _predict(self, call: Call) -> Arrays:
        request = encode_call(call)
        deadline = time.monotonic() + self._timeout_seconds
        deadline = deadline if call.deadline is None else min(deadline, call.deadline)
        targets = self._survey.holders.get((call.model, call.version), self._targets)
        first = next(self._turns)
        for attempt in range(ATTEMPTS):
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                break
            try:
                response = targets[(first + attempt) % len(targets)].predict(request, timeout=remaining)
            except grpc.RpcError as error:
                if attempt + 1 == ATTEMPTS or not self._pause(error, attempt, deadline):
                    raise translate(error, call) from None
            else:
                return decode_outputs(response, call)
        raise deadline_exceeded(call)

    def _pause(self, error: grpc.RpcError, attempt: int, deadline: float) -> bool:
        """Whether to ask again, after a pause where the fleet needs one; a prediction changes nothing, so it may be."""
        if error.code() is grpc.StatusCode.NOT_FOUND:
            # The version may be on another server still.
            return True
        if error.code() not in PASSING or pushback(error) is not None:
            return False
        pause = FIRST_PAUSE_SECONDS * 2**attempt * random.uniform(0.5, 1.5)
        return time.monotonic() + pause < deadline and not self._closing.wait(pause)

    def _count(self, call: Call, nanoseconds: int, *, failed: bool) -> None:
        rows = max((len(array) for array in call.inputs.values() if array.ndim), default=1)
        with self._lock:
            place = (call.model, call.version)
            entry = self._statistics.setdefault(place, Statistics(*place))
            entry.last_call = time.time()
            if failed:
                entry.failures += 1
                entry.failure_ns += nanoseconds
            else:
                entry.calls += 1
                entry.executions += 1
                entry.rows += rows
                entry.total_ns += nanoseconds
                entry.compute_ns += nanoseconds

    def load(self, model: str) -> None:
        """Is refused; see the top of this module."""
        raise self._refusal(model, "loaded")

    def unload(self, model: str) -> None:
        """Is refused; see the top of this module."""
        raise self._refusal(model, "unloaded")

    def set_label(self, model: str, label: str, version: int | None) -> None:
        """Is refused; see the top of this module."""
        raise self._refusal(model, f"given label '{label}'" if version else f"freed of label '{label}'")

    def configure(self, choices: Mapping[str, Choice], labels: Mapping[str, Mapping[str, int]]) -> None:
        """Is refused; see the top of this module."""
        raise refuse(f"Models {', '.join(sorted({*choices, *labels})) or '(none)'} cannot be configured here")

    def _refusal(self, model: str, action: str) -> UnknownModel | InvalidConfiguration:
        models = self.catalog().models
        if model not in models:
            return UnknownModel(f"Could not find any versions of model {model}. Models: {', '.join(models)}.")
        return refuse(f"Model '{model}' cannot be {action} here")

    def statistics(self) -> list[Statistics]:
        """What was asked of every available version from here; batches are known to the fleet only."""
        versions = [version for model in self.catalog().models.values() for version in model.versions]
        places = [(version.name, version.number) for version in versions if version.state == AVAILABLE]
        with self._lock:
            return [replace(self._statistics.get(place) or Statistics(*place)) for place in places]

    def _follow(self) -> None:
        while not self._closing.wait(self._poll_seconds):
            self._look()

    def _look(self) -> None:
        before = self._survey
        self._survey = survey = self._surveyor.survey(before)
        if survey.catalog == before.catalog:
            return
        if bool(survey.catalog.obstacle) != bool(before.catalog.obstacle):
            logger.log(
                logging.WARNING if survey.catalog.obstacle else logging.INFO,
                survey.catalog.obstacle or "TensorFlow Serving answers",
            )
        self._publish(survey.catalog)


def refuse(what: str) -> InvalidConfiguration:
    """The error for administration."""
    return InvalidConfiguration(
        f"{what}: the models run in TensorFlow Serving, which is administered by its own model configuration."
    )
