"""Memory for bodies is bounded: who may go on, who waits, who gives way. Threads stand for clients."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from service.errors import ModelUnavailable
from service.http import body_budget
from service.http.body_budget import FREE_BYTES, BodyBudget, Share

SECONDS = 20


def share(budget, seconds=SECONDS, client=None):
    return Share(budget, time.monotonic() + seconds, client)


def test_a_body_waits_until_another_one_gives_its_memory_back():
    budget = BodyBudget(1000)
    first, second = share(budget), share(budget)
    first.reserve(800)
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(second.reserve, 300)
        time.sleep(0.1)
        assert not waits.done()
        first.release()
        waits.result(SECONDS)
    assert second.held == 300


def test_a_body_that_waited_in_vain_is_answered_503_and_takes_nothing():
    budget = BodyBudget(1000)
    first, second = share(budget), share(budget, seconds=0.1)
    first.reserve(1000)
    with pytest.raises(ModelUnavailable) as caught:
        second.reserve(1)
    assert caught.value.retry_after_seconds == 1
    second.release()
    first.release()
    share(budget).reserve(1000)


def test_bodies_that_come_together_never_wait_for_one_another_for_ever():
    """Each has a part, and no memory is left for the rest: the first goes on."""
    budget = BodyBudget(1000)
    shares = [share(budget) for _ in range(4)]
    for each in shares:
        each.begin_reading()
        each.reserve(250)

    def finish(each):
        for _ in range(3):
            each.reserve(250)
        each.finish_reading()
        each.release()

    with ThreadPoolExecutor(4) as pool:
        for finished in [pool.submit(finish, each) for each in shares]:
            finished.result(SECONDS)


@pytest.mark.parametrize("is_reading", [True, False])
def test_a_slow_client_gives_way_to_one_that_waits(monkeypatch, is_reading):
    monkeypatch.setattr(body_budget, "SLOW_SECONDS", 0.1)
    budget = BodyBudget(1000)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        slow, other = share(budget, client=ours), share(budget)
        if is_reading:
            slow.begin_reading()
            slow.reserve(1000)
        else:
            slow.hold_answer(1000)
            slow.wait_for_client()
            slow.note_moved(2**30)
        slow.wait_for_client()

        def serve():
            if is_reading:
                assert ours.recv(1) == b""
            else:
                with suppress(BrokenPipeError):
                    while ours.send(b"x" * 1000):
                        continue
            slow.finish_reading()
            slow.release()

        with ThreadPoolExecutor(1) as pool:
            served = pool.submit(serve)
            other.reserve(500)
            served.result(SECONDS)
        assert slow.was_cut
        assert not other.was_cut


def test_a_client_that_is_not_waited_for_gives_no_way(monkeypatch):
    """Its body has come, and a model works on it."""
    monkeypatch.setattr(body_budget, "SLOW_SECONDS", 0.0)
    budget = BodyBudget(1000)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        busy, other = share(budget, client=ours), share(budget, seconds=0.2)
        busy.begin_reading()
        busy.reserve(1000)
        busy.wait_for_client()
        busy.note_moved(10)
        busy.finish_reading()
        with pytest.raises(ModelUnavailable):
            other.reserve(1)
        assert not busy.was_cut


def test_large_bodies_are_alone_in_the_service(tmp_path):
    """Two budgets stand for two processes, which have nothing in common but the file."""
    budgets = [BodyBudget(8 * FREE_BYTES, tmp_path / "lock") for _ in range(2)]
    inside, most, guard = [], [], threading.Lock()

    def answer(number):
        mine = share(budgets[number % 2])
        mine.enter()
        mine.enter()
        with guard:
            inside.append(number)
            most.append(len(inside))
        time.sleep(0.01)
        with guard:
            inside.remove(number)
        mine.leave()
        return mine.release()

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(answer, range(16)))
    assert most == [1] * 16


def test_a_large_body_waits_until_its_deadline(tmp_path):
    budget = BodyBudget(8 * FREE_BYTES, tmp_path / "lock")
    first, second = share(budget), share(budget, seconds=0.1)
    first.enter()
    with pytest.raises(ModelUnavailable, match="Other large requests"):
        second.enter()
    assert not second.was_large
    first.leave()
    third = share(budget)
    third.enter()
    assert third.was_large
    third.release()
