"""A process that the service's first process starts, and starts again."""

import logging
import subprocess
import time
from dataclasses import dataclass

logger = logging.getLogger(__name__)

MOST_SECONDS_BETWEEN_STARTS = 30.0


@dataclass
class Child:
    """A process of the service.

    Attributes:
        name: what the log calls it.
        command: what to run.
        process: it, while it runs.
        started: clock of `time.monotonic`.
        failures: how often it has died soon after its start, one time after another.
        start_at: when to start it again.
    """

    name: str
    command: list[str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    start_at: float = 0.0

    def start(self) -> None:
        """Starts the process."""
        self.started = time.monotonic()
        # In a group of its own: Ctrl-C is for the first process, which ends the others in order.
        self.process = subprocess.Popen(self.command, process_group=0)

    def has_ended(self, status: int | None = None) -> bool:
        """Whether it was started and has ended; with a status, whether with that one."""
        ended = None if self.process is None else self.process.poll()
        return ended is not None and status in (None, ended)

    def tell(self, number: int) -> None:
        """Sends a signal, if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def wait(self, seconds: float) -> None:
        """Waits for its end, and ends it where it takes too long."""
        if self.process is None:
            return
        try:
            self.process.wait(max(seconds, 0.0))
        except subprocess.TimeoutExpired:
            logger.warning("Process '%s' did not end in time and is killed", self.name)
            self.process.kill()
            self.process.wait()


def pause_before_start(failures: int) -> float:
    """Seconds to wait before a child is started that has died so often soon after its start."""
    return min(0.25 * 2 ** min(failures, 10), MOST_SECONDS_BETWEEN_STARTS) if failures > 2 else 0.0
