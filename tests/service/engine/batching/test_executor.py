"""What each request is answered when it shares a call with others."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.engine.batching.executor import CallFailed, Executor
from service.engine.model import InvalidInput
from service.errors import DeadlineExceeded
from tests.service.engine_bench import SECONDS, Bench, assert_same, make_call, rows


def test_requests_that_share_a_call_get_their_own_rows_in_order():
    bench = Bench()
    outcomes = [bench.ask(rows(*range(start, start + count))) for start, count in ((0, 1), (10, 3), (20, 2), (30, 1))]
    assert bench.run() == 1
    assert bench.model.calls == [[1, 3, 2, 1]]
    for outcome in outcomes:
        assert_same(outcome.wait(), bench.model.alone(outcome.call))


@pytest.mark.parametrize("name", ["rows", "any", "scalar"])
@pytest.mark.parametrize("count", [1, 5, 9])
def test_a_lone_request_runs_as_it_came(name, count):
    bench = Bench(largest_batch=4)
    outcome = bench.ask(rows(*range(count)), name)
    bench.run()
    assert bench.model.calls == [[count]]
    assert_same(outcome.wait(), bench.model.alone(outcome.call))
    assert bench.statistics.read("m", 1).batches.keys() == {count}


def test_outputs_are_those_that_are_wanted_in_their_order():
    bench = Bench()
    outcome = bench.ask(rows(1), outputs=("first", "y"))
    bench.run()
    assert list(outcome.wait()) == ["first", "y"]


@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize(("wrong", "error"), [(np.nan, InvalidInput), (np.inf, CallFailed)])
def test_one_wrong_request_spoils_no_other(position, wrong, error):
    bench = Bench()
    values = [rows(1, 2), rows(3), rows(4, 5, 6)]
    values[position][0, 0] = wrong
    outcomes = [bench.ask(value) for value in values]
    bench.run()
    for number, outcome in enumerate(outcomes):
        if number == position:
            assert type(outcome.wait()) is error
        else:
            assert_same(outcome.wait(), bench.model.alone(outcome.call))
    statistics = bench.statistics.read("m", 1)
    assert (statistics.calls, statistics.failures) == (2, 1)


def test_what_went_wrong_inside_is_logged_and_not_told(caplog):
    bench = Bench()
    outcome = bench.ask(rows(np.inf))
    bench.run()
    assert str(outcome.wait()) == ""
    assert "secret detail" in caplog.text
    assert "Model m version 1 failed" in caplog.text


def test_a_failed_call_of_several_requests_is_run_again_for_those_who_still_wait():
    bench = Bench()
    gone = threading.Event()
    outcomes = [bench.ask(rows(np.nan)), bench.ask(rows(1), is_abandoned=gone.is_set), bench.ask(rows(2))]
    batch = bench.scheduler.take()
    gone.set()
    bench.executor.run(batch)
    assert [type(outcome.wait()) for outcome in outcomes] == [InvalidInput, DeadlineExceeded, dict]
    assert bench.model.calls == [[1, 1, 1], [1], [1]]
    assert not batch.jobs


def test_what_is_in_flight_is_noted_in_the_thread_that_runs_it():
    bench, noted = Bench(), []

    class Notes:
        def begin(self, key):
            noted.append((key, threading.get_ident()))
            return len(noted)

        def end(self, token):
            noted.append(token)

    executor = Executor(bench.scheduler, bench.statistics, Notes())
    for value in (1, np.nan):
        bench.ask(rows(value))
        executor.run(bench.scheduler.take())
    begun = (("m", 1, "rows"), threading.get_ident())
    assert noted == [begun, 1, begun, 3]


@pytest.mark.parametrize("name", ["total", "scalar", "positive", "wide"])
@pytest.mark.parametrize("largest", [4, 64])
def test_a_signature_that_does_not_give_a_row_per_row_answers_as_if_alone(name, largest):
    bench = Bench(largest_batch=largest)
    for _ in range(2):
        outcomes = [bench.ask(rows(*values), name) for values in ([5], [1, -2, 3], [-1], [2, 3, 4, 5, 6], [*range(9)])]
        bench.run()
        for outcome in outcomes:
            assert_same(outcome.wait(), bench.model.alone(outcome.call))


def test_a_signature_that_does_not_give_a_row_per_row_is_kept_apart_for_ever(caplog):
    bench = Bench()
    for _ in range(2):
        for value in (1, 2):
            bench.ask(rows(value), "scalar")
        bench.run()
    assert bench.model.calls == [[1, 1], [1], [1], [1], [1]]
    assert "does not give a row per row" in caplog.text


@pytest.mark.parametrize(
    ("name", "x"),
    [
        ("fixed", [1, 2]),
        ("wide", rows(1)),
        ("unknown", [[1]]),
        ("unknown", 3),
        ("number", 4),
        ("rows", np.zeros((0, 2))),
    ],
    ids=["fixed", "width by value", "unknown rank", "unknown rank, a number", "a number", "no rows"],
)
def test_what_cannot_be_batched_is_run_as_it_came(name, x):
    bench = Bench(largest_batch=1)
    outcomes = [bench.ask(x, name) for _ in range(3)]
    assert bench.run() == 3
    for outcome in outcomes:
        assert_same(outcome.wait(), bench.model.alone(outcome.call))
    assert bench.statistics.read("m", 1).calls == 3


def test_long_batches_are_told_from_short_ones_by_their_rows():
    bench = Bench()
    bench.ask(rows(1))
    batch = bench.scheduler.take()
    assert bench.executor.expected_seconds(batch) == float("inf")
    bench.executor.run(batch)
    bench.ask(rows(1))
    batch = bench.scheduler.take()
    assert bench.executor.expected_seconds(batch) < 1
    bench.executor.run(batch)
    bench.ask(rows(*range(100)))
    batch = bench.scheduler.take()
    assert bench.executor.expected_seconds(batch) == float("inf")
    bench.executor.run(batch)
    bench.executor.forget("m", 1)
    assert not bench.executor._seconds


def test_statistics_add_up():
    bench = Bench(largest_batch=4)
    for count in (1, 2, 1, 6):
        bench.ask(rows(*range(count)))
    bench.ask(rows(np.nan))
    bench.run()
    statistics = bench.statistics.read("m", 1)
    assert (statistics.calls, statistics.failures, statistics.rows) == (4, 1, 10)
    assert statistics.executions == sum(count for count, _ in statistics.batches.values())
    assert sum(size * count for size, (count, _) in statistics.batches.items()) == 10
    assert statistics.compute_ns == sum(nanoseconds for _, nanoseconds in statistics.batches.values())
    assert statistics.total_ns >= statistics.compute_ns // 4
    assert statistics.last_call > 0
    bench.statistics.forget("m", 1)
    assert bench.statistics.read("m", 1).calls == 0


def test_retiring_waits_until_the_model_is_not_needed_any_more():
    """Also where requests of an untrue signature are run again one by one."""
    bench = Bench()
    outcomes = [bench.ask(rows(1, 2), "scalar"), bench.ask(rows(3), "scalar")]
    running = threading.Thread(target=bench.run)
    bench.model.go_on.clear()
    running.start()
    assert bench.model.is_running.wait(SECONDS)
    retired = threading.Event()

    def retire():
        assert bench.scheduler.retire(bench.model, SECONDS)
        # The model's memory is gone from here on.
        del bench.model.signatures
        retired.set()

    thread = threading.Thread(target=retire)
    thread.start()
    bench.model.go_on.set()
    assert retired.wait(SECONDS)
    running.join(SECONDS)
    thread.join(SECONDS)
    assert [outcome.wait()["y"].tolist() for outcome in outcomes] == [7, 6.5]
    assert bench.model.calls == [[2, 1], [2], [1]]


VALUES = st.lists(st.sampled_from([0, 1, 2, 3, 4, -1, -2, np.nan, np.inf]), max_size=12)
REQUESTS = st.tuples(
    st.sampled_from(["a", "b", "gone"]),
    st.sampled_from(["rows", "any", "total", "scalar", "positive", "wide", "unknown"]),
    VALUES,
    st.sampled_from([None, None, None, -1]),
)


@settings(max_examples=60, deadline=None)
@given(
    requests=st.lists(st.lists(REQUESTS, max_size=8), min_size=1, max_size=4),
    largest=st.integers(2, 9),
    bound=st.sampled_from([3, 10_000]),
    workers=st.integers(1, 3),
    enabled=st.booleans(),
)
def test_every_request_gets_one_answer_which_is_what_it_would_get_alone(requests, largest, bound, workers, enabled):
    bench = Bench(workers, ("a", "b"), largest_batch=largest, queue_rows=bound, enabled=enabled)
    outcomes, all_came, ended = [], threading.Event(), threading.Event()

    def ask(group):
        for model, name, values, seconds in group:
            outcomes.append(bench.submit(make_call(rows(*values), name, model, seconds=seconds)))

    def work():
        while not ended.is_set():
            is_last = all_came.is_set()
            if not bench.run() and is_last:
                return

    asking = [threading.Thread(target=ask, args=(group,)) for group in requests]
    working = [threading.Thread(target=work) for _ in range(workers)]
    for thread in (*working, *asking):
        thread.start()
    for thread in asking:
        thread.join(SECONDS)
    all_came.set()
    try:
        answered = [(outcome.call, outcome.wait()) for outcome in outcomes]
    finally:
        ended.set()
        for thread in working:
            thread.join(SECONDS)
    assert len(answered) == sum(map(len, requests))
    assert not bench.scheduler._queues
    for call, value in answered:
        check_answer(bench, call, value)


def check_answer(bench, call, value):
    if call.deadline is not None:
        assert type(value) is DeadlineExceeded
    elif type(value).__name__ in ("ModelUnavailable", "QueueFull"):
        assert call.model == "gone" or bench.batching.queue_rows == 3
    else:
        expected = bench.models[call.model].alone(call)
        assert isinstance(value, InvalidInput) == isinstance(expected, InvalidInput)
        assert_same(value, expected)
