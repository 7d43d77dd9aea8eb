"""What happens after each epoch. Whoever remembers something from epoch to epoch can save it and take it up again."""

import math
import time
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from pipeline.errors import TrainingError
from pipeline.objectives import Objective
from pipeline.params import ScheduleParams
from pipeline.prepared import Part
from pipeline.ranking import roc_auc

VALIDATION_BATCH = 2048
"""Rows per call outside training: large, since nothing is learned from them and calls cost more than rows."""

Logs = dict[str, float]


@dataclass
class Progress:
    """How far a training has come; what a resumed one starts from.

    Attributes:
        history: one entry per finished epoch, with `epoch` counted from 1 and the learning rate and seconds.
        best_epoch: from 1; 0 before the first.
        best_value: of the checkpoint metric.
        best_weights: of the network after that epoch, in the order of `model.get_weights()`.
        plateau_best: least validation loss so far, for `reduce_on_plateau`.
        plateau_epochs: epochs since it improved.
        stopped: whether early stopping has ended the training.
    """

    history: list[Logs] = field(default_factory=list)
    best_epoch: int = 0
    best_value: float | None = None
    best_weights: list[np.ndarray] = field(default_factory=list)
    plateau_best: float = math.inf
    plateau_epochs: int = 0
    stopped: bool = False


class Validation(keras.callbacks.Callback):
    """Adds `val_loss`, the validation metric and, where wanted, `roc_auc` and `val_roc_auc` to an epoch's figures.

    Keras's own validation gives no ROC AUC without a second pass; this makes one pass, in large batches. `roc_auc` is
    taken on a sample of the training rows, as many as there are validation rows at most.
    """

    def __init__(self, objective: Objective, validation: Part, targets: np.ndarray, sample: Part | None) -> None:
        """Takes the rows.

        Args:
            objective: of the training.
            validation: all validation rows, raw.
            targets: theirs, encoded.
            sample: training rows for `roc_auc`, raw; None where nobody reads the area.
        """
        super().__init__()
        self._objective = objective
        self._loss = objective.validation_loss()
        self._metric = objective.keras_metric()
        self._labels = validation.y
        self._targets = targets
        self._rows = _in_batches(validation.x)
        self._sample_labels = sample.y if sample else None
        self._sample_rows = _in_batches(sample.x) if sample else []

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:  # noqa: ARG002
        """Measures and writes into `logs`, which later callbacks and the progress bar read."""
        outputs = self._predict(self._rows)
        logs["val_loss"] = float(self._loss(self._targets, outputs)) + sum(float(loss) for loss in self.model.losses)
        self._metric.reset_state()
        self._metric.update_state(self._targets, outputs)
        logs[f"val_{self._metric.name}"] = float(self._metric.result())
        if self._sample_rows:
            self._add_area(logs, "roc_auc", self._sample_labels, self._predict(self._sample_rows))
            self._add_area(logs, "val_roc_auc", self._labels, outputs)

    def _add_area(self, logs: Logs, name: str, labels: np.ndarray, outputs: np.ndarray) -> None:
        area = roc_auc(labels, self._objective.probabilities(outputs))
        if area is not None:
            logs[name] = area

    def _predict(self, batches: list[Any]) -> np.ndarray:
        return np.concatenate([self.model.predict_on_batch(batch) for batch in batches])


class FiniteLoss(keras.callbacks.Callback):
    """Ends a training whose loss is no number any more."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Looks at the losses.

        Raises:
            TrainingError: one is infinite or not a number.
        """
        for name in ("loss", "val_loss"):
            if name in logs and not math.isfinite(logs[name]):
                raise TrainingError(
                    f"{name} became {logs[name]} in epoch {epoch + 1}, expected a finite number. Lower "
                    "train.optimizer.learning_rate, or check input_scaling and the initializer."
                )


class Record(keras.callbacks.Callback):
    """Writes each epoch into the history, with its learning rate and how long it took."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress
        self._start = 0.0

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:  # noqa: ARG002
        """Starts the clock."""
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Adds the epoch."""
        logs["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        seconds = round(time.perf_counter() - self._start, 3)
        self._progress.history.append({"epoch": epoch + 1, **logs, "seconds": seconds})


class ReduceOnPlateau(keras.callbacks.Callback):
    """Lowers the learning rate when the validation loss has stopped improving."""

    def __init__(self, schedule: ScheduleParams, progress: Progress) -> None:
        super().__init__()
        self._schedule = schedule
        self._progress = progress

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:  # noqa: ARG002
        """Counts epochs without improvement and acts on the last one."""
        progress = self._progress
        if logs["val_loss"] < progress.plateau_best:
            progress.plateau_best, progress.plateau_epochs = logs["val_loss"], 0
            return
        progress.plateau_epochs += 1
        if progress.plateau_epochs >= self._schedule.patience:
            self.model.optimizer.learning_rate = logs["learning_rate"] * self._schedule.decay_rate
            progress.plateau_epochs = 0


class BestEpoch(keras.callbacks.Callback):
    """Keeps the weights of the best epoch, and stops when none has been better for `patience` epochs."""

    def __init__(self, metric: str, patience: int | None, progress: Progress) -> None:
        super().__init__()
        self._metric = metric
        self._patience = patience
        self._progress = progress

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Compares the epoch with the best one.

        Raises:
            TrainingError: the metric was not measured: the validation rows hold a single class.
        """
        if self._metric not in logs:
            raise TrainingError(f"{self._metric} cannot be measured: the validation rows hold a single class.")
        value, best = logs[self._metric], self._progress.best_value
        if best is None or (value < best if self._metric == "val_loss" else value > best):
            self._progress.best_epoch, self._progress.best_value = epoch + 1, value
            self._progress.best_weights = self.model.get_weights()
        elif self._patience and epoch + 1 - self._progress.best_epoch >= self._patience:
            self._progress.stopped = self.model.stop_training = True


class GiveBackWeights(keras.callbacks.Callback):
    """Ends the exchange that `SwapEMAWeights` made: what follows sees the weights themselves, not their average."""

    def __init__(self, average: keras.callbacks.SwapEMAWeights) -> None:
        super().__init__()
        self._average = average

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Exchanges once more, before the state is saved."""
        self._average.on_epoch_begin(epoch, logs)


def _in_batches(x: np.ndarray) -> list[Any]:
    starts = range(0, len(x), VALIDATION_BATCH)
    return [keras.ops.convert_to_tensor(x[start : start + VALIDATION_BATCH].astype(np.float32)) for start in starts]
