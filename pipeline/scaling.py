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
        edges: `(k, bins + 1)` float64, the edges of bins with as many rows each, in deviations from the mean; None
            where no bins are asked for.
    """

    mean: np.ndarray
    deviation: np.ndarray
    target_mean: float = 0.0
    target_deviation: float = 1.0
    edges: np.ndarray | None = None

    def standardize_target(self, y: np.ndarray) -> np.ndarray:
        """Targets `(n,)` in their unit as `(n, 1)` float32 with training mean 0 and deviation 1."""
        return ((y[:, None] - self.target_mean) / self.target_deviation).astype(np.float32)


def measure_standardization(part: Part, description: Description, bins: int = 0) -> Standardization:
    """Measures the training rows.

    Args:
        part: the training rows in raw units.
        description: of their data set.
        bins: how many the network asks for.

    Returns:
        The means and deviations. A deviation of 0 (a column that never varies) is given as 1.

    Raises:
        ParamsError: bins of images are asked for.
    """
    axes = None if description.input_kind == "image" else 0
    mean = np.mean(part.x, axis=axes, dtype=np.float64)
    deviation = _without_zeros(np.std(part.x, axis=axes, dtype=np.float64))
    edges = _measure_edges((part.x - mean) / deviation, description, bins) if bins else None
    if description.task != "regression":
        return Standardization(mean, deviation, edges=edges)
    target_deviation = float(_without_zeros(np.std(part.y, dtype=np.float64)))
    return Standardization(mean, deviation, float(np.mean(part.y, dtype=np.float64)), target_deviation, edges)


def _measure_edges(standardized: np.ndarray, description: Description, bins: int) -> np.ndarray:
    if description.input_kind == "image":
        raise ParamsError(f"network.bins: {description.name!r} are images, and bins are made of columns. Remove bins.")
    return np.quantile(standardized, np.linspace(0, 1, bins + 1), axis=0).T


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


def add_bins(scaled: keras.KerasTensor, edges: np.ndarray) -> keras.KerasTensor:
    """Puts beside each standardized column where it stands in each of its bins: -1 below, 1 above, a line in between.

    Args:
        scaled: `(n, k)`, standardized.
        edges: see `Standardization`.

    Returns:
        `(n, k + k * bins)`: the columns, and their bins. A bin without width, of values that repeat, is -1.

    Source:
        Piecewise linear encoding with quantiles of Gorishniy, Rubachev, Babenko, On Embeddings for Numerical Features
        in Tabular Deep Learning, 2022; here every bin ends at 1, since the column itself goes on.
    """
    low, widths = edges[:, :-1], np.diff(edges)
    slopes = np.divide(1.0, widths, out=np.zeros_like(widths), where=widths > 0)
    lines = keras.layers.EinsumDense(
        "nk,kb->nkb", slopes.shape, bias_axes="kb", trainable=False, dtype="float32", name="lines"
    )
    positions = lines(scaled)
    lines.set_weights([slopes, -low * slopes])
    for layer in (
        keras.layers.ReLU(max_value=1.0, dtype="float32", name="positions_in_bins"),
        keras.layers.Rescaling(2.0, offset=-1.0, dtype="float32", name="center"),
        keras.layers.Flatten(dtype="float32", name="bins"),
    ):
        positions = layer(positions)
    return keras.layers.Concatenate(dtype="float32", name="columns_and_bins")([scaled, positions])


def _without_zeros(deviation: np.ndarray) -> np.ndarray:
    return np.where(deviation > 0, deviation, 1.0)
