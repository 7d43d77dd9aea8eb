"""Requests that may run together, in order of arrival, and the batches that are made of them."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from service.engine.batching.options import Batching
from service.engine.interface import Arrays, Call
from service.engine.model import Model

# Called once with the outputs, or with the error.
Reply = Callable[[Arrays | BaseException], None]
# Model, version and signature.
SignatureKey = tuple[str, int, str]


@dataclass(slots=True, eq=False)
class Job:
    """One request, from its arrival to its answer.

    Attributes:
        call: what is asked.
        reply: who is told.
        rows: rows of the inputs; 0 where they have none.
        arrived: clock of `time.monotonic`.
        is_abandoned: says whether the client is gone.
    """

    call: Call
    reply: Reply
    rows: int
    arrived: float
    is_abandoned: Callable[[], bool]

    @property
    def weight(self) -> int:
        """The rows that it counts for."""
        return max(self.rows, 1)

    def is_pointless(self, now: float) -> bool:
        """Whether nobody waits for its answer any more."""
        return (self.call.deadline is not None and self.call.deadline <= now) or self.is_abandoned()


@dataclass(slots=True, eq=False)
class Batch:
    """Requests that run as one call.

    Attributes:
        queue: where they waited.
        jobs: the requests.
        rows: all their rows.
        started: clock of `time.monotonic`.
        deadline: when the last of them has no time left, or None where one has no deadline.
        is_overdue: whether the call runs for long already, and takes no other call's place any more.
        executed: rows and seconds of calls that have not been counted yet.
    """

    queue: "RequestQueue"
    jobs: list[Job]
    rows: int
    started: float = field(default_factory=time.monotonic)
    deadline: float | None = None
    is_overdue: bool = False
    executed: list[tuple[int, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        deadlines = [job.call.deadline for job in self.jobs if job.call.deadline is not None]
        self.deadline = max(deadlines) if len(deadlines) == len(self.jobs) else None

    @property
    def key(self) -> SignatureKey:
        """Model, version and signature."""
        return self.queue.key


class RequestQueue:
    """The requests that may run together: of one version and signature, with rows of the same shapes and outputs.

    Args:
        kind: what they have in common, beginning with model, version and signature.
        model: the version.
        batching: how it is batched.
        is_shared: whether several requests may run as one call.
    """

    __slots__ = ("batching", "busy", "is_shared", "jobs", "key", "kind", "model", "rows", "running")

    def __init__(self, kind: tuple[Any, ...], model: Model, batching: Batching, *, is_shared: bool) -> None:
        self.kind = kind
        self.key: SignatureKey = kind[:3]
        self.model = model
        self.batching = batching
        self.is_shared = is_shared
        self.jobs: deque[Job] = deque()
        self.rows = 0
        self.running = 0
        # Those of the running calls that are not overdue.
        self.busy = 0

    def is_ready(self) -> bool:
        """Whether a call should start now.

        While one runs, rows that arrive wait for its end and then share a call, which costs less than a call each;
        unless they fill one by themselves, or that call runs for long already.
        """
        return bool(self.jobs) and (not self.is_shared or not self.busy or self.rows >= self.batching.largest_batch)

    def add(self, job: Job) -> None:
        """Takes a request."""
        self.jobs.append(job)
        self.rows += job.weight

    def take(self, now: float, dropped: list[Job]) -> Batch | None:
        """The next batch, in order of arrival; requests for which nobody waits go to `dropped`."""
        jobs: list[Job] = []
        rows = 0
        while self.jobs and (not jobs or (self.is_shared and rows + self.jobs[0].rows <= self.batching.largest_batch)):
            job = self.jobs.popleft()
            self.rows -= job.weight
            if job.is_pointless(now):
                dropped.append(job)
            else:
                jobs.append(job)
                rows += job.weight
        return Batch(self, jobs, rows) if jobs else None

    def purge(self, now: float, dropped: list[Job]) -> None:
        """Moves the requests for which nobody waits to `dropped`."""
        kept: deque[Job] = deque()
        for job in self.jobs:
            (dropped if job.is_pointless(now) else kept).append(job)
        self.jobs = kept
        self.rows = sum(job.weight for job in kept)
