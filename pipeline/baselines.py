"""What a model must be better than: the best constant answer and, for columns, gradient-boosted trees."""

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from pipeline.operating_point import Aim, choose_threshold
from pipeline.prepared import Part, Prepared
from pipeline.scores import score_classes, score_numbers

ITERATIONS = 300
WIDE = 64
"""From this many columns on, trees see a random third of them at each split and take fewer iterations."""


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

    Args:
        prepared: the data.
        seed: of the trees' random choices.
        aim: what the threshold of a binary task is to make greatest, on the validation rows as for the model.

    Returns:
        The figures on the test rows, or None for images, for which trees are no common choice.
    """
    if prepared.description.input_kind == "image":
        return None
    # OpenMP's threads wait by spinning: on few cores with other work, two of them take a hundred times as long as one.
    with threadpool_limits(1, user_api="openmp"):
        return _boost(prepared, seed, aim)


def _boost(prepared: Prepared, seed: int, aim: Aim) -> dict[str, float]:
    description = prepared.description
    if description.task == "regression":
        booster = HistGradientBoostingRegressor(**_settings(prepared, seed)).fit(prepared.train.x, prepared.train.y)
        deviation = prepared.profile["target_standardization"]["std"]
        return score_numbers(prepared.test.y, booster.predict(prepared.test.x), deviation)
    booster = HistGradientBoostingClassifier(**_settings(prepared, seed)).fit(prepared.train.x, prepared.train.y)
    threshold = None
    if description.task == "binary":
        validation = _probabilities(booster, prepared.validation, 2)
        threshold = choose_threshold(prepared.validation.y, validation[:, 1], aim)
    return score_classes(prepared.test.y, _probabilities(booster, prepared.test, len(description.labels)), threshold)


def _settings(prepared: Prepared, seed: int) -> dict[str, float | int | bool]:
    is_wide = prepared.train.x.shape[1] >= WIDE
    return {
        "max_iter": ITERATIONS // 2 if is_wide else ITERATIONS,
        "max_features": 1 / 3 if is_wide else 1.0,
        "early_stopping": False,
        "random_state": seed,
    }


def _probabilities(booster: HistGradientBoostingClassifier, part: Part, classes: int) -> np.ndarray:
    probabilities = np.zeros((len(part.y), classes), np.float32)
    probabilities[:, booster.classes_] = booster.predict_proba(part.x)
    return probabilities
