"""Probabilities that come true as often as they say: temperature scaling, fitted on the validation rows.

A finished classifier ends in class scores and a softmax. Calibration puts a division between the two: by a temperature
above 1 for a network that is too sure of itself, below 1 for one that is not sure enough. The order of a row's classes
stays as it was, and so does the most probable one.

Source:
    Guo, Pleiss, Sun, Weinberger, On Calibration of Modern Neural Networks, 2017, section 4.2.
"""

import math

import keras
import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from pipeline.prepared import Part

SCORES, TEMPERATURE, PROBABILITIES = "class_scores", "temperature", "probabilities"
"""Names of a finished classifier's last layers."""

LEAST, GREATEST = 0.05, 20.0
"""Temperatures beyond these say that the validation rows are too few, not how sure the network is."""

PREDICT_ROWS = 2048


def calibrate(model: keras.Model, validation: Part) -> keras.Model:
    """Puts the temperature that suits the validation rows into a finished classifier.

    Args:
        model: from raw rows to probabilities, with a layer `class_scores` before its softmax.
        validation: rows that the network was not trained on, in raw units.

    Returns:
        The same network with calibrated probabilities; the weights are shared. `model` itself where `fit_temperature`
        finds no temperature.
    """
    scores = model.get_layer(SCORES).output
    rows = validation.x.astype(np.float32)
    values = keras.Model(model.input, scores).predict(rows, batch_size=PREDICT_ROWS, verbose=0)
    temperature = fit_temperature(validation.y, values)
    if temperature is None:
        return model
    cooled = keras.layers.Rescaling(1.0 / temperature, dtype="float32", name=TEMPERATURE)(scores)
    return keras.Model(model.input, probabilities_layer()(cooled))


def fit_temperature(truth: np.ndarray, scores: np.ndarray) -> float | None:
    """The temperature with the least log loss.

    Args:
        truth: `(n,)` int64 class ids.
        scores: `(n, classes)` float32, whose softmax is the uncalibrated probabilities.

    Returns:
        A number from 0.05 to 20. None where the rows cannot tell how sure is too sure: where each row's greatest score
        is that of its class, so that the log loss only falls with the temperature, and where the gain is not greater
        than its own standard error, as on few rows: it could as well make other rows' probabilities worse.
    """
    if (scores.argmax(axis=1) == truth).all():
        return None
    bounds = (math.log(LEAST), math.log(GREATEST))
    best = minimize_scalar(lambda logarithm: _losses(truth, scores, math.exp(logarithm)).mean(), bounds=bounds)
    temperature = round(math.exp(best.x), 6)
    gains = _losses(truth, scores, 1.0) - _losses(truth, scores, temperature)
    return temperature if gains.mean() > gains.std() / math.sqrt(len(gains)) else None


def _losses(truth: np.ndarray, scores: np.ndarray, temperature: float) -> np.ndarray:
    """The log loss of each row."""
    return -log_softmax(scores.astype(np.float64) / temperature, axis=1)[np.arange(len(truth)), truth]


def temperature_of(model: keras.Model) -> float | None:
    """The temperature of a finished model; None where it has none."""
    return round(1.0 / model.get_layer(TEMPERATURE).scale, 6) if _has_temperature(model) else None


def without_temperature(model: keras.Model) -> keras.Model:
    """A finished classifier as it was before its calibration; the weights are shared."""
    if not _has_temperature(model):
        return model
    return keras.Model(model.input, probabilities_layer()(model.get_layer(TEMPERATURE).input))


def probabilities_layer() -> keras.Layer:
    """The softmax at the end of a finished classifier."""
    return keras.layers.Softmax(dtype="float32", name=PROBABILITIES)


def _has_temperature(model: keras.Model) -> bool:
    return any(layer.name == TEMPERATURE for layer in model.layers)
