"""The threshold from which on a row of a binary task is called positive."""

from typing import Literal

import numpy as np
from sklearn.metrics import roc_curve

Aim = Literal["f1", "accuracy", "youden", "more_probable"]


def choose_threshold(truth: np.ndarray, positive: np.ndarray, aim: Aim) -> float:
    """The probability from which on a row is called positive.

    Args:
        truth: `(n,)` int64, class ids 0 and 1 of the validation rows.
        positive: `(n,)` float32, the probabilities of class 1.
        aim: what is to be greatest: F1, accuracy, or Youden's index (sensitivity + specificity - 1); `more_probable`
            is the class with more than half of the probability, whatever the rows say.

    Returns:
        A number that float32 holds exactly, halfway between the least probability that is called positive and the
        greatest that is not, since the rows say nothing about where in that gap it should lie. Of equally good gaps,
        the middle nearest to 0.5, which is also the answer where all rows have one class. At least one row is called
        positive, even where calling none so would be more accurate.
    """
    if aim == "more_probable" or len(np.unique(truth)) < 2:
        return 0.5
    false_rate, true_rate, scores = (curve[1:] for curve in roc_curve(truth, positive, drop_intermediate=False))
    positives, rows = int(truth.sum()), len(truth)
    found, wrong = true_rate * positives, false_rate * (rows - positives)
    values = {
        "f1": 2 * found / (found + wrong + positives),
        "accuracy": (found + rows - positives - wrong) / rows,
        "youden": true_rate - false_rate,
    }[aim]
    middles = ((scores + np.append(scores[1:], 0.0)) / 2).astype(np.float32)
    best = middles[values >= values.max() - 1e-12]
    return float(best[np.argmin(np.abs(best - 0.5))])


def decide(probabilities: np.ndarray, threshold: float | None) -> np.ndarray:
    """The class that each row is given.

    Args:
        probabilities: `(n, classes)` float32.
        threshold: of class 1 in a binary task; None for the most probable class.

    Returns:
        `(n,)` int64 class ids.
    """
    if threshold is None:
        return probabilities.argmax(axis=1).astype(np.int64)
    return (probabilities[:, 1] >= np.float32(threshold)).astype(np.int64)
