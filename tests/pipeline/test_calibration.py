import keras
import numpy as np
import pytest
from scipy.special import softmax

from pipeline.calibration import calibrate, fit_temperature, temperature_of, without_temperature
from pipeline.classifiers import finish_classifier
from pipeline.objectives import Objective
from pipeline.prepared import Part
from pipeline.scores import calibration_error, score_classes

CLASSES, ROWS = 4, 3000


def draw(temperature, seed=0):
    """Scores `(n, classes)` and class ids that come true as softmax(scores / temperature) says."""
    random = np.random.default_rng(seed)
    scores = random.normal(0, 3, (ROWS, CLASSES)).astype(np.float32)
    chances = softmax(scores / temperature, axis=1)
    return scores, (chances.cumsum(axis=1) > random.random((ROWS, 1))).argmax(axis=1)


def classifier():
    """A finished model whose scores are its input."""
    inputs = keras.Input((CLASSES,), name="features")
    layer = keras.layers.Dense(CLASSES, activation="softmax", name="output")
    model = keras.Model(inputs, layer(inputs))
    layer.set_weights([np.eye(CLASSES), np.zeros(CLASSES)])
    return finish_classifier(model, Objective("multiclass", "categorical_crossentropy", CLASSES))


@pytest.mark.parametrize("temperature", [0.5, 1.5, 2.5])
def test_the_temperature_that_made_the_classes_is_found(temperature):
    scores, truth = draw(temperature)
    assert fit_temperature(truth, scores) == pytest.approx(temperature, rel=0.07)


def test_rows_that_are_all_right_give_no_temperature():
    assert fit_temperature(np.array([1, 0]), np.array([[0, 1], [1, 0]], np.float32)) is None
    scores, _ = draw(1.0)
    model = classifier()
    assert calibrate(model, Part(scores, scores.argmax(axis=1))) is model
    assert temperature_of(model) is None
    assert without_temperature(model) is model


def test_a_gain_that_may_be_chance_gives_no_temperature():
    scores, truth = draw(1.0)
    assert fit_temperature(truth, scores) is None
    scores, truth = draw(1.5)
    assert fit_temperature(truth[:12], scores[:12]) is None


def test_calibration_changes_no_guess_and_makes_other_rows_probabilities_come_true(tmp_path):
    model = classifier()
    calibrated = calibrate(model, Part(*draw(2.5, seed=1)))
    scores, truth = draw(2.5, seed=2)
    before, after = model.predict_on_batch(scores), calibrated.predict_on_batch(scores)
    np.testing.assert_array_equal(before.argmax(axis=1), after.argmax(axis=1))
    assert calibration_error(truth, before) > 0.1
    assert calibration_error(truth, after) < 0.03
    assert score_classes(truth, after, None)["log_loss"] < score_classes(truth, before, None)["log_loss"]
    calibrated.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert temperature_of(loaded) == pytest.approx(2.5, rel=0.07)
    np.testing.assert_array_equal(loaded.predict_on_batch(scores), after)
    np.testing.assert_array_equal(without_temperature(loaded).predict_on_batch(scores), before)


def test_two_classes_stay_exact_where_a_sigmoid_is_rounded_to_one():
    inputs = keras.Input((1,), name="features")
    layer = keras.layers.Dense(1, activation="sigmoid", name="output")
    model = keras.Model(inputs, layer(inputs))
    layer.set_weights([np.ones((1, 1)), np.zeros(1)])
    scores = np.array([[-40.0], [0.0], [40.0]], np.float32)
    assert model.predict_on_batch(scores)[2] == 1.0
    finished = finish_classifier(model, Objective("binary", "binary_crossentropy", 2))
    answers = finished.predict_on_batch(scores)
    np.testing.assert_allclose(answers, [[1, 4.248354e-18], [0.5, 0.5], [4.248354e-18, 1]], rtol=1e-5)
