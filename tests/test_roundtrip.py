"""From scikit-learn's bundled data to a prediction over HTTP: the real pipeline under DVC, the real service.

Everything runs in a copy of the project, as `make run` would run it in a fresh clone.
"""

import base64
import io
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.running_service import ROOT, TOLERANCE, assert_same, environment, keras_outputs, predict, serve

# A classifier of pictures, one of two classes, and a regression; `make check-published` asks every published model.
MODELS = ("digits", "breast_cancer", "flats")
TARGETS = [f"publish@{name}" for name in MODELS]

# What README.md tells a person to write for a CSV of their own.
FLATS_DATASET = """
  flats:
    source: my/flats.csv
    options:
      target: Rent
      task: regression
      target_unit: EUR
      features: {Floor area: m2, Rooms: "", Distance to centre: km}
      delimiter: ";"
    prepare:
      seed: 1
      splits:
        row: {validation: 0.15, test: 0.2}
"""
FLATS_MODEL = """
  flats:
    dataset: flats
    split: row
    seed: 1
    network: {architecture: mlp, units: [16], input_scaling: standardize}
    train:
      loss: mean_squared_error
      optimizer: {name: adam, learning_rate: 0.01}
      batch_size: 32
      epochs: 30
    evaluate: {}
    publish:
      floor: {metric: mae, value: 150.0}
      tolerance: 5.0
"""


def run(folder: Path, *command: str, timeout_seconds: int = 1200) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=timeout_seconds, check=False
    )


def repro(folder: Path, *arguments: str) -> str:
    result = run(folder, "dvc", "repro", *arguments)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return result.stdout


def copy_project(target: Path) -> Path:
    listed = run(ROOT, "git", "ls-files", "--cached", "--others", "--exclude-standard").stdout.splitlines()
    for name in listed:
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "Copy"]):
        identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
        assert run(target, "git", *identity, *command).returncode == 0
    return target


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in which the bundled models and one from a CSV are published.

    Its first run was killed during a training.
    """
    folder = copy_project(tmp_path_factory.mktemp("project"))
    add_own_data(folder)
    kill_during_training(folder)
    repro(folder, *TARGETS)
    return folder


def add_own_data(folder: Path) -> None:
    """A CSV of the user's own, and its two blocks in the parameter file."""
    draw = np.random.default_rng(1)
    area, rooms, distance = draw.uniform(20, 150, 400), draw.integers(1, 6, 400), draw.uniform(0, 20, 400)
    rent = 300 + 11 * area + 40 * rooms - 25 * distance + draw.normal(0, 40, 400)
    lines = [f"{a:.1f};{r};{d:.2f};{y:.0f}" for a, r, d, y in zip(area, rooms, distance, rent, strict=True)]
    (folder / "my").mkdir()
    (folder / "my" / "flats.csv").write_text("\n".join(["Floor area;Rooms;Distance to centre;Rent", *lines]) + "\n")
    params = (folder / "params.yaml").read_text()
    params = params.replace("\nmodels:\n", f"{FLATS_DATASET}\nmodels:{FLATS_MODEL}\n", 1)
    (folder / "params.yaml").write_text(params)


