"""Loads that run side by side: a few at a time, one of a model, those in demand first."""

import logging
import threading
from collections.abc import Callable, Collection, Iterable
from functools import partial

from service.engine.attempt import Attempt
from service.engine.versions.options import Clocks

logger = logging.getLogger(__name__)

# A load that takes longer does not keep the others waiting.
SLOW_SECONDS = 5.0


class LoadQueue:
    """Takes models, and loads what there is to load of each.

    Args:
        load_next: loads one version of a model, and says whether there may be another.
        places: how many loads may run at a time, slow ones not counted.
        demand: how much a model is asked for; the larger, the sooner it is loaded.
        clocks: time, and threads.
    """

    def __init__(
        self, load_next: Callable[[str], bool], places: int, demand: Callable[[str], float], clocks: Clocks
    ) -> None:
        self._load_next = load_next
        self._places = places
        self._demand = demand
        self._clocks = clocks
        self._waiting: dict[str, None] = {}
        self._started: dict[str, float] = {}
        self._changed = threading.Condition()

    def add(self, names: Iterable[str]) -> None:
        """Begins to load what there is to load of these models."""
        with self._changed:
            self._waiting.update(dict.fromkeys(names))
        self._start()

    def wait(self, names: Collection[str] | None = None, seconds: float | None = None) -> bool:
        """Waits until nothing is left to load of these models, or of any; says whether that came to pass in time."""

        def is_done() -> bool:
            left = self._waiting.keys() | self._started.keys()
            return not left if names is None else left.isdisjoint(names)

        with self._changed:
            return self._changed.wait_for(is_done, seconds)

    def _start(self) -> None:
        while (name := self._take()) is not None:
            self._clocks.spawn_load(partial(self._run, name))

    def _take(self) -> str | None:
        with self._changed:
            now = self._clocks.monotonic()
            running = [started for started in self._started.values() if now - started < SLOW_SECONDS]
            ready = [name for name in self._waiting if name not in self._started]
            if not ready or len(running) >= self._places:
                return None
            name = max(ready, key=self._demand)
            del self._waiting[name]
            self._started[name] = now
            return name

    def _run(self, name: str) -> None:
        # When this load turns out to be slow, another may start in its place.
        timer = threading.Timer(SLOW_SECONDS, self._start)
        timer.daemon = True
        timer.start()
        is_unfinished = False
        with Attempt() as attempt:
            is_unfinished = self._load_next(name)
        timer.cancel()
        if attempt.error is not None:
            logger.error("Loading model '%s' failed; it is tried again", name, exc_info=attempt.error)
        with self._changed:
            del self._started[name]
            if is_unfinished:
                self._waiting[name] = None
            self._changed.notify_all()
        self._start()
