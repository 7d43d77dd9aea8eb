import csv
import json
import os

import keras
import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_digits

from pipeline import callbacks
from pipeline.prepared import PARTS, Description, Feature, Part, save_description, save_part, write_json
from pipeline.train import main

EPOCHS = 4


def save_dataset(root, description, x, y):
    folder = root / "data" / "prepared" / description.name
    order = np.random.default_rng(0).permutation(len(x))
    for part, rows in zip(PARTS, np.split(order, [300, 400]), strict=True):
        save_part(Part(x[rows], y[rows]), folder / "row" / f"{part}.npz")
    write_json({}, folder / "row" / "profile.json")
    save_description(description, folder)


def save_digits(root):
    digits = load_digits()
    labels = tuple(str(label) for label in range(10))
    shared = {"source": "test", "checksum": "0" * 64, "partial": "", "splits": {"row": {}}, "target_unit": ""}
    description = Description(
        "digits", "multiclass", "image", (8, 8), (0.0, 16.0), labels, (), target_name="class", **shared
    )
    save_dataset(root, description, digits.images.astype(np.uint8), digits.target.astype(np.int64))


def save_diabetes(root):
    diabetes = load_diabetes(scaled=False)
    features = tuple(Feature(name) for name in diabetes.feature_names)
    description = Description(
        "diabetes", "regression", "features", (10,), None, (), features, "progression", "points", "test", "0" * 64, "",
        {"row": {}},
    )  # fmt: skip
    save_dataset(root, description, diabetes.data.astype(np.float32), diabetes.target.astype(np.float32))


@pytest.fixture
def project(tmp_path):
    """A project with small data and one model on each data set."""
    save_digits(tmp_path)
    save_diabetes(tmp_path)
    return tmp_path


def block(dataset, network, loss, **train):
    optimizer = train.pop("optimizer", {"name": "adam", "learning_rate": 0.005})
    return {
        "dataset": dataset,
        "split": "row",
        "seed": 3,
        "network": network,
        "train": {"loss": loss, "optimizer": optimizer, "batch_size": 32, "epochs": EPOCHS, **train},
    }


def digits_block(**train):
    network = {"architecture": "mlp", "units": [32, 16], "dropout": 0.2}
    return block("digits", network, **{"loss": "categorical_crossentropy"} | train)


def diabetes_block(**train):
    network = {"architecture": "mlp", "units": [8], "input_scaling": "standardize"}
    return block("diabetes", network, **{"loss": "mean_squared_error"} | train)


def run(root, model):
    """Writes a parameter file in which `tested` is the model, and runs the stage on it."""
    source = {"source": "pipeline/datasets/any.py", "options": {}}
    splits = {"prepare": {"seed": 1, "splits": {"row": {"validation": 0.2, "test": 0.2}}}}
    document = {
        "datasets": dict.fromkeys(("digits", "diabetes"), source | splits),
        "models": {},
        "comparisons": {"tested": model},
    }
    # JSON is YAML, too.
    (root / "params.yaml").write_text(json.dumps(document))
    return main(["--model", "tested", "--params", str(root / "params.yaml"), "--root", str(root)])


def history(root):
    with (root / "reports" / "tested" / "training" / "history.csv").open() as stream:
        return list(csv.DictReader(stream))


def load(root):
    return keras.models.load_model(root / "runs" / "tested" / "model.keras")


def rows(root, dataset, part):
    with np.load(root / "data" / "prepared" / dataset / "row" / f"{part}.npz") as arrays:
        return arrays["x"], arrays["y"]


def test_a_training_writes_the_model_and_its_report(project, capsys):
    assert run(project, digits_block()) == 0
    assert sorted(path.name for path in (project / "reports" / "tested" / "training").iterdir()) == [
        "history.csv", "network.png", "summary.txt", "training.json",
    ]  # fmt: skip
    names = "epoch,loss,val_loss,accuracy,val_accuracy,learning_rate,seconds"
    assert ",".join(history(project)[0]) == names
    assert [entry["epoch"] for entry in history(project)] == ["1", "2", "3", "4"]
    facts = json.loads((project / "reports" / "tested" / "training" / "training.json").read_text())
    assert facts["parameters"] == 64 * 32 + 32 + 32 * 16 + 16 + 16 * 10 + 10
    assert facts["epochs"] == EPOCHS
    assert "Trained tested, best epoch 4 of 4: val_loss 1." in capsys.readouterr().out
    assert not list((project / ".kiln").rglob("*.npz"))


