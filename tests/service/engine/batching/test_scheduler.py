"""Which requests share a call, when it starts, and which are refused."""

import threading
import time

import numpy as np
import pytest

from service.engine.batching.options import count_rows, describe_obstacle
from service.engine.batching.scheduler import OVERDUE_SECONDS
from service.engine.interface import BatchingState
from service.errors import DeadlineExceeded, ModelUnavailable, QueueFull
from tests.service.engine_bench import SECONDS, SIGNATURES, Bench, NumpyModel, make_call, rows, signature, spec


def test_a_request_starts_at_once_where_nothing_runs():
    bench = Bench()
    bench.ask(rows(1))
    assert bench.scheduler.has_work()
    assert bench.scheduler.take().rows == 1
    assert not bench.scheduler.has_work()


def test_rows_that_come_while_a_call_runs_share_the_next_one_in_order_of_arrival():
    bench = Bench(most_calls=2)
    bench.ask(rows(0))
    first = bench.scheduler.take()
    calls = [bench.ask(rows(number, number)).call for number in range(1, 4)]
    assert bench.scheduler.take() is None
    assert not bench.scheduler.has_work()
    bench.scheduler.finish(first)
    second = bench.scheduler.take()
    assert [job.call for job in second.jobs] == calls
    assert second.rows == 6


def test_rows_that_fill_a_call_do_not_wait_for_the_one_that_runs():
    bench = Bench(most_calls=2, largest_batch=4)
    bench.ask(rows(0))
    bench.scheduler.take()
    bench.ask(rows(1, 2, 3))
    assert bench.scheduler.take() is None
    bench.ask(rows(4))
    assert bench.scheduler.take().rows == 4


def test_no_more_calls_run_than_may():
    bench = Bench(most_calls=2, models=("a", "b", "c"))
    for model in bench.models:
        bench.ask(rows(1), model=model)
    running = [bench.scheduler.take(), bench.scheduler.take()]
    assert None not in running
    assert bench.scheduler.take() is None
    assert not bench.scheduler.has_work()
    bench.scheduler.finish(running[0])
    assert bench.scheduler.take().key == ("c", 1, "rows")


def test_no_call_is_larger_than_the_largest_batch_and_no_request_overtakes():
    bench = Bench(largest_batch=4)
    for count in (3, 2, 1, 1):
        bench.ask(rows(*range(count)))
    sizes = []
    while (batch := bench.scheduler.take()) is not None:
        sizes.append([job.rows for job in batch.jobs])
        bench.scheduler.finish(batch)
    assert sizes == [[3], [2, 1, 1]]


def test_a_request_larger_than_the_largest_batch_runs_alone_and_as_it_came():
    bench = Bench(most_calls=2, largest_batch=4)
    bench.ask(rows(*range(10)))
    bench.ask(rows(0, 1))
    assert [[job.rows for job in bench.scheduler.take().jobs] for _ in range(2)] == [[10], [2]]


def test_what_does_not_fit_the_signatures_shapes_runs_alone():
    bench = Bench(most_calls=3)
    for _ in range(2):
        bench.ask(np.zeros((1, 3)))
    batches = [bench.scheduler.take(), bench.scheduler.take()]
    assert [len(batch.jobs) for batch in batches] == [1, 1]
    assert bench.scheduler.take() is None


@pytest.mark.parametrize(
    ("known", "options", "is_shared", "reason"),
    [
        (True, {}, True, "known"),
        (False, {}, False, "known"),
        (None, {}, False, "nothing is known"),
        (True, {"enabled": False}, False, "KILN_BATCHING is off"),
        (True, {"configured": False}, False, "batching.enabled = false"),
        (False, {"configured": True}, True, "batching.enabled = true"),
        (None, {"configured": True, "enabled": False}, True, "batching.enabled = true"),
    ],
)
def test_requests_share_calls_where_rows_are_known_to_be_independent_or_the_configuration_says_so(
    known, options, is_shared, reason
):
    bench = Bench(**options)
    bench.model.batching = {} if known is None else {"rows": BatchingState(known, "as is known")}
    bench.ask(rows(1))
    bench.ask(rows(2))
    assert len(bench.scheduler.take().jobs) == (2 if is_shared else 1)
    state = bench.batching.decide(SIGNATURES["rows"][0], bench.model.batching.get("rows"))
    assert state.enabled == is_shared
    assert reason in state.reason


