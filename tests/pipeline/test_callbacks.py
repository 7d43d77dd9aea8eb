import keras
import numpy as np
import pytest

from pipeline.callbacks import BestEpoch, FiniteLoss, Progress, Validation
from pipeline.errors import TrainingError
from pipeline.objectives import Objective
from pipeline.prepared import Part


def small_model():
    inputs = keras.Input((3,), name="features")
    outputs = keras.layers.Dense(1, activation="sigmoid", kernel_regularizer="l2")(inputs)
    return keras.Model(inputs, outputs)


def attach(callback, model):
    callback.set_model(model)
    return callback


def test_validation_figures_are_those_of_keras():
    objective = Objective("binary", "binary_crossentropy", 2)
    part = Part(np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32), np.arange(50) % 2)
    targets = objective.encode_targets(part.y, None)
    model = small_model()
    model.compile(loss=objective.keras_loss(), metrics=[objective.keras_metric()])
    logs = {}
    attach(Validation(objective, part, targets, part), model).on_epoch_end(0, logs)
    expected = model.evaluate(part.x, targets, verbose=0, return_dict=True)
    assert logs["val_loss"] == pytest.approx(expected["loss"], rel=1e-5)
    assert logs["val_accuracy"] == pytest.approx(expected["accuracy"])
    assert logs["val_roc_auc"] == logs["roc_auc"]


@pytest.mark.parametrize("name", ["loss", "val_loss"])
def test_a_loss_that_is_no_number_ends_the_training(name):
    with pytest.raises(TrainingError, match=f"^{name} became nan in epoch 3, expected a finite number"):
        FiniteLoss().on_epoch_end(2, {"loss": 1.0, "val_loss": 1.0, name: float("nan")})


@pytest.mark.parametrize(
    ("metric", "values", "best"), [("val_loss", [3, 1, 2], 2), ("val_accuracy", [0.5, 0.9, 0.9], 2)]
)
def test_the_best_epoch_is_the_first_with_the_best_value(metric, values, best):
    progress, model = Progress(), small_model()
    callback = attach(BestEpoch(metric, None, progress), model)
    for epoch, value in enumerate(values):
        model.layers[-1].bias.assign([float(epoch)])
        callback.on_epoch_end(epoch, {metric: value})
    assert progress.best_epoch == best
    assert progress.best_weights[1] == best - 1


def test_a_metric_that_cannot_be_measured_is_said():
    callback = attach(BestEpoch("val_roc_auc", None, Progress()), small_model())
    with pytest.raises(TrainingError, match="val_roc_auc cannot be measured: the validation rows hold a single class"):
        callback.on_epoch_end(0, {"val_loss": 1.0})
