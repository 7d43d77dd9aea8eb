"""Loads run side by side, those in demand first, and a slow one keeps nobody waiting."""

import threading

from service.engine.versions import load_queue
from service.engine.versions.load_queue import LoadQueue
from service.engine.versions.options import Clocks

SECONDS = 20


class Loads:
    """What is to be loaded of each model, and what was."""

    def __init__(self, places=1, demand=lambda _: 0.0, **counts):
        self.left = counts
        self.hung = {}
        self.order = []
        self.changed = threading.Condition()
        self.running, self.most = set(), 0
        self.queue = LoadQueue(self.load_next, places, demand, Clocks())

    def hang(self, *names):
        self.hung = {name: threading.Event() for name in names}

    def load_next(self, name):
        with self.changed:
            assert name not in self.running
            if not self.left[name]:
                return False
            self.left[name] -= 1
            self.order.append(name)
            self.running.add(name)
            self.most = max(self.most, len(self.running))
            self.changed.notify_all()
        try:
            if name in self.hung:
                assert self.hung[name].wait(SECONDS)
        finally:
            with self.changed:
                self.running.discard(name)
        return True

    def wait_for(self, *names):
        with self.changed:
            assert self.changed.wait_for(lambda: self.running == set(names), SECONDS)


def test_everything_is_loaded_and_no_model_twice_at_a_time():
    loads = Loads(places=3, a=3, b=1, c=2, d=0)
    loads.queue.add("abcd")
    assert loads.queue.wait(seconds=SECONDS)
    assert sorted(loads.order) == ["a", "a", "a", "b", "c", "c"]


def test_models_in_demand_are_loaded_first():
    loads = Loads(demand={"a": 1.0, "b": 3.0, "c": 2.0}.get, a=1, b=1, c=1)
    loads.hang("a")
    loads.queue.add("a")
    loads.wait_for("a")
    loads.queue.add("cb")
    loads.hung["a"].set()
    assert loads.queue.wait(seconds=SECONDS)
    assert loads.order == ["a", "b", "c"]


def test_no_more_run_than_may():
    loads = Loads(places=2, a=1, b=1, c=1, d=1)
    loads.hang(*"abcd")
    loads.queue.add("abcd")
    loads.wait_for("a", "b")
    for event in loads.hung.values():
        event.set()
    assert loads.queue.wait(seconds=SECONDS)
    assert loads.most == 2


def test_a_load_that_hangs_keeps_the_others_waiting_for_a_while_only(monkeypatch):
    monkeypatch.setattr(load_queue, "SLOW_SECONDS", 0.05)
    loads = Loads(places=1, hung=1, a=1, b=1)
    loads.hang("hung")
    loads.queue.add(["hung", "a", "b"])
    assert loads.queue.wait(["a", "b"], SECONDS)
    assert not loads.queue.wait(["hung"], 0.01)
    assert loads.order == ["hung", "a", "b"]
    loads.hung["hung"].set()
    assert loads.queue.wait(seconds=SECONDS)


def test_a_model_that_is_added_while_it_is_loaded_is_looked_at_again():
    loads = Loads(a=1)
    loads.hang("a")
    loads.queue.add("a")
    loads.wait_for("a")
    loads.queue.add("a")
    with loads.changed:
        loads.left["a"] = 1
    loads.hung["a"].set()
    assert loads.queue.wait(seconds=SECONDS)
    assert loads.order == ["a", "a"]


def test_a_failure_ends_neither_the_queue_nor_the_others(caplog):
    loads = Loads(a=1, b=1)
    loads.left.pop("a")
    loads.queue.add("ab")
    assert loads.queue.wait(seconds=SECONDS)
    assert loads.order == ["b"]
    assert "Loading model 'a' failed; it is tried again" in caplog.text