def test_the_configuration_cannot_make_one_call_of_what_has_no_rows():
    bench = Bench(configured=True)
    for _ in range(2):
        bench.ask(1.0, "number")
    assert len(bench.scheduler.take().jobs) == 1
    assert "no batch axis" in bench.batching.decide(SIGNATURES["number"][0], None).reason


def test_requests_of_other_shapes_outputs_signatures_or_models_do_not_share_a_call():
    bench = Bench(most_calls=9, models=("m", "n"))
    bench.ask(np.zeros((1, 3)), "any")
    bench.ask(np.zeros((1, 4)), "any")
    bench.ask(np.zeros((1, 4)), "any", outputs=("y",))
    bench.ask(np.zeros((1, 4)), "any", outputs=("first", "y"))
    bench.ask(rows(1))
    bench.ask(rows(1), model="n")
    batches = [bench.scheduler.take() for _ in range(6)]
    assert all(len(batch.jobs) == 1 for batch in batches)
    assert bench.scheduler.take() is None


@pytest.mark.parametrize("x", [np.float32(1), np.zeros((0, 2), np.float32)], ids=["a scalar", "no rows"])
def test_what_has_no_rows_runs_by_itself(x):
    bench = Bench(most_calls=3)
    for _ in range(2):
        bench.ask(x, "unknown")
        bench.ask(x, "rows" if np.ndim(x) else "number")
    batches = [bench.scheduler.take() for _ in range(3)]
    assert all(len(batch.jobs) == 1 and not batch.queue.is_shared for batch in batches)


def test_inputs_of_different_lengths_have_no_number_of_rows():
    assert count_rows({"a": np.zeros(3), "b": np.zeros((3, 2))}) == 3
    assert count_rows({"a": np.zeros(3), "b": np.zeros(2)}) == 0
    assert count_rows({"a": np.zeros(3), "b": np.zeros(())}) == 0
    assert count_rows({}) == 0


def test_only_signatures_that_say_they_give_a_row_per_row_are_batched():
    batchable = {name for name, (made, _) in SIGNATURES.items() if not describe_obstacle(made)}
    assert batchable == {"rows", "any", "total", "scalar", "positive", "any_wide"}
    assert describe_obstacle(signature([], [spec("y")])) == "it has no input"
    assert "output 'y' of shape []" in describe_obstacle(signature([spec("x")], [spec("y", ())]))


def test_a_signature_whose_outputs_sizes_come_from_the_values_is_not_batched():
    tokens = signature([spec("text", (-1,), "DT_STRING")], [spec("tokens", (-1, -1), "DT_INT64")])
    assert describe_obstacle(tokens)
    assert not describe_obstacle(signature([spec("x", (-1, -1))], [spec("y", (-1, -1))]))


def test_batching_can_be_off():
    bench = Bench(most_calls=2, enabled=False, largest_batch=4)
    bench.ask(rows(*range(10)))
    bench.ask(rows(1))
    batches = [bench.scheduler.take(), bench.scheduler.take()]
    assert [batch.rows for batch in batches] == [10, 1]


def test_more_rows_than_may_wait_are_refused_at_once():
    bench = Bench(queue_rows=4)
    bench.ask(rows(0))
    running = bench.scheduler.take()
    waiting = [bench.ask(rows(1, 2)), bench.ask(rows(3, 4))]
    refused = bench.ask(rows(5)).wait()
    assert isinstance(refused, QueueFull)
    assert str(refused) == "4 rows are waiting for model 'm', and 4 may. Try again shortly."
    assert refused.retry_after_seconds == 1
    assert not any(outcome.came.is_set() for outcome in waiting)
    bench.scheduler.finish(running)
    bench.run()
    assert bench.ask(rows(5)).value is None


def test_the_bound_is_the_signatures_whatever_shapes_and_outputs_are_asked_for():
    bench = Bench(queue_rows=4)
    bench.ask(np.zeros((2, 3)), "any")
    bench.ask(np.zeros((2, 4)), "any")
    assert isinstance(bench.ask(np.zeros((1, 5)), "any").value, QueueFull)
    assert isinstance(bench.ask(np.zeros((1, 3)), "any", outputs=("y",)).value, QueueFull)
    assert bench.ask(rows(1)).value is None


def test_a_request_larger_than_the_bound_is_refused_for_good():
    bench = Bench(queue_rows=4)
    refused = bench.ask(rows(*range(5))).wait()
    assert isinstance(refused, QueueFull)
    assert refused.retry_after_seconds is None
    assert str(refused) == "The request has 5 rows, and 4 may wait for model 'm'. Send fewer rows at a time."
    assert bench.ask(rows(*range(4))).value is None


