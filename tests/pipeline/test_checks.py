import dataclasses

import numpy as np
import pytest

from pipeline.checks import check_rows, check_split
from pipeline.errors import DataError
from pipeline.params import SplitParams
from pipeline.prepared import Feature
from pipeline.raw import RawDataset

TABLE = RawDataset(
    task="binary",
    input_kind="features",
    x=np.arange(20, dtype=np.float32).reshape(10, 2),
    y=np.arange(10) % 2,
    source="made for the test",
    labels=("no", "yes"),
    features=(Feature("age"), Feature("height")),
    input_range=(0.0, 100.0),
    groups={"patient": np.repeat(np.arange(5), 2)},
)
IMAGES = dataclasses.replace(
    TABLE, input_kind="image", x=np.full((10, 2, 2), 7, np.uint8), features=(), input_range=(0.0, 16.0), groups={}
)
TARGETS = np.linspace(0, 1, 10, dtype=np.float32)


def with_value(array, place, value):
    changed = array.copy()
    changed[place] = value
    return changed


def test_good_rows_pass():
    check_rows(TABLE)
    check_rows(IMAGES)
    check_rows(dataclasses.replace(TABLE, task="regression", y=TARGETS, labels=()))


@pytest.mark.parametrize(
    ("raw", "changes", "sentence"),
    [
        (TABLE, {"x": TABLE.x.astype(np.float64)}, r"are float32 with 2 axes, not float64 \(10, 2\)"),
        (IMAGES, {"x": IMAGES.x[:, 0]}, "are uint8 with 3 axes"),
        (TABLE, {"y": TABLE.y[:9]}, "Targets of 10 rows for a binary task are int64"),
        (TABLE, {"features": (Feature("age"),)}, "2 columns but 1 feature names"),
        (TABLE, {"groups": {"patient": np.arange(3)}}, "grouping 'patient' should have 10 entries"),
        (TABLE, {"x": with_value(TABLE.x, (3, 1), np.nan)}, "Row 3, column 'height': the value is missing"),
        (TABLE, {"x": with_value(TABLE.x, (4, 0), np.inf)}, "Row 4, column 'age': the value is missing or not finite"),
        (TABLE, {"x": with_value(TABLE.x, (2, 0), -1)}, "Row 2, column 'age': expected a value from 0 to 100"),
        (IMAGES, {"x": with_value(IMAGES.x, (1, 0, 1), 17)}, r"Row 1, pixel \(0, 1\): expected a value from 0 to 16"),
        (TABLE, {"y": with_value(TABLE.y, 5, 2)}, "Row 5: class ids go from 0 to 1, received 2"),
        (TABLE, {"y": np.zeros(10, np.int64)}, "Class 'yes' has no row in the data"),
        (TABLE, {"labels": ("a", "b", "c")}, "A binary task has two classes, received 3"),
        (TABLE, {"task": "regression", "y": np.ones(10, np.float32)}, "there is nothing to predict"),
        (TABLE, {"task": "regression", "y": with_value(TARGETS, 6, np.nan)}, "Row 6: the target is missing"),
    ],
)
def test_bad_rows_stop_with_a_sentence(raw, changes, sentence):
    with pytest.raises(DataError, match=sentence):
        check_rows(dataclasses.replace(raw, **changes))


@pytest.mark.parametrize(
    ("train", "validation", "test", "sentence"),
    [
        ([0, 1, 2, 3, 4, 5], [6, 7], [8], "each of 10 rows once"),
        ([0, 1, 2, 3, 4, 5, 6, 7], [], [8, 9], "The validation part is empty"),
        ([0, 1, 2, 3, 4, 5, 9], [6, 7], [8], "Class 'yes' has no row in the test part"),
        ([0, 1, 2, 3, 4, 7], [5, 6], [8, 9], "rows share a group of 'patient'"),
    ],
)
def test_bad_splits_stop_with_a_sentence(train, validation, test, sentence):
    parts = {"train": np.array(train), "validation": np.array(validation, int), "test": np.array(test)}
    with pytest.raises(DataError, match=sentence):
        check_split(TABLE, parts, SplitParams(validation=0.2, test=0.2, keep_together="patient"))
