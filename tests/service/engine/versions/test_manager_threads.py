"""Versions change while others call them, load them and ask for them. Nothing sleeps; everybody waits for events."""

import dataclasses
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.engine.interface import AVAILABLE, LOADING
from service.engine.versions.manager import VersionManager
from service.engine.versions.options import Clocks
from tests.service.version_bench import Bench

SECONDS = 20


class ThreadedBench(Bench):
    """A bench whose background is threads and whose loads can be held up."""

    def make(self) -> VersionManager:
        self.go_on = threading.Event()
        self.go_on.set()
        self.is_loading = threading.Event()
        self.has_loaded = threading.Event()
        self.hanging = {"m", "other"}
        self.on_retire = lambda *_: None
        versions = super().make()
        versions._unloader._spawn = Clocks().spawn
        return versions

    def spawn_load(self, work):
        Clocks().spawn_load(work)

    def take(self, catalog):
        self.catalogs.append(catalog)

    def load(self, path, name, number):
        self.is_loading.set()
        assert name not in self.hanging or self.go_on.wait(SECONDS)
        return super().load(path, name, number)

    def note(self, event, name, number):
        if event == "retire":
            self.on_retire(name, number)
        self.events.append((event, name, number))
        if event == "loaded":
            self.has_loaded.set()


@pytest.fixture
def bench(tmp_path):
    bench = ThreadedBench(tmp_path, poll_seconds=0, grace_seconds=0)
    bench.publish("m", 1)
    yield bench
    bench.versions.close()
    assert all(model.closings == 1 for _, model in bench.loaded)


@pytest.fixture
def pool():
    with ThreadPoolExecutor(8) as pool:
        yield pool


class Caller:
    """A scheduler in small: calls the newest version and knows which calls are in flight."""

    def __init__(self, bench):
        self.bench = bench
        self.changed = threading.Condition()
        self.in_hand = []
        self.calls = [0, 0, 0, 0]
        self.is_over = False

    def run(self, place):
        while not self.is_over:
            newest = max(v.number for v in self.bench.catalogs[-1].models["m"].versions if v.state == AVAILABLE)
            with self.changed:
                model = self.bench.versions.find("m", newest)
                assert model is not None
                self.in_hand.append(newest)
            assert model.closings == 0
            with self.changed:
                self.in_hand.remove(newest)
                self.calls[place] += 1
                self.changed.notify_all()

    def wait_for_calls(self):
        """Waits until every thread has read the present catalogue and ended a call."""
        with self.changed:
            until = [calls + 2 for calls in self.calls]
            assert self.changed.wait_for(lambda: self.is_over or all(map(int.__ge__, self.calls, until)), SECONDS)

    def retire(self, _, number):
        with self.changed:
            assert self.changed.wait_for(lambda: number not in self.in_hand, SECONDS)


def test_no_call_is_lost_while_versions_switch(bench, pool):
    bench.versions.scan()
    caller = Caller(bench)
    bench.on_retire = caller.retire
    # A time of grace in which every caller that had read the old catalogue comes to its end.
    bench.versions._unloader._pause = lambda _: caller.wait_for_calls()
    running = [pool.submit(caller.run, place) for place in range(4)]
    for number in range(2, 30):
        bench.publish("m", number)
        bench.versions.scan()
    caller.wait_for_calls()
    caller.is_over = True
    for each in running:
        each.result(SECONDS)
    assert bench.available() == [29]


def test_loading_keeps_nobody_waiting(bench, pool):
    bench.publish("other", 1)
    bench.versions.scan()
    bench.publish("m", 2)
    bench.go_on.clear()
    bench.is_loading.clear()
    scanning = pool.submit(bench.versions.scan)
    assert bench.is_loading.wait(SECONDS)
    assert bench.states() == {2: LOADING, 1: AVAILABLE}
    assert bench.versions.find("m", 1).closings == 0
    pool.submit(bench.versions.set_label, "m", "stable", 1).result(SECONDS)
    pool.submit(bench.versions.unload, "other").result(SECONDS)
    assert bench.available("other") == []
    assert not scanning.done()
    bench.go_on.set()
    scanning.result(SECONDS)
    assert bench.available() == [2, 1]


def test_a_version_that_several_ask_for_is_loaded_once(bench, pool):
    bench.go_on.clear()
    asking = [pool.submit(bench.versions.load, "m") for _ in range(6)]
    asking.append(pool.submit(bench.versions.scan))
    assert bench.is_loading.wait(SECONDS)
    bench.go_on.set()
    for each in asking:
        each.result(SECONDS)
    assert len(bench.loaded) == 1