def test_a_long_axis_of_what_has_no_independent_rows_is_taken_where_nothing_waits():
    bench = Bench(queue_rows=4)
    assert bench.ask(np.zeros(5), "unknown").value is None
    refused = bench.ask(np.zeros(1), "unknown").value
    assert isinstance(refused, QueueFull)
    assert refused.retry_after_seconds == 1


def test_a_long_axis_is_taken_beside_one_that_runs():
    bench = Bench(most_calls=2, queue_rows=4)
    bench.ask(np.zeros(5), "unknown")
    assert bench.scheduler.take().rows == 5
    assert bench.ask(np.zeros(5), "unknown").value is None
    assert bench.run() == 1


def test_a_full_queue_makes_room_where_nobody_waits_any_more():
    bench = Bench(queue_rows=4)
    gone = threading.Event()
    bench.ask(rows(0))
    bench.scheduler.take()
    late, left = bench.ask(rows(1, 2), seconds=0.001), bench.ask(rows(3), is_abandoned=gone.is_set)
    stays = bench.ask(rows(4))
    gone.set()
    time.sleep(0.002)
    assert bench.ask(rows(5, 6, 7)).value is None
    assert isinstance(late.wait(), DeadlineExceeded)
    assert isinstance(left.wait(), DeadlineExceeded)
    assert stays.value is None
    assert bench.queued["m", 1, "rows"] == 4


def test_a_request_whose_client_is_gone_does_not_run():
    bench = Bench()
    gone, behind = bench.ask(rows(1), is_abandoned=lambda: True), bench.ask(rows(2))
    assert [job.call for job in bench.scheduler.take().jobs] == [behind.call]
    assert isinstance(gone.wait(), DeadlineExceeded)


def test_requests_without_rows_count_as_one():
    bench = Bench(queue_rows=2)
    for _ in range(2):
        bench.ask(1.0, "number")
    assert isinstance(bench.ask(1.0, "number").value, QueueFull)


def test_the_number_of_waiting_rows_is_told():
    bench = Bench(largest_batch=4)
    key = ("m", 1, "any")
    bench.ask(np.zeros((3, 3)), "any")
    bench.ask(np.zeros((6, 4)), "any")
    assert bench.queued[key] == 9
    bench.scheduler.take()
    assert bench.queued[key] == 6
    bench = Bench()
    bench.ask(rows(1), seconds=0.001)
    assert bench.queued["m", 1, "rows"] == 1
    time.sleep(0.002)
    assert bench.scheduler.take() is None
    assert bench.queued["m", 1, "rows"] == 0


def test_a_request_whose_time_is_over_is_not_queued():
    refused = Bench().ask(rows(1), seconds=-1).wait()
    assert isinstance(refused, DeadlineExceeded)
    assert str(refused) == "Model 'm' had no time for the request before its deadline."


def test_a_request_whose_time_ends_in_the_queue_does_not_run_and_those_behind_it_do():
    bench = Bench()
    late, behind = bench.ask(rows(1), seconds=0.05), bench.ask(rows(2), seconds=60)
    time.sleep(0.06)
    batch = bench.scheduler.take()
    assert [job.call for job in batch.jobs] == [behind.call]
    assert isinstance(late.wait(), DeadlineExceeded)
    assert bench.statistics.read("m", 1).failures == 1


def test_a_call_that_runs_for_long_takes_no_place_of_others():
    bench = Bench(most_calls=1, models=("slow", "b", "c"))
    bench.ask(rows(1), model="slow")
    slow = bench.scheduler.take()
    bench.ask(rows(1), model="b")
    assert bench.scheduler.take() is None
    assert bench.scheduler.mark_overdue(slow.started + OVERDUE_SECONDS / 2) == 0
    assert bench.scheduler.mark_overdue(slow.started + 2 * OVERDUE_SECONDS) == 1
    assert bench.scheduler.has_work()
    other = bench.scheduler.take()
    assert other.key == ("b", 1, "rows")
    assert bench.scheduler.running() == [slow, other]
    bench.ask(rows(1), model="c")
    assert bench.scheduler.take() is None
    bench.scheduler.finish(slow)
    assert bench.scheduler.take() is None
    bench.scheduler.finish(other)
    assert bench.scheduler.take().key == ("c", 1, "rows")
    assert bench.scheduler.mark_overdue(0) == 0


