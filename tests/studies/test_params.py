from pathlib import Path

import pytest

from pipeline.errors import ParamsError
from studies.params import load_studies
from studies.runs import candidates, fixed_runs, search_runs

ROOT = Path(__file__).parent.parent.parent
PARAMS = ROOT / "studies" / "params.yaml"


@pytest.fixture(scope="module")
def studies():
    return load_studies(PARAMS)


def test_all_rows_of_the_tables_are_there(studies):
    tables = [*(f"A{n}" for n in range(1, 13)), *(f"B{n}" for n in range(1, 8)), "C1", *(f"D{n}" for n in range(1, 27))]
    assert [name for name in studies.rows if name != "R1"] == tables
    assert sum(row.reported.test is not None for row in studies.rows.values()) == 34


def test_every_row_that_reports_a_figure_says_what_to_try_when_it_is_missed(studies):
    for name, row in studies.rows.items():
        has_figure = row.reported.test is not None or row.reported.validation is not None
        assert bool(list(candidates(studies, row))) == has_figure, name


def test_every_run_of_the_tables_can_be_built_and_has_a_file_of_its_own(studies):
    runs = []
    for name, row in studies.rows.items():
        runs += fixed_runs(studies, name)
        for label, patch in candidates(studies, row):
            runs += search_runs(studies, name, label, patch)
    assert len({run.file for run in runs}) == len(runs)


def test_an_unknown_split_is_answered_with_those_there_are(tmp_path):
    text = PARAMS.read_text(encoding="utf-8").replace("split: mnist_60000, search: sgd,", "split: mnist, search: sgd,")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ParamsError, match=r"rows.D1.split: unknown name 'mnist'. Available: 'mnist_48000', "):
        load_studies(tmp_path / "params.yaml")


def test_a_patch_that_names_no_parameter_is_answered_with_the_place(tmp_path):
    text = PARAMS.read_text(encoding="utf-8").replace("{network.cell: lstm}", "{network.cells: lstm}")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ParamsError, match="rows.R1, LSTM 256: network: unknown key 'cells'"):
        fixed_runs(load_studies(tmp_path / "params.yaml"), "R1")


def test_an_unknown_row_is_answered_with_those_there_are(studies):
    with pytest.raises(ParamsError, match="Unknown row 'D99'. Available: A1, A2"):
        studies.row("D99")
