"""A call that never ends, or takes the memory, ends the engine, and is named."""

import pytest

from service.engine.isolation import watchdog as module
from service.engine.isolation.crash_log import CrashLog
from service.engine.isolation.watchdog import ENDED_FOR_A_VERSION, Running, Watchdog

MIB = 2**20


@pytest.fixture
def ended():
    return []


@pytest.fixture(autouse=True)
def sizes(monkeypatch):
    sizes = [100 * MIB]
    monkeypatch.setattr(module, "resident_bytes", lambda: sizes[-1])
    return sizes


def running(name="m", started=1000.0, seconds=30.0):
    return Running(name, 1, "signature 'serving_default'", started, seconds)


@pytest.mark.parametrize(("seconds", "last"), [(30.0, 1035.0), (2.0, 1004.0), (300.0, 1305.0)])
def test_a_call_that_exceeds_its_time_by_far_does_not_end(tmp_path, ended, seconds, last):
    crash_log = CrashLog(tmp_path)
    guard = Watchdog(crash_log, None, ended.append)
    guard.look([running(seconds=seconds)], last)
    assert not ended
    guard.look([running("other", last), running(seconds=seconds)], last + 0.1)
    assert ended == [ENDED_FOR_A_VERSION]
    assert "signature 'serving_default' has not ended after" in crash_log.find("m", 1).reason
    assert crash_log.find("other", 1) is None


def test_the_call_under_which_memory_grew_is_to_blame(tmp_path, ended, sizes):
    crash_log = CrashLog(tmp_path)
    guard = Watchdog(crash_log, 1000 * MIB, ended.append)
    guard.look([running("guilty")], 1001.0)
    sizes.append(900 * MIB)
    guard.look([running("guilty"), running("innocent", 1001.5)], 1002.0)
    assert not ended
    sizes.append(1001 * MIB)
    guard.look([running("guilty"), running("innocent", 1001.5), running("late", 1002.9)], 1003.0)
    assert ended == [ENDED_FOR_A_VERSION]
    assert "took 901 MiB" in crash_log.find("guilty", 1).reason
    assert crash_log.find("innocent", 1) is crash_log.find("late", 1) is None


def test_memory_that_no_call_took_is_nobodys_fault(tmp_path, ended):
    guard = Watchdog(CrashLog(tmp_path), 50 * MIB, ended.append)
    guard.look([running()], 1001.0)
    guard.look([running()], 1002.0)
    assert not ended


def test_it_looks_every_so_often(tmp_path):
    guard = Watchdog(CrashLog(tmp_path), None)
    assert guard.is_due(1000.0)
    guard.look([], 1000.0)
    assert not guard.is_due(1000.04)
    assert guard.is_due(1000.06)
