"""The version that ends a process is found, and gets no third chance."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from service.engine.isolation.crash_log import CRASH_FILE, CrashLog, explain_crash, find_culprits
from service.engine.isolation.journal import ENTRIES, InFlight, Journal
from service.engine.model import Quarantined

ROOT = Path(__file__).parents[4]
# A process that has two calls in flight, in threads, and in one of them does something.
CRASHING = """
import ctypes, faulthandler, sys, threading, time
from pathlib import Path
from service.engine.isolation.crash_log import CRASH_FILE
from service.engine.isolation.journal import Journal

folder = Path(sys.argv[1])
faulthandler.enable((folder / CRASH_FILE).open("w"))
journal = Journal(folder)
began = threading.Barrier(3)

def call(name, work):
    journal.begin((name, 1, "serving_default"))
    began.wait()
    work()

threading.Thread(target=call, args=("innocent", lambda: time.sleep(60)), daemon=True).start()
threading.Thread(target=call, args=("guilty", lambda: time.sleep(60) if sys.argv[2] == "outside" else crash()),
                 daemon=True).start()

def crash():
    if sys.argv[2] == "abort":
        ctypes.CDLL(None).abort()
    ctypes.string_at(0)

began.wait()
if sys.argv[2] == "outside":
    print("running", flush=True)
