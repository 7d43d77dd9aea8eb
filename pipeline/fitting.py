"""A network fitted to prepared rows, from the parameters to the finished model, without any file.

`fit_network` is for many trainings in one process: studies and searches. `training.train_model` puts files around the
same loop.
"""

import dataclasses
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import keras
import numpy as np

from pipeline.batches import Deal, count_batches
from pipeline.calibration import calibrate
from pipeline.callbacks import (
    BestEpoch,
    FiniteLoss,
    GiveBackWeights,
    Logs,
    Progress,
    Record,
    ReduceOnPlateau,
    Validation,
)
from pipeline.distribution import ALONE, Distribution
from pipeline.distribution_steps import MeasuredByChief, as_one_device
from pipeline.errors import ParamsError
from pipeline.models import build_model, finish_model
from pipeline.network_params import MlpParams
from pipeline.objectives import Objective, choose_objective
from pipeline.optimizers import build_optimizer
from pipeline.params import ComparisonParams
from pipeline.prepared import Part, Prepared
from pipeline.scaling import Standardization, measure_standardization
from pipeline.steps import fit_in_steps


@dataclass(frozen=True)
class Training:
    """A training that is set up but not begun.

    Attributes:
        model: compiled.
        objective: what it is trained for.
        standardization: of the training rows.
        distribution: what it runs on.
    """

    model: keras.Model
    objective: Objective
    standardization: Standardization
    distribution: Distribution = ALONE


@dataclass(frozen=True)
class Fit:
    """What `fit_network` gives.

    Attributes:
        model: finished, float32: raw rows to `(n, classes)` probabilities, or to `(n, 1)` predictions in the target's
            unit.
        history: one entry per epoch, with `epoch` counted from 1, the learning rate and seconds; `val_` figures only
            where there are validation rows.
        best_epoch: the epoch whose weights the model has, from 1.
        seconds: of the whole call, building and compiling included.
        parameters: numbers in the network.
    """

    model: keras.Model
    history: list[Logs]
    best_epoch: int
    seconds: float
    parameters: int


def fit_network(
    params: ComparisonParams,
    prepared: Prepared,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    keep: Literal["best", "last"] = "best",
) -> Fit:
    """Trains a network and prints nothing.

    Keras's global state is cleared first, so a process can call this any number of times: nothing of a finished
    training stays in memory but what the caller keeps, and a result does not depend on what ran before. Models of
    earlier calls stay usable. Only what XLA compiled stays, some 12 MB of a small dense network that was compiled.

    Args:
        params: the model's block.
        prepared: the rows. Without validation rows (`len(prepared.validation.x) == 0`), `keep` must be `last`.
        callbacks: called after Kiln's own, so they see all figures of an epoch; one may set `model.stop_training`, or
            raise, which reaches the caller.
        keep: the weights of the best epoch by `train.checkpoint`, or those of the last epoch.

    Returns:
        The finished model and how it came about.

    Raises:
        ParamsError: the parameters do not fit the data, each other, or the absence of validation rows.
        TrainingError: the loss became infinite or not a number.
    """
    if not len(prepared.validation.x):
        _check_no_validation(params, keep)
    start = time.perf_counter()
    keras.backend.clear_session()
    training, progress = set_up_training(params, prepared), Progress()
    run_epochs(params, prepared, training, progress, callbacks, verbose=0)
    if keep == "best":
        training.model.set_weights(progress.best_weights)
    training = in_float32(params, training, prepared)
    return Fit(
        model=finish_training(params, training, prepared.validation),
        history=progress.history,
        best_epoch=progress.best_epoch if keep == "best" else len(progress.history),
        seconds=time.perf_counter() - start,
        parameters=training.model.count_params(),
    )


def set_up_training(params: ComparisonParams, prepared: Prepared, distribution: Distribution = ALONE) -> Training:
    """Builds and compiles the network, with all seeds set.

    Args:
        params: the model's block.
        prepared: the rows.
        distribution: what to train on.

    Returns:
        The compiled network with what belongs to it.

    Raises:
        ParamsError: the parameters do not fit the data or each other.
    """
    train, description = params.train, prepared.description
    objective = choose_objective(train.loss, description, params.network.members)
    if description.task == "regression" and train.checkpoint != "val_loss":
        raise ParamsError(
            f"train.checkpoint: {train.checkpoint!r} is measured for classes only, and {description.name!r} is a "
            "regression. Allowed here: 'val_loss'."
        )
    if distribution.strategy and train.jit_compile:
        raise ParamsError("train.jit_compile: XLA compiles for one device only. Expected false with train.distribute.")
    bins = params.network.bins if isinstance(params.network, MlpParams) else 0
    standardization = measure_standardization(prepared.train, description, bins)
    _set_seeds(params)
    with distribution.scope():
        model = build_model(
            params.network, objective, description, standardization, train.mixed_precision, train.augmentation
        )
        optimizer = build_optimizer(train, count_batches(len(prepared.train.x), train.batch_size))
        optimizer.build(model.trainable_variables)
    if distribution.strategy:
        model = as_one_device(model)
    model.compile(
        optimizer=optimizer,
        loss=objective.keras_loss(),
        metrics=[objective.keras_metric()],
        # JAX without compilation runs operation by operation, twenty times slower.
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )
    return Training(model, objective, standardization, distribution)


