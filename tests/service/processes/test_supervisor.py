"""The first process starts the others, starts again what dies, and ends them in order. Shell scripts stand in."""

import io
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from service.engine.interface import AVAILABLE, LOADING, Catalog, ServedModel, Version
from service.engine.ipc.catalog_file import CatalogFile
from service.errors import InvalidSettings
from service.processes import child as child_process
from service.processes import supervisor as module
from service.processes.child import Child, pause_before_start
from service.processes.supervisor import RESTARTING, Supervisor, supervise
from service.settings import Settings

ROOT = Path(__file__).parents[3]
SECONDS = 20
SERVED = Catalog({"m": ServedModel("m", (Version("m", 2, AVAILABLE), Version("m", 1, AVAILABLE)), {"stable": 1})})


def script(text):
    return ["sh", "-c", text]


class Clock:
    """Stands for the supervisor's `time`."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(child_process, "time", clock)
    return clock


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(prefix="kiln-") as name:
        yield Path(name)


@pytest.fixture
def supervisor(folder):
    made = Supervisor(Settings(graceful_timeout_seconds=1), folder)
    made.engine.command = script("exit 3")
    made.front_ends[0].command = script("exit 3")
    yield made
    for child in (made.engine, *made.front_ends):
        if child.process is not None and child.process.poll() is None:
            child.process.kill()
            child.process.wait()
    made._reader.close()
    made._writer.close()


def test_pauses_grow_up_to_a_limit_however_often_a_child_dies():
    assert [pause_before_start(failures) for failures in range(9)] == [0, 0, 0, 2, 4, 8, 16, 30, 30]
    assert pause_before_start(100_000) == 30


def test_a_child_that_dies_again_and_again_is_started_ever_more_rarely(supervisor, clock):
    engine, starts = supervisor.engine, []
    engine.start()
    while len(starts) < 8:
        engine.process.wait(SECONDS)
        supervisor._restart(engine)
        while engine.process is None:
            clock.now += 0.25
            supervisor._restart(engine)
        starts.append(clock.now)
    pauses = [later - earlier for earlier, later in zip([1000.0, *starts], starts, strict=False)]
    assert pauses == [0, 0, 2, 4, 8, 16, 30, 30]


def test_a_child_that_lived_for_long_is_started_at_once(supervisor, clock):
    engine = supervisor.engine
    engine.failures = 7
    engine.start()
    engine.process.wait(SECONDS)
    clock.now += 11
    supervisor._restart(engine)
    assert engine.failures == 0
    assert engine.started == clock.now


def test_while_there_is_no_engine_nothing_is_available_and_nobody_is_unknown(supervisor):
    supervisor._catalog_file.publish(SERVED)
    supervisor.engine.start()
    supervisor.engine.process.wait(SECONDS)
    supervisor._restart(supervisor.engine)
    catalog = CatalogFile(supervisor.folder).read()
    assert (catalog.obstacle, catalog.starting) == (RESTARTING, True)
    model = catalog.models["m"]
    assert [(version.number, version.state) for version in model.versions] == [(2, LOADING), (1, LOADING)]
    assert model.labels == {"stable": 1}


def test_a_front_that_dies_leaves_the_catalogue_as_it_is(supervisor):
    supervisor._catalog_file.publish(SERVED)
    front = Child("grpc", script("exit 1"))
    supervisor.front_ends.append(front)
    front.start()
    front.process.wait(SECONDS)
    supervisor._restart(front)
    assert CatalogFile(supervisor.folder).read() == SERVED


def test_what_a_dead_child_left_does_not_end_the_service(supervisor, caplog):
    """A file of metrics that was cut short when the process was killed."""
    supervisor.engine.start()
    supervisor.engine.process.wait(SECONDS)
    dead = supervisor.engine.process.pid
    (supervisor.folder / f"counter_{dead}.db").write_bytes(b"cut")
    supervisor._restart(supervisor.engine)
    assert supervisor.engine.process.pid != dead
    assert "What process 'engine' left cannot be put away" in caplog.text


def test_a_child_that_cannot_be_started_is_tried_again(supervisor, clock, caplog):
    supervisor.engine.command = ["/nowhere/python"]
    supervisor._restart(supervisor.engine)
    assert supervisor.engine.process is None
    assert "Process 'engine' cannot be started" in caplog.text
    supervisor._restart(supervisor.engine)
    assert len(caplog.records) == 1
    clock.now += 30
    supervisor.engine.command = script("exit 0")
    supervisor._restart(supervisor.engine)
    assert supervisor.engine.process is not None


def test_what_is_served_is_announced_once_when_all_is_loaded(supervisor, capsys):
    for catalog in (
        Catalog(starting=True), Catalog({"m": ServedModel("m", (Version("m", 1, LOADING),))}), SERVED, SERVED,
    ):  # fmt: skip
        assert not supervisor._announced
        supervisor._catalog_file.publish(catalog)
        if catalog is SERVED:
            break
        supervisor._announce()
    supervisor._announce()
    assert "Kiln listens on http://127.0.0.1:8080" in capsys.readouterr().out
    assert supervisor._announced


def test_nobody_needs_to_hear_what_is_announced(supervisor, monkeypatch, caplog):
    supervisor._catalog_file.publish(SERVED)

    class Broken(io.StringIO):
        def write(self, _text):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Broken())
    supervisor._announce()
    monkeypatch.undo()
    assert supervisor._announced
    assert "What is served cannot be announced: BrokenPipeError" in caplog.text


def noting(log, name, end="exit 0"):
    """A script that writes to a log that it has started and that it was told to end."""
    return script(f"trap 'echo {name} ends >> {log}; {end}' TERM; echo {name} >> {log}; while :; do sleep 0.02; done")


def wait_for_lines(log, count):
    deadline = time.monotonic() + SECONDS
    while not log.exists() or len(log.read_text().splitlines()) < count:
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)
    return log.read_text().splitlines()


def test_the_fronts_end_before_the_engine(supervisor, folder):
    log = folder / "log"
    supervisor.engine.command = noting(log, "engine")
    supervisor.front_ends[0].command = noting(log, "http", end=f"sleep 0.1; echo http has ended >> {log}; exit 0")
    for child in (supervisor.engine, supervisor.front_ends[0]):
        child.start()
    wait_for_lines(log, 2)
    supervisor._stop()
    assert log.read_text().splitlines()[2:] == ["http ends", "http has ended", "engine ends"]
    assert supervisor.engine.process.returncode == supervisor.front_ends[0].process.returncode == 0


def test_children_that_do_not_end_are_killed_in_time(supervisor, folder, monkeypatch, caplog):
    monkeypatch.setattr(module, "SPARE_SECONDS", 0.1)
    log = folder / "log"
    supervisor.front_ends.append(Child("grpc", noting(log, "grpc", end=":")))
    supervisor.front_ends[0].command = noting(log, "http", end=":")
    supervisor.engine.command = noting(log, "engine", end=":")
    for child in (supervisor.engine, *supervisor.front_ends):
        child.start()
    wait_for_lines(log, 3)
    started = time.monotonic()
    supervisor._stop()
    assert 1.1 < time.monotonic() - started < 5
    assert [child.process.returncode for child in (supervisor.engine, *supervisor.front_ends)] == [-signal.SIGKILL] * 3
    assert [record.getMessage() for record in caplog.records] == [
        f"Process '{name}' did not end in time and is killed" for name in ("http", "grpc", "engine")
    ]


def test_children_that_never_started_or_have_ended_are_not_waited_for(supervisor):
    supervisor.front_ends[0].start()
    supervisor.front_ends[0].process.wait(SECONDS)
    supervisor._stop()
    assert supervisor.engine.process is None


DRIVER = """
import sys
from pathlib import Path
from service.settings import Settings
from service.processes.supervisor import Supervisor

