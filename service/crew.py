"""Threads that take things from a queue."""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any


class Crew:
    """A few threads that do the same with whatever they are given; what an executor's futures cost is saved.

    Args:
        threads: how many.
        work: what they do with each thing.
    """

    def __init__(self, threads: int, work: Callable[[Any], None]) -> None:
        self._threads = threads
        self._work = work
        self._waiting: SimpleQueue[Any] = SimpleQueue()
        for _ in range(threads):
            threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while (item := self._waiting.get()) is not None:
            self._work(item)

    def submit(self, item: Any) -> None:
        """Gives them something to do."""
        self._waiting.put(item)

    def is_busy(self) -> bool:
        """Whether there is something waiting for each of them."""
        return self._waiting.qsize() >= self._threads

    def shutdown(self, *, wait: bool) -> None:  # noqa: ARG002
        """Ends them when they have done what they have; nobody waits for that."""
        for _ in range(self._threads):
            self._waiting.put(None)
