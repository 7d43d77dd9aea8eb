"""What a model must be better than: the best constant answer and, for columns and signals, gradient-boosted trees."""

from dataclasses import replace
from typing import TypeVar

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from pipeline.operating_point import Aim, choose_threshold
from pipeline.prepared import PARTS, Part, Prepared
from pipeline.scores import score_classes, score_numbers

Booster = TypeVar("Booster", HistGradientBoostingRegressor, HistGradientBoostingClassifier)

MOST_ITERATIONS = 1500
PATIENCE = 50
"""Iterations without a lower loss on the validation rows after which no more trees are added."""
WIDE = 64
"""From this many columns on, trees see a random third of them at each split, otherwise half of them."""
CANDIDATES = (
    {"learning_rate": 0.05, "max_leaf_nodes": 31, "min_samples_leaf": 20},
    {"learning_rate": 0.05, "max_leaf_nodes": 63, "min_samples_leaf": 10},
)
"""Settings among which the validation rows choose, as they choose the network's epoch."""


def trivial_baseline(prepared: Prepared) -> dict[str, float]:
    """The figures of the best answer that looks at no input.

    A classifier gives every row the training rows' shares of the classes, hence the commonest class. A regression
    gives the training mean for RMSE and R2 and the training median for MAE: the best constant for each.

    Args:
        prepared: the data.

    Returns:
        The figures on the test rows, with the keys of the model's own.
    """
    train, test = prepared.train.y, prepared.test.y
    if prepared.description.task == "regression":
        deviation = prepared.profile["target_standardization"]["std"]
        mean = score_numbers(test, np.full(len(test), train.mean(dtype=np.float64)), deviation)
        median = score_numbers(test, np.full(len(test), np.median(train)), deviation)
        return {key: (median if key.startswith("mae") else mean)[key] for key in mean}
    shares = np.bincount(train, minlength=len(prepared.description.labels)) / len(train)
    probabilities = np.tile(shares, (len(test), 1))
    return score_classes(test, probabilities, 0.5 if prepared.description.task == "binary" else None)


def gradient_boosting_baseline(prepared: Prepared, seed: int, aim: Aim) -> dict[str, float] | None:
    """The figures of scikit-learn's histogram gradient boosting, fitted to the model's own training rows.

    Trees are added until the validation loss has stopped falling, and the validation rows choose among settings. A
    signal is given as its spectrum, which trees can use and single samples of which they cannot.

    Args:
        prepared: the data.
        seed: of the trees' random choices.
        aim: what the threshold of a binary task is to make greatest, on the validation rows as for the model.

    Returns:
        The figures on the test rows, or None for images, for which trees are no common choice.
    """
    if prepared.description.input_kind == "image":
        return None
    if prepared.description.is_signal:
        parts = {name: replace(part, x=spectrum(part.x)) for name, part in _parts(prepared).items()}
        prepared = replace(prepared, **parts)
    # OpenMP's threads wait by spinning: on few cores with other work, two of them take a hundred times as long as one.
    with threadpool_limits(1, user_api="openmp"):
        return _boost(prepared, seed, aim)


def spectrum(signals: np.ndarray) -> np.ndarray:
    """How strong each frequency of a signal is.

    Args:
        signals: `(n, k)`, samples in order of time, in any unit u.

    Returns:
        float32 `(n, k // 2 + 1)`, the logarithm of 1 + the magnitude in u of each frequency, from 0 to half the
        sampling rate. Each signal passes a Hann window first, since it does not end where it began.
    """
    window = np.hanning(signals.shape[1])
    magnitudes = np.abs(np.fft.rfft(signals * window, axis=1)) / window.sum()
    return np.log1p(magnitudes).astype(np.float32)


def _parts(prepared: Prepared) -> dict[str, Part]:
    return {name: getattr(prepared, name) for name in PARTS}


def _boost(prepared: Prepared, seed: int, aim: Aim) -> dict[str, float]:
    description = prepared.description
    if description.task == "regression":
        booster = _best(HistGradientBoostingRegressor, prepared, seed)
        deviation = prepared.profile["target_standardization"]["std"]
        return score_numbers(prepared.test.y, booster.predict(prepared.test.x), deviation)
    booster = _best(HistGradientBoostingClassifier, prepared, seed)
    threshold = None
    if description.task == "binary":
        validation = _probabilities(booster, prepared.validation, 2)
        threshold = choose_threshold(prepared.validation.y, validation[:, 1], aim)
    return score_classes(prepared.test.y, _probabilities(booster, prepared.test, len(description.labels)), threshold)


def _best(kind: type[Booster], prepared: Prepared, seed: int) -> Booster:
    train, validation = prepared.train, prepared.validation
    shared = {
        "max_iter": MOST_ITERATIONS,
        "max_features": 1 / 3 if train.x.shape[1] >= WIDE else 1 / 2,
        "early_stopping": True,
        "n_iter_no_change": PATIENCE,
        "random_state": seed,
    }
    boosters = [
        kind(**shared, **candidate).fit(train.x, train.y, X_val=validation.x, y_val=validation.y)
        for candidate in CANDIDATES
    ]
    return max(boosters, key=lambda booster: booster.validation_score_[-1])


def _probabilities(booster: HistGradientBoostingClassifier, part: Part, classes: int) -> np.ndarray:
    probabilities = np.zeros((len(part.y), classes), np.float32)
    probabilities[:, booster.classes_] = booster.predict_proba(part.x)
    return probabilities
