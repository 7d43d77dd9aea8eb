"""What happens to the service during the soak: phases, one after another, each with something that it must stand."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.processes import command_line, descendants
from benchmarks.versions import Publisher

# In every phase a new version appears this often.
PUBLISH_SECONDS = 4.0
# The last action of a phase happens at least so long before its end, so that its consequences fall into the phase.
SETTLE_SECONDS = 4.0


@dataclass(frozen=True)
class Phase:
    """A part of the soak.

    Attributes:
        name: for the table.
        share: of the whole time.
        every: seconds between the actions; 0 for a single one.
        action: what is done, and what it was done to, for the table; None for nothing.
        may_reset: whether connections may be reset: a process that is killed cannot answer any more.
    """

    name: str
    share: float
    every: float = 0.0
    action: Callable[[], str] | None = None
    may_reset: bool = False


@dataclass(frozen=True)
class Passed:
    """A phase that is over.

    Attributes:
        phase: which one.
        start, end: clocks of `time.monotonic`.
        actions: clocks of what was done.
    """

    phase: Phase
    start: float
    end: float
    actions: tuple[float, ...]


def plan_phases(publisher: Publisher, pid: int | None) -> list[Phase]:
    """The phases, without those that kill processes where none may be."""
    phases = [Phase("steady", 0.08), Phase("broken versions", 0.14, 3.0, lambda: f"{publisher.publish_broken()}")]
    if pid is not None:
        workers = Targets(pid)
        phases += [
            Phase("HTTP worker: SIGTERM", 0.16, 4.0, lambda: workers.kill_worker(signal.SIGTERM)),
            Phase("HTTP worker: SIGKILL", 0.16, 4.0, lambda: workers.kill_worker(signal.SIGKILL), may_reset=True),
            Phase("rolling restart: SIGHUP", 0.18, 8.0, workers.restart),
            Phase("engine: SIGKILL", 0.16, 0.0, workers.kill_engine),
        ]
    return [*phases, Phase("steady again", 0.12)]


class Targets:
    """The service's processes.

    Args:
        pid: the main one.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._turn = 0

    def kill_worker(self, number: signal.Signals) -> str:
        """Sends a signal to one HTTP worker, another one each time."""
        workers = find_workers(self._pid)
        if not workers:
            return ""
        self._turn += 1
        chosen = workers[self._turn % len(workers)]
        return send(chosen, number)

    def restart(self) -> str:
        """Has the HTTP workers replaced one by one."""
        return send(self._pid, signal.SIGHUP)

    def kill_engine(self) -> str:
        """Kills the process that runs the models."""
        return next((send(pid, signal.SIGKILL) for pid in find_engines(self._pid)), "")


def send(pid: int, number: signal.Signals) -> str:
    """Sends a signal; the process may have gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
    return str(pid)


def find_engines(pid: int) -> list[int]:
    """The engine among a service's processes."""
    return [child for child in descendants(pid)[1:] if "service.engine" in command_line(child)]


def find_workers(pid: int) -> list[int]:
    """The HTTP workers among a service's processes: what gunicorn's first process started."""
    masters = [child for child in descendants(pid) if "gunicorn" in command_line(child)]
    return descendants(masters[0])[1:] if masters else []


def run_phases(phases: Sequence[Phase], seconds: float, publisher: Publisher) -> list[Passed]:
    """Goes through the phases while new versions appear.

    Args:
        phases: see `plan_phases`.
        seconds: for all of them.
        publisher: where the versions come from.

    Returns:
        When each of them was.
    """
    stop = threading.Event()
    thread = threading.Thread(target=publish_versions, args=(publisher, stop))
    thread.start()
    try:
        total = sum(phase.share for phase in phases)
        return [run_phase(phase, seconds * phase.share / total) for phase in phases]
    finally:
        stop.set()
        thread.join()


def run_phase(phase: Phase, seconds: float) -> Passed:
    """Runs one phase."""
    start = time.monotonic()
    end, due = start + seconds, start
    actions: list[float] = []
    print(f"  {phase.name} for {seconds:.0f} s", flush=True)
    while (now := time.monotonic()) < end:
        if phase.action and now >= due and (not actions or now < end - SETTLE_SECONDS):
            actions += [now] if phase.action() else []
            due = now + phase.every if phase.every else end
        time.sleep(min(0.1, max(end - now, 0)))
    return Passed(phase, start, end, tuple(actions))


def publish_versions(publisher: Publisher, stop: threading.Event) -> None:
    """Publishes one version after another, each when the one before is served."""
    while not stop.is_set():
        started = time.monotonic()
        publisher.wait_until_served(publisher.publish(), stop)
        stop.wait(max(PUBLISH_SECONDS - (time.monotonic() - started), 0))
