"""One training of the `train` stage: `train_model` puts files around the loop of `fitting`: resume, logs, report."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from pipeline.callbacks import Progress
from pipeline.distribution import ALONE, Distribution
from pipeline.fitting import Training, finish_training, follows_area, in_float32, run_epochs, set_up_training
from pipeline.folders import whole_folder
from pipeline.params import ComparisonParams
from pipeline.prepared import Prepared
from pipeline.resume import ResumePoint, SaveProgress, restore, training_key
from pipeline.tensorboard_logs import TensorBoardLogs
from pipeline.training_report import describe_best, write_training_report


@dataclass(frozen=True)
class Places:
    """Folders of one training.

    Attributes:
        run: gets `model.keras` and `tensorboard/`.
        report: gets the training report.
        resume: holds the state of an unfinished training.
    """

    run: Path
    report: Path
    resume: Path


def train_model(
    params: ComparisonParams, prepared: Prepared, places: Places, distribution: Distribution = ALONE
) -> str:
    """Trains a network, or goes on with a training that was interrupted, and writes all results.

    Interrupted after any epoch and begun again, it gives the same model, bit for bit on one machine, as without the
    interruption.

    Args:
        params: the model's block.
        prepared: the rows.
        places: where to write; of several workers only the chief does.
        distribution: what to train on.

    Returns:
        A sentence about the best epoch.

    Raises:
        ParamsError: the parameters do not fit the data or each other.
        TrainingError: the loss became infinite or not a number, or another worker is gone or trains something else.
    """
    training, key = set_up_training(params, prepared, distribution), training_key(params, prepared)
    distribution.check_equal(key)
    point = ResumePoint(places.resume, key) if distribution.is_chief else None
    progress = restore(training.model, distribution.share(point.read() if point else b""))
    if point and progress.history:
        print(f"Going on after epoch {len(progress.history)}, where a run was interrupted.")  # noqa: T201
    if not progress.stopped and len(progress.history) < params.train.epochs:
        run_epochs(params, prepared, training, progress, _file_callbacks(params, point, progress) if point else ())
    if point:
        training.model.set_weights(progress.best_weights)
        training = in_float32(params, training, prepared)
        finished = finish_training(params, training, prepared.validation)
        facts = _facts(params, prepared) | _distribution_facts(distribution)
        _write_results(training, finished, progress, places, facts, point.folder / "tensorboard")
        point.close()
    # The others stay until all is written: their end would end the chief.
    distribution.share(b"")
    return describe_best(progress)


def _file_callbacks(params: ComparisonParams, point: ResumePoint, progress: Progress) -> list[keras.callbacks.Callback]:
    save = SaveProgress(point, progress)
    if keras.backend.backend() == "tensorflow":
        return [TensorBoardLogs(point.folder / "tensorboard", params.train.epochs), save]
    print("No TensorBoard logs: they need the TensorFlow backend.")  # noqa: T201
    return [save]


def _write_results(
    training: Training, finished: keras.Model, progress: Progress, places: Places, facts: dict[str, Any], logs: Path
) -> None:
    with whole_folder(places.report) as folder:
        write_training_report(folder, training.model, progress, facts)
    with whole_folder(places.run) as folder:
        finished.save(folder / "model.keras")
        if logs.is_dir():
            # Copied, not moved: after a kill in between, the next run needs them once more.
            shutil.copytree(logs, folder / "tensorboard")


def _facts(params: ComparisonParams, prepared: Prepared) -> dict[str, Any]:
    """What `training.json` says beside the counts; `roc_auc` of the history is that of a sample of training rows."""
    sampled = {"rows_sampled_for_roc_auc": min(len(prepared.train.x), len(prepared.validation.x))}
    return {
        "rows": len(prepared.train.x),
        **(sampled if follows_area(params, prepared) else {}),
        "checkpoint": params.train.checkpoint,
        "seed": params.seed,
        "deterministic": params.train.deterministic,
        "backend": keras.backend.backend(),
        "devices": keras.distribution.list_devices(),
        "keras": keras.version(),
    } | ({"partial": prepared.description.partial} if prepared.description.partial else {})


def _distribution_facts(distribution: Distribution) -> dict[str, Any]:
    if not distribution.strategy:
        return {}
    return {"workers": distribution.workers, "replicas": distribution.strategy.num_replicas_in_sync}
