"""What a worker process does: it imports Keras and reads a data set once and then carries out run after run."""

import functools
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.backend import start_keras
from pipeline.params import load_params
from studies.results import Result, save_result
from studies.runs import Run

if TYPE_CHECKING:
    from studies.material import Dataset


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
