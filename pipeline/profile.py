"""The distribution of the training rows: the reference for drift, and the numbers that preprocessing needs."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.prepared import Feature, Part
from pipeline.raw import RawDataset

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
DECILES = tuple(np.linspace(0, 1, 11).tolist())


def describe_rows(raw: RawDataset, part: Part) -> dict[str, Any]:
    """Measures the training rows of one split.

    Args:
        raw: the data set, for names and units.
        part: its training rows.

    Returns:
        What `profile.json` holds:

        - `rows`: how many there are.
        - `features`: one distribution per column; for images one of `mean_intensity` and one of `zero_share`, per
          image.
        - `target`: `labels`, `counts` and `shares`, or one distribution for a regression.
        - `standardization`, for columns: `mean` and `std`, one number per column; a constant column has `std` 1.
        - `target_standardization`, for a regression: `mean` and `std` of the target.
    """
    columns, features = (
        (image_measures(part.x), IMAGE_MEASURES) if raw.input_kind == "image" else (part.x, raw.features)
    )
    profile: dict[str, Any] = {
        "rows": len(part.y),
        "features": describe_columns(features, columns),
        "target": _describe_target(raw, part.y),
    }
    if raw.input_kind == "features":
        profile["standardization"] = _standardization(part.x)
    if raw.task == "regression":
        mean, std = (values[0] for values in _standardization(part.y[:, None]).values())
        profile["target_standardization"] = {"mean": mean, "std": std}
    return profile


IMAGE_MEASURES = (Feature("mean_intensity", "raw pixel value"), Feature("zero_share", "share of pixels"))


def image_measures(images: np.ndarray) -> np.ndarray:
    """What stands for an image's content: float64 `(n, 2)`, the mean raw pixel value and the share of pixels at 0."""
    pixels = images.reshape(len(images), -1)
    return np.stack([pixels.mean(axis=1, dtype=np.float64), (pixels == 0).mean(axis=1)], axis=1)


def describe_columns(features: Sequence[Feature], columns: np.ndarray) -> list[dict[str, Any]]:
    """Columns in numbers.

    Args:
        features: names and units, one per column.
        columns: `(n, k)`, finite.

    Returns:
        By column: `name`, `unit`, `count`, `missing` (always 0: prepare refuses missing values), `mean`, `std` (of the
        population), `min`, `max`, `quantiles` by level, and `histogram` with `edges` and `counts`. The edges are
        deciles, so each bin has about a tenth of the rows; equal deciles are merged. The last bin includes its upper
        edge.
    """
    numbers = np.ascontiguousarray(columns.T, np.float64)
    # All columns at once: a call takes longer than its arithmetic where columns are many and short.
    quantiles, deciles = (np.quantile(numbers, levels, axis=1).T for levels in (QUANTILES, DECILES))
    return [_describe_column(*column) for column in zip(features, numbers, quantiles, deciles, strict=True)]


def _describe_column(
    feature: Feature, numbers: np.ndarray, quantiles: np.ndarray, deciles: np.ndarray
) -> dict[str, Any]:
    edges = np.unique(deciles)
    if len(edges) == 1:
        edges = np.array([edges[0] - 0.5, edges[0] + 0.5])
    return {
        "name": feature.name,
        "unit": feature.unit,
        "count": len(numbers),
        "missing": 0,
        "mean": float(numbers.mean()),
        "std": float(numbers.std()),
        "min": float(numbers.min()),
        "max": float(numbers.max()),
        "quantiles": dict(zip(map(str, QUANTILES), quantiles.tolist(), strict=True)),
        "histogram": {"edges": edges.tolist(), "counts": np.histogram(numbers, edges)[0].tolist()},
    }


def _describe_target(raw: RawDataset, y: np.ndarray) -> dict[str, Any]:
    if raw.task == "regression":
        return describe_columns([Feature(raw.target_name, raw.target_unit)], y[:, None])[0]
    counts: Sequence[int] = np.bincount(y, minlength=len(raw.labels)).tolist()
    return {
        "name": raw.target_name,
        "labels": list(raw.labels),
        "counts": list(counts),
        "shares": [count / len(y) for count in counts],
    }


def _standardization(columns: np.ndarray) -> dict[str, list[float]]:
    mean, std = columns.mean(axis=0, dtype=np.float64), columns.std(axis=0, dtype=np.float64)
    # A constant column has a deviation of 0 up to rounding; dividing by it would blow the rounding up.
    is_constant = columns.min(axis=0) == columns.max(axis=0)
    return {"mean": mean.tolist(), "std": np.where(is_constant, 1.0, std).tolist()}
