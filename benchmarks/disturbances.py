"""What happens to the service during the soak: phases, one after another, each with something that it must stand."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.processes import command_line, descendants
from benchmarks.tiny_models import FAULTS
from benchmarks.versions import Publisher, read_states

# In every phase a new version appears this often.
PUBLISH_SECONDS = 8.0
PHASE_SECONDS, LEAST_PHASE_SECONDS = 30.0, 8.0
# The last action of a phase happens at least so long before its end, so that its consequences fall into the phase.
SETTLE_SECONDS = 4.0
LOAD_SECONDS = 5.0


@dataclass(frozen=True)
class Phase:
    """A part of the soak.

    Attributes:
        name: for the table.
        action: what is done; None for nothing.
        every: seconds between the actions.
        may_reset: whether connections may be reset: a process that is killed cannot answer any more.
    """

    name: str
    action: Callable[[], object] | None = None
    every: float = 4.0
    may_reset: bool = False


@dataclass(frozen=True)
class Passed:
    """A phase that is over.

    Attributes:
        phase: which one.
        start, end: clocks of `time.monotonic`.
    """

    phase: Phase
    start: float
    end: float


def plan_phases(publisher: Publisher, pid: int) -> list[Phase]:
    """The phases of one round."""
    targets = Targets(pid, publisher)
    return [
        Phase("steady"),
        Phase("broken versions", publisher.publish_broken, 3.0),
        Phase("a model crashes", lambda: targets.ask("abort"), 6.0),
        Phase("a model hangs", lambda: targets.ask("hang"), 12.0),
        Phase("engine: SIGKILL", targets.kill_engine, 10.0),
        Phase("HTTP worker: SIGKILL", lambda: targets.kill_worker(signal.SIGKILL), may_reset=True),
        Phase("HTTP worker: SIGTERM", lambda: targets.kill_worker(signal.SIGTERM)),
        Phase("rolling restart: SIGHUP", lambda: send(pid, signal.SIGHUP), 8.0),
    ]


@dataclass
class Targets:
    """The service's processes, and models that harm them.

    Attributes:
        pid: the main process.
        publisher: knows the repository and the address.
    """

    pid: int
    publisher: Publisher
    _turn: int = 0

    def kill_worker(self, number: signal.Signals) -> None:
        """Sends a signal to one HTTP worker, another one each time."""
        workers = find_workers(self.pid)
        self._turn += 1
        if workers:
            send(workers[self._turn % len(workers)], number)

    def kill_engine(self) -> None:
        """Kills the process that runs the models."""
        for pid in find_engines(self.pid):
            send(pid, signal.SIGKILL)

    def ask(self, fault: str) -> None:
        """Publishes a model that crashes or hangs, unless it is there, and asks for what makes it do so."""
        target = self.publisher.repository / fault / "1"
        if not target.exists():
            target.parent.mkdir(exist_ok=True)
            aside = self.publisher.repository / f".{fault}"
            shutil.copytree(self.publisher.built / fault, aside)
            aside.rename(target)
            deadline = time.monotonic() + LOAD_SECONDS
            while read_states(self.publisher.address, fault).get(1) != "AVAILABLE" and time.monotonic() < deadline:
                time.sleep(0.1)
        connection = http.client.HTTPConnection(self.publisher.address, timeout=20)
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("POST", f"/v1/models/{fault}:predict", json.dumps({"instances": [1.0]}))
            connection.getresponse().read()
        connection.close()

    def withdraw_faults(self) -> None:
        """Takes the models away that crash or hang, so that the next round begins anew."""
        for fault in FAULTS:
            shutil.rmtree(self.publisher.repository / fault, ignore_errors=True)


def send(pid: int, number: signal.Signals) -> None:
    """Sends a signal; the process may have gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def find_engines(pid: int) -> list[int]:
    """The engine among a service's processes."""
    return [child for child in descendants(pid)[1:] if "service.engine" in command_line(child).split()]


def find_workers(pid: int) -> list[int]:
    """The HTTP workers among a service's processes: what gunicorn's first process started."""
    masters = [child for child in descendants(pid) if "gunicorn" in command_line(child)]
    return descendants(masters[0])[1:] if masters else []


def run_phases(publisher: Publisher, pid: int, seconds: float) -> list[Passed]:
    """Goes through the phases, again and again, while new versions appear.

    Args:
        publisher: where the versions come from.
        pid: the service's main process.
        seconds: for all of them.

    Returns:
        When each of them was.
    """
    phases, stop = plan_phases(publisher, pid), threading.Event()
    length = min(max(seconds / len(phases), LEAST_PHASE_SECONDS), PHASE_SECONDS)
    thread = threading.Thread(target=publish_versions, args=(publisher, stop))
    thread.start()
    passed, deadline = [], time.monotonic() + seconds
    try:
        while time.monotonic() < deadline - 1:
            Targets(pid, publisher).withdraw_faults()
            passed += run_round(phases, length, deadline)
    finally:
        stop.set()
        thread.join()
    return passed


def run_round(phases: Sequence[Phase], length: float, deadline: float) -> list[Passed]:
    """Runs the phases once, as far as time allows."""
    return [run_phase(phase, min(length, deadline - time.monotonic())) for phase in phases
            if time.monotonic() < deadline - 1]  # fmt: skip


def run_phase(phase: Phase, seconds: float) -> Passed:
    """Runs one phase."""
    start = time.monotonic()
    end, due = start + seconds, start
    print(f"  {phase.name} for {seconds:.0f} s", flush=True)
    while (now := time.monotonic()) < end:
        if phase.action and now >= due and (due == start or now < end - SETTLE_SECONDS):
            phase.action()
            due = now + phase.every
        time.sleep(min(0.1, max(end - now, 0)))
    return Passed(phase, start, time.monotonic())


def publish_versions(publisher: Publisher, stop: threading.Event) -> None:
    """Publishes one version after another, each when the one before is served."""
    while not stop.is_set():
        started = time.monotonic()
        publisher.wait_until_served(publisher.publish(), stop)
        stop.wait(max(PUBLISH_SECONDS - (time.monotonic() - started), 0))
