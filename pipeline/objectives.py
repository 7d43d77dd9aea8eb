"""What a network is trained for: the loss, the form of the targets, and what its outputs mean.

A network for `categorical_crossentropy`, `binary_crossentropy` or a squared or absolute error ends in probabilities
(softmax, or one sigmoid unit). A network for `hinge` ends in linear scores s:

- binary: mean of max(0, 1 - t s) with t = +1 for class 1 and -1 for class 0; s = 0 is the boundary, and sigmoid(s)
  stands in for the probability of class 1;
- multiclass: mean of max(0, 1 + largest wrong score - right score); softmax(s) stands in for the probabilities.

These stand-ins rank as the scores do and choose the same class; only a temperature (`pipeline/calibration.py`) makes
probabilities of them.

A network of several members has outputs `(n, members, ...)`. Each member has a loss of its own; everything else is
measured on the mean of their outputs.
"""

from dataclasses import dataclass

import keras
import numpy as np
from scipy.special import expit, softmax

from pipeline.errors import ParamsError
from pipeline.members import LossOfMean, LossOfMembers, MetricOfMean
from pipeline.prepared import Description
from pipeline.scaling import Standardization

ALLOWED_LOSSES = {
    "multiclass": ("categorical_crossentropy", "mean_squared_error", "mean_absolute_error", "hinge"),
    "binary": ("binary_crossentropy", "mean_squared_error", "mean_absolute_error", "hinge"),
    "regression": ("mean_squared_error", "mean_absolute_error"),
}


@dataclass(frozen=True)
class Objective:
    """A loss that fits a task.

    Attributes:
        task: of the data set.
        loss: `train.loss`.
        classes: number of classes; 1 for a regression.
        members: networks that are trained side by side.
    """

    task: str
    loss: str
    classes: int
    members: int = 1

    @property
    def is_linear(self) -> bool:
        """Whether the network ends in linear values: a regression, or scores for the hinge."""
        return self.task == "regression" or self.loss == "hinge"

    @property
    def output_activation(self) -> str:
        """The activation behind the network's last kernel."""
        return "linear" if self.is_linear else self._answer_activation

    def keras_loss(self) -> keras.losses.Loss:
        """The loss on `encode_targets` and the network's outputs, to learn from."""
        return self._loss_of_one() if self.members == 1 else LossOfMembers(self._loss_of_one())

    def validation_loss(self) -> keras.losses.Loss:
        """The loss to judge by: of several members that of their mean output, which stays good for longer."""
        return self._loss_of_one() if self.members == 1 else LossOfMean(self._loss_of_one())

    def keras_metric(self) -> keras.metrics.Metric:
        """What is followed during training beside the loss: accuracy, or the mean absolute error in deviations."""
        if self.members == 1:
            return self._metric(0.0 if self.is_linear else 0.5)
        activation = keras.activations.get(self._answer_activation if self.is_linear else "linear")
        return MetricOfMean(self._metric(0.5), activation)

    def _loss_of_one(self) -> keras.losses.Loss:
        if self.loss == "categorical_crossentropy":
            return keras.losses.SparseCategoricalCrossentropy()
        if self.loss == "hinge" and self.task == "multiclass":
            return keras.losses.CategoricalHinge()
        return {
            "binary_crossentropy": keras.losses.BinaryCrossentropy,
            "mean_squared_error": keras.losses.MeanSquaredError,
            "mean_absolute_error": keras.losses.MeanAbsoluteError,
            "hinge": keras.losses.Hinge,
        }[self.loss]()

    def _metric(self, threshold: float) -> keras.metrics.Metric:
        if self.task == "regression":
            return keras.metrics.MeanAbsoluteError(name="mae_standardized")
        if self.task == "binary":
            return keras.metrics.BinaryAccuracy(threshold=threshold, name="accuracy")
        if self.loss == "categorical_crossentropy":
            return keras.metrics.SparseCategoricalAccuracy(name="accuracy")
        return keras.metrics.CategoricalAccuracy(name="accuracy")

    @property
    def _answer_activation(self) -> str:
        return {"regression": "linear", "multiclass": "softmax", "binary": "sigmoid"}[self.task]

    def encode_targets(self, y: np.ndarray, standardization: Standardization) -> np.ndarray:
        """Targets in the form that the loss compares with.

        Args:
            y: `(n,)` int64 class ids, or float32 targets in their unit.
            standardization: of the training rows.

        Returns:
            `(n,)` int32 class ids for the categorical cross-entropy; `(n, classes)` float32 0 or 1 for other losses of
            several classes; `(n, 1)` float32 0 or 1 for two classes; `(n, 1)` float32 standardized targets.
        """
        if self.task == "regression":
            return standardization.standardize_target(y)
        if self.task == "binary":
            return y[:, None].astype(np.float32)
        if self.loss == "categorical_crossentropy":
            return y.astype(np.int32)
        return np.eye(self.classes, dtype=np.float32)[y]

    def probabilities(self, outputs: np.ndarray) -> np.ndarray:
        """The network's outputs as probabilities, float32 `(n, classes)` or `(n, 1)`; the mean of several members."""
        if self.is_linear:
            outputs = softmax(outputs, axis=-1) if self.task == "multiclass" else expit(outputs)
        return outputs if self.members == 1 else outputs.mean(axis=1)


def choose_objective(loss: str, description: Description, members: int = 1) -> Objective:
    """Checks that a loss fits a task.

    Args:
        loss: `train.loss`.
        description: of the data set.
        members: of the network.

    Returns:
        The objective.

    Raises:
        ParamsError: it does not fit; the message lists the losses that do.
    """
    allowed = ALLOWED_LOSSES[description.task]
    if loss not in allowed:
        raise ParamsError(
            f"train.loss: {loss!r} does not fit {description.name!r}, a {description.task} data set. "
            f"Allowed here: {', '.join(repr(name) for name in allowed)}."
        )
    return Objective(description.task, loss, max(1, len(description.labels)), members)