def run_epochs(
    params: ComparisonParams,
    prepared: Prepared,
    training: Training,
    progress: Progress,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int | None = None,
) -> None:
    """Trains from where `progress` stands to the last epoch, or until early stopping.

    Args:
        params: the model's block.
        prepared: the rows.
        training: what `set_up_training` gave, with the state that belongs to `progress`.
        progress: gets each epoch's figures and, where there are validation rows, the best weights.
        callbacks: called after Kiln's own.
        verbose: 0 for silence, 1 for a bar, 2 for one line per epoch; a bar where somebody watches if None.

    Raises:
        TrainingError: the loss became infinite or not a number.
    """
    targets = training.objective.encode_targets(prepared.train.y, training.standardization)
    if verbose is None:
        verbose = (1 if sys.stdout.isatty() else 2) if training.distribution.is_chief else 0
    fit_in_steps(
        training.model,
        (prepared.train.x, targets),
        Deal(len(targets), params.train.batch_size, params.seed),
        params.train.jit_compile,
        training.distribution,
        epochs=params.train.epochs,
        initial_epoch=len(progress.history),
        verbose=verbose,
        callbacks=[*_own_callbacks(params, prepared, training, progress), *callbacks],
    )


def in_float32(params: ComparisonParams, training: Training, prepared: Prepared) -> Training:
    """The same network on one device, in float32: kernels for bfloat16 differ too much to export answers that agree."""
    if not params.train.mixed_precision and not training.distribution.strategy:
        return training
    model = build_model(params.network, training.objective, prepared.description, training.standardization)
    model.set_weights(training.model.get_weights())
    return dataclasses.replace(training, model=model)


def finish_training(params: ComparisonParams, training: Training, validation: Part) -> keras.Model:
    """The finished model with calibrated probabilities, where there are any.

    Args:
        params: the model's block.
        training: with the weights to keep.
        validation: the rows on which to calibrate, or none.

    Returns:
        See `finish_model` and `calibrate`.
    """
    finished = finish_model(training.model, training.objective, training.standardization)
    if training.objective.task == "regression" or params.train.calibration == "none" or not len(validation.x):
        return finished
    return calibrate(finished, validation)


def follows_area(params: ComparisonParams, prepared: Prepared) -> bool:
    """Whether the area under the ROC curve is measured after each epoch: of two classes, or where it decides."""
    return prepared.description.task == "binary" or params.train.checkpoint == "val_roc_auc"


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


def _check_no_validation(params: ComparisonParams, keep: str) -> None:
    needs = {
        "keep='best'": keep == "best",
        "train.early_stopping": params.train.early_stopping is not None,
        "train.schedule 'reduce_on_plateau'": params.train.schedule.name == "reduce_on_plateau",
    }
    for what, is_wanted in needs.items():
        if is_wanted:
            raise ParamsError(
                f"{what} needs validation rows, and this split has none. Without them: keep='last', no early_stopping, "
                "and a schedule that is a function of the step ('constant', 'cosine', 'exponential')."
            )


def _set_seeds(params: ComparisonParams) -> None:
    keras.utils.set_random_seed(params.seed)
    if params.train.deterministic and keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def _own_callbacks(
    params: ComparisonParams, prepared: Prepared, training: Training, progress: Progress
) -> list[keras.callbacks.Callback]:
    """Each one reads what those before it have written into the epoch's figures."""
    train, validation = params.train, prepared.validation
    if not len(validation.x):
        return [FiniteLoss(), Record(progress)]
    targets = training.objective.encode_targets(validation.y, training.standardization)
    sample = sample_rows(prepared.train, len(validation.x), params.seed) if follows_area(params, prepared) else None
    patience = train.early_stopping.patience if train.early_stopping else None
    callbacks = [
        MeasuredByChief(training.distribution, Validation(training.objective, validation, targets, sample)),
        FiniteLoss(),
        Record(progress),
        BestEpoch(train.checkpoint, patience, progress),
    ]
    if train.schedule.name == "reduce_on_plateau":
        callbacks.append(ReduceOnPlateau(train.schedule, progress))
    if train.average_momentum:
        average = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
        return [average, *callbacks, GiveBackWeights(average)]
    return callbacks
