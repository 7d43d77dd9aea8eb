"""Processes that a benchmark starts: free ports, process trees and their memory by /proc, and an end for each."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
STOP_SECONDS = 40


class BenchmarkFailed(Exception):
    """The benchmark cannot go on; the message says why and what may help."""


@dataclass(frozen=True)
class Memory:
    """Resident memory of several processes.

    Attributes:
        rss_bytes: pages that a process shares with another count once in each.
        pss_bytes: shared pages are divided by the number of processes that share them.
    """

    rss_bytes: int
    pss_bytes: int


def stop_on_signals() -> None:
    """Turns SIGTERM and SIGINT into KeyboardInterrupt, so that what was started is ended on the way out."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def start(command: Sequence[str], variables: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a Python program until the block ends.

    Args:
        command: its arguments, the interpreter left out.
        variables: added to this process's environment, from which settings of Kiln's are taken away.
        log: file for what it prints.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KILN_", "PROMETHEUS_"))}
    kept |= {"TF_CPP_MIN_LOG_LEVEL": "2"} | dict(variables)
    with log.open("ab") as output:
        # A session of its own: Ctrl-C reaches the benchmark only, which then ends the processes in order.
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT, env=kept, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends a process that `start` began, and what it started: politely, then by force."""
    if process.poll() is None:
        process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def tail(log: Path, lines: int = 20) -> str:
    """The end of a log."""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def parents() -> dict[int, int]:
    """The parent of every process."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with contextlib.suppress(OSError):
                # The name, in brackets, may hold blanks and brackets itself.
                found[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    return found


def descendants(root: int) -> list[int]:
    """A process and all that it started, each parent before its children."""
    known = parents()
    found = [root]
    for pid in found:
        found += sorted(child for child, parent in known.items() if parent == pid)
    return found


def command_line(pid: int) -> str:
    """What a process was started with, or "" if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def measure_memory(pids: Sequence[int]) -> Memory:
    """The resident memory of several processes; those that are gone count nothing."""
    rss = pss = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
            rss += int(fields["Rss"].split()[0]) * 1024
            pss += int(fields["Pss"].split()[0]) * 1024
    return Memory(rss, pss)


def measure_cpu(pids: Sequence[int]) -> float:
    """The CPU seconds that several processes have used so far."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def wait_until(condition: str, is_true: Callable[[], bool], seconds: float, process: subprocess.Popen[bytes]) -> None:
    """Waits for a process to come to something.

    Args:
        condition: what is waited for, for the message.
        is_true: asked every tenth of a second.
        seconds: how long at most.
        process: must not end meanwhile.

    Raises:
        BenchmarkFailed: it ended, or it took too long.
    """
    deadline = time.monotonic() + seconds
    while not is_true():
        if process.poll() is not None:
            raise BenchmarkFailed(f"The process ended with status {process.returncode} before {condition}")
        if time.monotonic() > deadline:
            raise BenchmarkFailed(f"After {seconds:.0f} s, {condition} had not happened")
        time.sleep(0.1)
