"""The rows of a training as batches, in an order that only the seed and the epoch decide.

A training that is resumed in epoch 7 therefore sees the rows as it would have without the interruption.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np


def order_of_epoch(seed: int, epoch: int, rows: int) -> np.ndarray:
    """The order in which an epoch sees the rows.

    Args:
        seed: of the model; not negative.
        epoch: from 0.
        rows: how many there are.

    Returns:
        `(rows,)` int32, a permutation of `0..rows - 1`.
    """
    return np.random.default_rng([seed, epoch]).permutation(rows).astype(np.int32)


class EpochShuffle(keras.callbacks.Callback):
    """Deals the rows anew before each epoch."""

    def __init__(self, seed: int, rows: int, deal: Callable[[np.ndarray], Any]) -> None:
        super().__init__()
        self._seed = seed
        self._rows = rows
        self._deal = deal

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        """Hands the epoch's order to the batches."""
        self._deal(order_of_epoch(self._seed, epoch, self._rows))


class ArrayBatches(keras.utils.PyDataset):
    """Batches gathered with numpy, for backends other than TensorFlow."""

    def __init__(self, x: np.ndarray, y: np.ndarray, batch_size: int) -> None:
        super().__init__()
        self._x = x
        self._y = y
        self._batch_size = batch_size
        self.order = np.arange(len(x), dtype=np.int32)

    def __len__(self) -> int:
        return count_batches(len(self._x), self._batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rows = self.order[index * self._batch_size : (index + 1) * self._batch_size]
        return self._x[rows].astype(np.float32), self._y[rows]

    def deal(self, order: np.ndarray) -> None:
        """Takes the order of the next epoch."""
        self.order = order


def count_batches(rows: int, batch_size: int) -> int:
    """Batches in an epoch; the last one may be smaller."""
    return -(-rows // batch_size)


def training_batches(x: np.ndarray, y: np.ndarray, batch_size: int, seed: int) -> tuple[Any, EpochShuffle]:
    """What `fit` reads.

    Args:
        x: `(n, ...)` raw values of any numeric type; they stay so in memory and are cast batch by batch.
        y: `(n, ...)` encoded targets.
        batch_size: rows per batch; the last batch of an epoch has what is left.
        seed: of the shuffling.

    Returns:
        The first argument of `fit` (to be used with `shuffle=False`), and the callback that shuffles it.
    """
    if keras.backend.backend() == "tensorflow":
        data, deal = _tensorflow_batches(x, y, batch_size)
    else:
        arrays = ArrayBatches(x, y, batch_size)
        data, deal = arrays, arrays.deal
    return data, EpochShuffle(seed, len(x), deal)


def _tensorflow_batches(x: np.ndarray, y: np.ndarray, batch_size: int) -> tuple[Any, Callable[[np.ndarray], Any]]:
    import tensorflow as tf

    with tf.device("CPU:0"):
        rows, targets = tf.constant(x), tf.constant(y)
        order = tf.Variable(np.arange(len(x), dtype=np.int32), trainable=False)

    def gather(index: Any) -> tuple[Any, Any]:
        chosen = order[index * batch_size : (index + 1) * batch_size]
        return tf.cast(tf.gather(rows, chosen), tf.float32), tf.gather(targets, chosen)

    # One element is one batch: tf.data's own shuffle and batch cost time per row. Keras makes a new iterator for each
    # epoch, which reads the order that was dealt before it.
    batches = tf.data.Dataset.range(count_batches(len(x), batch_size)).map(gather).prefetch(tf.data.AUTOTUNE)
    options = tf.data.Options()
    # Determinism would undo it, with a line on standard error for each epoch.
    options.experimental_optimization.map_parallelization = False
    return batches.with_options(options), order.assign