def test_the_saved_model_gives_probabilities_for_raw_pixels_from_the_best_epoch(project):
    assert run(project, digits_block()) == 0
    x, y = rows(project, "digits", "validation")
    probabilities = load(project).predict_on_batch(x.astype(np.float32))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    best = min(history(project), key=lambda entry: float(entry["val_loss"]))
    assert np.mean(probabilities.argmax(axis=1) == y) == pytest.approx(float(best["val_accuracy"]), abs=1e-6)


def test_a_regression_answers_in_the_targets_unit(project):
    assert run(project, diabetes_block()) == 0
    x, y = rows(project, "diabetes", "validation")
    predictions = load(project).predict_on_batch(x.astype(np.float32))
    assert predictions.shape == (len(x), 1)
    deviation = rows(project, "diabetes", "train")[1].std()
    best = min(history(project), key=lambda entry: float(entry["val_loss"]))
    expected = float(best["val_mae_standardized"]) * deviation
    assert np.abs(predictions[:, 0] - y).mean() == pytest.approx(expected, rel=1e-5)


def test_the_average_of_the_weights_is_validated_and_kept_and_training_goes_its_way(project):
    assert run(project, digits_block()) == 0
    plain = history(project)
    assert run(project, digits_block(average_momentum=0.95, calibration="none")) == 0
    averaged = history(project)
    for entry, expected in zip(averaged, plain, strict=True):
        assert float(entry["loss"]) == pytest.approx(float(expected["loss"]), rel=1e-4)
        assert abs(float(entry["val_loss"]) / float(expected["val_loss"]) - 1) > 0.01
    x, y = rows(project, "digits", "validation")
    probabilities = load(project).predict_on_batch(x.astype(np.float32))[np.arange(len(y)), y]
    assert -np.log(probabilities).mean() == pytest.approx(min(float(entry["val_loss"]) for entry in averaged), rel=1e-5)


def test_tensorboard_gets_scalars_the_graph_and_histograms(project):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert run(project, digits_block()) == 0
    events = EventAccumulator(str(project / "runs" / "tested" / "tensorboard" / "train"))
    events.Reload()
    tags = events.Tags()
    assert tags["graph"]
    assert {"epoch_loss", "epoch_accuracy", "hidden_1/kernel"} <= set(tags["tensors"])