def test_one_version_has_no_more_calls_than_may_run_however_long_they_do():
    bench = Bench(most_calls=2, models=("slow", "b"))
    for _ in range(3):
        bench.ask(rows(1), model="slow")
        batch = bench.scheduler.take()
        if batch is not None:
            bench.scheduler.mark_overdue(batch.started + 2 * OVERDUE_SECONDS)
    assert len(bench.scheduler.running()) == 2
    assert not bench.scheduler.has_work()
    bench.ask(rows(1), model="b")
    assert bench.scheduler.take().key == ("b", 1, "rows")


def test_suspects_of_a_crash_never_run_beside_each_other():
    bench = Bench(most_calls=9, models=("a", "b", "c"), exclusive=lambda name, _: name in "ab")
    for name in "abc":
        bench.ask(rows(1), model=name)
    first, innocent = bench.scheduler.take(), bench.scheduler.take()
    assert [first.key[0], innocent.key[0]] == ["a", "c"]
    assert bench.scheduler.take() is None
    bench.scheduler.finish(first)
    assert bench.scheduler.take().key[0] == "b"


@pytest.mark.parametrize(("seconds", "expected"), [((9, 5), 9), ((None, 5), None), ((5,), 5)])
def test_a_batch_has_the_deadline_of_the_last_of_its_requests(seconds, expected):
    bench = Bench()
    outcomes = [bench.ask(rows(1), seconds=each) for each in seconds]
    batch = bench.scheduler.take()
    assert batch.deadline == (None if expected is None else outcomes[seconds.index(expected)].call.deadline)


def test_models_take_turns():
    bench = Bench(models=("a", "b"), largest_batch=1)
    for _ in range(3):
        bench.ask(rows(1), model="a")
    for _ in range(3):
        bench.ask(rows(1), model="b")
    order = []
    while (batch := bench.scheduler.take()) is not None:
        order.append(batch.key[0])
        bench.scheduler.finish(batch)
    assert order == ["a", "b"] * 3


def test_a_version_or_signature_that_is_not_loaded_is_unavailable():
    bench = Bench()
    for call in (make_call(rows(1), model="other"), make_call(rows(1), "other")):
        refused = bench.submit(call).wait()
        assert type(refused) is ModelUnavailable
        assert refused.retry_after_seconds == 1
        assert "version 1 is not loaded at the moment" in str(refused)


def test_retiring_refuses_what_comes_and_waits_for_what_is_there():
    bench = Bench()
    before = bench.ask(rows(1))
    batch = bench.scheduler.take()
    queued = bench.ask(rows(2))
    retired = threading.Event()

    model = bench.models.pop("m")

    def retire():
        assert bench.scheduler.retire(model, SECONDS)
        retired.set()

    thread = threading.Thread(target=retire)
    thread.start()
    assert type(bench.ask(rows(3)).value) is ModelUnavailable
    assert not retired.is_set()
    bench.executor.run(batch)
    bench.run()
    assert retired.wait(SECONDS)
    thread.join()
    assert before.wait()
    assert queued.wait()
    bench.models["m"] = model
    bench.scheduler.reinstate("m", 1)
    after = bench.ask(rows(4))
    bench.run()
    assert after.wait()["y"].tolist() == [[8, 9]]


def test_a_model_that_took_anothers_place_gets_the_new_requests_while_the_old_one_answers_its_own():
    bench = Bench(most_calls=9)
    before, old = bench.ask(rows(1)), bench.model
    batch = bench.scheduler.take()
    bench.models["m"] = NumpyModel()
    after = bench.ask(rows(2))
    assert not bench.scheduler.retire(old, 0.0)
    bench.run()
    assert after.wait()
    assert len(bench.model.calls) == 1
    bench.executor.run(batch)
    assert before.wait()
    assert bench.scheduler.retire(old, 0.0)


def test_retiring_ends_where_the_last_request_ran_out_of_time():
    bench = Bench()
    late = bench.ask(rows(1), seconds=0.001)
    thread = threading.Thread(target=bench.scheduler.retire, args=(bench.model, SECONDS), daemon=True)
    thread.start()
    time.sleep(0.002)
    assert bench.scheduler.take() is None
    assert isinstance(late.wait(), DeadlineExceeded)
    thread.join(SECONDS)
    assert not thread.is_alive()


def test_nothing_is_kept_of_requests_that_are_over():
    bench = Bench(most_calls=2, largest_batch=2)
    for columns in range(1, 20):
        bench.ask(np.zeros((3, columns)), "any")
    bench.run()
    assert not bench.scheduler._queues
    assert not bench.scheduler._waiting
