"""Worker processes: each imports Keras and reads a data set once and then carries out run after run on one core."""

import functools
import logging
import multiprocessing
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.backend import start_keras
from pipeline.params import load_params
from studies.results import Result, save_result
from studies.runs import Run

if TYPE_CHECKING:
    from studies.material import Dataset

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
    executor = ProcessPoolExecutor(count, mp_context=context, initializer=_leave_interrupts_to_the_parent)
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


def carry_out_and_save(run: Run, root: Path, results_folder: Path) -> Result:
    """Carries out a run in this process and writes its result, before anybody is told.

    Args:
        run: what to do.
        root: the project's folder.
        results_folder: where results are kept.

    Returns:
        The result.

    Raises:
        PipelineError: the data are missing or broken, or do not fit the run.
    """
    start_keras()
    # Each run is a new network with functions of its own; TensorFlow takes that for a mistake and warns.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    from studies.trial import carry_out

    result = carry_out(run, _dataset(run.params.dataset, root))
    save_result(result, results_folder / run.file)
    return result


@functools.lru_cache(maxsize=2)
def _dataset(name: str, root: Path) -> "Dataset":
    from studies.material import load_dataset

    return load_dataset(name, load_params(root / "params.yaml"), root)


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
