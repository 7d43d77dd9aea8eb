"""What the training rows say about scale: numbers measured once, then fixed in layers of the model."""

from dataclasses import dataclass

import keras
import numpy as np

from pipeline.errors import ParamsError
from pipeline.prepared import Description, Part


@dataclass(frozen=True)
class Standardization:
    """Means and deviations of the training rows.

    Attributes:
        mean, deviation: of the input. `(k,)` float64 in the features' units, or `()` over all pixels of all images,
            since a pixel at the border never varies.
        target_mean, target_deviation: of a regression's target, in its unit; 0 and 1 for classes.
    """

    mean: np.ndarray
    deviation: np.ndarray
    target_mean: float = 0.0
    target_deviation: float = 1.0

    def standardize_target(self, y: np.ndarray) -> np.ndarray:
        """Targets `(n,)` in their unit as `(n, 1)` float32 with training mean 0 and deviation 1."""
        return ((y[:, None] - self.target_mean) / self.target_deviation).astype(np.float32)


def measure_standardization(part: Part, description: Description) -> Standardization:
    """Measures the training rows.

    Args:
        part: the training rows in raw units.
        description: of their data set.

    Returns:
        The means and deviations. A deviation of 0 (a column that never varies) is given as 1.
    """
    axes = None if description.input_kind == "image" else 0
    mean = np.mean(part.x, axis=axes, dtype=np.float64)
    deviation = _without_zeros(np.std(part.x, axis=axes, dtype=np.float64))
    if description.task != "regression":
        return Standardization(mean, deviation)
    target_deviation = float(_without_zeros(np.std(part.y, dtype=np.float64)))
    return Standardization(mean, deviation, float(np.mean(part.y, dtype=np.float64)), target_deviation)


def scaling_layer(kind: str, description: Description, standardization: Standardization) -> keras.Layer | None:
    """The layer that takes raw values to the network's scale; it has no weights.

    Args:
        kind: `input_scaling` of the network.
        description: of the data set.
        standardization: of its training rows.

    Returns:
        The layer, or None for `none`.

    Raises:
        ParamsError: `unit_range` for data without a range.
    """
    if kind == "none":
        return None
    if kind == "standardize":
        variance = np.square(standardization.deviation)
        axis = None if description.input_kind == "image" else -1
        return keras.layers.Normalization(
            axis=axis, mean=standardization.mean, variance=variance, dtype="float32", name="standardize"
        )
    if description.input_range is None:
        raise ParamsError(
            f"network.input_scaling: 'unit_range' needs data with a fixed range, and {description.name!r} has none. "
            "Allowed here: 'standardize', 'none'."
        )
    low, high = description.input_range
    scale = 1.0 / (high - low)
    return keras.layers.Rescaling(scale, offset=-low * scale, dtype="float32", name="unit_range")


def _without_zeros(deviation: np.ndarray) -> np.ndarray:
    return np.where(deviation > 0, deviation, 1.0)
