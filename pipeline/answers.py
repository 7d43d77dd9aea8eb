"""A trained network's answers for the rows of a data set, and the figures they come to."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.baselines import gradient_boosting_baseline, trivial_baseline
from pipeline.errors import DataError
from pipeline.operating_point import Aim, choose_threshold, decide
from pipeline.prepared import Description, Part, Prepared
from pipeline.scores import rounded, score_classes, score_numbers

if TYPE_CHECKING:
    import keras

PREDICT_ROWS = 1024
CALIBRATION_FIGURES = ("log_loss", "expected_calibration_error")
"""What calibration changes: neither guesses nor the order of rows."""


@dataclass(frozen=True)
class Answers:
    """What a model says of the rows of one part.

    Attributes:
        part: the rows.
        outputs: `(n, classes)` probabilities, or `(n,)` predictions in the target's unit; float32.
        threshold: the operating point of a binary task, else None.
        uncalibrated: the probabilities as they were before calibration; None where nothing was calibrated.
    """

    part: Part
    outputs: np.ndarray
    threshold: float | None = None
    uncalibrated: np.ndarray | None = None

    @property
    def guesses(self) -> np.ndarray:
        """`(n,)` int64, the class ids at the operating point."""
        return decide(self.outputs, self.threshold)


def measure(model: "keras.Model", prepared: Prepared, seed: int, aim: Aim) -> tuple[Answers, dict[str, Any]]:
    """The model's figures on every part, with the baselines' on the test rows.

    Args:
        model: see `trained.load_model`.
        prepared: the data.
        seed: of the baselines.
        aim: what the operating point of a binary task makes greatest on validation.

    Returns:
        The answers for the test rows, and what `metrics.json` holds.
    """
    description = prepared.description
    validation, threshold = predict(model, prepared.validation, description), None
    if description.task == "binary":
        threshold = choose_threshold(prepared.validation.y, validation[:, 1], aim)
    test = Answers(prepared.test, predict(model, prepared.test, description), threshold, _uncalibrated(model, prepared))
    train = Answers(prepared.train, predict(model, prepared.train, description), threshold)
    metrics: dict[str, Any] = {
        "test": _score(test, prepared),
        "validation": _score(Answers(prepared.validation, validation, threshold), prepared),
        "train": _score(train, prepared),
        "baseline": {"trivial": trivial_baseline(prepared)},
    }
    boosting = gradient_boosting_baseline(prepared, seed, aim)
    if boosting:
        metrics["baseline"]["gradient_boosting"] = boosting
    if test.uncalibrated is not None:
        metrics["calibration"] = _compare_calibration(model, test)
    metrics = rounded(metrics)
    if threshold is not None:
        metrics["operating_point"] = {"threshold": threshold}
    if description.partial:
        metrics["partial"] = description.partial
    return test, metrics


def predict(model: "keras.Model", part: Part, description: Description) -> np.ndarray:
    """The model's answers for raw rows.

    Returns:
        `(n, classes)` float32 probabilities, or `(n,)` float32 predictions in the target's unit.

    Raises:
        DataError: the model answers something else, as one does that was trained on another data set.
    """
    outputs = np.asarray(model.predict(part.x.astype(np.float32), batch_size=PREDICT_ROWS, verbose=0), np.float32)
    expected = (len(part.y), len(description.labels) or 1)
    if outputs.shape != expected or not np.isfinite(outputs).all():
        raise DataError(
            f"The model answers {len(part.y)} rows with an array of shape {outputs.shape}; expected {expected}, "
            "all finite. Run the train stage again."
        )
    return outputs.ravel() if description.task == "regression" else outputs


def _uncalibrated(model: "keras.Model", prepared: Prepared) -> np.ndarray | None:
    from pipeline.calibration import temperature_of, without_temperature

    if temperature_of(model) is None:
        return None
    return predict(without_temperature(model), prepared.test, prepared.description)


def _compare_calibration(model: "keras.Model", test: Answers) -> dict[str, Any]:
    from pipeline.calibration import temperature_of

    before, after = (score_classes(test.part.y, outputs, None) for outputs in (test.uncalibrated, test.outputs))
    return {
        "temperature": temperature_of(model),
        "test_before": {key: before[key] for key in CALIBRATION_FIGURES},
        "test_after": {key: after[key] for key in CALIBRATION_FIGURES},
    }


def _score(answers: Answers, prepared: Prepared) -> dict[str, float]:
    if prepared.description.task == "regression":
        deviation = prepared.profile["target_standardization"]["std"]
        return score_numbers(answers.part.y, answers.outputs, deviation)
    return score_classes(answers.part.y, answers.outputs, answers.threshold)
