"""Rows of many requests become one call into TensorFlow, greedily: work starts as soon as a thread is free for it."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from service.engine.batching import Batching, count_rows, is_batchable
from service.engine.interface import Call
from service.engine.lane import Batch, Job, Lane, Place, Reply
from service.engine.model import Model
from service.errors import DeadlineExceeded, ModelUnavailable, QueueFull

RETRY_AFTER_SECONDS = 1


class Batcher:
    """Queues of requests by what may run together.

    Args:
        find: gives a loaded version by name and number, or None.
        batching: how a model's requests are batched, by its name.
        most_calls: calls into TensorFlow that may run at a time.
        queued: told model, version and signature, and how many rows of them wait, when that changes.
        expired: told of requests whose time was over before their turn came.
    """

    def __init__(
        self,
        find: Callable[[str, int], Model | None],
        batching: Callable[[str], Batching],
        most_calls: int,
        queued: Callable[[Place, int], None] = lambda _place, _rows: None,
        expired: Callable[[Job], None] = lambda _job: None,
    ) -> None:
        self._find = find
        self._batching = batching
        self._most_calls = most_calls
        self._queued = queued
        self._expired = expired
        self._running = 0
        self._waiting: dict[Place, int] = {}
        self._lanes: OrderedDict[tuple[Any, ...], Lane] = OrderedDict()
        # Whether rows of several requests may be put together.
        self._batchable: dict[Place, bool] = {}
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
            signature = None if model is None else model.signatures.get(call.signature)
            if model is None or signature is None:
                return not_loaded(call)
            rows = count_rows(call.inputs)
            weight = max(rows, 1)
            batching = self._batching(call.model)
            place = (call.model, call.version, call.signature)
            waiting = self._waiting.get(place, 0)
            if waiting and waiting + weight > batching.queue_rows:
                return queue_full(call, waiting, batching.queue_rows)
            batchable = self._batchable.get(place)
            if batchable is None:
                batchable = self._batchable[place] = is_batchable(signature)
            together = batchable and batching.enabled and rows > 0
            shapes = tuple([array.shape[1:] for array in call.inputs.values()]) if together else None
            lane = self._lane((*place, tuple(call.outputs), tuple(call.inputs), shapes), model, batching)
            lane.queue.append(Job(call, reply, rows, now, left=rows))
            lane.rows += weight
            self._waiting[place] = waiting + weight
            self._queued(place, waiting + weight)
        return None

    def _lane(self, key: tuple[Any, ...], model: Model, batching: Batching) -> Lane:
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(key, model, batching, together=key[-1] is not None)
        return lane

    def _leave(self, place: Place, rows: int) -> None:
        """So many rows wait no more."""
        left = self._waiting[place] = self._waiting[place] - rows
        if not left:
            del self._waiting[place]
        self._queued(place, left)

    def take(self) -> Batch | None:
        """Work that should start now, or None; whoever takes it must `finish` it."""
        expired: list[Job] = []
        with self._changed:
            batch = self._take(expired) if self._running < self._most_calls else None
        for job in expired:
            self._expired(job)
            job.reply(too_late(job.call))
        return batch

    def has_work(self) -> bool:
        """Whether `take` would give something."""
        with self._changed:
            return self._running < self._most_calls and any(lane.is_ready() for lane in self._lanes.values())

    def _take(self, expired: list[Job]) -> Batch | None:
        now = time.monotonic()
        for key, lane in list(self._lanes.items()):
            if not lane.is_ready():
                continue
            before = lane.rows
            batch = lane.take(now, expired)
            self._leave(lane.place, before - lane.rows)
            if batch is not None:
                lane.running += 1
                self._running += 1
                self._lanes.move_to_end(key)
                return batch
            self._forget(lane)
        return None

    def finish(self, batch: Batch) -> None:
        """A batch has run."""
        with self._changed:
            batch.lane.running -= 1
            self._running -= 1
            self._forget(batch.lane)

    def _forget(self, lane: Lane) -> None:
        """Forgets a lane in which nothing runs or waits."""
        if not lane.queue and not lane.running:
            del self._lanes[lane.key]
            self._changed.notify_all()

    def keep_apart(self, lane: Lane) -> None:
        """Never again puts requests of this version and signature together."""
        with self._changed:
            self._batchable[lane.place] = False

    def retire(self, name: str, number: int) -> None:
        """Takes no more requests for a version, and returns when those in hand have been answered."""
        with self._changed:
            self._retired.add((name, number))
            self._changed.wait_for(lambda: not any(key[:2] == (name, number) for key in self._lanes))

    def reinstate(self, name: str, number: int) -> None:
        """A version that was retired is loaded again."""
        with self._changed:
            self._retired.discard((name, number))
            self._batchable = {place: known for place, known in self._batchable.items() if place[:2] != (name, number)}


def not_loaded(call: Call) -> ModelUnavailable:
    """The error for a request whose version has gone, or was replaced by another without its signature."""
    return ModelUnavailable(
        f"Model '{call.model}' version {call.version} is not loaded at the moment. Try again shortly.",
        RETRY_AFTER_SECONDS,
    )


def queue_full(call: Call, waiting: int, most: int) -> QueueFull:
    """The error for a request that came when too many rows were waiting."""
    return QueueFull(
        f"{waiting} rows are waiting for model '{call.model}', and {most} may. Try again shortly.",
        RETRY_AFTER_SECONDS,
    )


def too_late(call: Call) -> DeadlineExceeded:
    """The error for a request whose time is over before it ran."""
    return DeadlineExceeded(f"Model '{call.model}' had no time for the request before its deadline.")
