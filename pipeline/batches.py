"""The order in which a training sees its rows: a function of the seed and the epoch, and of nothing else.

A training that is resumed in epoch 7 therefore sees the rows as it would have without the interruption.
"""

from collections.abc import Iterator

import keras
import numpy as np

STEPS_PER_CALL = 64
"""Steps in one call at most. The progress bar and an interruption are as coarse as this; more is no faster."""


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


def count_batches(rows: int, batch_size: int) -> int:
    """Batches in an epoch; the last one may be smaller."""
    return -(-rows // batch_size)


class Deal(keras.callbacks.Callback):
    """Deals the rows anew before each epoch, and hands them out call by call.

    Attributes:
        batch_size: rows per batch; the last batch of an epoch has what is left.
        batches: in an epoch.
        steps: in one call, evenly many.
    """

    def __init__(self, rows: int, batch_size: int, seed: int) -> None:
        """Takes what decides the order: how many rows there are, how many to a batch, and the model's seed."""
        super().__init__()
        self.batch_size = batch_size
        self.batches = count_batches(rows, batch_size)
        self.steps = count_batches(self.batches, count_batches(self.batches, STEPS_PER_CALL))
        self._rows = rows
        self._seed = seed
        self._order = np.arange(0, dtype=np.int32)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        """Shuffles."""
        self._order = order_of_epoch(self._seed, epoch, self._rows)

    def next_calls(self) -> Iterator[tuple[np.ndarray, int]]:
        """What the next `steps` batches are, in one call or, with the epoch's smaller last batch, in two.

        Yields:
            The chosen rows, `(steps, batch)` int32, and how many of these steps are meant. Whole batches always come in
            arrays of the same shape, in which steps behind the meant ones only fill up; a smaller batch comes alone.
        """
        size = self.batch_size
        dealt, self._order = np.split(self._order, [min(self.steps * size, len(self._order))])
        whole, rest = np.split(dealt, [len(dealt) // size * size])
        if len(whole):
            yield np.resize(whole, (min(self.steps, self._rows // size), size)), len(whole) // size
        if len(rest):
            yield rest[None], 1
