"""The curves of an evaluation as small tables: what `dvc plots` draws and compares between revisions."""

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix, precision_recall_curve, roc_curve

from pipeline.scores import calibration

GRID = np.linspace(0, 1, 201)
"""The points at which curves are written down; two hundred steps, as a curve of 10,000 rows has thousands."""
POINTS = 500


def judged_classes(labels: tuple[str, ...]) -> dict[int, str]:
    """The classes that have a curve of their own: class 1 of two, else each."""
    return {1: labels[1]} if len(labels) == 2 else dict(enumerate(labels))


def roc_table(truth: np.ndarray, probabilities: np.ndarray, labels: tuple[str, ...]) -> pd.DataFrame:
    """The ROC curve of each judged class against the rest.

    Args:
        truth: `(n,)` int64 class ids.
        probabilities: `(n, classes)` float32.
        labels: class names by class id.

    Returns:
        `false_positive_rate` and, per class with rows on both sides, a column of its name: the true positive rate.
    """
    columns = {"false_positive_rate": GRID}
    for index, label in judged_classes(labels).items():
        if 0 < (truth == index).sum() < len(truth):
            false_rate, true_rate, _ = roc_curve(truth == index, probabilities[:, index])
            columns[label] = np.interp(GRID, false_rate, true_rate)
            columns[label][0] = 0.0
    return pd.DataFrame(columns).round(5)


def precision_recall_table(truth: np.ndarray, probabilities: np.ndarray, labels: tuple[str, ...]) -> pd.DataFrame:
    """The precision-recall curve of each judged class against the rest.

    Args:
        truth: `(n,)` int64 class ids.
        probabilities: `(n, classes)` float32.
        labels: class names by class id.

    Returns:
        `recall` and, per class that has rows, a column of its name: the precision at the least recall that is on the
        curve and not below the column's (precision is not linear in between).
    """
    columns = {"recall": GRID}
    for index, label in judged_classes(labels).items():
        if (truth == index).any():
            precision, recall, _ = precision_recall_curve(truth == index, probabilities[:, index])
            rising_precision, rising_recall = precision[::-1], recall[::-1]
            columns[label] = rising_precision[np.searchsorted(rising_recall, GRID - 1e-9).clip(max=len(recall) - 1)]
    return pd.DataFrame(columns).round(5)


def calibration_table(truth: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """The reliability diagram's points: `mean_probability`, `observed_share`, `rows`; see `scores.calibration`."""
    mean, share, rows = calibration(truth, probabilities)
    return pd.DataFrame({"mean_probability": mean, "observed_share": share, "rows": rows}).round(5)


def confusion_table(truth: np.ndarray, guesses: np.ndarray, labels: tuple[str, ...]) -> pd.DataFrame:
    """Counts: one row per expected class, one column per guessed class."""
    counts = confusion_matrix(truth, guesses, labels=np.arange(len(labels)))
    return pd.DataFrame(counts, index=pd.Index(labels, name="expected"), columns=labels)


def prediction_table(truth: np.ndarray, predictions: np.ndarray) -> pd.DataFrame:
    """`actual` and `predicted` in the target's unit, of at most 500 evenly spaced rows."""
    rows = np.unique(np.linspace(0, len(truth) - 1, min(POINTS, len(truth))).astype(int))
    return pd.DataFrame({"actual": truth[rows], "predicted": predictions[rows]}).round(5)


def histogram_table(truth: np.ndarray, predictions: np.ndarray, bins: int = 30) -> pd.DataFrame:
    """How often values occur: `value` (middle of a bin, in the target's unit), `actual` and `predicted` rows in it."""
    edges = np.histogram_bin_edges(np.concatenate([truth, predictions]).astype(np.float64), bins)
    middles = (edges[:-1] + edges[1:]) / 2
    counts = {name: np.histogram(values, edges)[0] for name, values in (("actual", truth), ("predicted", predictions))}
    return pd.DataFrame({"value": middles.round(5), **counts})
