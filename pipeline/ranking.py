"""The area under the ROC curve, fast enough to be measured after each epoch."""

import numpy as np
from scipy.stats import rankdata


def roc_auc(y: np.ndarray, probabilities: np.ndarray) -> float | None:
    """The area under the ROC curve; over several classes the mean of each against the rest.

    Args:
        y: `(n,)` int64 class ids.
        probabilities: `(n, classes)`, or `(n, 1)` for the probability of class 1 of two.

    Returns:
        The area, 0 to 1; None where no class has rows both in it and outside it. Classes of which that is true are left
        out of the mean.

    Source:
        The Mann-Whitney statistic: the share of pairs of a row in the class and one outside it that the scores order
        right, ties counting half (Hanley and McNeil 1982, Radiology 143:29-36).
    """
    is_binary = probabilities.shape[1] == 1
    classes = np.array([1]) if is_binary else np.arange(probabilities.shape[1])
    inside = y[:, None] == classes
    positives = inside.sum(axis=0)
    negatives = len(y) - positives
    usable = (positives > 0) & (negatives > 0)
    if not usable.any():
        return None
    ranks = rankdata(probabilities[:, usable], axis=0)
    least = positives * (positives + 1) / 2
    areas = ((ranks * inside[:, usable]).sum(axis=0) - least[usable]) / (positives * negatives)[usable]
    return float(areas.mean())
