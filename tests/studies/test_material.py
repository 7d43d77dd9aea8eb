import dataclasses

import numpy as np
import pytest

from pipeline.errors import DataError
from pipeline.prepare import describe
from studies.material import Dataset, deal
from studies.runs import fixed_runs, search_runs
from tests.studies.small_studies import numbered_rows, small_studies

RAW = numbered_rows()
DATASET = Dataset(RAW, describe("digits", RAW, {}))


def stated_run(**row):
    return fixed_runs(small_studies(X=row), "X")[0]


def test_a_published_split_keeps_its_test_rows_under_a_seal():
    prepared, sealed = deal(DATASET, stated_run())
    assert prepared.train.x[:, 0].tolist() == list(range(15))
    assert len(prepared.validation.x) == len(prepared.test.x) == 0
    assert sealed.open().x[:, 0].tolist() == list(range(15, 20))


def test_validation_rows_are_the_last_training_rows():
    run = stated_run()
    run = dataclasses.replace(run, split=run.split.model_copy(update={"validation": 3}))
    prepared, _ = deal(DATASET, run)
    assert prepared.train.x[:, 0].tolist() == list(range(12))
    assert prepared.validation.x[:, 0].tolist() == [12, 13, 14]


def test_a_seal_opens_once():
    _, sealed = deal(DATASET, stated_run())
    sealed.open()
    with pytest.raises(DataError, match="were read before"):
        sealed.open()


def test_a_search_has_no_test_rows_and_holds_training_rows_out():
    prepared, sealed = deal(DATASET, search_runs(small_studies(X={}), "X", "rate 0.1", {})[0])
    assert sealed is None
    assert prepared.train.x[:, 0].tolist() == list(range(11))
    assert prepared.validation.x[:, 0].tolist() == [11, 12, 13, 14]
    assert len(prepared.test.x) == 0


def test_shares_are_dealt_by_the_seed_of_the_run():
    first, second = fixed_runs(small_studies(X={"split": "wine"}), "X")
    rows = []
    for run in (first, second):
        prepared, sealed = deal(DATASET, run)
        parts = [prepared.train.x, prepared.validation.x, sealed.open().x]
        assert sorted(np.concatenate(parts)[:, 0]) == list(range(20))
        assert [len(part) for part in parts] == [12, 4, 4]
        rows.append(parts[2][:, 0].tolist())
    assert rows[0] != rows[1]
