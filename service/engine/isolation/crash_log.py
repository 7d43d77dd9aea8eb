"""Which versions have ended the engine's process, or the one that examines them, and how often.

After the second time a version is in quarantine: it is not loaded again before its files change or somebody loads it by
hand. The engine names a version itself where a call never ends or takes the memory. After a crash the supervisor does:
the signal reaches the thread that caused it, which `faulthandler` names, and the journal tells what that thread ran.
Where the thread is not one of Python's, everything in flight is suspected; suspects never run side by side from then
on, so the next crash tells which one it was.
"""

import re
import signal
import struct
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from service.engine.ipc.shared_memory import share_memory
from service.engine.isolation.journal import InFlight, Journal
from service.engine.model import Quarantined

# So often a version may end a process.
MOST_TIMES = 2
FILE_BYTES = 2**18
SIZE = struct.Struct("<I")
# Where `faulthandler` writes, and how it names the thread that a signal has reached.
CRASH_FILE = "engine.crash"
CURRENT_THREAD = re.compile(r"^Current thread 0x([0-9a-f]+)", re.MULTILINE)
CRASHES = frozenset(
    getattr(signal, name) for name in ("SIGABRT", "SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGSYS")
)

Place = tuple[str, int]


@dataclass(frozen=True)
class Crash:
    """What a version has done.

    Attributes:
        times: how often it has ended a process.
        reason: how, the last time.
    """

    times: int
    reason: str


class CrashLog:
    """The versions that have ended a process, in memory that the supervisor and the engine share.

    They write one after the other: the supervisor where there is no engine.

    Args:
        folder: the service's own, which exists.
    """

    def __init__(self, folder: Path) -> None:
        self._memory = share_memory(folder / "engine.crash_log", FILE_BYTES)
        self._lock = threading.Lock()
        self._known, self._suspects = self._read()

    def _read(self) -> tuple[dict[Place, Crash], set[Place]]:
        (size,) = SIZE.unpack_from(self._memory)
        try:
            document: Any = orjson.loads(self._memory[SIZE.size : SIZE.size + size] or b"[[],[]]")
            known = {(name, number): Crash(times, reason) for name, number, times, reason in document[0]}
            return known, {(name, number) for name, number in document[1]}
        except (ValueError, TypeError):  # the process ended while it wrote
            return {}, set()

    def _write(self) -> None:
        entries = [[*place, crash.times, crash.reason] for place, crash in self._known.items()]
        text = orjson.dumps([entries, sorted(self._suspects)])
        if len(text) <= FILE_BYTES - SIZE.size:
            self._memory[SIZE.size : SIZE.size + len(text)] = text
            self._memory[: SIZE.size] = SIZE.pack(len(text))

    def blame(self, name: str, number: int, reason: str, *, times: int = 1) -> Crash:
        """A version has ended a process; gives what is known of it now."""
        with self._lock:
            before = self._known.get((name, number))
            crash = Crash(times + (before.times if before else 0), reason)
            self._known[name, number] = crash
            self._suspects.discard((name, number))
            self._write()
        return crash

    def suspect(self, places: Iterable[Place], reason: str) -> Place | None:
        """One of these versions has ended the engine; gives which one, where that can be told."""
        found = set(places)
        with self._lock:
            again = found & self._suspects
            if len(found) > 1 and len(again) != 1:
                self._suspects = again or self._suspects | found
                self._write()
                return None
            [place] = again if len(found) > 1 else found
            # In flight both times, when nothing else that was the first time could be.
            times = 2 if place in self._suspects else 1
            self._suspects.clear()
        self.blame(*place, reason, times=times)
        return place

    def find(self, name: str, number: int) -> Crash | None:
        """What a version has done, or None for nothing."""
        return self._known.get((name, number))

    def is_suspect(self, name: str, number: int) -> bool:
        """Whether a version was in flight when the engine ended, beside others, so that it must not run beside them."""
        return (name, number) in self._suspects

    def check(self, name: str, number: int) -> None:
        """Lets a version be loaded, or not.

        Raises:
            Quarantined: it has ended a process too often.
        """
        crash = self._known.get((name, number))
        if crash is not None and crash.times >= MOST_TIMES:
            raise Quarantined(describe_quarantine(name, crash))

    def forgive(self, name: str, number: int) -> None:
        """A version's files have changed, or somebody loads it by hand: it gets another chance."""
        with self._lock:
            self._known.pop((name, number), None)
            self._suspects.discard((name, number))
            self._write()


def describe_quarantine(name: str, crash: Crash) -> str:
    """Why a version is not loaded, and what to do."""
    return (
        f"It is in quarantine, because it has ended the process that runs it {crash.times} times, the last time so: "
        f"{crash.reason}. It is tried again when its files change, or by POST /v2/repository/models/{name}/load."
    )


def explain_crash(folder: Path, status: int, *, was_memory_short: bool) -> str:
    """Finds out which version has ended the engine, and notes it.

    Args:
        folder: the service's own.
        status: of the engine's process, negative for a signal.
        was_memory_short: whether the system has killed a process because memory ran out while the engine ran.

    Returns:
        A sentence for the log; "" where no version is to blame.
    """
    number = -status
    if number not in CRASHES and not (number == signal.SIGKILL and was_memory_short):
        return ""
    in_flight = (
        find_culprits(Journal(folder).read(), read_crash(folder)) if number in CRASHES else Journal(folder).read()
    )
    if not in_flight:
        return ""
    how = "out of memory" if number == signal.SIGKILL else signal.Signals(number).name
    doing = {(entry.model, entry.version): describe_work(entry) for entry in in_flight}
    place = CrashLog(folder).suspect(doing, f"{how} while {next(iter(doing.values()))}")
    if place is None:
        names = ", ".join(f"version {version} of model '{model}'" for model, version in doing)
        return f"One of these ended the engine ({how}): {names}. They do not run side by side any more."
    return f"Version {place[1]} of model '{place[0]}' ended the engine: {how} while {doing[place]}"


def describe_work(entry: InFlight) -> str:
    """What was in flight, as the end of a sentence."""
    return f"signature '{entry.signature}' ran" if entry.signature else "it was loaded"


def read_crash(folder: Path) -> str:
    """What `faulthandler` has written."""
    try:
        return (folder / CRASH_FILE).read_text(errors="replace")
    except OSError:
        return ""


def find_culprits(in_flight: list[InFlight], crash: str) -> list[InFlight]:
    """What the thread ran that a signal has reached, or all that was in flight where it is not a thread of Python's."""
    match = CURRENT_THREAD.search(crash)
    if match is None:
        return in_flight
    return [entry for entry in in_flight if entry.thread == int(match[1], 16)]
