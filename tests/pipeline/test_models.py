import typing
from dataclasses import replace

import keras
import numpy as np
import pytest
from pydantic import TypeAdapter

from pipeline import network_params, params
from pipeline.drawing import describe_layers, draw_model
from pipeline.errors import ParamsError
from pipeline.hidden_layers import build_initializer, build_regularizer
from pipeline.models import build_model, finish_model
from pipeline.network_params import MlpParams, NetworkParams
from pipeline.objectives import ALLOWED_LOSSES, choose_objective
from pipeline.optimizers import build_optimizer
from pipeline.params import TrainParams
from pipeline.prepared import Description, Feature, Part
from pipeline.scaling import measure_standardization

IMAGES = Description(
    "mnist", "multiclass", "image", (28, 28), (0.0, 255.0), tuple("0123456789"), (), "class", "", "", "", "", {}
)
COLUMNS = tuple(Feature(f"x{index}") for index in range(40))
SIGNALS = Description("eeg", "binary", "features", (40,), None, ("rest", "seizure"), COLUMNS, "", "", "", "", "", {})
WINES = replace(SIGNALS, name="wine", task="regression", labels=(), target_name="alcohol", target_unit="% vol.")
CLASSIFIERS = {"multiclass": IMAGES, "binary": SIGNALS, "regression": WINES}
LOSSES = {"multiclass": "categorical_crossentropy", "binary": "binary_crossentropy", "regression": "mean_squared_error"}


def rows(description, count=6):
    random = np.random.default_rng(0)
    if description.input_kind == "image":
        x = random.integers(0, 256, (count, *description.input_shape)).astype(np.uint8)
    else:
        x = random.normal(5, 3, (count, *description.input_shape)).astype(np.float32)
    if description.task == "regression":
        return Part(x, random.normal(10, 2, count).astype(np.float32))
    return Part(x, np.arange(count) % len(description.labels))


def build(network, description=IMAGES, loss=None, **options):
    params = TypeAdapter(NetworkParams).validate_python(network, strict=False)
    objective = choose_objective(loss or LOSSES[description.task], description)
    standardization = measure_standardization(rows(description), description)
    return build_model(params, objective, description, standardization, **options), objective, standardization


def step(model, objective, standardization, part):
    model.compile("sgd", objective.keras_loss(), metrics=[objective.keras_metric()])
    return model.train_on_batch(part.x.astype(np.float32), objective.encode_targets(part.y, standardization))


PUBLISHED = [
    ({"architecture": "mlp", "units": [256, 256], "dropout": 0.45}, 269_322),
    ({"architecture": "cnn", "filters": [64, 64, 64], "dropout": 0.2}, 80_266),
    ({"architecture": "rnn", "units": [256], "dropout": 0.2}, 75_530),
]


@pytest.mark.parametrize(("network", "count"), PUBLISHED, ids=["mlp", "cnn", "rnn"])
def test_the_published_networks_have_the_published_numbers_of_parameters(network, count):
    model, objective, standardization = build(network)
    assert model.count_params() == count
    assert finish_model(model, objective, standardization).count_params() == count


NETWORKS = [
    {"architecture": "mlp", "units": []},
    {"architecture": "mlp", "units": [4, 3], "dropout": 0.5, "l1": 0.1, "l2": 0.1},
    {"architecture": "mlp", "units": [4, 3], "batch_normalization": True},
    {"architecture": "cnn", "filters": [2, 3], "kernel_size": 5, "dropout": 0.5},
    {"architecture": "cnn", "filters": [2, 3], "downsampling": "strided_convolution", "batch_normalization": True},
    {"architecture": "cnn", "filters": [2], "padding": "same", "global_pooling": "average", "dense_units": [4]},
    {"architecture": "rnn", "units": [3]},
    {"architecture": "rnn", "units": [3, 2], "cell": "lstm", "bidirectional": True},
    {"architecture": "rnn", "units": [3], "cell": "gru", "dropout": 0.5},
]


@pytest.mark.parametrize("description", [IMAGES, SIGNALS, WINES], ids=lambda description: description.task)
@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: "-".join(map(str, network.values())))
def test_every_architecture_takes_every_task_from_raw_rows_to_the_answer(network, description):
    model, objective, standardization = build(network | {"input_scaling": "standardize"}, description)
    part = rows(description)
    assert np.isfinite(step(model, objective, standardization, part)).all()
    finished = finish_model(model, objective, standardization)
    assert finished.input.name == description.input_name
    answer = finished.predict_on_batch(part.x.astype(np.float32))
    assert answer.dtype == np.float32
    assert answer.shape == (len(part.x), max(1, len(description.labels)))
    if description.labels:
        np.testing.assert_allclose(answer.sum(axis=1), 1, atol=1e-6)


