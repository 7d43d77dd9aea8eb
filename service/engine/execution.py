"""Runs batches and tells each request its part of the outputs."""

import logging
import math
import threading
import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from service.engine.attempt import Attempt
from service.engine.batcher import Batcher
from service.engine.interface import Arrays, Call
from service.engine.lane import Batch, Job, Lane, Piece, Place
from service.engine.model import InvalidInput
from service.errors import ServiceError

# Share of the older value in a moving average.
KEPT = 0.8

logger = logging.getLogger(__name__)


class CallFailed(Exception):
    """TensorFlow failed in a way that is not the request's fault; the log says how."""


class RowsDiffer(Exception):
    """A signature did not give a row per row, as it says that it does."""


class Observer(Protocol):
    """Who is told of what runs."""

    def executed(self, place: Place, rows: int, seconds: float) -> None:
        """A call into TensorFlow has ended.

        Args:
            place: model, version and signature.
            rows: rows in the call, without padding.
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


class Execution:
    """Runs what the batcher gives.

    Args:
        batcher: where batches come from.
        observer: who is told.
    """

    def __init__(self, batcher: Batcher, observer: Observer) -> None:
        self._batcher = batcher
        self._observer = observer
        self._gathering = threading.Lock()
        # Seconds of calls of late, by model, version and signature, and the binary digits of the number of rows.
        self._seconds: dict[tuple[str, int, str, int], float] = {}

    def expected_seconds(self, batch: Batch) -> float:
        """How long a batch is expected to take, from those of like size before it; infinity where there were none."""
        return self._seconds.get((*batch.lane.place, batch.rows.bit_length()), math.inf)

    def forget(self, name: str, number: int) -> None:
        """A version was unloaded."""
        for place in [place for place in list(self._seconds) if place[:2] == (name, number)]:
            self._seconds.pop(place, None)

    def run(self, batch: Batch) -> None:
        """Runs a batch and answers its requests."""
        started = time.monotonic()
        try:
            outcomes = self._outcomes(batch)
            answers = [
                (piece.job, outcome if piece.rows == piece.job.rows else self._gather(batch.lane, piece, outcome))
                for piece, outcome in zip(batch.pieces, outcomes, strict=True)
            ]
        finally:
            self._batcher.finish(batch)
        ended = [(job, outcome) for job, outcome in answers if outcome is not None]
        for job, outcome in ended:
            job.reply(outcome)
        # Counted afterwards: nobody waits for that.
        now = time.monotonic()
        while batch.lane.executed:
            self._observer.executed(batch.lane.place, *batch.lane.executed.popleft())
        for job, outcome in ended:
            waited, failed = max(started - job.arrived, 0.0), isinstance(outcome, Exception)
            self._observer.answered(job, waited, now - job.arrived, failed=failed)

    def _outcomes(self, batch: Batch) -> list[Arrays | Exception]:
        """What became of each piece."""
        outcome = self._call(batch.lane, batch.pieces)
        if isinstance(outcome, Exception) and len(batch.pieces) > 1:
            # One request's rows must not spoil its neighbours'.
            return [self._call(batch.lane, [piece]) for piece in batch.pieces]
        return split(outcome, batch.pieces)

    def _call(self, lane: Lane, pieces: Sequence[Piece]) -> Arrays | Exception:
        """Outputs for these pieces, one after another, without padding; or what went wrong."""
        call = pieces[0].job.call
        inputs = [piece.inputs() for piece in pieces]
        rows = sum([piece.rows for piece in pieces])
        with Attempt() as attempt:
            if not lane.together:
                return self._run(lane, call, inputs, max(rows, 1))
            padding = lane.batching.padding(rows)
            outputs = self._run(lane, call, inputs, rows, padding)
            if all(array.ndim and len(array) == rows + padding for array in outputs.values()):
                return {name: array[:rows] for name, array in outputs.items()} if padding else outputs
            # The signature says that it gives a row per row, but it does not: batches are not for it.
            self._batcher.keep_apart(lane)
            if len(pieces) > 1 or rows < pieces[0].job.rows:
                return RowsDiffer()
            return self._run(lane, call, inputs, rows) if padding else outputs
        return explain(attempt.error, call)

    def _run(self, lane: Lane, call: Call, inputs: list[Arrays], rows: int, padding: int = 0) -> Arrays:
        started = time.monotonic()
        outputs = lane.model.run(call.signature, inputs, call.outputs, padding)
        seconds = time.monotonic() - started
        place = (*lane.place, rows.bit_length())
        self._seconds[place] = seconds + KEPT * (self._seconds.get(place, seconds) - seconds)
        # Told later, when the requests have been answered.
        lane.executed.append((rows, seconds))
        return outputs

    def _gather(self, lane: Lane, piece: Piece, outcome: Arrays | Exception) -> Arrays | Exception | None:
        """The outcome of a whole request whose last part has ended; None for other parts."""
        job = piece.job
        with self._gathering:
            job.done[piece.start] = outcome
            job.left -= piece.rows
            if job.left:
                return None
        whole = join([job.done[start] for start in sorted(job.done)])
        if not isinstance(whole, RowsDiffer):
            return whole
        with Attempt() as attempt:
            return self._run(lane, job.call, [job.call.inputs], job.rows)
        return explain(attempt.error, job.call)


def explain(error: Exception | None, call: Call) -> Exception:
    """What to tell of an error: that the inputs were wrong, or only that there was one, which the log describes."""
    if isinstance(error, InvalidInput | ServiceError):
        return error
    logger.error("Model %s version %d failed", call.model, call.version, exc_info=error)
    return CallFailed()


def split(outcome: Arrays | Exception, pieces: Sequence[Piece]) -> list[Arrays | Exception]:
    """Each piece's rows of the outputs."""
    if len(pieces) == 1 or isinstance(outcome, Exception):
        return [outcome] * len(pieces)
    parts: list[Arrays | Exception] = []
    start = 0
    for piece in pieces:
        stop = start + piece.rows
        parts.append({name: array[start:stop] for name, array in outcome.items()})
        start = stop
    return parts


def join(parts: Sequence[Arrays | Exception]) -> Arrays | Exception:
    """The outputs of a whole request from those of its parts, or their first error."""
    outputs: list[Arrays] = []
    for part in parts:
        if isinstance(part, Exception):
            return part
        outputs.append(part)
    if any(array.shape[1:] != outputs[0][name].shape[1:] for part in outputs for name, array in part.items()):
        return RowsDiffer()
    return {name: np.concatenate([part[name] for part in outputs]) for name in outputs[0]}
