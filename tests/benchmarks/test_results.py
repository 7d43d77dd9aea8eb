"""The benchmark's figures, verdicts and report."""

import pytest

from benchmarks import wrk
from benchmarks.processes import BenchmarkFailed, Memory
from benchmarks.report import sections
from benchmarks.results import Results, judge
from benchmarks.scenarios import FLOOR, KILN, PLAIN, SCENARIOS

OUTPUT = """
RESULT {"seconds": 2.0, "answers": 210, "not_good": 10, "broken": 0, "timeouts": 0, "p50": 1.5, "p99": 3.0}
STATUS 200 150
BARE 0
STATUS 200 50
STATUS 503 10
BARE 2
"""


def run(answers, p50=1.0):
    return wrk.Run(1.0, answers, 0, 0, 0, p50, 2 * p50)


def measured(kiln):
    """Results in which the floor gives 1000 answers a second, the plain handler 100, and Kiln so many."""
    rates = {FLOOR: [1000, 1000, 1000], PLAIN: [100, 100, 100], KILN: kiln}
    results = Results()
    for scenario in SCENARIOS:
        for server in scenario.servers:
            results.runs[scenario, server] = [run(rate) for rate in rates[server]]
    results.memory = {(KILN, 2): Memory(900_000_000, 700_000_000), (KILN, 4): Memory(1_200_000_000, 800_000_000)}
    return results


def test_rates_count_good_answers_only():
    assert wrk.read_run(OUTPUT).rate == 100


def test_no_result_is_an_error():
    with pytest.raises(BenchmarkFailed, match="wrk gave no result: unable to connect"):
        wrk.read_run("unable to connect")


def test_refusals_are_counted_over_the_threads(tmp_path, monkeypatch):
    monkeypatch.setattr(wrk, "call", lambda *_: OUTPUT)
    refusals = wrk.count_refusals(tmp_path, "", 256, 1)
    assert (refusals.statuses, refusals.bare) == ({"200": 200, "503": 10}, 2)


def test_wrk_that_is_missing_is_said_with_what_to_do(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _name: None)
    with pytest.raises(BenchmarkFailed, match="apt-get install wrk"):
        wrk.find_wrk()


def test_verdicts_follow_the_median_of_the_rounds():
    verdicts = [verdict.is_met for verdict in judge(measured([590, 610, 900]))]
    assert verdicts == [True] * 7 + [True, False]
    assert not judge(measured([580, 590, 900]))[0].is_met


def test_the_report_shows_medians_ratios_and_what_went_wrong():
    results = measured([590, 610, 900])
    results.runs[SCENARIOS[0], KILN][0] = wrk.Run(1.0, 590, 3, 0, 1, 1.0, 2.0)
    text = sections(results, judge(results))
    assert "| mnist_mlp, 1 image, JSON     |          32 | 1,000 |           100 |  610 | 0.61 (0.59..0.90)" in text
    assert "- Kiln, mlp-json-1-1: 3 answers of status 400 or more, 1 timeouts of 2100 answers." in text


def test_targets_of_scenarios_that_did_not_run_are_left_out():
    assert judge(Results()) == []
