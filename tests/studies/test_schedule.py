import pytest

from studies.costs import count_products, estimate_seconds
from studies.params import StudiesParams
from studies.results import Results
from studies.runs import fixed_runs
from studies.schedule import Clock, describe_seconds, missing_runs
from tests.studies.small_studies import small_studies


def network(**block):
    studies: StudiesParams = small_studies(X={"network": block})
    return studies.row("X").network


def test_products_are_the_kernels_sizes_times_how_often_they_are_applied():
    assert count_products(network(architecture="mlp", units=(256, 256)), 784) == 784 * 256 + 256 * 256 + 256 * 10
    # 26 x 26 and 11 x 11 and 3 x 3 places, with kernels of 3 x 3.
    cnn = network(architecture="cnn", filters=(64, 64, 64))
    assert count_products(cnn, 784) == 9 * 64 * (26**2 + 64 * 11**2 + 64 * 3**2)
    assert count_products(network(architecture="rnn", units=(256,)), 784) == 28 * 256 * (28 + 256)
    lstm = network(architecture="rnn", cell="lstm", units=(8, 8), bidirectional=True)
    assert count_products(lstm, 784) == 28 * 2 * 4 * 8 * ((28 + 8) + (16 + 8))


def test_the_most_expensive_run_comes_first(tmp_path):
    wide = {"architecture": "mlp", "units": (4096,)}
    studies = small_studies(X={"seeds": 1}, Y={"seeds": 1, "network": wide})
    assert [run.row for run in missing_runs(studies, ["X", "Y"], Results(tmp_path))] == ["Y", "X"]


def test_time_left_follows_cost_and_pace(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("studies.schedule.time.monotonic", lambda: now[0])
    runs = fixed_runs(small_studies(X={"seeds": 4}), "X")
    cost = estimate_seconds(runs[0])
    clock = Clock(workers=2)
    assert clock.seconds_left([], runs) == pytest.approx(2 * cost)
    clock.start(runs[0])
    clock.start(runs[1])
    now[0] = 3 * cost
    clock.finish(runs[0])
    # A run has taken three times what was expected; the second one is due now.
    assert clock.seconds_left([runs[1]], runs[2:]) == pytest.approx(3 * cost)


def test_durations_are_said_in_the_unit_that_fits():
    assert [describe_seconds(value) for value in (41.3, 720, 7500)] == ["41 s", "12 min", "2 h 05 min"]