def test_load_waits_for_a_version_that_is_being_closed(bench, pool):
    bench.versions.scan()
    retiring, go_on = threading.Event(), threading.Event()

    def retire(*_):
        retiring.set()
        assert go_on.wait(SECONDS)

    bench.on_retire = retire
    unloading = pool.submit(bench.versions.unload, "m")
    assert retiring.wait(SECONDS)
    loading = pool.submit(bench.versions.load, "m")
    bench.versions.scan()
    assert not loading.done()
    go_on.set()
    unloading.result(SECONDS)
    loading.result(SECONDS)
    assert bench.available() == [1]
    assert [event for event, *_ in bench.events] == [
        "reinstate", "loaded", "retire", "unloaded", "reinstate", "loaded",
    ] or [event for event, *_ in bench.events] == [
        "reinstate", "loaded", "retire", "reinstate", "unloaded", "loaded",
    ]  # fmt: skip


def test_the_thread_looks_at_once_and_only_once_when_it_is_told_so(bench):
    bench.versions.start()
    assert bench.has_loaded.wait(SECONDS)
    bench.versions._thread.join(SECONDS)
    assert bench.available() == [1]


def test_the_thread_looks_again_and_again_whatever_goes_wrong(bench, caplog):
    bench.versions._settings = dataclasses.replace(bench.versions._settings, poll_seconds=0.001)
    failures = [OSError("no space left"), OSError("no space left")]

    def take(catalog):
        if failures:
            raise failures.pop()
        bench.catalogs.append(catalog)

    bench.versions._publish._publish = take
    bench.versions.start()
    assert bench.has_loaded.wait(SECONDS)
    bench.has_loaded.clear()
    bench.publish("m", 2)
    assert bench.has_loaded.wait(SECONDS)
    assert caplog.messages == ["The catalogue cannot be published; it is tried again: OSError: no space left"]


def test_closing_waits_for_a_load_and_closes_what_it_brings(bench, pool):
    bench.go_on.clear()
    bench.versions.start()
    asking = pool.submit(bench.versions.load, "m")
    assert bench.is_loading.wait(SECONDS)
    closing = pool.submit(bench.versions.close)
    assert not closing.done()
    bench.go_on.set()
    closing.result(SECONDS)
    assert asking.exception(SECONDS) is not None
    assert [model.closings for _, model in bench.loaded] == [1]
    assert bench.versions.find("m", 1) is None


def test_a_load_that_hangs_hides_no_new_model_and_no_new_version(tmp_path):
    bench = ThreadedBench(tmp_path, poll_seconds=0.01, grace_seconds=0, loads=2)
    bench.publish("m", 1)
    bench.publish("other", 1)
    bench.hanging = {"m"}
    bench.go_on.clear()
    bench.versions.start()
    wait_for(lambda: bench.catalogs and bench.available("other") == [1])
    bench.publish("other", 2)
    bench.publish("new", 1)
    wait_for(lambda: 2 in bench.available("other") and bench.available("new") == [1])
    assert bench.states("m") == {1: LOADING}
    bench.versions.unload("other")
    bench.versions.set_label("new", "stable", 1)
    # Not even the end waits for it.
    started = time.monotonic()
    bench.versions.close()
    assert time.monotonic() - started < SECONDS / 2
    bench.go_on.set()
    wait_for(lambda: len(bench.loaded) == 4 and all(model.closings == 1 for _, model in bench.loaded))


def test_a_call_that_hangs_keeps_no_unloading_waiting_for_ever(tmp_path, caplog):
    bench = ThreadedBench(tmp_path, poll_seconds=0, grace_seconds=0, drain_seconds=0.05)
    waits = []
    bench.publish("m", 1)
    bench.versions.scan()

    def hang(_model, seconds):
        waits.append(seconds)
        return False

    bench.versions._unloader._hooks = dataclasses.replace(bench.versions._unloader._hooks, retire=hang)
    bench.versions.unload("m")
    assert 0 <= waits[0] <= 0.05
    assert [model.closings for _, model in bench.loaded] == [0]
    assert "A call of version 1 of model 'm' does not end; its memory is not given back" in caplog.messages
    bench.versions.load("m")
    assert bench.available() == [1]


def wait_for(condition):
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
