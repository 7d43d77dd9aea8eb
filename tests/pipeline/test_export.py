"""Evaluating and exporting small untrained networks, one per task; the only tests here that need TensorFlow."""

import io
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import ExifTags, Image

from pipeline import evaluate, export
from pipeline.errors import ExportError
from pipeline.inputs import pixels_of, signature_inputs
from pipeline.params import parse_params
from pipeline.parity import Reference, check_signatures, check_warmup
from pipeline.prepared import Description, Feature, Part, load_prepared, save_description, save_part, write_json
from pipeline.profile import describe_columns
from pipeline.signatures import Signatures, load_signatures, save_signatures
from pipeline.warmup import FILE_NAME, Request, load_requests, save_requests

ROWS = 40
LABELS = {"digits": ("zero", "one", "two"), "tumours": ("benign", "malignant"), "disease": ()}
TASKS = {"digits": "multiclass", "tumours": "binary", "disease": "regression"}
NAMES = tuple(TASKS)
TRAINING = {
    "parameters": 10, "epochs": 3, "best_epoch": 2, "seconds": 4.5, "keras": "3", "backend": "tensorflow",
    "devices": ["cpu:0"],
}  # fmt: skip


def describe(name):
    is_image = name == "digits"
    return Description(
        name=name, task=TASKS[name], input_kind="image" if is_image else "features",
        input_shape=(8, 8) if is_image else (3,), input_range=(0.0, 16.0) if is_image else None, labels=LABELS[name],
        features=() if is_image else (Feature("age", "years"), Feature("bmi"), Feature("s1")), target_name="target",
        target_unit="points" if name == "disease" else "", source="made up", checksum="0" * 64, partial="",
        splits={"row": {"counts": {"train": ROWS, "validation": ROWS, "test": ROWS}}},
    )  # fmt: skip


def make_part(description, seed):
    random = np.random.default_rng(seed)
    if description.input_kind == "image":
        return Part(random.integers(0, 17, (ROWS, 8, 8), dtype=np.uint8), np.arange(ROWS) % 3)
    x = random.normal(50, 20, (ROWS, 3)).astype(np.float32)
    target = x.sum(axis=1)
    return Part(x, target if description.task == "regression" else (target > np.median(target)).astype(np.int64))


def build_model(description):
    keras.utils.set_random_seed(1)
    inputs = keras.Input(description.input_shape, name=description.input_name)
    hidden = keras.layers.Rescaling(1 / 16)(inputs)
    hidden = keras.layers.Dropout(0.2)(keras.layers.Dense(5, "tanh")(keras.layers.Flatten()(hidden)))
    if description.task == "multiclass":
        outputs = keras.layers.Dense(3, "softmax")(hidden)
    elif description.task == "binary":
        positive = keras.layers.Dense(1, "sigmoid")(hidden)
        outputs = keras.layers.Concatenate()([keras.layers.Rescaling(-1.0, 1.0)(positive), positive])
    else:
        outputs = keras.layers.Rescaling(40.0, 150.0)(keras.layers.Dense(1)(hidden))
    return keras.Model(inputs, outputs)


def profile(description, part):
    features = describe_columns(description.features, part.x) if description.features else []
    return {"features": features, "target_standardization": {"mean": 150.0, "std": 40.0}}


