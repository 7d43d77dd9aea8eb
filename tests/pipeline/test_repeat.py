import json

import numpy as np
import pytest
from ruamel.yaml import YAML

from pipeline import repeat
from pipeline.datasets import diabetes
from pipeline.params import load_params
from pipeline.repeated_report import summarize, write_report
from pipeline.repeated_splits import Deal, Outcome, list_deals, outcome_key

DOCUMENT = {
    "datasets": {"diabetes": {"source": "pipeline/datasets/diabetes.py", "options": {}, "prepare": {
        "seed": 1, "splits": {"row": {"validation": 0.15, "test": 0.2}, "small": {"validation": 0.15, "test": 0.1}}}}},
    "models": {},
    "comparisons": {"sugar": {
        "dataset": "diabetes", "split": "row", "seed": 9,
        "network": {"architecture": "mlp", "units": [8], "input_scaling": "standardize", "members": 2, "bins": 3},
        "train": {"loss": "mean_squared_error", "optimizer": {"name": "adam", "learning_rate": 0.01}, "batch_size": 32,
                  "epochs": 3}}},
    "repeats": {"sugar": {"splits": ["row"], "seeds": [1, 2]}},
}  # fmt: skip


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "data" / "raw" / "diabetes"
    folder.mkdir(parents=True)
    diabetes.write_bundled(folder, {})
    write_params(tmp_path, DOCUMENT)
    return tmp_path


def write_params(root, document):
    YAML().dump(document, root / "params.yaml")


def run(root, *arguments):
    return repeat.main(["--params", str(root / "params.yaml"), "--root", str(root), "--workers", "1", *arguments])


def test_each_deal_is_trained_once_and_reported(project, capsys):
    assert run(project) == 0
    assert "2 trainings, 0 of them finished before." in capsys.readouterr().out
    report = json.loads((project / "reports" / "sugar" / "repeated_splits.json").read_text())
    deals = report["splits"]["row"]["deals"]
    assert [deal["seed"] for deal in deals] == [1, 2]
    figures = [deal["figures"]["network"]["mae"] for deal in deals]
    assert len(set(figures)) == 2
    mean = report["splits"]["row"]["summary"]["network"]["mae"]["mean"]
    assert mean == pytest.approx(np.mean(figures), abs=1e-5)
    assert {"network", "trivial", "gradient_boosting"} == set(deals[0]["figures"])
    page = (project / "reports" / "sugar" / "repeated_splits.md").read_text()
    write_params(project, DOCUMENT | {"repeats": {"sugar": {"splits": ["row"], "seeds": [2, 1]}}})
    assert run(project, "--model", "sugar") == 0
    assert "2 trainings, 2 of them finished before." in capsys.readouterr().out
    assert sorted(page.splitlines()) == sorted(
        (project / "reports" / "sugar" / "repeated_splits.md").read_text().splitlines()
    )


def test_an_outcome_belongs_to_its_parameters_and_rows(project):
    params = load_params(project / "params.yaml")
    deal = Deal("sugar", "row", 1)
    keys = {outcome_key(deal, params, project), outcome_key(Deal("sugar", "small", 1), params, project)}
    document = json.loads(json.dumps(DOCUMENT))
    document["comparisons"]["sugar"]["network"]["units"] = [9]
    write_params(project, document)
    keys.add(outcome_key(deal, load_params(project / "params.yaml"), project))
    assert len(keys) == 3
    assert outcome_key(deal, params, project) in keys


def test_a_name_without_repeats_lists_those_with(project, capsys):
    assert run(project, "--model", "salt") == 1
    assert "repeats: unknown name 'salt'. Available: 'sugar'." in capsys.readouterr().err


def test_missing_rows_say_how_to_bring_them(project, capsys):
    document = json.loads(json.dumps(DOCUMENT).replace('"diabetes"', '"other"'))
    write_params(project, document)
    assert run(project) == 1
    assert "Run `dvc repro fetch@other` first." in capsys.readouterr().err


def test_the_report_has_a_table_per_split(tmp_path):
    write_params(tmp_path, DOCUMENT)
    params = load_params(tmp_path / "params.yaml")
    outcomes = [
        Outcome(split, seed, {"train": 3, "test": 1}, 0, 5, 10, 1.5, {"network": {"mae": float(seed)}})
        for split in ("row", "small")
        for seed in (1, 2)
    ]
    write_report("sugar", params.comparisons["sugar"], outcomes, tmp_path)
    page = (tmp_path / "repeated_splits.md").read_text()
    assert page.count("| **mean** | **1.5000** |") == 2
    assert page.count("| deviation | 0.7071 |") == 2
    assert summarize(outcomes[:2])["network"]["mae"] == {
        "mean": 1.5, "deviation": pytest.approx(0.70711, abs=1e-5), "least": 1.0, "greatest": 2.0,
    }  # fmt: skip
    assert list_deals("sugar", params) == [Deal("sugar", "row", 1), Deal("sugar", "row", 2)]
