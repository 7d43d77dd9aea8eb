import pytest

from pipeline.errors import DataError
from studies.evidence import busy_seconds
from studies.results import POINTS, Figures, Result, Results, load_result, thin_curves
from studies.runs import fixed_runs
from tests.studies.small_studies import save_figures, small_studies

RUN = fixed_runs(small_studies(X={}), "X")[0]


def test_a_result_is_read_as_it_was_written(tmp_path):
    save_figures(tmp_path, RUN, 0.9, 0.8, weights=({"epoch": 0, "layer": "hidden_1", "counts": [1, 2]},))
    result = Results(tmp_path).get(RUN)
    assert result.figures == Figures(0.5, 0.8, 0.9)
    assert result.weights[0]["counts"] == [1, 2]
    assert [path.name for path in (tmp_path / "X").iterdir()] == ["stated-seed1.json"]


def test_a_result_of_other_data_does_not_count(tmp_path):
    save_figures(tmp_path, RUN, 0.9)
    assert Results(tmp_path, {"digits": "0" * 64}).get(RUN)
    assert Results(tmp_path, {"digits": "1" * 64}).get(RUN) is None
    assert Results(tmp_path, {"mnist": "1" * 64}).get(RUN)


def test_a_broken_file_is_named_with_what_to_do(tmp_path):
    path = tmp_path / RUN.file
    path.parent.mkdir()
    path.write_text('{"figures": {}', encoding="utf-8")
    with pytest.raises(DataError, match=r"X/stated-seed1.json holds no result of a run: .* Remove it"):
        load_result(path)


def test_long_curves_are_thinned_and_keep_both_ends():
    history = [{"epoch": epoch, "loss": 1 / epoch, "seconds": 1.0} for epoch in range(1, 501)]
    curves = thin_curves(history)
    assert set(curves) == {"epoch", "loss"}
    assert curves["epoch"][0] == 1
    assert curves["epoch"][-1] == 500
    assert len(curves["loss"]) == len(curves["epoch"]) <= POINTS + 2
    assert curves["loss"][-1] == 0.002


def test_time_by_the_clock_counts_runs_side_by_side_once():
    def result(seconds, finished):
        return Result("X", "X", "", "", seconds, 1.0, f"2026-01-01T00:{finished}+00:00", "a test")

    assert busy_seconds([result(60, "01:00"), result(30, "01:10"), result(10, "05:00")]) == 80
    assert busy_seconds([]) == 0
