"""What there is of a machine: CPUs and memory that the service may use, has used, and gives back."""

import ctypes
import math
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
# The control group's limit, in version 2 and 1 of control groups; the latter has a huge number for none.
CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
MEMORY_INFO = Path("/proc/meminfo")
SHARE = 0.8


def count_cpus(cpu_max: Path = CPU_MAX) -> int:
    """The CPUs that the process may count on, at least 1.

    TensorFlow would count the machine's, also where the container may use a fraction of them.

    Args:
        cpu_max: the control group's limit: quota and period in microseconds, or `max` for none.

    Source:
        Control Group v2, "CPU Interface Files", in the Linux kernel's documentation.
    """
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = cpu_max.read_text(encoding="ascii").split()
        limit = math.ceil(int(quota) / int(period))
    except (OSError, ValueError):
        limit = available
    return max(1, min(available, limit))


def count_operation_threads(configured: int) -> int:
    """Threads that may work on one operation of a graph.

    Args:
        configured: what the settings say; 0 for half of the CPUs, since calls of several models run side by side.
    """
    return configured or max(1, count_cpus() // 2)


@cache
def find_trim() -> Callable[[int], int] | None:
    """glibc's `malloc_trim`, or None where there is another C library."""
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)


def give_memory_back() -> None:
    """Returns free memory to the system, which the C library would keep for itself."""
    trim = find_trim()
    if trim is not None:
        trim(0)


def find_limit(most_bytes: int) -> int | None:
    """How many bytes the engine may have.

    Args:
        most_bytes: the settings' limit; 0 for four fifths of the container's, or the machine's.

    Returns:
        The limit; None where it cannot be told.
    """
    if most_bytes:
        return most_bytes
    limits = []
    for path in CGROUP_LIMITS:
        with suppress(OSError, ValueError):
            limits.append(int(path.read_text()))
    with suppress(OSError, ValueError, IndexError):
        limits.append(1024 * int(MEMORY_INFO.read_text().split("MemTotal:", 1)[1].split(None, 1)[0]))
    return int(SHARE * min(limits)) if limits else None


def resident_bytes(pid: int | None = None) -> int:
    """The memory that a process has, shared pages included; 0 where it cannot be told.

    Args:
        pid: which process; None for this one.
    """
    try:
        pages = Path(f"/proc/{pid or 'self'}/statm").read_text().split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def count_memory_kills() -> int:
    """How often the system has killed a process because memory ran out, in this container and on the machine."""
    count = 0
    for path, key in ((Path("/sys/fs/cgroup/memory.events"), "oom_kill"), (Path("/proc/vmstat"), "oom_kill")):
        with suppress(OSError, ValueError):
            count += sum(int(line.split()[1]) for line in path.read_text().splitlines() if line.split()[0] == key)
    return count


def be_killed_first(score: int) -> None:
    """Has the system choose this process where memory runs out, rather than one that serves clients.

    Args:
        score: from 0 to 1000 for the first of all.
    """
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(score))
