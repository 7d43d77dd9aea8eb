"""Rows of many requests become one call into TensorFlow, greedily: work starts as soon as a thread is free for it."""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from service.engine.batching import Batching, count_rows, is_batchable
from service.engine.interface import Arrays, Call
from service.engine.model import Model
from service.errors import DeadlineExceeded, ModelUnavailable, QueueFull

RETRY_AFTER_SECONDS = 1

# Called once with the outputs, or with the error.
Reply = Callable[[Arrays | BaseException], None]


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

    __slots__ = ("batching", "key", "model", "queue", "rows", "running", "together")

    def __init__(self, key: tuple[Any, ...], model: Model, batching: Batching, *, together: bool) -> None:
        self.key = key
        self.model = model
        self.batching = batching
        self.together = together
        self.queue: deque[Job] = deque()
        self.rows = 0
        self.running = 0

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


class Batcher:
    """Queues of requests by what may run together.

    Args:
        find: gives a loaded version by name and number, or None.
        batching: how a model's requests are batched, by its name.
        most_calls: calls into TensorFlow that may run at a time.
        queued: told model, version and signature, and how many rows of them wait, when that changes.
    """

    def __init__(
        self,
        find: Callable[[str, int], Model | None],
        batching: Callable[[str], Batching],
        most_calls: int,
        queued: Callable[[tuple[str, int, str], int], None] = lambda _place, _rows: None,
    ) -> None:
        self._find = find
        self._batching = batching
        self._most_calls = most_calls
        self._queued = queued
        self._running = 0
        self._lanes: OrderedDict[tuple[Any, ...], Lane] = OrderedDict()
        self._apart: set[tuple[str, int, str]] = set()
        self._retired: set[tuple[str, int]] = set()
        self._changed = threading.Condition(threading.Lock())

    def submit(self, call: Call, reply: Reply) -> None:
        """Takes a request into its queue, or refuses it at once.

        Args:
            call: the request.
            reply: called with its outputs or its error, here or in another thread.
        """
        refusal = self._enqueue(call, reply)
        if refusal is not None:
            reply(refusal)

    def _enqueue(self, call: Call, reply: Reply) -> BaseException | None:
        now = time.monotonic()
        if call.deadline is not None and call.deadline <= now:
            return too_late(call)
        with self._changed:
            model = None if (call.model, call.version) in self._retired else self._find(call.model, call.version)
            if model is None:
                return ModelUnavailable(
                    f"Model '{call.model}' version {call.version} is not loaded at the moment. Try again shortly.",
                    RETRY_AFTER_SECONDS,
                )
            rows = count_rows(call.inputs)
            lane = self._lane(call, model, rows)
            weight = max(rows, 1)
            if lane.rows and lane.rows + weight > lane.batching.queue_rows:
                return QueueFull(
                    f"{lane.rows} rows are waiting for model '{call.model}', and {lane.batching.queue_rows} may. "
                    "Try again shortly.",
                    RETRY_AFTER_SECONDS,
                )
            lane.queue.append(Job(call, reply, rows, now, left=rows))
            lane.rows += weight
            self._queued(lane.key[:3], lane.rows)
        return None

    def _lane(self, call: Call, model: Model, rows: int) -> Lane:
        batching = self._batching(call.model)
        signature = model.signatures[call.signature]
        place = (call.model, call.version, call.signature)
        together = batching.enabled and rows > 0 and place not in self._apart and is_batchable(signature)
        shapes = tuple(array.shape[1:] for array in call.inputs.values()) if together else None
        key = (*place, tuple(call.outputs), tuple(call.inputs), shapes)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(key, model, batching, together=together)
        return lane

    def take(self) -> Batch | None:
        """Work that should start now, or None; whoever takes it must `finish` it."""
        expired: list[Job] = []
        with self._changed:
            batch = self._take(expired) if self._running < self._most_calls else None
        for job in expired:
            job.reply(too_late(job.call))
        return batch

    def has_work(self) -> bool:
        """Whether `take` would give something."""
        with self._changed:
            return self._running < self._most_calls and any(lane.is_ready() for lane in self._lanes.values())

    def _take(self, expired: list[Job]) -> Batch | None:
        now = time.monotonic()
        for key, lane in list(self._lanes.items()):
            batch = lane.take(now, expired) if lane.is_ready() else None
            if batch is not None:
                lane.running += 1
                self._running += 1
                self._lanes.move_to_end(key)
                self._queued(lane.key[:3], lane.rows)
                return batch
            self._forget(lane)
        return None

    def finish(self, batch: Batch) -> None:
        """A batch has run."""
        with self._changed:
            batch.lane.running -= 1
            self._running -= 1
            self._forget(batch.lane)
            self._changed.notify_all()

    def _forget(self, lane: Lane) -> None:
        if not lane.queue and not lane.running:
            self._lanes.pop(lane.key, None)

    def keep_apart(self, lane: Lane) -> None:
        """Never again puts requests of this version and signature together."""
        with self._changed:
            self._apart.add(lane.key[:3])

    def retire(self, name: str, number: int) -> None:
        """Takes no more requests for a version, and returns when those in hand have been answered."""
        with self._changed:
            self._retired.add((name, number))
            self._changed.wait_for(lambda: not any(key[:2] == (name, number) for key in self._lanes))

    def reinstate(self, name: str, number: int) -> None:
        """A version that was retired is loaded again."""
        with self._changed:
            self._retired.discard((name, number))
            self._apart = {place for place in self._apart if place[:2] != (name, number)}


def too_late(call: Call) -> DeadlineExceeded:
    """The error for a request whose time is over before it ran."""
    return DeadlineExceeded(f"Model '{call.model}' had no time for the request before its deadline.")
