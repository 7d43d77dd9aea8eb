import re
from dataclasses import asdict, replace

import numpy as np
import pytest

from pipeline.answers import Answers
from pipeline.baselines import trivial_baseline
from pipeline.manifest import Findings, choose_example, compose_manifest
from pipeline.model_card import compose_card, params_digest
from pipeline.params import parse_params
from pipeline.prepared import About, Description, Feature, Part, Prepared
from pipeline.profile import describe_rows
from pipeline.raw import RawDataset
from pipeline.slices import measure_slices

ROWS = 50
LABELS = {"binary": ("no", "yes"), "multiclass": ("cat", "dog", "T-shirt/top"), "regression": ()}
LOSSES = {"binary": "hinge", "multiclass": "hinge", "regression": "mean_squared_error"}
TRAINING = {"parameters": 1234, "epochs": 9, "best_epoch": 7, "seconds": 3.21, "keras": "3.9", "backend": "jax",
            "devices": ["cpu:0"]}  # fmt: skip
DEALT = {"seed": 4, "test": 0.2, "keep_together": "recording", "identical_inputs_on_two_sides": 12, "counts":
         {"train": 1000, "validation": 200, "test": ROWS}}  # fmt: skip


def manifest(task, kind="features", **changes):
    """A manifest and the profile that belongs to it, made from random rows as `evaluate` makes them."""
    columns = 3 if kind == "features" else 40
    shape = (4, 4) if kind == "image" else (columns,)
    features = () if kind == "image" else tuple(Feature(f"x{number}", "g") for number in range(columns))
    description = replace(
        Description(
            "made_up", task, "image" if kind == "image" else "features", shape, (0, 16) if kind == "image" else None,
            LABELS[task], features, "taste", "points" if task == "regression" else "", "made up", "c" * 64, "",
            {"row": DEALT},
        ),
        **changes,
    )  # fmt: skip
    random = np.random.default_rng(1)
    x = (random.random((ROWS, *shape)) * 16).astype(np.float32)
    y = x[:, 0] + 3 if task == "regression" else np.arange(ROWS) % len(LABELS[task])
    part = Part(x, y)
    raw = RawDataset(task, description.input_kind, x, y, "made up", LABELS[task], features, target_unit="points")
    profile = describe_rows(raw, part)
    trivial = trivial_baseline(Prepared(description, "row", part, part, part, profile))
    metrics = dict.fromkeys(("test", "validation", "train"), trivial) | {"baseline": {"trivial": trivial}}
    if task != "regression":
        metrics["calibration"] = {
            "temperature": 1.5,
            "test_before": {"log_loss": 0.75},
            "test_after": {"log_loss": 0.5},
        }
    if task == "binary":
        metrics["operating_point"] = {"threshold": 0.375}
    outputs = y if task == "regression" else np.eye(len(LABELS[task]), dtype=np.float32)[y]
    slices = measure_slices(Answers(part, outputs, 0.5 if task == "binary" else None), description)
    document = {
        "datasets": {"made_up": {"source": "a.csv", "options": {}, "prepare": {
            "seed": 1, "splits": {"row": {"validation": 0.1, "test": 0.1}}}}},
        "models": {},
        "comparisons": {"tasty": {"dataset": "made_up", "split": "row", "seed": 5, "network": {
            "architecture": "mlp", "units": [32, 16], "members": 4}, "train": {"loss": LOSSES[task], "optimizer": {
                "name": "adam"}, "batch_size": 8, "epochs": 9}}},
    }  # fmt: skip
    block = parse_params(document, "test").comparisons["tasty"]
    example = choose_example(part, None, description) if task == "regression" else choose_example(part, y, description)
    return compose_manifest("tasty", block, description, Findings(TRAINING, metrics, slices), example), profile


CASES = [("binary", "features"), ("multiclass", "image"), ("regression", "features"), ("binary", "signal")]


@pytest.mark.parametrize(("task", "kind"), CASES)
def test_a_card_has_the_sections_of_model_cards_in_their_order(task, kind):
    card = compose_card(*manifest(task, kind))
    assert card.startswith("# tasty\n")
    assert re.findall(r"^## (.*)$", card, re.MULTILINE) == [
        "Model details", "Intended use", "Factors", "Metrics", "Evaluation data", "Training data",
        "Quantitative analyses", "Ethical considerations", "Caveats and recommendations",
    ]  # fmt: skip
    assert "1,234 parameters" in card
    assert all(setting in card for setting in ("architecture mlp", "units 32-16", "members 4", "optimizer (name adam)"))
    assert "epoch 7 of 9" in card
    assert "3 s with seed 5 by Keras 3.9 on jax (cpu:0)" in card
    assert "rows of one recording stand on one side" in card
    assert "12 of the validation and test rows have an input that stands in another part" in card
    assert ("[points]" in card) == (task == "regression")
    assert ("calibrated by one temperature, 1.5" in card) == (task != "regression")
    assert ("from a probability of 0.375 on" in card) == (task == "binary")


def test_the_slices_are_classes_or_fifths_of_the_target():
    classes, _ = manifest("multiclass", "image")
    assert [entry["slice"] for entry in classes["slices"]] == list(LABELS["multiclass"])
    assert all(entry["f1"] == 1.0 for entry in classes["slices"])
    fifths, _ = manifest("regression")
    assert [entry["rows"] for entry in fifths["slices"]] == [10] * 5
    assert {entry["mae"] for entry in fifths["slices"]} == {0.0}


def test_what_nobody_said_is_not_made_up_and_what_is_said_is_shown():
    assert compose_card(*manifest("binary")).count("Not stated.") == 3
    about = About("tasting", "selling", "harms nobody", ("Taste differs.",))
    card = compose_card(*manifest("binary", about=about))
    assert "- Intended: tasting" in card
    assert "- Out of scope: selling" in card
    assert "## Ethical considerations\n\nharms nobody\n" in card
    assert "- Taste differs.\n" in card
    assert "Not stated." not in card


@pytest.mark.parametrize(("task", "kind"), CASES)
def test_partial_data_are_named_on_top(task, kind):
    card = compose_card(*manifest(task, kind, partial="only a tenth of the rows"))
    assert "**Partial data: only a tenth of the rows." in card.split("## ")[0]


def test_the_request_of_a_narrow_row_can_be_sent_as_it_is():
    content, profile = manifest("regression")
    card = compose_card(content, profile)
    assert '"signature_name": "named_features", "instances": [{"x0": ' in card
    assert f"The true answer for this test row is {content['example']['expected']}." in card
    assert "it is not published" in compose_card(content, profile, is_served=False)


def test_a_published_version_says_when_and_from_which_commit():
    content, profile = manifest("binary")
    published = content | {"created": "2026-01-02T03:04:05+00:00", "git_commit": "abc"}
    assert "Published 2026-01-02T03:04:05+00:00 from commit abc." in compose_card(published, profile)


def test_pictures_are_shown_where_they_are():
    content, profile = manifest("binary")
    card = compose_card(content, profile, ["roc.png"])
    assert "![ROC curve](evaluation/roc.png)" in card
    assert "confusion_matrix" not in card


def test_the_digest_of_parameters_depends_on_their_values_only():
    params = manifest("binary")[0]["params"]
    assert params_digest(params) == params_digest(dict(reversed(params.items())))
    assert params_digest(params) != params_digest(params | {"seed": 6})
    assert asdict(About())["caveats"] == ()