SCHEDULES = {
    "dropout and momentum": digits_block(optimizer={"name": "sgd", "learning_rate": 0.05, "momentum": 0.9}),
    "plateau": diabetes_block(schedule={"name": "reduce_on_plateau", "patience": 1, "decay_rate": 0.5}, epochs=8),
    "augmentation": digits_block(augmentation={"kind": "image", "shift": 1.0, "elastic": 0.5}),
    "average": digits_block(average_momentum=0.9),
    "cosine": digits_block(schedule={"name": "cosine", "warmup_epochs": 1}),
    "compiled": digits_block(jit_compile=True),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_an_interrupted_training_ends_like_an_uninterrupted_one(project, monkeypatch, capsys, name):
    assert run(project, SCHEDULES[name]) == 0
    expected_weights, expected_history = load(project).get_weights(), history(project)
    with monkeypatch.context() as patch:
        patch.setattr(callbacks.Record, "on_epoch_end", interrupt_in_epoch(2, callbacks.Record.on_epoch_end))
        with pytest.raises(KeyboardInterrupt):
            run(project, SCHEDULES[name])
    (state,) = (project / ".kiln" / "resume" / "tested").glob("*/state.npz")
    state.with_name("state.building").write_bytes(b"half")
    assert run(project, SCHEDULES[name]) == 0
    assert "Going on after epoch 2" in capsys.readouterr().out
    for weights, expected in zip(load(project).get_weights(), expected_weights, strict=True):
        np.testing.assert_array_equal(weights, expected)
    assert without_seconds(history(project)) == without_seconds(expected_history)


TWICE = {
    "convolutions": {"architecture": "cnn", "filters": [4, 4], "dropout": 0.2},
    "recurrent": {"architecture": "rnn", "cell": "gru", "units": [8], "dropout": 0.2},
}


@pytest.mark.parametrize("name", TWICE)
def test_the_same_training_gives_the_same_weights_bit_for_bit(project, name):
    model = digits_block(epochs=2) | {"network": TWICE[name]}
    assert run(project, model) == 0
    weights, figures = load(project).get_weights(), history(project)
    assert run(project, model) == 0
    for found, expected in zip(load(project).get_weights(), weights, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert without_seconds(history(project)) == without_seconds(figures)


def interrupt_in_epoch(epoch, original):
    def on_epoch_end(self, current, logs=None):
        if current == epoch:
            raise KeyboardInterrupt
        original(self, current, logs)

    return on_epoch_end


def without_seconds(entries):
    return [{name: value for name, value in entry.items() if name != "seconds"} for entry in entries]


def test_a_kill_after_the_last_epoch_costs_no_epoch(project, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.training.finish_training", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(project, digits_block())
    capsys.readouterr()
    assert run(project, digits_block()) == 0
    assert "Epoch" not in capsys.readouterr().out.replace("after epoch", "")
    assert (project / "runs" / "tested" / "tensorboard" / "train").is_dir()


def interrupt(*_):
    raise KeyboardInterrupt


def test_a_state_of_other_parameters_is_not_taken_up(project, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.training.finish_training", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(project, digits_block())
    assert run(project, digits_block(batch_size=16)) == 0
    assert "Going on" not in capsys.readouterr().out
    assert not list((project / ".kiln" / "resume").iterdir())


def test_early_stopping_ends_a_training_that_gets_no_better(project):
    optimizer = {"name": "sgd", "learning_rate": 1e-12}
    model = digits_block(optimizer=optimizer, epochs=30, early_stopping={"patience": 2}, checkpoint="val_accuracy")
    assert run(project, model) == 0
    assert len(history(project)) == 3


WRONG = [
    (
        digits_block() | {"network": {"architecture": "cnn", "filters": [4, 4, 4]}},
        "tested: network: pooling 2 with pool_size 2 needs",
    ),
    (digits_block(loss="binary_crossentropy"), "tested: train.loss: 'binary_crossentropy' does not fit 'digits', a "),
    (diabetes_block(loss="hinge"), "tested: train.loss: 'hinge' does not fit 'diabetes', a regression data set."),
    (diabetes_block(checkpoint="val_roc_auc"), "tested: train.checkpoint: 'val_roc_auc' is measured for classes only"),
    (diabetes_block() | {"network": {"architecture": "mlp", "units": []}}, "tested: network.input_scaling: 'unit_ra"),
    (digits_block() | {"network": {"architecture": "mlp", "units": [], "l2": 0.1}}, "tested: network.l2: it acts on "),
    (
        digits_block(jit_compile=True) | {"network": {"architecture": "cnn", "filters": [4, 4]}},
        "tested: train.jit_compile: XLA cannot compile this network: ",
    ),
    (digits_block() | {"seed": -1}, "comparisons.tested.seed: input should be greater than or equal to 0"),
    (diabetes_block(optimizer={"name": "sgd", "learning_rate": 1e30}), "tested: loss became "),
]


@pytest.mark.parametrize(("model", "sentence"), WRONG, ids=[sentence[8:40] for _, sentence in WRONG])
def test_what_cannot_be_trained_ends_with_a_sentence(project, capsys, model, sentence):
    assert run(project, model) == 1
    assert sentence in capsys.readouterr().err
    assert not (project / "runs").exists()


def test_missing_rows_name_the_stage_to_run(project, capsys):
    os.remove(project / "data" / "prepared" / "digits" / "row" / "profile.json")
    assert run(project, digits_block()) == 1
    assert "No split 'row' in " in capsys.readouterr().err


def test_a_model_trained_in_mixed_precision_is_saved_in_float32(project):
    assert run(project, digits_block(mixed_precision=True)) == 0
    model = keras.models.load_model(project / "runs" / "tested" / "model.keras")
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
