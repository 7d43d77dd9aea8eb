"""The end of a version: a time of grace, no more calls, and its memory is given back."""

import logging
import threading
from collections.abc import Callable, Iterable

from service.engine.attempt import Attempt
from service.engine.held import Drop
from service.engine.registry import Registry
from service.engine.version_options import Clocks, Hooks

logger = logging.getLogger(__name__)


class Retirement:
    """Ends versions that were dropped.

    Args:
        registry: what is loaded.
        hooks: whom to tell.
        clocks: time.
        grace_seconds: how long a dropped version still answers, since fronts may be decoding requests for it.
        publish: shows what has changed.
    """

    def __init__(
        self, registry: Registry, hooks: Hooks, clocks: Clocks, grace_seconds: float, publish: Callable[[], None]
    ) -> None:
        self._registry = registry
        self._hooks = hooks
        self._grace_seconds = grace_seconds
        self._publish = publish
        self._stopping = threading.Event()
        self._pause = clocks.pause or self._stopping.wait
        self._spawn = clocks.spawn

    def start(self, drops: list[Drop]) -> None:
        """Ends versions in the background."""
        if drops:
            self._spawn(lambda: self.finish(drops))

    def finish(self, drops: Iterable[Drop]) -> None:
        """Ends versions after their grace, and returns when their memory is given back."""
        self._pause(self._grace_seconds)
        for drop in drops:
            self.end(drop)

    def end(self, drop: Drop) -> None:
        """Ends a version now, unless it is wanted again or somebody else does."""
        if not self._registry.claim(drop):
            return
        held = drop.held
        with Attempt() as attempt:
            # A failure here keeps the model open: memory that is lost is better than a call into memory that is gone.
            self._hooks.retire(held.name, held.number)
            held.model.close()
        if attempt.error is not None:
            logger.error("Closing version %d of model '%s' failed", held.number, held.name, exc_info=attempt.error)
        drops = self._registry.end(held)
        self._publish()
        self.start(drops)
        self._hooks.on_unload(held.name, held.number)
        logger.info("Unloaded version %d of model '%s'", held.number, held.name)

    def close(self, drops: Iterable[Drop]) -> None:
        """Ends versions now, waits for those that others are ending, and lets nobody pause any more."""
        self._stopping.set()
        for drop in drops:
            self.end(drop)
            drop.held.closed.wait()
