"""How many CPUs this process may use."""

import math
import os
from pathlib import Path

CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


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