BLOCKS = [
    ({}, (11, 11, 3)),
    ({"padding": "same"}, (14, 14, 3)),
    ({"convolutions_per_block": 2}, (8, 8, 3)),
    ({"pool_size": 3}, (6, 6, 3)),
    ({"downsampling": "average_pooling", "downsample_last": True}, (5, 5, 3)),
    # A stride keeps what does not fill a whole pool.
    ({"downsampling": "strided_convolution", "downsample_last": True, "pool_size": 3}, (3, 3, 3)),
]


@pytest.mark.parametrize(("network", "shape"), BLOCKS, ids=lambda value: str(value))
def test_blocks_of_convolutions_leave_these_positions(network, shape):
    model, *_ = build({"architecture": "cnn", "filters": [2, 3], **network})
    assert model.get_layer("flatten").input.shape[1:] == shape


def test_the_layers_of_blocks_stand_in_this_order():
    network = {"architecture": "cnn", "filters": [2, 3], "dense_units": [4], "batch_normalization": True}
    network |= {"downsampling": "strided_convolution", "global_pooling": "max", "block_dropout": 0.1, "dropout": 0.2}
    model, *_ = build(network)
    names = [layer.name for layer in model.layers if not layer.name.endswith(("_normalized", "_activated"))]
    assert names[3:] == [
        "convolution_1", "pooling_1", "block_dropout_1", "convolution_2", "global_pooling", "dropout", "hidden_1",
        "dropout_1", "output",
    ]  # fmt: skip
    for name in ("convolution_1", "pooling_1", "convolution_2", "hidden_1"):
        index = model.layers.index(model.get_layer(name))
        assert [layer.name for layer in model.layers[index + 1 : index + 3]] == [
            f"{name}_normalized",
            f"{name}_activated",
        ]
        assert not model.get_layer(name).use_bias
        assert model.get_layer(f"{name}_activated").activation is keras.activations.relu


UNUSED = [
    ({"architecture": "mlp", "units": [], "batch_normalization": True}, "network.batch_normalization: it acts on hidd"),
    ({"architecture": "mlp", "units": [], "l2": 0.1}, "network.l2: it acts on hidden layers, and units"),
    ({"architecture": "cnn", "filters": [2], "block_dropout": 0.1}, "network.block_dropout: it acts on what stands b"),
]


@pytest.mark.parametrize(("network", "sentence"), UNUSED)
def test_what_would_have_no_effect_is_an_error(network, sentence):
    with pytest.raises(ParamsError, match=sentence):
        build(network)


def test_a_constant_prediction_of_the_mean_comes_back_in_the_targets_unit():
    network = {"architecture": "mlp", "units": [], "kernel_initializer": "zeros", "input_scaling": "none"}
    model, objective, standardization = build(network, WINES)
    part = rows(WINES)
    answer = finish_model(model, objective, standardization).predict_on_batch(part.x)
    np.testing.assert_allclose(answer, np.full((6, 1), part.y.mean()), rtol=1e-6)


def test_standardized_inputs_have_mean_zero_and_deviation_one():
    model, *_ = build({"architecture": "mlp", "units": [2], "input_scaling": "standardize"}, SIGNALS)
    scaled = np.asarray(model.get_layer("standardize")(rows(SIGNALS).x))
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(axis=0), 1, atol=1e-4)


def test_a_column_that_never_varies_stays_finite():
    part = rows(SIGNALS)
    part.x[:, 3] = 7
    standardization = measure_standardization(part, SIGNALS)
    assert standardization.deviation[3] == 1


