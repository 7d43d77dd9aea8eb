"""Worker processes on this machine, started again as a whole when one of them is lost."""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pipeline.errors import WorkerLost

LOOK_SECONDS = 0.1
"""Between two looks at the processes."""

NOTICE_SECONDS = 5
"""So long those that are left may take to find out that one is gone and to say what they know; then they are killed."""

_DIE_WITH_PARENT = 1
"""`PR_SET_PDEATHSIG` of Linux's `prctl`."""


def supervise_workers(command: Sequence[str], count: int, restarts: int, logs: Path) -> int:
    """Runs worker processes until their training has ended.

    Args:
        command: what each worker runs; it gets its own TF_CONFIG.
        count: how many workers.
        restarts: how often all are started again after one was lost.
        logs: a folder for what workers other than the chief write to standard error. The chief writes to the screen.

    Returns:
        The exit status: 0, or that of a worker that could not do its work, or of the last loss.
    """
    for attempt in range(restarts + 1):
        with _started(command, count, logs) as processes:
            numbers = ", ".join(str(process.pid) for process in processes)
            _say(f"{count} workers: processes {numbers}; the first one is the chief.")
            _wait(processes)
        statuses = [process.returncode for process in processes]
        # When the chief has ended well, all is written.
        if statuses[0] == 0:
            return 0
        failed = [index for index, status in enumerate(statuses) if status > 0 and status != WorkerLost.status]
        if failed:
            if 0 not in failed:
                _say((logs / f"worker{failed[0]}").read_text(encoding="utf-8", errors="replace").strip())
            return statuses[failed[0]]
        _say(f"{_describe_loss(processes)}{_announce(attempt, restarts)}")
    return WorkerLost.status


def _announce(attempt: int, restarts: int) -> str:
    if attempt < restarts:
        return f" Starting all workers again ({attempt + 1} of {restarts} times)."
    return " Not started again: that was the last time. The same command goes on after the last finished epoch."


def _describe_loss(processes: Sequence[subprocess.Popen]) -> str:
    killed = [
        f"Worker {index} (process {process.pid}) was killed by {signal.Signals(-process.returncode).name}"
        for index, process in enumerate(processes)
        if process.returncode < 0
    ]
    return f"{', '.join(killed) or 'The workers lost each other'}."


@contextmanager
def _started(command: Sequence[str], count: int, logs: Path) -> Iterator[list[subprocess.Popen]]:
    addresses = [f"127.0.0.1:{port}" for port in _free_ports(count)]
    threads = str(max(1, len(os.sched_getaffinity(0)) // count))
    processes = []
    with ExitStack() as stack:
        stack.callback(_kill, processes)
        for index in range(count):
            config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
            own = {"TF_CONFIG": json.dumps(config), "PYTHONUNBUFFERED": "1"}
            shared = {"TF_NUM_INTRAOP_THREADS": threads} | os.environ
            error = stack.enter_context((logs / f"worker{index}").open("wb")) if index else None
            processes.append(
                subprocess.Popen(
                    command,
                    env=shared | own,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL if index else None,
                    stderr=error,
                    # Ctrl-C is for this process, which then ends the workers.
                    start_new_session=True,
                    preexec_fn=_die_with_parent(),
                )
            )
        yield processes


def _wait(processes: Sequence[subprocess.Popen]) -> None:
    """Waits for all, and after the first one that failed only so long as the others need to find out."""
    end = None
    # Each is asked each time: `any` would stop at the first that runs, and never hear of the others' end.
    while None in (statuses := [process.poll() for process in processes]):
        if end is None and any(statuses):
            end = time.monotonic() + NOTICE_SECONDS
        if end is not None and time.monotonic() > end:
            return
        time.sleep(LOOK_SECONDS)


def _kill(processes: Sequence[subprocess.Popen]) -> None:
    for process in processes:
        # Harmless to the training: what it writes is whole at any time.
        process.kill()
    for process in processes:
        process.wait()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [server.getsockname()[1] for server in servers]


def _die_with_parent() -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return lambda: library.prctl(_DIE_WITH_PARENT, signal.SIGKILL)


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201
