"""Networks of several members, from their parameters to the finished model."""

import keras
import numpy as np
import pytest
from pydantic import TypeAdapter

from pipeline.drawing import describe_layers
from pipeline.errors import ParamsError
from pipeline.models import build_model, finish_model
from pipeline.network_params import NetworkParams
from pipeline.objectives import ALLOWED_LOSSES, choose_objective
from pipeline.prepared import Description, Feature, Part
from pipeline.scaling import add_bins, measure_standardization

LABELS = {"binary": ("rest", "seizure"), "multiclass": ("a", "b", "c"), "regression": ()}
ROWS, COLUMNS, MEMBERS = 30, 5, 3


def describe(task, kind="features"):
    shape = (COLUMNS,) if kind == "features" else (4, 4)
    features = tuple(Feature(f"x{number}") for number in range(COLUMNS)) if kind == "features" else ()
    return Description("made_up", task, kind, shape, None, LABELS[task], features, "", "", "", "", "", {})


def rows(description):
    random = np.random.default_rng(0)
    x = random.normal(5, 3, (ROWS, *description.input_shape)).astype(np.float32)
    if description.task == "regression":
        return Part(x, random.normal(10, 2, ROWS).astype(np.float32))
    return Part(x, np.arange(ROWS) % len(description.labels))


def build(task, loss, **network):
    description = describe(task)
    document = {"architecture": "mlp", "units": [4], "input_scaling": "standardize", "members": MEMBERS} | network
    params = TypeAdapter(NetworkParams).validate_python(document, strict=False)
    objective = choose_objective(loss, description, params.members)
    standardization = measure_standardization(rows(description), description, params.bins)
    keras.utils.set_random_seed(1)
    return build_model(params, objective, description, standardization), objective, standardization


def member_outputs(model, x):
    """What each member answers by itself: `(members, n, units)`."""
    outputs = [model.get_layer(f"output_{number}").output for number in range(1, MEMBERS + 1)]
    return np.stack(keras.Model(model.input, outputs).predict_on_batch(x))


@pytest.mark.parametrize("loss", ALLOWED_LOSSES["regression"])
def test_the_answer_is_the_mean_of_the_members(loss):
    model, objective, standardization = build("regression", loss)
    part = rows(describe("regression"))
    each = member_outputs(model, part.x)
    assert np.ptp(each, axis=0).min() > 0
    answer = finish_model(model, objective, standardization).predict_on_batch(part.x)
    expected = each.mean(axis=0) * standardization.target_deviation + standardization.target_mean
    np.testing.assert_allclose(answer, expected, rtol=1e-5)


CLASSIFIERS = [(task, loss) for task in ("binary", "multiclass") for loss in ALLOWED_LOSSES[task]]


@pytest.mark.parametrize(("task", "loss"), CLASSIFIERS)
def test_the_probabilities_are_the_mean_of_the_members(task, loss):
    model, objective, standardization = build(task, loss)
    part = rows(describe(task))
    answer = finish_model(model, objective, standardization).predict_on_batch(part.x)
    expected = objective.probabilities(model.predict_on_batch(part.x))
    np.testing.assert_allclose(answer[:, -expected.shape[1] :], expected, atol=1e-6)
    np.testing.assert_allclose(answer.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(("task", "loss"), [*CLASSIFIERS, ("regression", "mean_absolute_error")])
def test_each_member_has_the_loss_and_the_gradient_that_it_would_have_alone(task, loss):
    model, objective, standardization = build(task, loss)
    part = rows(describe(task))
    targets = objective.encode_targets(part.y, standardization)
    one = choose_objective(loss, describe(task)).keras_loss()
    alone = [float(one(targets, outputs)) for outputs in member_outputs(model, part.x)]
    assert float(objective.keras_loss()(targets, model(part.x))) == pytest.approx(np.mean(alone), rel=1e-5)

    def step(of_one):
        bias = model.get_layer("output_2").bias
        before = np.asarray(bias)
        outputs = model.get_layer("output_2").output if of_one else model.output
        trained = keras.Model(model.input, outputs)
        trained.compile(keras.optimizers.SGD(0.1), one if of_one else objective.keras_loss())
        weights = model.get_weights()
        trained.train_on_batch(part.x, targets)
        change = np.asarray(bias) - before
        model.set_weights(weights)
        return change

    np.testing.assert_allclose(step(of_one=False), step(of_one=True), atol=1e-5)


def test_training_is_followed_and_judged_by_the_mean():
    model, objective, standardization = build("regression", "mean_absolute_error")
    part = rows(describe("regression"))
    targets = objective.encode_targets(part.y, standardization)
    outputs = model.predict_on_batch(part.x)
    expected = np.abs(outputs.mean(axis=1) - targets).mean()
    metric = objective.keras_metric()
    metric.update_state(targets, outputs)
    assert float(metric.result()) == pytest.approx(expected, rel=1e-5)
    assert float(objective.validation_loss()(targets, outputs)) == pytest.approx(expected, rel=1e-5)
    metric.reset_state()
    assert float(metric.result()) == 0


@pytest.mark.parametrize(
    "network",
    [
        {"architecture": "cnn", "filters": [2], "kernel_size": 2, "units": None},
        {"architecture": "rnn", "cell": "gru", "units": [2], "dropout": 0.1},
        {"bins": 4, "l2": 0.1},
    ],
)
def test_every_architecture_has_members_and_loads_without_custom_code(network, tmp_path):
    document = {"architecture": "mlp", "units": [4], "members": 2, "input_scaling": "standardize"} | network
    params = TypeAdapter(NetworkParams).validate_python(
        {key: value for key, value in document.items() if value is not None}, strict=False
    )
    description = describe("binary")
    part, objective = rows(description), choose_objective("binary_crossentropy", description, 2)
    standardization = measure_standardization(part, description, getattr(params, "bins", 0))
    model = build_model(params, objective, description, standardization)
    paths = [weight.path for weight in model.weights]
    assert len(set(paths)) == len(paths)
    finished = finish_model(model, objective, standardization)
    finished.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.predict_on_batch(part.x), finished.predict_on_batch(part.x), atol=1e-6)


def test_a_value_stands_above_the_bins_below_it_and_within_its_own():
    inputs = keras.Input((2,))
    edges = np.array([[0.0, 1.0, 1.0, 3.0], [-1.0, 0.0, 1.0, 2.0]])
    encode = keras.Model(inputs, add_bins(inputs, edges))
    values = np.array([[1.5, -5.0], [9.0, 0.0]], np.float32)
    expected = [[1.5, -5.0, 1, -1, -0.5, -1, -1, -1], [9.0, 0.0, 1, -1, 1, 1, -1, -1]]
    np.testing.assert_allclose(encode.predict_on_batch(values), expected, atol=1e-6)
    assert not encode.trainable_weights


def test_bins_need_standardized_columns():
    with pytest.raises(ParamsError, match="network.bins: .*input_scaling is 'none'"):
        build("binary", "hinge", bins=3, input_scaling="none")
    images = describe("binary", "image")
    with pytest.raises(ParamsError, match="network.bins: 'made_up' are images"):
        measure_standardization(rows(images), images, bins=3)


def test_the_drawing_shows_one_member():
    model, *_ = build("binary", "hinge")
    titles = [box.title.split()[0] for box in describe_layers(model)]
    assert titles == ["features", "standardize", "member_1", "output_1", "all_outputs", "members"]