def parameters():
    train = {"optimizer": {"name": "adam"}, "batch_size": 8, "epochs": 1}
    losses = {
        "multiclass": "categorical_crossentropy",
        "binary": "binary_crossentropy",
        "regression": "mean_squared_error",
    }
    split = {"row": {"validation": 0.2, "test": 0.2}}
    source = "pipeline/datasets/digits.py"
    floor = {"multiclass": "accuracy", "binary": "accuracy", "regression": "mae"}
    return {
        "datasets": {
            name: {"source": source, "options": {}, "prepare": {"seed": 1, "splits": split}} for name in NAMES
        },
        "models": {
            name: {
                "dataset": name, "split": "row", "seed": 1, "network": {"architecture": "mlp", "units": [5]},
                "train": {**train, "loss": losses[task]},
                "publish": {"floor": {"metric": floor[task], "value": 0.5}, "tolerance": 0.1},
            }
            for name, task in TASKS.items()
        },
    }  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A project in which all three networks were trained, evaluated and exported."""
    root = tmp_path_factory.mktemp("project")
    for name in NAMES:
        description = describe(name)
        folder = root / "data" / "prepared" / name
        parts = {part: make_part(description, seed) for seed, part in enumerate(("train", "validation", "test"))}
        for part, rows in parts.items():
            save_part(rows, folder / "row" / f"{part}.npz")
        save_description(description, folder)
        write_json(profile(description, parts["train"]), folder / "row" / "profile.json")
        (root / "runs" / name).mkdir(parents=True)
        build_model(description).save(root / "runs" / name / "model.keras")
        write_json(TRAINING, root / "reports" / name / "training" / "training.json")
        params = parse_params(parameters(), "test")
        evaluate.evaluate(name, params, root)
        export.export(name, params, root)
    return root


def keras_outputs(root, name, rows):
    return keras.models.load_model(root / "runs" / name / "model.keras")(rows.astype(np.float32)).numpy()


def load(root, name):
    return tf.saved_model.load(str(root / "exports" / name)).signatures


def rows_of(root, name):
    return load_prepared(root / "data" / "prepared" / name, "row").test.x


def manifest_of(root, name):
    return json.loads((root / "exports" / name / "assets.extra" / "model.json").read_text())


@pytest.mark.parametrize("name", NAMES)
def test_evaluation_writes_every_figure_as_a_finite_number(root, name):
    metrics = json.loads((root / "reports" / name / "metrics.json").read_text())
    for part in ("test", "validation", "train"):
        assert metrics[part].keys() == metrics["baseline"]["trivial"].keys()
        assert np.isfinite(list(metrics[part].values())).all()
    assert ("gradient_boosting" in metrics["baseline"]) == (name != "digits")
    assert ("operating_point" in metrics) == (name == "tumours")
    assert (root / "reports" / name / "README.md").read_text().startswith(f"# {name}\n")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [0, 1, 7, 40])
def test_raw_rows_give_the_keras_models_numbers(root, name, count):
    rows, description = rows_of(root, name)[:count], describe(name)
    [(output, values)] = load(root, name)["serving_default"](
        **{description.input_name: tf.constant(rows, tf.float32)}
    ).items()
    assert output == ("prediction" if name == "disease" else "probabilities")
    np.testing.assert_allclose(values, keras_outputs(root, name, rows), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("digits", {"serving_default", "classify", "image_bytes"}),
        ("tumours", {"serving_default", "classify", "named_features"}),
        ("disease", {"serving_default", "named_features"}),
    ],
)
def test_a_model_has_the_signatures_of_its_kind(root, name, names):
    assert set(load(root, name)) == names


def test_classify_answers_the_most_probable_label(root):
    rows = rows_of(root, "digits")
    answers = load(root, "digits")["classify"](image=tf.constant(rows, tf.float32))
    expected = keras_outputs(root, "digits", rows)
    class_id = expected.argmax(axis=1)
    assert answers["class_id"].dtype == tf.int64
    assert answers["class_id"].numpy().tolist() == class_id.tolist()
    assert [label.decode() for label in answers["label"].numpy()] == [LABELS["digits"][index] for index in class_id]
    np.testing.assert_allclose(answers["score"], expected.max(axis=1), atol=1e-5)


def test_classify_of_two_classes_uses_the_operating_point(root):
    rows, threshold = rows_of(root, "tumours"), manifest_of(root, "tumours")["operating_point"]["threshold"]
    answers = load(root, "tumours")["classify"](features=tf.constant(rows))
    positive = keras_outputs(root, "tumours", rows)[:, 1] >= np.float32(threshold)
    assert answers["class_id"].numpy().tolist() == positive.astype(int).tolist()


@pytest.mark.parametrize(
    ("file_format", "mode", "size"),
    [
        ("PNG", "L", (8, 8)), ("PNG", "RGB", (8, 8)), ("PNG", "P", (8, 8)), ("PNG", "L", (40, 32)),
        ("JPEG", "L", (8, 8)), ("JPEG", "RGB", (40, 32)),
    ],
)  # fmt: skip
def test_picture_files_of_any_mode_and_size_are_read(root, file_format, mode, size):
    stream = io.BytesIO()
    Image.new("L", size, 255).convert(mode).save(stream, file_format)
    answers = load(root, "digits")["image_bytes"](image_bytes=tf.constant([stream.getvalue()]))
    white = keras_outputs(root, "digits", np.full((1, 8, 8), 16.0))
    np.testing.assert_allclose(answers["probabilities"], white, atol=1e-4)
    assert set(answers) == {"label", "class_id", "score", "probabilities"}


def test_a_picture_keeps_its_own_pixels(root):
    rows, description = rows_of(root, "digits")[:5], describe("digits")
    files = signature_inputs(description, rows)["image_bytes"]["image_bytes"]
    answers = load(root, "digits")["image_bytes"](image_bytes=tf.constant(files, tf.string))
    assert np.abs(pixels_of(description, rows) - rows).max() <= 16 / 255 / 2 + 1e-6
    expected = keras_outputs(root, "digits", pixels_of(description, rows))
    np.testing.assert_allclose(answers["probabilities"], expected, atol=1e-5)


def test_the_orientation_in_exif_data_is_not_applied(root):
    pixels = rows_of(root, "digits")[0].astype(np.uint8) * 15
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6  # the picture is to be turned by 90 degrees
    files = []
    for exif in (Image.Exif(), turned):
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", exif=exif)
        files.append(stream.getvalue())
    answers = load(root, "digits")["image_bytes"](image_bytes=tf.constant(files))["probabilities"].numpy()
    assert files[0] != files[1]
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-5)


def picture_file(file_format, size):
    stream = io.BytesIO()
    Image.new("L", size).save(stream, file_format)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "0 for another kind of file"),
        (b"no picture", "0 for another kind of file"),
        (picture_file("BMP", (8, 8)), "0 for another kind of file"),
        (picture_file("PNG", (8, 8))[:8], "0 for another kind of file"),
        (picture_file("PNG", (8, 8))[:40], "Invalid PNG"),
        (picture_file("PNG", (4096, 4097)), "of at most 16777216 pixels"),
        (picture_file("JPEG", (4097, 4096)), "of at most 16777216 pixels"),
    ],
    ids=["empty", "text", "BMP", "head of a PNG", "half a PNG", "large PNG", "large JPEG"],
)
def test_what_is_no_picture_or_a_huge_one_is_refused(root, data, sentence):
    with pytest.raises(tf.errors.InvalidArgumentError, match=sentence):
        load(root, "digits")["image_bytes"](image_bytes=tf.constant([data]))


def test_features_go_by_name_in_any_order(root):
    rows = rows_of(root, "disease")
    named = {name: tf.constant(rows[:, column]) for column, name in enumerate(("age", "bmi", "s1"))}
    answers = load(root, "disease")["named_features"](**dict(reversed(named.items())))
    np.testing.assert_allclose(answers["prediction"], keras_outputs(root, "disease", rows), rtol=1e-5)


def test_the_manifest_says_what_a_signature_cannot(root):
    manifest = manifest_of(root, "tumours")
    assert manifest["format_version"] == 1
    assert manifest["labels"] == ["benign", "malignant"]
    assert manifest["features"][0] == {"name": "age", "unit": "years"}
    assert manifest["operating_point"] == {
        "threshold": manifest["metrics"]["operating_point"]["threshold"], "maximizes": "f1", "chosen_on": "validation",
    }  # fmt: skip
    assert manifest["data"]["counts"] == {"train": ROWS, "validation": ROWS, "test": ROWS}
    assert "publish" not in manifest["params"]
    assert manifest["training"].items() > TRAINING.items()
    assert manifest["training"]["network"] == "architecture mlp, units 5"
    assert [entry["slice"] for entry in manifest["slices"]] == ["benign", "malignant"]
    assert manifest_of(root, "digits")["operating_point"] is None


@pytest.mark.parametrize("name", NAMES)
def test_the_manifest_names_the_signatures_whose_rows_are_independent(root, name):
    assert manifest_of(root, name)["independent_rows"] == sorted(load(root, name))


def test_a_model_whose_rows_depend_on_each_other_is_exported_and_not_called_independent(root, tmp_path, capsys):
    for folder in ("data", "reports"):
        (tmp_path / folder).symlink_to(root / folder)
    inputs = keras.Input((8, 8), name="image")
    hidden = keras.layers.Dense(3)(keras.layers.Flatten()(inputs))
    model = keras.Model(inputs, keras.layers.Softmax(axis=[0, 1])(hidden))
    (tmp_path / "runs" / "digits").mkdir(parents=True)
    model.save(tmp_path / "runs" / "digits" / "model.keras")
    export.export("digits", parse_params(parameters(), "test"), tmp_path)
    assert manifest_of(tmp_path, "digits")["independent_rows"] == []
    printed = capsys.readouterr().out
    for signature in ("serving_default", "classify", "image_bytes"):
        assert f"exports/digits: {signature} must not be batched: " in printed


def test_the_example_can_be_sent_as_it_is(root):
    rows = rows_of(root, "disease")
    [instance] = manifest_of(root, "disease")["example"]["instances"]
    assert np.array_equal(np.array(instance, np.float32), rows[0])
    [image] = manifest_of(root, "digits")["example"]["instances"]
    assert np.array(image).shape == (8, 8)
    assert manifest_of(root, "digits")["example"]["expected"] in LABELS["digits"]


@pytest.mark.parametrize("name", NAMES)
def test_the_warm_up_file_calls_every_signature_at_several_batch_sizes(root, name):
    requests = list(load_requests(root / "exports" / name / "assets.extra" / FILE_NAME))
    sizes = {}
    for request in requests:
        sizes.setdefault(request.signature_name, set()).add(len(next(iter(request.inputs.values()))))
    assert set(sizes) == set(load(root, name))
    assert all({1, 32} <= found for found in sizes.values())


def test_an_export_holds_neither_an_optimizer_nor_layers(root):
    loaded = tf.saved_model.load(str(root / "exports" / "digits"))
    assert len(loaded.weights) == 4
    assert sum(path.stat().st_size for path in (root / "exports" / "digits").rglob("*")) < 200_000


def add_convolutions(image):
    hidden = keras.layers.Conv2D(2, 3, activation="relu")(keras.layers.Reshape((8, 8, 1))(image))
    return keras.layers.Flatten()(keras.layers.MaxPooling2D(2)(hidden))


def add_normalized_convolutions(image):
    hidden = keras.layers.Conv2D(2, 3, strides=2, padding="same", use_bias=False)(
        keras.layers.Reshape((8, 8, 1))(image)
    )
    moving = {"moving_mean_initializer": "ones", "gamma_initializer": keras.initializers.Constant(1.5)}
    hidden = keras.layers.Activation("relu")(keras.layers.BatchNormalization(**moving)(hidden))
    return keras.layers.GlobalAveragePooling2D()(hidden)


def add_recurrence(image):
    return keras.layers.Bidirectional(keras.layers.SimpleRNN(3, dropout=0.2))(image)


@pytest.mark.parametrize("add_layers", [add_convolutions, add_normalized_convolutions, add_recurrence])
def test_convolutions_and_recurrence_answer_any_number_of_rows(root, tmp_path, add_layers):
    inputs = keras.Input((8, 8), name="image")
    model = keras.Model(inputs, keras.layers.Dense(3, "softmax")(add_layers(inputs)))
    description = describe("digits")
    save_signatures(Signatures(model, description, None), tmp_path)
    for count in (0, 1, 7):
        rows = rows_of(root, "digits")[:count]
        check_signatures(load_signatures(tmp_path), Reference(model, description, None), rows)


def test_other_weights_fail_the_check_with_both_numbers(root):
    model = keras.models.load_model(root / "runs" / "disease" / "model.keras")
    model.set_weights([weight * 1.01 for weight in model.get_weights()])
    rows = rows_of(root, "disease")[:3]
    with pytest.raises(
        ExportError, match=r"'serving_default' answers .* where the Keras model answers .*\(row \d of 3\)"
    ):
        check_signatures(load(root, "disease"), Reference(model, describe("disease"), None), rows)


def test_another_threshold_fails_the_check(root):
    model = keras.models.load_model(root / "runs" / "tumours" / "model.keras")
    reference = Reference(model, describe("tumours"), 1.5)
    with pytest.raises(ExportError, match="classify: class_id of row .* is 1; the probabilities say 0."):
        check_signatures(load(root, "tumours"), reference, rows_of(root, "tumours"))


def test_a_missing_signature_fails_the_check(root):
    model = keras.models.load_model(root / "runs" / "disease" / "model.keras")
    signatures = {"serving_default": load(root, "disease")["serving_default"]}
    with pytest.raises(ExportError, match="expected \\['named_features', 'serving_default'\\]"):
        check_signatures(signatures, Reference(model, describe("disease"), None), rows_of(root, "disease"))


def test_a_warm_up_request_that_is_refused_fails_the_check(root, tmp_path):
    wrong = Request("serving_default", {"features": np.zeros((1, 4), np.float32)})
    save_requests("disease", [wrong], tmp_path / FILE_NAME)
    with pytest.raises(ExportError, match="'serving_default' refuses its request"):
        check_warmup(load(root, "disease"), tmp_path / FILE_NAME)


@pytest.mark.parametrize("stage", [evaluate, export])
def test_a_model_that_was_not_trained_is_a_sentence(root, stage, capsys, tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text(json.dumps(parameters()))
    (tmp_path / "data").symlink_to(root / "data")
    (tmp_path / "reports").symlink_to(root / "reports")
    assert stage.main(["--model", "digits", "--params", str(params), "--root", str(tmp_path)]) == 1
    assert "Run the train stage first." in capsys.readouterr().err
    assert not (tmp_path / "exports" / "digits").exists()


def test_a_broken_model_file_is_a_sentence(root, capsys, tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text(json.dumps(parameters()))
    (tmp_path / "data").symlink_to(root / "data")
    (tmp_path / "runs" / "digits").mkdir(parents=True)
    (tmp_path / "runs" / "digits" / "model.keras").write_bytes(b"half a file")
    assert evaluate.main(["--model", "digits", "--params", str(params), "--root", str(tmp_path)]) == 1
    assert "is not a Keras model" in capsys.readouterr().err


def test_a_model_of_other_data_is_a_sentence(root, capsys, tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text(json.dumps(parameters()))
    (tmp_path / "data").symlink_to(root / "data")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "disease").symlink_to(root / "runs" / "tumours")
    assert evaluate.main(["--model", "disease", "--params", str(params), "--root", str(tmp_path)]) == 1
    assert "an array of shape (40, 2); expected (40, 1)" in capsys.readouterr().err
