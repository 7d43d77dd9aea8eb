"""One training from prepared rows to the finished model: `train_model` puts the parts together."""

import dataclasses
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pipeline.batches import count_batches, training_batches
from pipeline.callbacks import BestEpoch, FiniteLoss, Progress, Record, ReduceOnPlateau, Validation
from pipeline.errors import ParamsError
from pipeline.folders import whole_folder
from pipeline.models import build_model, finish_model
from pipeline.objectives import Objective, choose_objective
from pipeline.optimizers import build_optimizer
from pipeline.params import ComparisonParams
from pipeline.prepared import Description, Part, Prepared
from pipeline.resume import ResumePoint, SaveProgress, training_key
from pipeline.scaling import Standardization, measure_standardization
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


@dataclass(frozen=True)
class Training:
    """A training that is set up but not begun.

    Attributes:
        model: compiled.
        objective: what it is trained for.
        standardization: of the training rows.
    """

    model: keras.Model
    objective: Objective
    standardization: Standardization


def train_model(params: ComparisonParams, prepared: Prepared, places: Places) -> str:
    """Trains a network, or goes on with a training that was interrupted, and writes all results.

    Interrupted after any epoch and begun again, it gives the same model, bit for bit on one machine, as without the
    interruption.

    Args:
        params: the model's block.
        prepared: the rows.
        places: where to write.

    Returns:
        A sentence about the best epoch.

    Raises:
        ParamsError: the parameters do not fit the data or each other.
        TrainingError: the loss became infinite or not a number.
    """
    training = set_up_training(params, prepared)
    point = ResumePoint(places.resume, training_key(params, prepared))
    progress = point.load(training.model)
    if progress.history:
        print(f"Going on after epoch {len(progress.history)}, where a run was interrupted.")  # noqa: T201
    if not progress.stopped and len(progress.history) < params.train.epochs:
        _fit(params, prepared, training, point, progress)
    training.model.set_weights(progress.best_weights)
    training = _in_float32(params, training, prepared.description)
    facts = _facts(params, prepared)
    _write_results(training, progress, places, facts, point.folder / "tensorboard")
    point.close()
    return describe_best(progress)


def set_up_training(params: ComparisonParams, prepared: Prepared) -> Training:
    """Builds and compiles the network, with all seeds set.

    Args:
        params: the model's block.
        prepared: the rows.

    Returns:
        The compiled network with what belongs to it.

    Raises:
        ParamsError: the parameters do not fit the data or each other.
    """
    train, description = params.train, prepared.description
    objective = choose_objective(train.loss, description)
    if description.task == "regression" and train.checkpoint != "val_loss":
        raise ParamsError(
            f"train.checkpoint: {train.checkpoint!r} is measured for classes only, and {description.name!r} is a "
            "regression. Allowed here: 'val_loss'."
        )
    standardization = measure_standardization(prepared.train, description)
    _set_seeds(params)
    model = build_model(params.network, objective, description, standardization, train.mixed_precision)
    steps = count_batches(len(prepared.train.x), train.batch_size)
    model.compile(
        optimizer=build_optimizer(train, steps),
        loss=objective.keras_loss(),
        metrics=[objective.keras_metric()],
        steps_per_execution=min(train.steps_per_execution, steps),
        # JAX without compilation runs operation by operation, twenty times slower.
        jit_compile=train.jit_compile if keras.backend.backend() == "tensorflow" else "auto",
    )
    return Training(model, objective, standardization)


def sample_rows(part: Part, count: int, seed: int) -> Part:
    """Rows that stand for all of them.

    Args:
        part: any rows.
        count: how many at most.
        seed: decides which.

    Returns:
        `count` rows, or all of them where there are no more.
    """
    if len(part.x) <= count:
        return part
    chosen = np.random.default_rng(seed).choice(len(part.x), count, replace=False)
    return Part(part.x[chosen], part.y[chosen])


def _set_seeds(params: ComparisonParams) -> None:
    keras.utils.set_random_seed(params.seed)
    if params.train.deterministic and keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def _fit(
    params: ComparisonParams, prepared: Prepared, training: Training, point: ResumePoint, progress: Progress
) -> None:
    targets = training.objective.encode_targets(prepared.train.y, training.standardization)
    batches, shuffle = training_batches(prepared.train.x, targets, params.train.batch_size, params.seed)
    training.model.fit(
        batches,
        epochs=params.train.epochs,
        initial_epoch=len(progress.history),
        # The bar is for a person who watches; a log gets one line per epoch.
        verbose=1 if sys.stdout.isatty() else 2,
        shuffle=False,
        callbacks=[shuffle, *_build_callbacks(params, prepared, training, point, progress)],
    )


def _build_callbacks(
    params: ComparisonParams, prepared: Prepared, training: Training, point: ResumePoint, progress: Progress
) -> list[keras.callbacks.Callback]:
    train, validation = params.train, prepared.validation
    targets = training.objective.encode_targets(validation.y, training.standardization)
    sample = sample_rows(prepared.train, len(validation.x), params.seed)
    patience = train.early_stopping.patience if train.early_stopping else None
    # Each one reads what those before it have written into the epoch's figures.
    callbacks = [
        Validation(training.objective, validation, targets, sample),
        FiniteLoss(),
        Record(progress),
        BestEpoch(train.checkpoint, patience, progress),
    ]
    if train.schedule.name == "reduce_on_plateau":
        callbacks.append(ReduceOnPlateau(train.schedule, progress))
    if keras.backend.backend() == "tensorflow":
        callbacks.append(TensorBoardLogs(point.folder / "tensorboard", train.epochs))
    else:
        print("No TensorBoard logs: they need the TensorFlow backend.")  # noqa: T201
    return [*callbacks, SaveProgress(point, progress)]


def _in_float32(params: ComparisonParams, training: Training, description: Description) -> Training:
    """The same network without mixed precision: kernels for bfloat16 differ too much to export answers that agree."""
    if not params.train.mixed_precision:
        return training
    model = build_model(params.network, training.objective, description, training.standardization)
    model.set_weights(training.model.get_weights())
    return dataclasses.replace(training, model=model)


def _write_results(training: Training, progress: Progress, places: Places, facts: dict[str, Any], logs: Path) -> None:
    finished = finish_model(training.model, training.objective, training.standardization)
    with whole_folder(places.report) as folder:
        write_training_report(folder, training.model, progress, facts)
    with whole_folder(places.run) as folder:
        finished.save(folder / "model.keras")
        if logs.is_dir():
            # Copied, not moved: after a kill in between, the next run needs them once more.
            shutil.copytree(logs, folder / "tensorboard")


def _facts(params: ComparisonParams, prepared: Prepared) -> dict[str, Any]:
    """What `training.json` says beside the counts; `roc_auc` of the history is that of a sample of training rows."""
    return {
        "rows": len(prepared.train.x),
        "rows_sampled_for_roc_auc": min(len(prepared.train.x), len(prepared.validation.x)),
        "checkpoint": params.train.checkpoint,
        "seed": params.seed,
        "deterministic": params.train.deterministic,
        "backend": keras.backend.backend(),
        "devices": keras.distribution.list_devices(),
        "keras": keras.version(),
    } | ({"partial": prepared.description.partial} if prepared.description.partial else {})
