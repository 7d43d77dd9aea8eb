"""Ends the engine's process where a version would take it along: a call or a load that never ends, or takes the memory.

The supervisor starts another one within a second, which goes on without the version once that has happened twice.
"""

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from service.engine.isolation.crash_log import CrashLog
from service.engine.resources import resident_bytes

logger = logging.getLogger(__name__)

# The status of a process that was ended for the sake of the others.
ENDED_FOR_A_VERSION = 71
LOOK_SECONDS = 0.05
# A call that takes longer than its time and so much more does not end; the second figure where the time is short.
HANG_SECONDS = 5.0
# A call is to blame for the memory if so much came while it ran.
GROWTH_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Running:
    """A call or a load that is running.

    Attributes:
        name, number: of which version.
        what: e.g. `signature 'serving_default'`, for a sentence.
        started: clock of `time.monotonic`.
        seconds: how long it may take.
    """

    name: str
    number: int
    what: str
    started: float
    seconds: float


class Watchdog:
    """Looks at what runs, every so often.

    Args:
        crash_log: told of the version that ends the process.
        most_bytes: memory that the process may have; None for any.
        end: ends the process with a status.
    """

    def __init__(self, crash_log: CrashLog, most_bytes: int | None, end: Callable[[int], object] = os._exit) -> None:
        self._crash_log = crash_log
        self._most_bytes = most_bytes
        self._end = end
        self._next_look = 0.0
        # Memory when a call was first seen, by the call.
        self._sizes: dict[Running, int] = {}

    def is_due(self, now: float) -> bool:
        """Whether it is time to look again."""
        return now >= self._next_look

    def look(self, running: Sequence[Running], now: float) -> None:
        """Ends the process if one of these does not end, or takes the memory."""
        self._next_look = now + LOOK_SECONDS
        for entry in running:
            if now - entry.started > entry.seconds + min(entry.seconds, HANG_SECONDS):
                self._give_up(entry, f"{entry.what} has not ended after {now - entry.started:.0f} s")
        if self._most_bytes is None:
            return
        size = resident_bytes()
        self._sizes = {entry: self._sizes.get(entry, size) for entry in running}
        if size <= self._most_bytes:
            return
        growths = {entry: size - before for entry, before in self._sizes.items() if size - before > GROWTH_BYTES}
        if growths:
            entry = max(growths, key=lambda entry: (growths[entry], now - entry.started))
            self._give_up(
                entry,
                f"{entry.what} took {growths[entry] >> 20} MiB, with which the engine has {size >> 20} of the "
                f"{self._most_bytes >> 20} MiB that it may have (KILN_ENGINE_MEMORY_BYTES)",
            )

    def _give_up(self, entry: Running, reason: str) -> None:
        crash = self._crash_log.blame(entry.name, entry.number, reason)
        logger.critical(
            "Version %d of model '%s' ends the engine, which is started again (%d. time): %s",
            entry.number, entry.name, crash.times, reason,
        )  # fmt: skip
        self._end(ENDED_FOR_A_VERSION)