def kill_during_training(folder: Path) -> None:
    process = subprocess.Popen(
        ["dvc", "repro", *TARGETS],
        cwd=folder, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not any((folder / ".kiln").rglob("*")) and process.poll() is None:
        assert time.monotonic() < deadline, "training never saved a state from which it could resume"
        time.sleep(0.05)
    assert process.poll() is None, "the pipeline ended before it could be killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not list((folder / "models").glob("*/[0-9]*")), "nothing can be published before training has ended"


@pytest.fixture(scope="module")
def address(project: Path) -> Iterator[str]:
    """The running service's address."""
    with serve(project / "models") as base:
        yield base


def test_rows(project: Path, model: str) -> tuple[np.ndarray, np.ndarray]:
    with np.load(project / "data" / "prepared" / model / "row" / "test.npz") as arrays:
        return arrays["x"], arrays["y"]


test_rows.__test__ = False  # a function that gives rows of the test set, not a test


def description(project: Path, model: str) -> dict:
    return json.loads((project / "data" / "prepared" / model / "description.json").read_text())


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("count", [1, 37])
def test_raw_rows_over_http_give_the_keras_models_numbers(project, address, model, count):
    rows, _ = test_rows(project, model)
    expected = keras_outputs(project, model, rows[:count])
    answered = np.array(predict(address, model, {"instances": rows[:count].tolist()}))
    assert_same(answered, expected)


@pytest.mark.parametrize("model", ["digits", "breast_cancer"])
def test_classify_answers_the_label_at_the_operating_point(project, address, model):
    rows, _ = test_rows(project, model)
    probabilities = keras_outputs(project, model, rows)
    answers = predict(address, model, {"signature_name": "classify", "instances": rows.tolist()})
    extra = json.loads((project / "models" / model / "1" / "assets.extra" / "model.json").read_text())
    if extra["task"] == "binary":
        classes = (probabilities[:, 1] >= extra["operating_point"]["threshold"]).astype(int)
    else:
        classes = probabilities.argmax(axis=1)
    assert [answer["class_id"] for answer in answers] == classes.tolist()
    assert [answer["label"] for answer in answers] == [extra["labels"][index] for index in classes]
    scores = [answer["score"] for answer in answers]
    np.testing.assert_allclose(scores, probabilities[np.arange(len(classes)), classes], atol=TOLERANCE)


def test_a_published_classifier_is_right_about_most_of_the_test_set(project, address):
    rows, truth = test_rows(project, "digits")
    answers = predict(address, "digits", {"signature_name": "classify", "instances": rows.tolist()})
    assert np.mean([answer["class_id"] for answer in answers] == truth) >= 0.95


def test_an_answer_is_in_the_targets_own_unit(project, address):
    rows, truth = test_rows(project, "flats")
    answers = np.array(predict(address, "flats", {"instances": rows.tolist()})).ravel()
    assert truth.min() > 100
    assert np.abs(answers - truth).mean() < np.abs(np.median(truth) - truth).mean()


def test_a_csv_of_ones_own_is_served_under_its_column_names(address):
    flat = {"floor_area": 80.0, "rooms": 3.0, "distance_to_centre": 5.0}
    [rent] = predict(address, "flats", {"signature_name": "named_features", "instances": [flat]})
    assert np.ravel(rent)[0] == pytest.approx(300 + 11 * 80 + 40 * 3 - 25 * 5, abs=100)


def test_a_png_file_gives_what_its_pixels_give(project, address):
    rows, _ = test_rows(project, "digits")
    # An 8x8 digit has values 0-16; as a picture it has grey levels 0-255.
    pixels = np.round(rows[0].astype(float) * 255 / 16).astype("uint8")
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    instance = {"b64": base64.b64encode(buffer.getvalue()).decode()}
    [answer] = predict(address, "digits", {"signature_name": "image_bytes", "instances": [instance]})
    expected = keras_outputs(project, "digits", pixels[None].astype("float32") * 16 / 255)
    np.testing.assert_allclose(answer["probabilities"], expected[0], atol=TOLERANCE)


@pytest.mark.parametrize("model", ["breast_cancer", "flats"])
def test_features_by_name_give_what_the_row_gives(project, address, model):
    rows, _ = test_rows(project, model)
    names = [feature["name"] for feature in description(project, model)["features"]]
    instances = [dict(zip(names, row.tolist(), strict=True)) for row in rows[:5]]
    answers = predict(address, model, {"signature_name": "named_features", "instances": instances})
    expected = keras_outputs(project, model, rows[:5])
    if model == "breast_cancer":
        answered = np.array([answer["probabilities"] for answer in answers])
    else:
        answered = np.array(answers).reshape(-1, 1)
    assert_same(answered, expected)


def test_a_second_repro_does_nothing(project):
    before = {path: path.stat().st_mtime_ns for path in (project / "models").rglob("*")}
    output = repro(project, *TARGETS)
    assert "Running stage" not in output
    assert before == {path: path.stat().st_mtime_ns for path in (project / "models").rglob("*")}


def test_a_models_parameters_rerun_that_model_only(project):
    params = project / "params.yaml"
    original = params.read_text()
    params.write_text(original.replace("units: [256, 128]", "units: [256, 129]", 1))
    try:
        assert params.read_text() != original
        stages = [line for line in repro(project, "--dry", *TARGETS).splitlines() if "Running stage" in line]
    finally:
        params.write_text(original)
    assert stages
    assert all("@digits" in line for line in stages), stages
    assert any("train@digits" in line for line in stages), stages
