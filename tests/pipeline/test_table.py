import time

import numpy as np
import pytest

from pipeline.datasets import table
from pipeline.errors import DataError, ParamsError

CSV = """Patient ID,Age,Systolic BP,Outcome
p1,61,140,ill
p1,62,150.5,ill
p2,35,120,well
"""
OPTIONS = {"target": "Outcome", "task": "binary", "groups": ["Patient ID"]}


@pytest.fixture
def load(tmp_path):
    def run(text=CSV, options=OPTIONS, encoding="utf-8"):
        (tmp_path / table.FILE).write_text(text, encoding=encoding)
        return table.load(tmp_path, options)

    return run


def test_columns_become_features_labels_and_groups(load):
    raw = load()
    assert [feature.name for feature in raw.features] == ["age", "systolic_bp"]
    assert raw.x.tolist() == [[61.0, 140.0], [62.0, 150.5], [35.0, 120.0]]
    assert raw.labels == ("ill", "well")
    assert raw.y.tolist() == [0, 0, 1]
    assert raw.groups["patient_id"].tolist() == [0, 0, 1]


def test_labels_set_the_positive_class(load):
    raw = load(options={**OPTIONS, "labels": ["well", "ill"]})
    assert raw.y.tolist() == [1, 1, 0]


def test_features_may_have_units(load):
    raw = load(options={**OPTIONS, "features": {"Systolic BP": "mm Hg"}})
    assert [(feature.name, feature.unit) for feature in raw.features] == [("systolic_bp", "mm Hg")]


def test_a_regression_has_numbers_and_a_unit(load):
    raw = load(options={"target": "Age", "task": "regression", "target_unit": "years", "features": ["Systolic BP"]})
    assert raw.y.tolist() == [61.0, 62.0, 35.0]
    assert (raw.labels, raw.target_name, raw.target_unit) == ((), "age", "years")


def test_labels_that_are_numbers_are_ordered_as_numbers(load):
    raw = load("a,b\n1,10\n2,9\n3,100\n", {"target": "b", "task": "multiclass"})
    assert raw.labels == ("9", "10", "100")


@pytest.mark.parametrize("text", [CSV.replace(",", ";"), "\ufeff" + CSV.replace(",", ";"), CSV.replace(",", " ; ")])
def test_delimiters_byte_order_marks_and_spaces_are_read(load, text):
    assert load(text, {**OPTIONS, "delimiter": ";"}).x[0].tolist() == [61.0, 140.0]


@pytest.mark.parametrize(
    ("text", "changes", "sentence"),
    [
        (CSV, {"target": "Result"}, "no column 'Result'. Available: 'Patient ID', 'Age', 'Systolic BP', 'Outcome'"),
        (CSV, {"features": ["Weight"]}, "no column 'Weight'"),
        (CSV, {"groups": ["Clinic"]}, "no column 'Clinic'"),
        (CSV, {"groups": []}, "Line 2, column 'Patient ID': expected a finite number, received 'p1'"),
        (CSV, {"delimiter": ";"}, "no column 'Outcome'.*Is `delimiter` right"),
        (CSV, {"features": ["Age", "Outcome"]}, "The target 'Outcome' is among the features"),
        (CSV, {"labels": ["well", "sick"]}, "Line 2: the class 'ill' is not among `labels`: well, sick"),
        (CSV.replace("35", "young"), {}, "Line 4, column 'Age': expected a finite number, received 'young'"),
        (CSV.replace("35", ""), {}, "Line 4, column 'Age': the value is missing"),
        (CSV.replace("35", "NaN"), {}, r"Line 4, column 'Age': the value is missing \(received 'NaN'\)"),
        (CSV.replace("35", "1e300"), {}, "Line 4, column 'Age': expected a finite number, received '1e300'"),
        (CSV.replace("35", "3_5"), {}, "Line 4, column 'Age': expected a finite number, received '3_5'"),
        (
            CSV.replace("35", "\u0663\u0665"),
            {},
            "Line 4, column 'Age': expected a finite number, received '\u0663\u0665'",
        ),
        (
            CSV.replace("35", "\uff13\uff15"),
            {},
            "Line 4, column 'Age': expected a finite number, received '\uff13\uff15'",
        ),
        (CSV.replace("well", ""), {}, "Line 4, column 'Outcome': the value is missing"),
        (CSV.replace("well", "ill"), {}, "A binary task needs two classes in 'Outcome', received 1: 'ill'"),
        (CSV.replace("120,well", "120"), {}, "line 4: expected 4 fields, as in the header, received 3"),
        (CSV.replace("Age", "Systolic BP"), {}, "more than one column named 'Systolic BP'"),
        (CSV.replace("Age", "systolic-bp"), {}, "would both be called 'systolic_bp'"),
        (CSV.replace("Age", "%"), {}, "A column named '%' cannot be used"),
        ("", {}, "should have a header line and rows below it, received 0 lines"),
        ("Age,Outcome\n", {}, "received 1 lines"),
        ('Age,Outcome\n"61,ill\n', {}, "cannot be read as CSV"),
    ],
)
def test_a_bad_file_stops_with_a_sentence(load, text, changes, sentence):
    with pytest.raises(DataError, match=sentence):
        load(text, {**OPTIONS, **changes})


def test_another_encoding_is_a_sentence(load):
    with pytest.raises(DataError, match="cannot be read as CSV in UTF-8"):
        load(CSV.replace("well", "gesünder"), encoding="latin-1")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({**OPTIONS, "tagret": "x"}, "unknown key 'tagret'. Allowed: 'target', 'task', 'features'"),
        ({"target": "Outcome"}, "the key 'task' is missing"),
        ({**OPTIONS, "task": "ranking"}, "options.task: unknown value 'ranking'. Allowed: 'binary', 'multiclass'"),
        ({**OPTIONS, "features": []}, "options.features"),
        ({**OPTIONS, "delimiter": ":"}, "options.delimiter: unknown value ':'"),
    ],
)
def test_wrong_options_are_a_sentence(load, options, sentence):
    with pytest.raises(ParamsError, match=sentence):
        load(options=options)


def test_a_hundred_thousand_columns_are_read_in_seconds(load):
    count = 100_000
    header = ",".join([*(f"Column {index}" for index in range(count)), "target"])
    lines = [",".join([*["1.5"] * count, label]) for label in "ab"]
    started = time.process_time()
    raw = load("\n".join([header, *lines]), {"target": "target", "task": "binary"})
    assert raw.x.shape == (2, count)
    assert time.process_time() - started < 60, "reading takes the square of the number of columns"


def test_float32_holds_the_numbers(load):
    assert load().x.dtype == np.float32
