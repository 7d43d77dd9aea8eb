"""Runs batches and tells each request its part of the outputs."""

import logging
import math
import threading
import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from service.engine.attempt import Attempt
from service.engine.batcher import Batch, Batcher, Job, Piece
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

    def executed(self, place: tuple[str, int, str], rows: int, seconds: float) -> None:
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
        # Seconds of calls of late, by model, version and signature.
        self._seconds: dict[tuple[str, int, str], float] = {}

    def expected_seconds(self, batch: Batch) -> float:
        """How long a batch is expected to take, from those before it; infinity where there were none."""
        return self._seconds.get(batch.lane.key[:3], math.inf)

    def run(self, batch: Batch) -> None:
        """Runs a batch and answers its requests."""
        started = time.monotonic()
        try:
            outcome = self._call(batch, batch.pieces)
            if isinstance(outcome, BaseException) and len(batch.pieces) > 1:
                # One request's rows must not spoil its neighbours'.
                outcomes = [self._call(batch, [piece]) for piece in batch.pieces]
            else:
                outcomes = split(outcome, batch.pieces)
        finally:
            self._batcher.finish(batch)
        for piece, part in zip(batch.pieces, outcomes, strict=True):
            self._answer(piece, part, started)

    def _call(self, batch: Batch, pieces: Sequence[Piece]) -> Arrays | BaseException:
        """Outputs for these pieces, one after another, without padding; or what went wrong."""
        lane = batch.lane
        rows = sum(piece.rows for piece in pieces)
        padding = lane.batching.padding(rows) if lane.together else 0
        call = pieces[0].job.call
        started = time.monotonic()
        with Attempt() as attempt:
            outputs = lane.model.run(call.signature, [piece.inputs() for piece in pieces], call.outputs, padding)
        if attempt.error is not None:
            return explain(attempt.error, call)
        seconds = time.monotonic() - started
        place = lane.key[:3]
        self._seconds[place] = seconds + KEPT * (self._seconds.get(place, seconds) - seconds)
        self._observer.executed(place, max(rows, 1), seconds)
        if not lane.together:
            return outputs
        if any(array.ndim == 0 or len(array) != rows + padding for array in outputs.values()):
            # The signature says that it gives a row per row, but it does not: batches are not for it.
            self._batcher.keep_apart(lane)
            if len(pieces) > 1:
                return CallFailed()
            inputs = pieces[0].job.call.inputs
            return lane.model.run(call.signature, [inputs], call.outputs) if padding else outputs
        return {name: array[:rows] for name, array in outputs.items()} if padding else outputs

    def _answer(self, piece: Piece, outcome: Arrays | BaseException, started: float) -> None:
        job = piece.job
        if piece.rows < job.rows:
            whole = gather(job, piece, outcome, self._gathering)
            if whole is None:
                return
            outcome = whole
        now = time.monotonic()
        failed = isinstance(outcome, BaseException)
        self._observer.answered(job, max(started - job.arrived, 0.0), now - job.arrived, failed=failed)
        job.reply(outcome)


def explain(error: Exception, call: Call) -> Exception:
    """What to tell of an error: that the inputs were wrong, or only that there was one, which the log describes."""
    if isinstance(error, InvalidInput | ServiceError):
        return error
    logger.error("Model %s version %d failed", call.model, call.version, exc_info=error)
    return CallFailed()


def split(outcome: Arrays | BaseException, pieces: Sequence[Piece]) -> list[Arrays | BaseException]:
    """Each piece's rows of the outputs."""
    if len(pieces) == 1 or isinstance(outcome, BaseException):
        return [outcome] * len(pieces)
    parts: list[Arrays | BaseException] = []
    start = 0
    for piece in pieces:
        stop = start + piece.rows
        parts.append({name: array[start:stop] for name, array in outcome.items()})
        start = stop
    return parts


def gather(
    job: Job, piece: Piece, outcome: Arrays | BaseException, lock: threading.Lock
) -> Arrays | BaseException | None:
    """Keeps the outputs of a part of a request.

    Returns:
        The outputs or the error of the whole request, once its last part has ended; None before.
    """
    with lock:
        job.done[piece.start] = outcome
        job.left -= piece.rows
        if job.left:
            return None
    parts = [job.done[start] for start in sorted(job.done)]
    for part in parts:
        if isinstance(part, BaseException):
            return part
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
