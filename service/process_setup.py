"""What the service's processes have in common."""

import ctypes
import logging.config
import os
import resource
import signal
import sys
import threading
from contextlib import suppress

from service.logs import logging_configuration
from service.settings import Settings

# prctl(2): have the kernel send a signal when the parent ends.
PR_SET_PDEATHSIG = 1
FAILED = 70  # EX_SOFTWARE of sysexits.h
# The first process of a service, for those that it starts.
PARENT_VARIABLE = "SERVICE_SUPERVISOR_PID"


def end_with_parent(number: int = signal.SIGTERM) -> None:
    """Ends this process when the service's first process does, however that ends; on Linux only.

    To be called first of all, by a process that the first process has started.

    Args:
        number: the signal; SIGKILL ends a process too that was stopped.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
    parent = os.environ.get(PARENT_VARIABLE)
    if parent and os.getppid() != int(parent):
        # It had ended already, of which the kernel tells nobody.
        os.kill(os.getpid(), number)


def allow_many_files() -> None:
    """Lets this process and its children open as many files as the system grants; shells often say 1024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def prefer_throughput() -> None:
    """Lets this process, and those that it forks, finish what they do before others take the CPU; on Linux only.

    A request passes through two processes. Where they share few CPUs, the one that wakes the other would lose its CPU
    to it each time, in the middle of its work.
    """
    if sys.platform == "linux":
        with suppress(OSError):  # a container may forbid it
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def set_up_logging(settings: Settings) -> None:
    """Writes log lines in the form that the settings give."""
    logging.config.dictConfig(logging_configuration(settings.log_level, settings.log_format))


def end_when_a_thread_fails() -> None:
    """Ends the process when an exception ends one of its threads: better a fresh one than one that lacks a thread."""
    tell = threading.excepthook

    def end(arguments: threading.ExceptHookArgs) -> None:
        logging.getLogger(__name__).critical("A thread failed, and the process ends", exc_info=arguments.exc_value)
        tell(arguments)
        os._exit(FAILED)

    threading.excepthook = end
