"""What the hidden kernels look like while a network learns: how a network that is broken shows itself."""

from typing import Any

import keras
import numpy as np

EPOCHS = (0, 1, 2, 5, 10, 20, 50, 100, 150, 200, 250, 300, 350, 400, 450, 500)
"""After which epochs to look; 0 is before the first."""
BINS = 24
RELATIVE_PRECISION = 1e-4
"""Units whose weights differ by less, in parts of the layer's largest weight, count as one."""


class WeightWatch(keras.callbacks.Callback):
    """Keeps histograms of the hidden kernels and counts how many of their units differ.

    Attributes:
        records: one entry per look and layer: `epoch`, `layer`, `units`, `distinct` (units with weights of their own),
            `low`, `high` and `counts` (the histogram over that range).
    """

    def __init__(self) -> None:
        super().__init__()
        self.records: list[dict[str, Any]] = []

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        """Looks at the initial weights."""
        self._look(0)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        """Looks after the epochs of the list."""
        if epoch + 1 in EPOCHS:
            self._look(epoch + 1)

    def _look(self, epoch: int) -> None:
        for layer in self.model.layers:
            if isinstance(layer, keras.layers.Dense) and layer.name != "output":
                kernel = np.asarray(keras.ops.convert_to_numpy(layer.kernel), np.float64)
                self.records.append({"epoch": epoch, "layer": layer.name, **describe_kernel(kernel)})


def describe_kernel(kernel: np.ndarray) -> dict[str, Any]:
    """The histogram of a kernel, and how many of its units differ.

    Args:
        kernel: `(inputs, units)` float64.

    Returns:
        `units`, `distinct`, `low`, `high`, `counts`.
    """
    scale = max(float(np.abs(kernel).max()), np.finfo(np.float64).tiny)
    low, high = float(kernel.min()), float(kernel.max())
    counts, _ = np.histogram(kernel, BINS, (low, high if high > low else low + RELATIVE_PRECISION))
    return {
        "units": kernel.shape[1],
        "distinct": _count_distinct(kernel / scale),
        "low": round(low, 4),
        "high": round(high, 4),
        "counts": counts.tolist(),
    }


def _count_distinct(kernel: np.ndarray) -> int:
    """Columns that are no closer than the precision to one that was counted before."""
    found: list[np.ndarray] = []
    for column in kernel.T:
        if all(np.abs(column - other).max() > RELATIVE_PRECISION for other in found):
            found.append(column)
    return len(found)
