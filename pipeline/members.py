"""Members: networks of one shape that are trained side by side, on the same batches, and answer together.

Each starts from random weights of its own and learns from a loss of its own, as it would alone. What differs between
them is mostly what is wrong, and the mean of their answers leaves it out.

Source:
    Lakshminarayanan, Pritzel, Blundell, Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles,
    2017.
"""

from collections.abc import Callable
from typing import Any

import keras

Hidden = Callable[[keras.KerasTensor], keras.KerasTensor]
Output = Callable[[str], keras.Layer]


def add_members(count: int, rows: keras.KerasTensor, add_hidden: Hidden, build_output: Output) -> keras.KerasTensor:
    """The outputs of all members; of one member its layers themselves, without anything around them.

    Args:
        count: of members.
        rows: what each of them receives.
        add_hidden: puts the hidden layers of one member behind its input.
        build_output: gives the output layer of a name.

    Returns:
        Outputs `(n, units)` of one member, `(n, members, units)` of several.
    """
    if count == 1:
        return build_output("output")(add_hidden(rows))
    outputs = [_add_member(number, rows, add_hidden, build_output) for number in range(1, count + 1)]
    joined = keras.layers.Concatenate(dtype="float32", name="all_outputs")(outputs)
    return keras.layers.Reshape((count, -1), dtype="float32", name="members")(joined)


def average_members(answers: keras.KerasTensor) -> keras.KerasTensor:
    """The mean `(n, units)` of answers `(n, members, units)`."""
    return keras.layers.GlobalAveragePooling1D(dtype="float32", name="mean_of_members")(answers)


def _add_member(number: int, rows: keras.KerasTensor, add_hidden: Hidden, build_output: Output) -> keras.KerasTensor:
    own = keras.Input(rows.shape[1:], dtype=rows.dtype)
    # A model of its own within the whole, since the names of a model's layers must differ; the scope names its weights.
    with keras.name_scope(f"member_{number}"):
        hidden = add_hidden(own)
    hidden = keras.Model(own, hidden, name=f"member_{number}")(rows)
    return build_output(f"output_{number}")(hidden)


class LossOfMembers(keras.losses.Loss):
    """The members' losses, each on its own outputs: their mean as a number, their sum as what is learned from.

    So each member has the gradient that it would have alone, and the number compares with that of one network.
    """

    def __init__(self, loss: keras.losses.Loss) -> None:
        """Takes the loss of one member."""
        super().__init__(name="loss_of_members")
        self._loss = loss

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Targets as for one member, and outputs `(n, members, units)`; gives `(n,)`."""
        rows, members, units = keras.ops.shape(y_pred)
        each = self._loss.call(
            keras.ops.repeat(y_true, members, axis=0), keras.ops.reshape(y_pred, (rows * members, units))
        )
        each = keras.ops.reshape(each, (rows, members))
        total, mean = keras.ops.sum(each, axis=1), keras.ops.mean(each, axis=1)
        return total + keras.ops.stop_gradient(mean - total)


class LossOfMean(keras.losses.Loss):
    """The loss of the members' mean output."""

    def __init__(self, loss: keras.losses.Loss) -> None:
        """Takes the loss of one output per row."""
        super().__init__(name="loss_of_mean")
        self._loss = loss

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Targets as for one member, and outputs `(n, members, units)`; gives `(n,)`."""
        return self._loss.call(y_true, keras.ops.mean(y_pred, axis=1))


class MetricOfMean(keras.metrics.Metric):
    """A metric of the members' mean answer."""

    def __init__(self, metric: keras.metrics.Metric, activate: Callable[[Any], Any]) -> None:
        """Takes a metric of one answer per row, and what turns a member's outputs into its answer."""
        super().__init__(name=metric.name)
        self._metric = metric
        self._activate = activate

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Targets as for one member, and outputs `(n, members, units)`."""
        self._metric.update_state(y_true, keras.ops.mean(self._activate(y_pred), axis=1), sample_weight)

    def result(self) -> Any:
        """The metric's value so far."""
        return self._metric.result()
