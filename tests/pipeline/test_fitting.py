import gc

import keras
import numpy as np
import pytest
from pydantic import TypeAdapter
from sklearn.datasets import load_digits

from pipeline.errors import ParamsError
from pipeline.fitting import fit_network
from pipeline.params import ComparisonParams
from pipeline.prepared import Description, Part, Prepared

NONE = slice(0, 0)


def digits(validation=slice(300, 400)):
    bunch = load_digits()
    labels = tuple("0123456789")
    description = Description(
        "digits", "multiclass", "image", (8, 8), (0.0, 16.0), labels, (), "class", "", "", "", "", {}
    )
    x, y = bunch.images.astype(np.uint8), bunch.target.astype(np.int64)
    train, validation, test = (Part(x[rows], y[rows]) for rows in (slice(300), validation, slice(400, 500)))
    return Prepared(description, "row", train, validation, test, {})


def block(**train):
    optimizer = {"name": "adam", "learning_rate": 0.01}
    document = {
        "dataset": "digits",
        "split": "row",
        "seed": 3,
        "network": {"architecture": "mlp", "units": [16], "dropout": 0.2},
        "train": {"loss": "categorical_crossentropy", "optimizer": optimizer, "batch_size": 32, "epochs": 5} | train,
    }
    return TypeAdapter(ComparisonParams).validate_python(document, strict=False)


def accuracy(model, part):
    return np.mean(model.predict_on_batch(part.x.astype(np.float32)).argmax(axis=1) == part.y)


def test_a_fit_has_the_model_of_the_best_epoch_and_its_history():
    prepared = digits()
    fit = fit_network(block(checkpoint="val_accuracy"), prepared)
    best = max(fit.history, key=lambda entry: entry["val_accuracy"])
    assert (len(fit.history), fit.best_epoch) == (5, best["epoch"])
    assert accuracy(fit.model, prepared.validation) == pytest.approx(best["val_accuracy"])
    assert fit.parameters == 64 * 16 + 16 + 16 * 10 + 10
    assert fit.seconds >= sum(entry["seconds"] for entry in fit.history)


def test_the_last_epoch_can_be_kept():
    prepared = digits()
    fit = fit_network(block(optimizer={"name": "sgd", "learning_rate": 5.0}), prepared, keep="last")
    assert fit.best_epoch == 5
    assert accuracy(fit.model, prepared.validation) == pytest.approx(fit.history[-1]["val_accuracy"])


def test_without_validation_rows_the_last_epoch_is_kept_and_nothing_is_validated():
    fit = fit_network(block(), digits(validation=NONE), keep="last")
    assert list(fit.history[-1]) == ["epoch", "accuracy", "loss", "learning_rate", "seconds"]
    assert fit.history[-1]["accuracy"] > fit.history[0]["accuracy"]


WANTING = [
    (block(), "best", "keep='best' needs validation rows, and this split has none"),
    (block(early_stopping={"patience": 2}), "last", "train.early_stopping needs validation rows"),
    (block(schedule={"name": "reduce_on_plateau"}), "last", "train.schedule 'reduce_on_plateau' needs validation rows"),
]


@pytest.mark.parametrize(("params", "keep", "sentence"), WANTING, ids=["best", "early stopping", "plateau"])
def test_what_needs_validation_rows_says_so(params, keep, sentence):
    with pytest.raises(ParamsError, match=sentence):
        fit_network(params, digits(validation=NONE), keep=keep)


def test_a_fit_does_not_depend_on_what_ran_before_it():
    prepared, params = digits(), block()
    first = fit_network(params, prepared)
    other = fit_network(params.model_copy(update={"seed": 4}), prepared)
    second = fit_network(params, prepared)
    for weights, expected in zip(second.model.get_weights(), first.model.get_weights(), strict=True):
        np.testing.assert_array_equal(weights, expected)
    assert (other.model.get_weights()[0] != first.model.get_weights()[0]).any()
    assert accuracy(first.model, prepared.test) == accuracy(second.model, prepared.test)


def count_graphs():
    keras.backend.clear_session()
    gc.collect()
    return sum(type(kept).__name__ == "FuncGraph" for kept in gc.get_objects())


def test_a_fit_leaves_no_graph_in_memory():
    before = count_graphs()
    fit_network(block(epochs=1), digits())
    assert count_graphs() == before


class StopAfter(keras.callbacks.Callback):
    def __init__(self, epochs):
        super().__init__()
        self._epochs = epochs

    def on_epoch_end(self, epoch, logs=None):
        assert "val_loss" in logs
        self.model.stop_training = epoch + 1 == self._epochs


class Prune(keras.callbacks.Callback):
    def on_epoch_end(self, *_):
        raise InterruptedError


def test_a_callback_can_stop_a_fit_or_raise_out_of_it():
    assert len(fit_network(block(), digits(), [StopAfter(2)]).history) == 2
    with pytest.raises(InterruptedError):
        fit_network(block(), digits(), [Prune()])


def test_mixed_precision_ends_in_float32():
    model = fit_network(block(mixed_precision=True, epochs=1), digits()).model
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
