import numpy as np
import pytest

from pipeline.checks import check_split
from pipeline.errors import DataError
from pipeline.params import SplitParams
from pipeline.prepared import PARTS, Feature
from pipeline.raw import RawDataset
from pipeline.splits import count_twins, duplicate_groups, split_rows


def dataset(rows=1000, task="binary", **changes):
    random = np.random.default_rng(0)
    regression = task == "regression"
    fields = {
        "task": task,
        "input_kind": "features",
        "x": random.normal(size=(rows, 2)).astype(np.float32),
        "y": random.normal(size=rows).astype(np.float32) if regression else (np.arange(rows) % 5 == 0).astype(np.int64),
        "source": "made for the test",
        "labels": () if regression else ("no", "yes"),
        "features": (Feature("a"), Feature("b")),
    }
    return RawDataset(**(fields | changes))


def shares(validation=0.1, test=0.2, keep_together=None):
    return SplitParams(validation=validation, test=test, keep_together=keep_together)


def test_every_row_is_in_one_part_and_shares_are_those_asked_for():
    parts = split_rows(dataset(), shares(), seed=1)
    assert np.array_equal(np.sort(np.concatenate([parts[part] for part in PARTS])), np.arange(1000))
    assert {part: len(rows) for part, rows in parts.items()} == {"train": 700, "validation": 100, "test": 200}


def test_the_seed_decides_and_repeats():
    first, again, other = (split_rows(dataset(), shares(), seed)["test"] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_classes_have_their_share_in_every_part():
    raw = dataset()
    for rows in split_rows(raw, shares(), seed=1).values():
        assert raw.y[rows].mean() == 0.2


def test_targets_of_a_regression_have_the_same_range_in_every_part():
    raw = dataset(task="regression")
    for rows in split_rows(raw, shares(), seed=1).values():
        assert abs(np.median(raw.y[rows]) - np.median(raw.y)) < 0.15


def test_another_validation_share_leaves_the_test_rows():
    parts = [split_rows(dataset(), shares(validation=share), seed=1)["test"] for share in (0.1, 0.3)]
    assert np.array_equal(*parts)


def test_the_published_test_set_is_taken_as_it_is():
    published = np.arange(1000) >= 900
    parts = split_rows(dataset(published_test=published), shares(test="published"), seed=1)
    assert np.array_equal(parts["test"], np.flatnonzero(published))
    assert len(parts["validation"]) == 90


def test_groups_stay_together_and_strata_are_dealt_evenly():
    recordings = np.repeat(np.arange(100), 10)
    strata = recordings % 5
    raw = dataset(groups={"recording": recordings}, strata=strata, y=(strata == 0).astype(np.int64))
    parts = split_rows(raw, shares(validation=0.1, test=0.1, keep_together="recording"), seed=1)
    assert count_twins(parts, recordings) == 0
    assert np.bincount(strata[parts["test"]]).tolist() == [20] * 5


def test_duplicates_stay_together_in_any_data_set():
    x = np.repeat(np.arange(200, dtype=np.float32), 5)[:, None] * np.ones(2, np.float32)
    raw = dataset(x=x)
    parts = split_rows(raw, shares(keep_together="duplicates"), seed=1)
    check_split(raw, parts, shares(keep_together="duplicates"))
    assert count_twins(split_rows(raw, shares(), seed=1), duplicate_groups(x)) > 0


def test_minus_zero_is_a_duplicate_of_zero():
    assert duplicate_groups(np.array([[0.0], [1.0], [-0.0]], np.float32)).tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("raw", "params", "sentence"),
    [
        (dataset(), shares(test="published"), "needs a data set with its own test set"),
        (dataset(), shares(validation=0.5, test=0.5), "leave no rows to train on"),
        (dataset(), shares(keep_together="patient"), r"no grouping 'patient'. Available: 'duplicates'"),
        (dataset(rows=6), shares(), "Too few rows to split"),
        (dataset(rows=20, y=np.eye(20)[0].astype(np.int64)), shares(), "the smallest of which has 1"),
    ],
)
def test_an_impossible_split_is_a_sentence(raw, params, sentence):
    with pytest.raises(DataError, match=sentence):
        split_rows(raw, params, seed=1)
