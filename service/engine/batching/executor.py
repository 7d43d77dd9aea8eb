"""Runs batches and tells each request its part of the outputs."""

import logging
import math
import time
from collections.abc import Sequence
from typing import Any, Protocol

from service.engine.attempt import Attempt
from service.engine.batching.queue import Batch, Job, SignatureKey
from service.engine.batching.scheduler import Scheduler, too_late
from service.engine.interface import Arrays, Call
from service.engine.model import InvalidInput
from service.errors import ServiceError

# Share of the older value in a moving average.
KEPT = 0.8

logger = logging.getLogger(__name__)


class CallFailed(Exception):
    """TensorFlow failed in a way that is not the request's fault; the log says how."""


class Observer(Protocol):
    """Who is told of what runs."""

    def executed(self, key: SignatureKey, rows: int, seconds: float) -> None:
        """A call into TensorFlow has ended.

        Args:
            key: model, version and signature.
            rows: rows in the call.
            seconds: how long it took.
        """

    def answered(self, job: Job, waited: float, seconds: float, *, failed: bool) -> None:
        """A request has been answered.

        Args:
            job: the request.
            waited: seconds in the queue.
            seconds: from its arrival to its answer.
            failed: whether the answer is an error.
        """


class Journal(Protocol):
    """Notes what is in flight, to be read when the process has died. Called in the thread that runs the call."""

    def begin(self, key: SignatureKey) -> Any:
        """A call into TensorFlow begins; gives what `end` is told."""

    def end(self, token: Any) -> None:
        """The call has ended."""


class NoJournal:
    """Notes nothing."""

    def begin(self, key: SignatureKey) -> None:
        """See `Journal`."""

    def end(self, token: None) -> None:
        """See `Journal`."""


class Executor:
    """Runs what the scheduler gives.

    Args:
        scheduler: where batches come from.
        observer: who is told.
        journal: who notes what is in flight.
    """

    def __init__(self, scheduler: Scheduler, observer: Observer, journal: Journal | None = None) -> None:
        self._scheduler = scheduler
        self._observer = observer
        self._journal = journal or NoJournal()
        # Seconds of recent calls, by model, version and signature, and the binary digits of the number of rows.
        self._seconds: dict[tuple[str, int, str, int], float] = {}

    def expected_seconds(self, batch: Batch) -> float:
        """How long a batch is expected to take, from those of like size before it; infinity where there were none."""
        return self._seconds.get((*batch.key, batch.rows.bit_length()), math.inf)

    def forget(self, name: str, number: int) -> None:
        """A version was unloaded."""
        for key in [key for key in list(self._seconds) if key[:2] == (name, number)]:
            self._seconds.pop(key, None)

    def run(self, batch: Batch) -> None:
        """Runs a batch and answers its requests."""
        started = time.monotonic()
        try:
            outcomes = self._outcomes(batch)
        finally:
            self._scheduler.finish(batch)
        for job, outcome in zip(batch.jobs, outcomes, strict=True):
            job.reply(outcome)
        # Counted afterwards: nobody waits for that.
        now = time.monotonic()
        for rows, seconds in batch.executed:
            self._observer.executed(batch.key, rows, seconds)
        for job, outcome in zip(batch.jobs, outcomes, strict=True):
            waited, failed = max(started - job.arrived, 0.0), isinstance(outcome, Exception)
            self._observer.answered(job, waited, now - job.arrived, failed=failed)
        # Other references to the batch must not keep what the requests brought.
        batch.jobs.clear()

    def _outcomes(self, batch: Batch) -> list[Arrays | Exception]:
        """What becomes of each request."""
        if len(batch.jobs) > 1:
            with Attempt():
                outputs = self._run(batch, batch.jobs)
                if all(array.ndim and len(array) == batch.rows for array in outputs.values()):
                    return split(outputs, batch.jobs)
                logger.warning("Signature %s of model %s version %d does not give a row per row; its requests run one "
                               "by one from now on", batch.key[2], *batch.key[:2])  # fmt: skip
                self._scheduler.keep_apart(batch.key)
            # A request whose rows fail must not fail the others.
        return [self._alone(batch, job) for job in batch.jobs]

    def _alone(self, batch: Batch, job: Job) -> Arrays | Exception:
        """A request's outputs, run as it came; or what went wrong."""
        if len(batch.jobs) > 1 and job.is_pointless(time.monotonic()):
            return too_late(job.call)
        with Attempt() as attempt:
            return self._run(batch, [job])
        return explain(attempt.error, job.call)

    def _run(self, batch: Batch, jobs: Sequence[Job]) -> Arrays:
        call = jobs[0].call
        rows = sum([job.weight for job in jobs])
        token = self._journal.begin(batch.key)
        started = time.monotonic()
        try:
            outputs = batch.queue.model.run(call.signature, [job.call.inputs for job in jobs], call.outputs)
        finally:
            self._journal.end(token)
        seconds = time.monotonic() - started
        kind = (*batch.key, rows.bit_length())
        self._seconds[kind] = seconds + KEPT * (self._seconds.get(kind, seconds) - seconds)
        batch.executed.append((rows, seconds))
        return outputs


def explain(error: Exception | None, call: Call) -> Exception:
    """What to tell of an error: that the inputs were wrong, or only that there was one, which the log describes."""
    if isinstance(error, InvalidInput | ServiceError):
        return error
    logger.error("Model %s version %d failed", call.model, call.version, exc_info=error)
    return CallFailed()


def split(outputs: Arrays, jobs: Sequence[Job]) -> list[Arrays | Exception]:
    """Each request's rows of the outputs: views that nobody can write to."""
    parts: list[Arrays | Exception] = []
    start = 0
    for job in jobs:
        parts.append({name: array[start : start + job.rows] for name, array in outputs.items()})
        start += job.rows
    return parts
