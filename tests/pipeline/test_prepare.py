import csv
import dataclasses
import json

import numpy as np
import pytest
import yaml

from pipeline import fetch, prepare
from pipeline.params import parse_params
from pipeline.prepared import PARTS, load_prepared


def params(source, options=None, split=None):
    block = {
        "source": source,
        "options": options or {},
        "prepare": {"seed": 3, "splits": {"row": split or {"validation": 0.15, "test": 0.2}}},
    }
    return {"datasets": {"rows": block}, "models": {}}


def run(root, document):
    parsed = parse_params(document, "test")
    fetch.fetch("rows", parsed, root)
    prepare.prepare("rows", parsed, root)
    return load_prepared(root / "data/prepared/rows", "row")


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def csv_file(tmp_path):
    """Thirty visits of ten patients; the outcome follows the patient, and so must the split."""
    lines = ["patient,dose,outcome"]
    lines += [f"p{row % 10},{row / 2},{'ill' if row % 10 < 5 else 'well'}" for row in range(30)]
    (tmp_path / "visits.csv").write_text("\n".join(lines) + "\n")
    return "visits.csv"


@pytest.fixture
def visits(csv_file):
    split = {"validation": 0.3, "test": 0.3, "keep_together": "patient"}
    return params(csv_file, {"target": "outcome", "task": "binary", "groups": ["patient"]}, split)


def test_bundled_images_are_described_split_and_pictured(tmp_path):
    prepared = run(tmp_path, params("pipeline/datasets/digits.py"))
    assert files(tmp_path / "data/prepared/rows") == [
        "description.json", "row/profile.json", "row/rows.csv", "row/test.npz", "row/train.npz", "row/validation.npz",
    ]  # fmt: skip
    assert files(tmp_path / "reports/data/rows") == ["label_counts.csv", "samples.png", "splits.json"]
    assert prepared.description.input_shape == (8, 8)
    assert prepared.description.splits["row"]["counts"] == {"train": 1168, "validation": 270, "test": 359}
    assert [len(getattr(prepared, part).y) for part in PARTS] == [1168, 270, 359]
    assert [feature["name"] for feature in prepared.profile["features"]] == ["mean_intensity", "zero_share"]
    assert sum(prepared.profile["target"]["counts"]) == 1168


def test_the_profile_standardizes_columns_and_a_target(tmp_path):
    prepared = run(tmp_path, params("pipeline/datasets/diabetes.py"))
    scale, target = prepared.profile["standardization"], prepared.profile["target_standardization"]
    assert np.allclose(scale["mean"], prepared.train.x.mean(axis=0), rtol=1e-5)
    assert np.allclose(scale["std"], prepared.train.x.std(axis=0), rtol=1e-5)
    assert np.allclose([target["mean"], target["std"]], [prepared.train.y.mean(), prepared.train.y.std()], rtol=1e-5)
    for feature in prepared.profile["features"]:
        assert sum(feature["histogram"]["counts"]) == feature["count"] == 288
    assert files(tmp_path / "reports/data/rows") == ["samples.png", "splits.json", "target_histogram.csv"]


def test_a_constant_column_is_divided_by_one(tmp_path):
    rows = "\n".join(f"{row},5,{row % 2}" for row in range(40))
    (tmp_path / "constant.csv").write_text(f"a,b,c\n{rows}\n")
    prepared = run(tmp_path, params("constant.csv", {"target": "c", "task": "binary"}))
    assert prepared.profile["standardization"]["std"][1] == 1.0


def test_a_second_run_writes_the_same_bytes(tmp_path, visits):
    contents = []
    for _ in range(2):
        run(tmp_path, visits)
        contents.append([(tmp_path / name).read_bytes() for name in files(tmp_path)])
    assert contents[0] == contents[1]


def test_a_csv_of_ones_own_keeps_its_groups_together(tmp_path, visits):
    prepared = run(tmp_path, visits)
    with (tmp_path / "data/prepared/rows/row/rows.csv").open() as stream:
        part_of_row = {int(row["row"]): row["part"] for row in csv.DictReader(stream)}
    assert sorted(part_of_row) == list(range(30))
    assert all(len({part_of_row[row] for row in range(patient, 30, 10)}) == 1 for patient in range(10))
    assert prepared.description.labels == ("ill", "well")
    assert prepared.description.source == "table.csv"


def test_a_killed_run_leaves_the_prepared_rows_alone(tmp_path, visits, monkeypatch):
    before = run(tmp_path, visits)

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(prepare, "describe_rows", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, visits)
    after = load_prepared(tmp_path / "data/prepared/rows", "row")
    assert np.array_equal(before.test.x, after.test.x)


def test_identical_rows_on_two_sides_are_counted(tmp_path):
    rows = "\n".join(f"{row % 4},{row % 2}" for row in range(40))
    (tmp_path / "twins.csv").write_text(f"a,c\n{rows}\n")
    prepared = run(tmp_path, params("twins.csv", {"target": "c", "task": "binary"}))
    assert prepared.description.splits["row"]["identical_inputs_on_two_sides"] == 14


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"source": "absent.csv"}, "datasets.rows.source: there is no file"),
        ({"source": "pipeline/datasets/absent.py"}, "Available: 'pipeline/datasets/breast_cancer.py', "),
        ({"options": {"target": "outcome"}}, "datasets.rows.options: the key 'task' is missing"),
        ({"options": {"target": "result", "task": "binary"}}, "rows: There is no column 'result'"),
        (
            {"prepare": {"seed": 1, "splits": {"row": {"validation": 0.1, "test": 0.1, "keep_together": "clinic"}}}},
            "rows: split 'row': keep_together: there is no grouping 'clinic'. Available: 'patient', 'duplicates'",
        ),
    ],
)
def test_the_command_ends_with_a_sentence(tmp_path, visits, changes, sentence, capsys):
    visits["datasets"]["rows"] |= changes
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(visits))
    arguments = ["--dataset", "rows", "--params", str(tmp_path / "params.yaml"), "--root", str(tmp_path)]
    assert fetch.main(arguments) or prepare.main(arguments)
    assert sentence in capsys.readouterr().err


def test_preparing_before_fetching_names_the_stage_to_run(tmp_path, visits, capsys):
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(visits))
    arguments = ["--dataset", "rows", "--params", str(tmp_path / "params.yaml"), "--root", str(tmp_path)]
    assert prepare.main(arguments) == 1
    assert "Run the fetch stage first: dvc repro fetch@rows" in capsys.readouterr().err


def test_a_partial_data_set_says_so_in_every_file(tmp_path, visits, monkeypatch):
    load = prepare.find_source("rows", parse_params(visits, "test").dataset("rows"), tmp_path).module.load

    def partial(folder, options):
        return dataclasses.replace(load(folder, options), partial="only the first visits")

    monkeypatch.setattr("pipeline.datasets.table.load", partial)
    prepared = run(tmp_path, visits)
    assert prepared.description.partial == "only the first visits"
    assert json.loads((tmp_path / "reports/data/rows/splits.json").read_text())["partial"] == "only the first visits"
