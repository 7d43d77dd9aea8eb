"""TensorFlow in this process: imported once, when asked for, with as many threads as there are CPUs for it."""

import importlib
import logging
import math
import os
import sys
import time
from pathlib import Path
from types import ModuleType

logger = logging.getLogger(__name__)

CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


def import_tensorflow(threads: int) -> ModuleType:
    """Imports TensorFlow: 5 seconds and 640 MB the first time.

    To be called in the process that uses it: TensorFlow does not survive a fork.

    Args:
        threads: how many threads may work on one operation, and how many operations may run at a time; of no effect
            where TensorFlow is there already, since it can be told only at the start.

    Returns:
        The module.
    """
    # Read when the library is loaded; 2 leaves warnings out.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if "tensorflow" in sys.modules:
        return importlib.import_module("tensorflow")
    started = time.monotonic()
    tensorflow = importlib.import_module("tensorflow")
    tensorflow.get_logger().setLevel("ERROR")
    tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
    tensorflow.config.threading.set_inter_op_parallelism_threads(threads)
    logger.info("TensorFlow %s imported in %.1f s", tensorflow.__version__, time.monotonic() - started)
    return tensorflow


def share_of_cpus(workers: int, cpu_max: Path = CPU_MAX) -> int:
    """How many CPUs one of several workers may count on, at least 1.

    TensorFlow would count the machine's CPUs, also where the container may use a fraction of them.

    Args:
        workers: processes that share them.
        cpu_max: the control group's limit: quota and period in microseconds, or `max` for none.

    Source:
        Control Group v2, "CPU Interface Files", in the Linux kernel's documentation.
    """
    available = len(os.sched_getaffinity(0))
    try:
        quota, period = cpu_max.read_text(encoding="ascii").split()
        limit = math.ceil(int(quota) / int(period))
    except (OSError, ValueError):
        limit = available
    return max(1, min(available, limit) // workers)
