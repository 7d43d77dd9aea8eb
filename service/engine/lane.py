"""Requests that may run together, in order of arrival, and the batches that are made of them."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from service.engine.batching import Batching
from service.engine.interface import Arrays, Call
from service.engine.model import Model

# Called once with the outputs, or with the error.
Reply = Callable[[Arrays | BaseException], None]
# Model, version and signature.
Place = tuple[str, int, str]


@dataclass(slots=True, eq=False)
class Job:
    """One request, from its arrival to its answer.

    Attributes:
        call: what is asked.
        reply: who is told.
        rows: rows of the inputs; 0 where the request cannot be batched.
        arrived: clock of `time.monotonic`.
        taken: rows that have been given to batches.
        left: rows that have not been answered yet.
        done: outcomes of parts of the request by their first row, where it is larger than a batch.
    """

    call: Call
    reply: Reply
    rows: int
    arrived: float
    taken: int = 0
    left: int = 0
    done: dict[int, Arrays | BaseException] = field(default_factory=dict)


@dataclass(slots=True)
class Piece:
    """The rows of a job that run in one batch: all of them, unless it is larger than a batch."""

    job: Job
    start: int
    stop: int

    @property
    def rows(self) -> int:
        """How many they are."""
        return self.stop - self.start

    def inputs(self) -> Arrays:
        """The inputs' rows."""
        if self.rows == self.job.rows:
            return self.job.call.inputs
        return {name: array[self.start : self.stop] for name, array in self.job.call.inputs.items()}


@dataclass(slots=True)
class Batch:
    """Pieces that run as one call."""

    lane: "Lane"
    pieces: list[Piece]
    rows: int


class Lane:
    """The requests that may run together: of one version and signature, with rows of the same shapes and outputs.

    Args:
        key: what they have in common.
        model: the version.
        batching: how it is batched.
        together: whether rows of several requests may be put together.
    """

    __slots__ = ("batching", "executed", "key", "model", "place", "queue", "rows", "running", "together")

    def __init__(self, key: tuple[Any, ...], model: Model, batching: Batching, *, together: bool) -> None:
        self.key = key
        self.place: Place = key[:3]
        self.model = model
        self.batching = batching
        self.together = together
        self.queue: deque[Job] = deque()
        self.rows = 0
        self.running = 0
        # Rows and seconds of calls that have not been counted yet.
        self.executed: deque[tuple[int, float]] = deque()

    def is_ready(self) -> bool:
        """Whether a call should start now.

        While one runs, rows that arrive wait for its end and then share a call, which costs less than a call each;
        unless they fill one by themselves.
        """
        return bool(self.queue) and (not self.together or not self.running or self.rows >= self.batching.largest_batch)

    def take(self, now: float, expired: list[Job]) -> Batch | None:
        """The next batch, in order of arrival; jobs whose time is over go to `expired`."""
        pieces: list[Piece] = []
        rows, largest = 0, self.batching.largest_batch
        while self.queue:
            job = self.queue[0]
            if job.call.deadline is not None and job.call.deadline <= now and not job.taken:
                self.rows -= max(job.rows, 1)
                expired.append(self.queue.popleft())
                continue
            if not self.together:
                self.queue.popleft()
                self.rows -= max(job.rows, 1)
                return Batch(self, [Piece(job, 0, job.rows)], max(job.rows, 1))
            size = min(job.rows - job.taken, largest)
            if rows + size > largest:
                break
            pieces.append(Piece(job, job.taken, job.taken + size))
            job.taken += size
            rows += size
            self.rows -= size
            if job.taken == job.rows:
                self.queue.popleft()
        return Batch(self, pieces, rows) if pieces else None
