"""The end of a version: a time of grace, no more calls, and its memory is given back."""

import logging
import threading
import time
from collections.abc import Callable, Iterable

from service.engine.attempt import Attempt
from service.engine.versions.managed import Drop
from service.engine.versions.options import Clocks, Hooks, VersionSettings
from service.engine.versions.registry import Registry

logger = logging.getLogger(__name__)

# How long the end of a process waits for calls and loads that hang.
CLOSE_SECONDS = 2.0


class Unloader:
    """Ends versions that were dropped.

    Args:
        registry: what is loaded.
        hooks: whom to tell.
        clocks: time.
        settings: how long a dropped version still answers, since front ends may be decoding requests for it, and how
            long its last calls may take.
        publish: shows what has changed.

    Attributes:
        publish: the same.
    """

    def __init__(
        self, registry: Registry, hooks: Hooks, clocks: Clocks, settings: VersionSettings, publish: Callable[[], None]
    ) -> None:
        self._registry = registry
        self._hooks = hooks
        self._grace_seconds = settings.grace_seconds
        self._drain_seconds = settings.drain_seconds
        self.publish = publish
        self._stopping = threading.Event()
        self._pause = clocks.pause or self._stopping.wait
        self._spawn = clocks.spawn

    def start(self, drops: list[Drop]) -> None:
        """Ends versions in the background."""
        if drops:
            self._spawn(lambda: self.finish(drops))

    def finish(self, drops: Iterable[Drop]) -> None:
        """Ends versions after their grace, and returns when their memory is given back, or a call of them hangs."""
        self._pause(self._grace_seconds)
        self._end_all(drops, self._drain_seconds)

    def _end_all(self, drops: Iterable[Drop], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        for drop in drops:
            self.end(drop, max(deadline - time.monotonic(), 0.0))

    def end(self, drop: Drop, seconds: float) -> None:
        """Ends a version now, unless it is wanted again or somebody else does; its calls have so many seconds."""
        model = self._registry.claim(drop)
        if model is None:
            return
        version = drop.version
        with Attempt() as attempt:
            # A failure here keeps the model open: memory that is lost is better than a call into memory that is gone.
            if self._hooks.retire(model, seconds):
                model.close()
            else:
                logger.error(
                    "A call of version %d of model '%s' does not end; its memory is not given back",
                    version.number, version.name,
                )  # fmt: skip
        if attempt.error is not None:
            logger.error(
                "Closing version %d of model '%s' failed", version.number, version.name, exc_info=attempt.error
            )
        # Nothing holds the model any more when `on_unload` gives memory back.
        del model
        drops = self._registry.end(version)
        self.publish()
        self.start(drops)
        if self._registry.find(version.name, version.number) is None:
            self._hooks.on_unload(version.name, version.number)
        logger.info("Unloaded version %d of model '%s'", version.number, version.name)

    def close(self, drops: list[Drop]) -> None:
        """Ends versions now, waits a while for those that others are ending, and lets nobody pause any more."""
        self._stopping.set()
        self._end_all(drops, CLOSE_SECONDS)
        deadline = time.monotonic() + CLOSE_SECONDS
        for drop in drops:
            drop.version.closed.wait(max(deadline - time.monotonic(), 0.0))
