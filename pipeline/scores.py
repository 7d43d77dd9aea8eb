"""Figures that say how good answers are; the arithmetic is scikit-learn's.

Precision, recall and F1 are those of class 1 in a binary task and the unweighted mean over the classes (macro)
otherwise. ROC AUC is one against the rest, again the unweighted mean, where there are more than two classes.
"""

from typing import Any

import numpy as np
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    accuracy_score,
    log_loss,
    mean_absolute_error,
    precision_recall_fscore_support,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)

from pipeline.operating_point import decide

CALIBRATION_BINS = 10


def score_classes(truth: np.ndarray, probabilities: np.ndarray, threshold: float | None) -> dict[str, float]:
    """The figures of a classifier.

    Args:
        truth: `(n,)` int64 class ids.
        probabilities: `(n, classes)` float32.
        threshold: the operating point of a binary task, else None.

    Returns:
        A value for each of `figures.CLASSIFICATION`; 0 where a class that is never guessed leaves precision undefined.
    """
    guesses, count = decide(probabilities, threshold), probabilities.shape[1]
    averaging = {"average": "binary"} if count == 2 else {"average": "macro", "labels": np.arange(count)}
    precision, recall, f1, _ = precision_recall_fscore_support(truth, guesses, zero_division=0, **averaging)
    return {
        "accuracy": float(accuracy_score(truth, guesses)),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "roc_auc": area_under_roc(truth, probabilities),
        "log_loss": float(log_loss(truth, probabilities, labels=np.arange(count))),
        "expected_calibration_error": calibration_error(truth, probabilities),
    }


def area_under_roc(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """ROC AUC: the mean over those classes that have rows on both sides; 0.5 where none has.

    Args:
        truth: `(n,)` int64 class ids.
        probabilities: `(n, classes)` float32.

    Returns:
        A number from 0 to 1.
    """
    classes = [1] if probabilities.shape[1] == 2 else range(probabilities.shape[1])
    present = [index for index in classes if 0 < (truth == index).sum() < len(truth)]
    areas = [roc_auc_score(truth == index, probabilities[:, index]) for index in present]
    return float(np.mean(areas)) if areas else 0.5


def calibration(truth: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How often answers are right, by how probable they were said to be, in ten bins of equal width.

    Args:
        truth: `(n,)` int64 class ids.
        probabilities: `(n, classes)` float32. In a binary task class 1 is judged, otherwise the most probable class.

    Returns:
        Three arrays, one entry per bin that holds rows: the mean probability, the share that was right, the rows.
    """
    is_binary = probabilities.shape[1] == 2
    said = np.clip((probabilities[:, 1] if is_binary else probabilities.max(axis=1)).astype(np.float64), 0, 1)
    happened = truth == (1 if is_binary else probabilities.argmax(axis=1))
    share, mean = calibration_curve(happened, said, n_bins=CALIBRATION_BINS, pos_label=True)
    # The bins of calibration_curve, which does not tell how many rows each has.
    inner_edges = np.linspace(0, 1, CALIBRATION_BINS + 1)[1:-1]
    rows = np.bincount(np.searchsorted(inner_edges, said), minlength=CALIBRATION_BINS)
    return mean, share, rows[rows > 0]


def calibration_error(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """The expected calibration error: the mean distance between said and observed, weighted by rows.

    Args:
        truth: `(n,)` int64 class ids.
        probabilities: `(n, classes)` float32.

    Returns:
        A number from 0 (calibrated) to 1.

    Source:
        Guo et al., On Calibration of Modern Neural Networks, 2017, equation 3.
    """
    mean, share, rows = calibration(truth, probabilities)
    return float(np.average(np.abs(mean - share), weights=rows))


def score_numbers(truth: np.ndarray, predictions: np.ndarray, deviation: float) -> dict[str, float]:
    """The figures of a regression.

    Args:
        truth: `(n,)` float32, in the target's unit.
        predictions: `(n,)` float32, in the target's unit.
        deviation: standard deviation of the training rows' target, in its unit.

    Returns:
        A value for each of `figures.REGRESSION`: in the target's unit, or in standard deviations.
    """
    mae = float(mean_absolute_error(truth, predictions))
    rmse = float(root_mean_squared_error(truth, predictions))
    return {
        "mae": mae,
        "rmse": rmse,
        "r2": float(r2_score(truth, predictions)),
        "mae_standardized": mae / deviation,
        "rmse_standardized": rmse / deviation,
    }


def rounded(figures: dict[str, Any]) -> dict[str, Any]:
    """The same figures with six decimals, nested ones too: a report is not changed by the last bits of a sum."""
    return {
        key: rounded(value) if isinstance(value, dict) else round(value, 6) if isinstance(value, float) else value
        for key, value in figures.items()
    }
