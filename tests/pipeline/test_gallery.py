"""Tables, pictures and pages of an evaluation, without a network."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from ruamel.yaml import YAML

from pipeline.answers import Answers
from pipeline.baselines import gradient_boosting_baseline, spectrum, trivial_baseline
from pipeline.gallery import write_gallery
from pipeline.prepared import Description, Feature, Part, Prepared
from pipeline.report import compose_plots

ROWS = 60


def describe(task, kind="features", partial=""):
    labels = {"binary": ("no", "yes"), "multiclass": ("cat", "dog", "T-shirt/top"), "regression": ()}[task]
    return Description(
        name="made_up", task=task, input_kind=kind, input_shape=(4, 4) if kind == "image" else (3,),
        input_range=(0, 16) if kind == "image" else None, labels=labels,
        features=() if kind == "image" else tuple(Feature(name, "g") for name in "abc"),
        target_name="taste", target_unit="points" if task == "regression" else "", source="made up",
        checksum="0" * 64, partial=partial, splits={"row": {"counts": {"train": ROWS, "test": ROWS}}},
    )  # fmt: skip


def make_part(description, seed=1):
    random = np.random.default_rng(seed)
    x = (random.random((ROWS, *description.input_shape)) * 16).astype(np.float32)
    if description.task == "regression":
        return Part(x, x[:, 0] + 3)
    return Part(x, np.arange(ROWS) % len(description.labels))


def make_answers(description, part):
    random = np.random.default_rng(2)
    if description.task == "regression":
        return Answers(part, part.y + random.normal(size=ROWS).astype(np.float32))
    scores = random.random((ROWS, len(description.labels))) + np.eye(len(description.labels))[part.y]
    probabilities = (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)
    return Answers(part, probabilities, 0.5 if description.task == "binary" else None)


def prepare(description):
    parts = [make_part(description, seed) for seed in (1, 2, 3)]
    return Prepared(description, "row", *parts, profile={"target_standardization": {"mean": 8.0, "std": 2.0}})


CASES = [("binary", "features"), ("multiclass", "features"), ("multiclass", "image"), ("regression", "features")]


@pytest.mark.parametrize(("task", "kind"), CASES)
def test_every_table_has_a_picture_and_all_are_small(tmp_path, task, kind):
    description = describe(task, kind)
    part = make_part(description)
    columns = write_gallery(make_answers(description, part), description, "model", tmp_path)
    for file in columns:
        assert (tmp_path / file).with_suffix(".png").is_file()
        with Image.open((tmp_path / file).with_suffix(".png")) as picture:
            picture.verify()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 300_000
    assert (tmp_path / "classification_report.txt").is_file() == (task != "regression")


def test_the_same_answers_give_the_same_files(tmp_path):
    description = describe("multiclass", "image")
    answers = make_answers(description, make_part(description))
    for name in "ab":
        (tmp_path / name).mkdir()
        write_gallery(answers, description, "model", tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_the_worst_mistake_comes_first_with_its_names(tmp_path):
    description = describe("binary")
    part = Part(np.zeros((3, 3), np.float32), np.array([1, 1, 0]))
    probabilities = np.array([[0.6, 0.4], [0.99, 0.01], [0.9, 0.1]], np.float32)
    write_gallery(Answers(part, probabilities, 0.5), description, "model", tmp_path)
    table = pd.read_csv(tmp_path / "worst_mistakes.csv")
    assert table["row"].tolist() == [1, 0]
    assert table[["expected", "guessed"]].to_numpy().tolist() == [["yes", "no"]] * 2
    assert {"a", "b", "c"} <= set(table.columns)


def test_a_model_without_mistakes_is_said_to_have_none(tmp_path):
    description = describe("binary")
    part = make_part(description)
    probabilities = np.eye(2, dtype=np.float32)[part.y]
    write_gallery(Answers(part, probabilities, 0.5), description, "model", tmp_path)
    assert pd.read_csv(tmp_path / "worst_mistakes.csv").empty
    assert (tmp_path / "worst_mistakes.png").is_file()


def test_a_calibrated_model_shows_what_was_before(tmp_path):
    description = describe("binary")
    answers = replace(
        make_answers(description, make_part(description)), uncalibrated=np.full((ROWS, 2), 0.5, np.float32)
    )
    columns = write_gallery(answers, description, "model", tmp_path)
    assert columns["calibration_before.csv"] == columns["calibration.csv"]
    assert pd.read_csv(tmp_path / "calibration_before.csv")["rows"].tolist() == [ROWS]
    assert not (tmp_path / "calibration_before.png").exists()


@pytest.mark.parametrize(("task", "kind"), CASES)
def test_the_plots_file_names_columns_that_exist(tmp_path, task, kind):
    description = describe(task, kind, partial="half")
    columns = write_gallery(make_answers(description, make_part(description)), description, "model", tmp_path)
    plots = YAML(typ="safe").load(compose_plots("model", description, columns))["plots"]
    curves = [next(iter(plot.items())) for plot in plots if isinstance(plot, dict)]
    assert all("partial data: half" in title for title, _ in curves)
    for _, curve in curves:
        for axis in ("x", "y"):
            [(file, names)] = curve[axis].items()
            if file.startswith("evaluation/"):
                header = pd.read_csv(tmp_path / file.removeprefix("evaluation/"), nrows=1).columns
                assert {names} <= set(header) if isinstance(names, str) else set(names) <= set(header)


def test_the_best_constant_is_the_commonest_class():
    description = describe("binary")
    prepared = prepare(description)
    shifted = Part(prepared.train.x, (np.arange(ROWS) % 4 == 0).astype(np.int64))
    figures = trivial_baseline(Prepared(description, "row", shifted, prepared.validation, prepared.test, {}))
    assert figures["accuracy"] == 0.5
    assert figures["recall"] == 0.0
    assert figures["roc_auc"] == 0.5


def test_the_best_constant_number_is_the_median_for_mae_and_the_mean_for_rmse():
    description = describe("regression")
    part = Part(np.zeros((4, 3), np.float32), np.array([0, 0, 0, 8], np.float32))
    figures = trivial_baseline(
        Prepared(description, "row", part, part, part, {"target_standardization": {"mean": 2.0, "std": 2.0}})
    )
    assert figures["mae"] == 2.0
    assert figures["mae_standardized"] == 1.0
    assert figures["rmse"] == pytest.approx(np.sqrt(12))
    assert figures["r2"] == 0.0


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_gradient_boosting_is_repeatable_and_has_the_models_figures(task):
    prepared = prepare(describe(task))
    figures = gradient_boosting_baseline(prepared, 1, "f1")
    assert figures == gradient_boosting_baseline(prepared, 1, "f1")
    assert figures.keys() == trivial_baseline(prepared).keys()


def test_images_have_no_gradient_boosting():
    assert gradient_boosting_baseline(prepare(describe("multiclass", "image")), 1, "f1") is None


def test_gradient_boosting_tells_signals_by_their_frequencies():
    time, phase = np.arange(64), np.random.default_rng(5).random((ROWS, 1)) * 2 * np.pi
    frequency = np.where(np.arange(ROWS) % 2, 6, 9)[:, None]
    part = Part(np.sin(2 * np.pi * frequency * time / 64 + phase).astype(np.float32), np.arange(ROWS) % 2)
    assert spectrum(part.x).shape == (ROWS, 33)
    assert set(spectrum(part.x).argmax(axis=1)[:2]) == {9, 6}
    prepared = Prepared(replace(describe("binary"), is_signal=True), "row", part, part, part, {})
    assert gradient_boosting_baseline(prepared, 1, "f1")["accuracy"] == 1.0