@pytest.mark.parametrize(("task", "loss"), [(task, loss) for task, losses in ALLOWED_LOSSES.items() for loss in losses])
def test_every_loss_that_fits_a_task_trains_and_ends_in_an_answer(task, loss):
    description = CLASSIFIERS[task]
    part = rows(description)
    network = {"architecture": "mlp", "units": [3], "input_scaling": "standardize"}
    model, objective, standardization = build(network, description, loss)
    assert np.isfinite(step(model, objective, standardization, part)).all()
    x = part.x.astype(np.float32)
    answer = finish_model(model, objective, standardization).predict_on_batch(x)
    if task != "regression":
        probabilities = objective.probabilities(model.predict_on_batch(x))
        np.testing.assert_allclose(answer[:, -probabilities.shape[1] :], probabilities, atol=1e-6)
        np.testing.assert_allclose(answer.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("task", ALLOWED_LOSSES)
def test_a_loss_that_does_not_fit_lists_those_that_do(task):
    for loss in set(typing.get_args(params.Loss)) - set(ALLOWED_LOSSES[task]):
        with pytest.raises(ParamsError, match=f"train.loss: '{loss}' does not fit .*Allowed here: '"):
            choose_objective(loss, CLASSIFIERS[task])


def test_the_hinge_counts_what_is_inside_the_margin():
    objective = choose_objective("hinge", SIGNALS)
    targets = objective.encode_targets(np.array([0, 1, 1]), None)
    scores = np.array([[-2.0], [0.25], [-1.0]], dtype=np.float32)
    assert float(objective.keras_loss()(targets, scores)) == pytest.approx((0 + 0.75 + 2) / 3)


@pytest.mark.parametrize("activation", typing.get_args(network_params.Activation))
def test_every_activation_is_reachable(activation):
    model, *_ = build({"architecture": "mlp", "units": [3], "activation": activation})
    assert model.get_layer("hidden_1").activation.__name__ == activation


@pytest.mark.parametrize("name", typing.get_args(network_params.Initializer))
def test_every_initializer_is_reachable(name):
    values = np.asarray(build_initializer(name)((8, 4)))
    assert np.isfinite(values).all()
    assert (np.ptp(values) == 0) == (name in ("zeros", "constant"))


@pytest.mark.parametrize(("l1", "l2", "penalty"), [(0.1, 0, 0.3), (0, 0.1, 0.5), (0.1, 0.1, 0.8)])
def test_penalties_are_the_sum_of_absolute_values_and_of_squares(l1, l2, penalty):
    regularizer = build_regularizer(MlpParams(architecture="mlp", units=(1,), l1=l1, l2=l2))
    assert float(regularizer(keras.ops.array([1.0, -2.0]))) == pytest.approx(penalty)


def optimizer(schedule, **fields):
    train = {"loss": "hinge", "optimizer": {"name": "sgd"} | fields, "schedule": schedule, "batch_size": 1, "epochs": 4}
    return build_optimizer(TypeAdapter(TrainParams).validate_python(train), steps_per_epoch=10)


def rate(built, step):
    built.iterations.assign(step)
    return float(built.learning_rate)


@pytest.mark.parametrize("kind", [keras.optimizers.SGD, keras.optimizers.RMSprop, keras.optimizers.Adam])
def test_every_optimizer_is_reachable(kind):
    built = optimizer({"name": "constant"}, name=kind.__name__.lower(), learning_rate=0.25)
    assert type(built) is kind
    assert rate(built, 0) == 0.25


def test_sgd_has_momentum_and_nesterov():
    built = optimizer({"name": "constant"}, momentum=0.9, nesterov=True)
    assert (built.momentum, built.nesterov) == (0.9, True)


def test_schedules_are_functions_of_the_step():
    exponential = optimizer({"name": "exponential", "decay_rate": 0.5}, learning_rate=0.8)
    assert [rate(exponential, step) for step in (0, 9, 10, 39)] == pytest.approx([0.8, 0.8, 0.4, 0.1])
    cosine = optimizer({"name": "cosine"}, learning_rate=0.8)
    assert [rate(cosine, step) for step in (0, 20, 40)] == pytest.approx([0.8, 0.4, 0.0])
    warm = optimizer({"name": "cosine", "warmup_epochs": 2}, learning_rate=0.8)
    assert [rate(warm, step) for step in (0, 10, 20, 30, 40)] == pytest.approx([0.0, 0.4, 0.8, 0.4, 0.0])


def test_mixed_precision_computes_in_bfloat16_and_answers_in_float32():
    model, *_ = build({"architecture": "mlp", "units": [3]}, mixed_precision=True)
    assert model.get_layer("hidden_1").compute_dtype == "bfloat16"
    assert model.get_layer("hidden_1").variable_dtype == "float32"
    assert model.output.dtype == "float32"


def test_a_saved_model_loads_without_custom_code(tmp_path):
    network = {"architecture": "rnn", "units": [3], "bidirectional": True, "input_scaling": "standardize"}
    finished = finish_model(*build(network, SIGNALS))
    finished.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x = rows(SIGNALS).x
    np.testing.assert_array_equal(loaded.predict_on_batch(x), finished.predict_on_batch(x))


def test_the_drawing_shows_every_layer_and_is_the_same_each_time(tmp_path):
    model, *_ = build({"architecture": "mlp", "units": [3], "dropout": 0.1})
    boxes = describe_layers(model)
    assert [box.kind for box in boxes] == ["InputLayer", "Rescaling", "Flatten", "Dense", "Dropout", "Dense"]
    assert boxes[3].subtitle == "relu   n x 3   2,355 parameters"
    draw_model(model, tmp_path / "first.png")
    draw_model(model, tmp_path / "second.png")
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()