supervisor = Supervisor(Settings(graceful_timeout_seconds=1), Path(sys.argv[1]))
supervisor.engine.command, supervisor.front_ends[0].command = (["sh", "-c", text] for text in sys.argv[2:])
sys.exit(supervisor.run())
"""


def drive(folder, engine, front):
    """A supervisor in a process of its own, where signals reach it."""
    return subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(folder), engine[2], front[2]], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_signal_ends_the_service_with_status_0(folder, number):
    log = folder / "log"
    process = drive(folder, noting(log, "engine"), noting(log, "http"))
    assert sorted(wait_for_lines(log, 2)) == ["engine", "http"]
    process.send_signal(number)
    _, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, errors) == (0, "")
    assert log.read_text().splitlines()[2:] == ["http ends", "engine ends"]


def test_the_http_fronts_end_is_the_services(folder):
    log = folder / "log"
    process = drive(folder, noting(log, "engine"), script(f"while [ ! -s {log} ]; do sleep 0.01; done; exit 4"))
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert "The HTTP front ended" in errors
    assert wait_for_lines(log, 2) == ["engine", "engine ends"]


def test_an_engine_that_refuses_its_settings_ends_the_service(folder):
    process = drive(folder, script("echo No such file >&2; exit 2"), script("exec sleep 60"))
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 2
    assert "No such file" in errors


def test_an_engine_that_dies_is_started_again_and_hangups_reach_the_fronts(folder):
    log = folder / "log"
    front = script(f"trap 'echo again >> {log}' HUP; trap 'exit 0' TERM; while :; do sleep 0.02; done")
    engine = script(f"echo engine >> {log}; [ $(grep -c engine {log}) -gt 1 ] || exit 1; exec sleep 60")
    process = drive(folder, engine, front)
    assert wait_for_lines(log, 2) == ["engine", "engine"]
    process.send_signal(signal.SIGHUP)
    assert wait_for_lines(log, 3)[2] == "again"
    process.terminate()
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert "Process 'engine' ended with 1 and is started again" in errors


def test_sigterm_during_the_start_leaves_nothing(folder):
    models = folder / "models"
    models.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KILN_", "PROMETHEUS_"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "service"], cwd=ROOT, text=True, stderr=subprocess.PIPE,
        env=kept | {"KILN_MODEL_REPOSITORY": str(models), "KILN_PORT": "18499", "TMPDIR": str(folder)},
    )  # fmt: skip
    deadline = time.monotonic() + SECONDS
    while not list(folder.glob("kiln-*/catalog.json")):
        assert time.monotonic() < deadline, "waited in vain"
    # The children exist or are about to.
    process.terminate()
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode in (0, -signal.SIGTERM)
    assert "Traceback" not in errors
    if process.returncode == 0:
        assert not list(folder.glob("kiln-*"))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [("/proc/nowhere", "needs a folder that it can write to"), (f"/tmp/{'x' * 100}", "is too long for a socket")],
)
def test_a_folder_that_will_not_do_is_said(monkeypatch, given, sentence):
    monkeypatch.setenv(module.FOLDER_VARIABLE, given)
    with pytest.raises(InvalidSettings, match=sentence):
        supervise(Settings())
    if given.startswith("/tmp"):
        Path(given).rmdir()
