"""Rows of many requests become one call into TensorFlow, greedily: work starts as soon as a thread is free for it."""

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

from service.engine.batching.options import Batching, count_rows
from service.engine.batching.queue import Batch, Job, Reply, RequestQueue, SignatureKey
from service.engine.interface import Call
from service.engine.model import Model
from service.errors import QUEUE_RETRY_AFTER_SECONDS, DeadlineExceeded, ModelUnavailable, QueueFull

# A call that runs for longer takes no place of other models' calls.
OVERDUE_SECONDS = 0.1
# How often a full queue is looked through for requests that nobody waits for.
PURGE_SECONDS = 0.05


def never() -> bool:
    """A client that is always there."""
    return False


class Scheduler:
    """Queues of requests by what may run together.

    Args:
        find: gives a loaded version by name and number, or None.
        batching: how a model's requests are batched, by its name.
        most_calls: calls into TensorFlow that may run at a time, those that run for long not counted; and of one
            version, all counted.
        queued: told model, version and signature, and how many rows of them wait, when that changes.
        dropped: told of requests that nobody waited for when their turn came.
        exclusive: whether a version, by name and number, never runs beside another one of which the same is said.
    """

    def __init__(
        self,
        find: Callable[[str, int], Model | None],
        batching: Callable[[str], Batching],
        most_calls: int,
        queued: Callable[[SignatureKey, int], None] = lambda _key, _rows: None,
        dropped: Callable[[Job], None] = lambda _job: None,
        exclusive: Callable[[str, int], bool] = lambda _name, _version: False,
    ) -> None:
        self._find = find
        self._batching = batching
        self._most_calls = most_calls
        self._queued = queued
        self._dropped = dropped
        self._exclusive = exclusive
        # In order of their start; those that are not overdue; and how many by version.
        self._running: dict[Batch, None] = {}
        self._busy = 0
        self._versions: Counter[tuple[str, int]] = Counter()
        self._waiting: dict[SignatureKey, int] = {}
        self._purged: dict[SignatureKey, float] = {}
        self._queues: OrderedDict[tuple[Any, ...], RequestQueue] = OrderedDict()
        # Whether requests may share calls, by signature and how it is batched.
        self._shared: dict[tuple[SignatureKey, Batching], bool] = {}
        self._apart: set[SignatureKey] = set()
        self._changed = threading.Condition(threading.Lock())

    def submit(self, call: Call, reply: Reply, is_abandoned: Callable[[], bool] = never) -> None:
        """Takes a request into its queue, or refuses it at once.

        Args:
            call: the request.
            reply: called with its outputs or its error, here or in another thread.
            is_abandoned: says whether the client is gone; asked before the request runs.
        """
        dropped: list[Job] = []
        refusal = self._enqueue(call, reply, is_abandoned, dropped)
        self._tell(dropped)
        if refusal is not None:
            reply(refusal)

    def _enqueue(
        self, call: Call, reply: Reply, is_abandoned: Callable[[], bool], dropped: list[Job]
    ) -> BaseException | None:
        now = time.monotonic()
        if call.deadline is not None and call.deadline <= now:
            return too_late(call)
        with self._changed:
            model = self._find(call.model, call.version)
            if model is None or call.signature not in model.signatures:
                return not_loaded(call)
            job = Job(call, reply, count_rows(call.inputs), now, is_abandoned)
            batching = self._batching(call.model)
            key = (call.model, call.version, call.signature)
            # Where rows are not known to be independent, a long axis is one thing: a list, or a sound.
            if job.weight > batching.queue_rows and self._may_share(key, model, batching):
                return too_many_rows(call, job.weight, batching.queue_rows)
            if self._waiting.get(key, 0) + job.weight > batching.queue_rows:
                self._purge(key, now, dropped)
            waiting = self._waiting.get(key, 0)
            if waiting and waiting + job.weight > batching.queue_rows:
                return queue_full(call, waiting, batching.queue_rows)
            self._queue(job, model, batching).add(job)
            self._waiting[key] = waiting + job.weight
            self._queued(key, waiting + job.weight)
        return None

    def _queue(self, job: Job, model: Model, batching: Batching) -> RequestQueue:
        """The queue of a request: with others that fit the signature's shapes, or by itself."""
        call = job.call
        key = (call.model, call.version, call.signature)
        shapes = None
        if 0 < job.rows <= batching.largest_batch and self._may_share(key, model, batching):
            inputs, specs = call.inputs, model.signatures[call.signature].inputs
            if inputs.keys() == specs.keys() and all(specs[name].accepts(inputs[name].shape) for name in inputs):
                shapes = tuple([array.shape[1:] for array in inputs.values()])
        # The model too: another may have taken its place under the same number, while some still wait for the old.
        kind = (*key, tuple(call.outputs), tuple(call.inputs), id(model), shapes)
        queue = self._queues.get(kind)
        if queue is None:
            queue = self._queues[kind] = RequestQueue(kind, model, batching, is_shared=shapes is not None)
        return queue

    def _may_share(self, key: SignatureKey, model: Model, batching: Batching) -> bool:
        shared = self._shared.get((key, batching))
        if shared is None:
            state = batching.decide(model.signatures[key[2]], model.batching.get(key[2]))
            shared = self._shared[key, batching] = state.enabled and key not in self._apart
        return shared

    def _purge(self, key: SignatureKey, now: float, dropped: list[Job]) -> None:
        """Drops the requests for a signature that nobody waits for."""
        if now - self._purged.get(key, 0.0) < PURGE_SECONDS:
            return
        self._purged[key] = now
        for queue in [queue for queue in self._queues.values() if queue.key == key]:
            before = queue.rows
            queue.purge(now, dropped)
            if queue.rows < before:
                self._leave(key, before - queue.rows)
                self._forget(queue)

    def _leave(self, key: SignatureKey, rows: int) -> None:
        """So many rows wait no more."""
        left = self._waiting[key] = self._waiting[key] - rows
        if not left:
            del self._waiting[key]
            self._purged.pop(key, None)
        self._queued(key, left)

    def _tell(self, dropped: list[Job]) -> None:
        for job in dropped:
            self._dropped(job)
            job.reply(too_late(job.call))

    def take(self) -> Batch | None:
        """Work that should start now, or None; the caller must `finish` it."""
        dropped: list[Job] = []
        with self._changed:
            batch = self._take(dropped)
        self._tell(dropped)
        return batch

    def has_work(self) -> bool:
        """Whether `take` would give something."""
        with self._changed:
            return self._busy < self._most_calls and any(map(self._may_start, self._queues.values()))

    def _may_start(self, queue: RequestQueue) -> bool:
        """Whether a call of a queue may start now, as far as those that run are concerned."""
        version = queue.key[:2]
        if not queue.is_ready() or self._versions[version] >= self._most_calls:
            return False
        return not self._exclusive(*version) or not any(
            batch.key[:2] != version and self._exclusive(*batch.key[:2]) for batch in self._running
        )

    def _take(self, dropped: list[Job]) -> Batch | None:
        if self._busy >= self._most_calls:
            return None
        now = time.monotonic()
        for kind, queue in list(self._queues.items()):
            if not self._may_start(queue):
                continue
            before = queue.rows
            batch = queue.take(now, dropped)
            self._leave(queue.key, before - queue.rows)
            if batch is not None:
                self._running[batch] = None
                self._versions[batch.key[:2]] += 1
                self._busy += 1
                queue.running += 1
                queue.busy += 1
                self._queues.move_to_end(kind)
                return batch
            self._forget(queue)
        return None

    def running(self) -> list[Batch]:
        """The calls that run now, the oldest first."""
        with self._changed:
            return list(self._running)

    def mark_overdue(self, now: float) -> int:
        """Lets other calls start beside those that run for long; to be called every few milliseconds.

        Args:
            now: clock of `time.monotonic`.

        Returns:
            How many running calls are overdue.
        """
        with self._changed:
            for batch in self._running:
                if now - batch.started <= OVERDUE_SECONDS:
                    break
                if not batch.is_overdue:
                    batch.is_overdue = True
                    self._release(batch)
            return len(self._running) - self._busy

    def _release(self, batch: Batch) -> None:
        """A call takes no place any more."""
        self._busy -= 1
        batch.queue.busy -= 1

    def finish(self, batch: Batch) -> None:
        """A batch has run."""
        with self._changed:
            del self._running[batch]
            version = batch.key[:2]
            self._versions[version] -= 1
            if not self._versions[version]:
                del self._versions[version]
            if not batch.is_overdue:
                self._release(batch)
            batch.queue.running -= 1
            self._forget(batch.queue)

    def _forget(self, queue: RequestQueue) -> None:
        """Forgets a queue in which nothing runs or waits."""
        if not queue.jobs and not queue.running:
            del self._queues[queue.kind]
            self._changed.notify_all()

    def keep_apart(self, key: SignatureKey) -> None:
        """Never again puts requests of this version and signature together."""
        with self._changed:
            self._apart.add(key)
            self._shared.clear()

    def retire(self, model: Model, seconds: float) -> bool:
        """Waits for the requests of a model that `find` does not give any more; says whether all were answered."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not any(queue.model is model for queue in self._queues.values()), seconds
            )

    def reinstate(self, name: str, number: int) -> None:
        """A version is loaded, maybe in another's place."""
        with self._changed:
            self._apart = {key for key in self._apart if key[:2] != (name, number)}
            self._shared.clear()


def not_loaded(call: Call) -> ModelUnavailable:
    """The error for a request whose version has gone, or was replaced by another without its signature."""
    return ModelUnavailable(
        f"Model '{call.model}' version {call.version} is not loaded at the moment. Try again shortly.",
        QUEUE_RETRY_AFTER_SECONDS,
    )


def queue_full(call: Call, waiting: int, most: int) -> QueueFull:
    """The error for a request that came when too many rows were waiting."""
    return QueueFull(
        f"{waiting} rows are waiting for model '{call.model}', and {most} may. Try again shortly.",
        QUEUE_RETRY_AFTER_SECONDS,
    )


def too_many_rows(call: Call, rows: int, most: int) -> QueueFull:
    """The error for a request that is never going to be taken."""
    return QueueFull(
        f"The request has {rows} rows, and {most} may wait for model '{call.model}'. Send fewer rows at a time."
    )


def too_late(call: Call) -> DeadlineExceeded:
    """The error for a request that nobody waited for when its turn came."""
    return DeadlineExceeded(f"Model '{call.model}' had no time for the request before its deadline.")