time.sleep(60)
"""


def crash(folder, how):
    process = subprocess.Popen(
        [sys.executable, "-c", CRASHING, str(folder), how], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    if how == "outside":
        assert process.stdout.readline() == "running\n"
        process.send_signal(signal.SIGABRT)
    status = process.wait(timeout=60)
    process.stdout.close()
    return status


@pytest.mark.parametrize(("how", "name"), [("abort", "SIGABRT"), ("segfault", "SIGSEGV")])
def test_a_crash_is_laid_at_the_door_of_the_call_that_caused_it(tmp_path, how, name):
    status = crash(tmp_path, how)
    sentence = explain_crash(tmp_path, status, was_memory_short=False)
    assert sentence == f"Version 1 of model 'guilty' ended the engine: {name} while signature 'serving_default' ran"
    crash_log = CrashLog(tmp_path)
    assert crash_log.find("innocent", 1) is None
    assert crash_log.find("guilty", 1).times == 1


def test_a_signal_from_outside_is_nobodys_fault(tmp_path):
    status = crash(tmp_path, "outside")
    assert status == -signal.SIGABRT
    assert explain_crash(tmp_path, status, was_memory_short=False) == ""
    assert CrashLog(tmp_path).find("guilty", 1) is None


@pytest.mark.parametrize("status", [-signal.SIGKILL, -signal.SIGTERM, 0, 1, 70])
def test_ends_that_no_model_causes_blame_nobody(tmp_path, status):
    Journal(tmp_path).begin(("m", 1, "serving_default"))
    assert explain_crash(tmp_path, status, was_memory_short=False) == ""


def test_who_is_killed_for_want_of_memory_is_to_blame(tmp_path):
    Journal(tmp_path).begin(("m", 1, "serving_default"))
    sentence = explain_crash(tmp_path, -signal.SIGKILL, was_memory_short=True)
    assert sentence == "Version 1 of model 'm' ended the engine: out of memory while signature 'serving_default' ran"


def test_after_the_second_time_a_version_is_in_quarantine_until_it_is_forgiven(tmp_path):
    crash_log = CrashLog(tmp_path)
    crash_log.blame("m", 2, "SIGABRT while it was loaded")
    crash_log.check("m", 2)
    crash_log.blame("m", 2, "SIGSEGV while it was loaded")
    with pytest.raises(Quarantined, match="has ended the process that runs it 2 times, the last time so: SIGSEGV"):
        crash_log.check("m", 2)
    crash_log.check("m", 1)
    # What is known outlives the process that knew it.
    with pytest.raises(Quarantined, match="POST /v2/repository/models/m/load"):
        CrashLog(tmp_path).check("m", 2)
    crash_log.forgive("m", 2)
    CrashLog(tmp_path).check("m", 2)


def test_where_several_may_be_to_blame_the_second_time_tells(tmp_path):
    crash_log = CrashLog(tmp_path)
    assert crash_log.suspect([("a", 1), ("b", 1), ("c", 1)], "SIGABRT") is None
    assert all(crash_log.is_suspect(name, 1) for name in "abc")
    assert crash_log.suspect([("a", 1), ("d", 1)], "SIGABRT") == ("a", 1)
    with pytest.raises(Quarantined):
        crash_log.check("a", 1)
    for name in "bcd":
        assert crash_log.find(name, 1) is None
        assert not crash_log.is_suspect(name, 1)


def test_suspects_become_fewer_with_each_crash(tmp_path):
    crash_log = CrashLog(tmp_path)
    assert crash_log.suspect([("a", 1), ("b", 1), ("c", 1)], "SIGABRT") is None
    assert crash_log.suspect([("a", 1), ("b", 1)], "SIGABRT") is None
    assert [crash_log.is_suspect(name, 1) for name in "abc"] == [True, True, False]


def test_an_innocent_version_that_was_suspected_is_not_blamed_for_the_crash_of_another(tmp_path):
    crash_log = CrashLog(tmp_path)
    crash_log.suspect([("a", 1), ("b", 1)], "SIGABRT")
    assert crash_log.suspect([("z", 1)], "SIGSEGV") == ("z", 1)
    assert crash_log.find("z", 1).times == 1


def test_notes_that_were_cut_short_count_as_none(tmp_path):
    CrashLog(tmp_path).blame("m", 1, "SIGABRT")
    with (tmp_path / "engine.crash_log").open("r+b") as file:
        file.seek(8)
        file.write(b"\xff\xff")
    CrashLog(tmp_path).check("m", 1)


def test_the_journal_tells_what_has_not_ended(tmp_path):
    journal = Journal(tmp_path)
    first, second = journal.begin(("m", 1, "serving_default")), journal.begin(("ü" * 100, 2, "s" * 500))
    thread = threading.get_ident()
    assert sorted(Journal(tmp_path).read(), key=lambda entry: entry.version) == [
        InFlight("m", 1, "serving_default", thread), InFlight("ü" * 100, 2, "s" * 200, thread),
    ]  # fmt: skip
    journal.end(first)
    assert [entry.version for entry in Journal(tmp_path).read()] == [2]
    journal.end(second)
    assert Journal(tmp_path).read() == []


def test_the_journal_may_be_full(tmp_path):
    journal = Journal(tmp_path)
    entries = [journal.begin(("m", number, "")) for number in range(ENTRIES + 2)]
    assert entries[-2:] == [-1, -1]
    for entry in entries:
        journal.end(entry)
    assert journal.read() == []
    assert journal.begin(("m", 1, "")) >= 0


def test_an_engine_that_starts_forgets_what_the_one_before_had_in_flight(tmp_path):
    Journal(tmp_path).begin(("m", 1, ""))
    Journal(tmp_path).clear()
    assert Journal(tmp_path).read() == []


def test_a_thread_that_is_not_pythons_leaves_all_in_flight_suspected():
    in_flight = [InFlight("a", 1, "s", 10), InFlight("b", 1, "s", 11)]
    assert find_culprits(in_flight, "Fatal Python error: Aborted\n\nThread 0x0000000a (most recent call first):\n") == (
        in_flight
    )
    assert find_culprits(in_flight, "\nCurrent thread 0x000000000000000b (most recent call first):\n") == in_flight[1:]
    assert find_culprits(in_flight, "\nCurrent thread 0x000000000000000c (most recent call first):\n") == []


def test_the_crash_file_may_be_missing(tmp_path):
    Journal(tmp_path).begin(("m", 1, ""))
    assert not (tmp_path / CRASH_FILE).exists()
    assert "while it was loaded" in explain_crash(tmp_path, -signal.SIGABRT, was_memory_short=False)
