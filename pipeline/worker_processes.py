"""Processes that train networks side by side, one core each."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

ONE_THREAD = {
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
"""Each network has a core of its own, and none waits for another."""


@contextmanager
def worker_processes(count: int) -> Iterator[ProcessPoolExecutor]:
    """Starts worker processes; they end with the block, and at once where it ends by an error or an interruption.

    Args:
        count: how many.

    Yields:
        What runs are handed to.
    """
    # Not forked: TensorFlow does not survive it.
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(count, mp_context=context, initializer=_depend_on_the_parent)
    # Threads are counted when a library is loaded, which a new process does before any code of ours.
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    try:
        yield executor
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        left = multiprocessing.active_children()
        for process in left:
            process.terminate()
        for process in left:
            process.join()
        raise
    else:
        executor.shutdown()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _depend_on_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    """A parent that is killed cannot end its workers, and they would wait for work for ever."""
    multiprocessing.parent_process().join()
    os._exit(1)
