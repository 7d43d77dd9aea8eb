"""One model's trouble stays its own: whatever the others do, a model that has done nothing is answered."""

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
import requests

from tests.end_to_end.innocent import MODEL, innocent_client
from tests.end_to_end.service import memory, service, wait_for

SETTLE_SECONDS = 60
# A load takes a process of its own that starts TensorFlow; a slow machine needs many seconds for it.
TIMEOUT_SECONDS, LOAD_TIMEOUT_SECONDS = 2, 20
ENGINE_BYTES = 1_800_000_000


@pytest.fixture(scope="module")
def running(built, tmp_path_factory):
    """A service with small limits, whose repository holds the innocent model only."""
    models = tmp_path_factory.mktemp("isolation") / "models"
    models.mkdir()
    shutil.copytree(built / "faults" / MODEL, models / MODEL)
    limits = {
        "timeout_seconds": TIMEOUT_SECONDS, "load_timeout_seconds": LOAD_TIMEOUT_SECONDS,
        "engine_memory_bytes": ENGINE_BYTES, "poll_seconds": 1,
    }  # fmt: skip
    with service(models, grpc=True, **limits) as running:
        yield running


@pytest.fixture
def publish(running, built):
    """Publishes models of `zoo_faults`; what was published is gone after the test, and the innocent model is back."""
    published = set()

    def publish(make, name, version=1):
        aside = running.models / f".{name}"
        shutil.copytree(built / "faults" / make / "1", aside)
        (running.models / name).mkdir(exist_ok=True)
        aside.rename(running.models / name / str(version))
        published.add(name)

    wait_for(lambda: running.state(MODEL) == "AVAILABLE", "the innocent model", SETTLE_SECONDS)
    yield publish
    for name in published:
        # A version that is served stays so where its folder has vanished.
        running.post(f"/v2/repository/models/{name}/unload")
        shutil.rmtree(running.models / name)


def entry(running, name, version=1):
    """What the status says of a version."""
    return next((entry for entry in running.status(name) if entry["version"] == str(version)), None)


def wait_for_state(running, name, state, version=1):
    wait_for(
        lambda: running.state(name, version) == state,
        lambda: f"{name} {version} to be {state}, it is {entry(running, name, version)}",
        SETTLE_SECONDS,
    )


def wait_for_error(running, name, version=1):
    """Waits until the status says what is wrong with a version; gives the sentence."""

    def sentence():
        found = entry(running, name, version)
        return found["status"]["error_message"] if found and found["state"] == "END" else ""

    wait_for(sentence, lambda: f"an error of {name} {version}: {entry(running, name, version)}", SETTLE_SECONDS)
    return sentence()


def ask(running, name, value, timeout=30):
    return running.post(f"/v1/models/{name}:predict", json={"instances": [value]}, timeout=timeout)


def lines_about(running, name):
    """What the log says of a model, but for its requests."""
    return [line for line in running.log().splitlines() if name in line and "POST" not in line]


def test_a_version_that_crashes_when_it_is_loaded_never_replaces_one_that_works(running, publish):
    publish("innocent", "victim", 1)
    wait_for_state(running, "victim", "AVAILABLE", 1)
    with innocent_client(running):
        publish("abort_at_load", "victim", 2)
        assert wait_for_error(running, "victim", 2)
        deadline = time.monotonic() + 4
        while time.monotonic() < deadline:
            assert running.predict("victim", {"instances": [4.0]}) == [8.0]
            time.sleep(0.1)
    assert lines_about(running, "victim")


def test_a_version_that_crashes_on_requests_is_put_into_quarantine(running, publish):
    publish("abort_on_request", "crasher")
    wait_for_state(running, "crasher", "AVAILABLE")
    assert running.predict("crasher", {"instances": [-1.0]}) == [-2.0]
    with innocent_client(running):
        statuses = []
        for _ in range(5):
            statuses.append(crash(running, "crasher"))
            time.sleep(2)
        assert set(statuses) <= {0, 503}, statuses
        assert wait_for_error(running, "crasher")
        assert ask(running, "crasher", -1.0).status_code == 503
    assert lines_about(running, "crasher")


def crash(running, name):
    """Asks for what crashes or hangs; the status, or 0 where the connection ended."""
    try:
        return ask(running, name, 1.0).status_code
    except requests.RequestException:
        return 0


def test_a_version_that_was_serving_before_serves_again(running, publish):
    publish("innocent", "pair", 1)
    wait_for_state(running, "pair", "AVAILABLE", 1)
    publish("abort_on_request", "pair", 2)
    wait_for_state(running, "pair", "AVAILABLE", 2)
    with innocent_client(running):
        quarantine(running, "pair", 2)
        wait_for(lambda: ask(running, "pair", 3.0).status_code == 200, "version 1", SETTLE_SECONDS)
        assert running.predict("pair", {"instances": [3.0]}) == [6.0]


def test_a_version_that_is_in_quarantine_comes_out_by_hand_and_when_its_files_change(running, publish, built):
    publish("abort_on_request", "convict")
    wait_for_state(running, "convict", "AVAILABLE")
    quarantine(running, "convict")
    with innocent_client(running):
        assert running.post("/v2/repository/models/convict/load").status_code == 200
        assert running.predict("convict", {"instances": [-1.0]}) == [-2.0]
    quarantine(running, "convict")
    with innocent_client(running):
        source = built / "faults" / MODEL / "1"
        target = running.models / "convict" / "1"
        for name in ("variables/variables.data-00000-of-00001", "variables/variables.index", "saved_model.pb"):
            shutil.copyfile(source / name, target / f"{name}.new")
            (target / f"{name}.new").rename(target / name)
        wait_for_state(running, "convict", "AVAILABLE")
        assert running.predict("convict", {"instances": [5.0]}) == [10.0]


def quarantine(running, name, version=1):
    """Crashes a version until it is refused."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while (
        (found := entry(running, name, version)) is None
        or not found["status"]["error_message"]
        or found["state"] != "END"
    ):
        assert time.monotonic() < deadline, f"never in quarantine: {found}"
        if found is not None and found["state"] == "AVAILABLE":
            crash(running, name)
        time.sleep(0.5)


def test_a_load_that_never_ends_is_given_up(running, publish):
    publish("innocent", "sleeper", 1)
    wait_for_state(running, "sleeper", "AVAILABLE", 1)
    with innocent_client(running):
        publish("hang_at_load", "sleeper", 2)
        publish("innocent", "beside", 1)
        wait_for_state(running, "beside", "AVAILABLE")
        assert wait_for_error(running, "sleeper", 2)
        assert running.predict("sleeper", {"instances": [4.0]}) == [8.0]


def test_a_call_that_never_ends_costs_the_engine_and_then_its_version(running, publish):
    publish("hang_on_request", "hanger")
    wait_for_state(running, "hanger", "AVAILABLE")
    for _ in range(20):
        assert running.predict("hanger", {"instances": [-1.0]}) == [-2.0]
    engine = running.engine_pid()
    with innocent_client(running):
        assert ask(running, "hanger", 1.0).status_code in (503, 504)
        wait_for(lambda: running.engine_pid() != engine, "another engine", SETTLE_SECONDS)
        wait_for(lambda: ask(running, MODEL, 1.0).status_code == 200, "the innocent model", SETTLE_SECONDS)
    with innocent_client(running):
        quarantine(running, "hanger")
        assert ask(running, "hanger", -1.0).status_code == 503
    assert lines_about(running, "hanger")


def test_a_load_that_eats_the_memory_is_stopped(running, publish):
    with innocent_client(running):
        publish("eat_at_load", "glutton")
        assert wait_for_error(running, "glutton")
        assert memory(running.engine_pid(), "VmRSS") < ENGINE_BYTES


def test_a_request_that_eats_the_memory_is_stopped(running, publish):
    publish("eat_on_request", "eater")
    wait_for_state(running, "eater", "AVAILABLE")
    with innocent_client(running):
        assert crash(running, "eater") in (0, 500, 503, 504)
        wait_for(lambda: memory(running.engine_pid(), "VmRSS") < ENGINE_BYTES, "the memory", SETTLE_SECONDS)
        wait_for(lambda: ask(running, MODEL, 1.0).status_code == 200, "the innocent model", SETTLE_SECONDS)


@pytest.mark.parametrize("late", ["variables", "assets"])
def test_half_a_copy_is_not_served_before_it_is_whole(running, publish, built, late):
    name = f"copied_{late}"
    publish("words", name, 1)
    wait_for_state(running, name, "AVAILABLE", 1)
    source, target = built / "faults" / "words" / "1", running.models / name / "2"
    with innocent_client(running):
        shutil.copytree(source, target, ignore=shutil.ignore_patterns(late))
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            assert running.predict(name, {"instances": ["pear", "stone"]}) == [2.5, -1.0]
            time.sleep(0.1)
        assert running.state(name, 2) != "AVAILABLE"
        shutil.copytree(source / late, target / late)
        wait_for_state(running, name, "AVAILABLE", 2)
        assert running.predict(name, {"instances": ["pear", "stone"]}) == [2.5, -1.0]


def test_a_version_that_the_server_cannot_run_is_refused_when_it_is_loaded(running, publish):
    publish("python_function", "pythonic")
    with innocent_client(running):
        sentence = wait_for_error(running, "pythonic")
    assert "EagerPyFunc" in sentence


def test_no_unreadable_entry_hides_another(running, publish):
    with innocent_client(running):
        entries = make_strange_entries(running.models)
        publish("innocent", "late")
        wait_for_state(running, "late", "AVAILABLE")
        assert running.predict("late", {"instances": [4.0]}) == [8.0]
        for path in entries:
            with contextlib.suppress(OSError):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def make_strange_entries(models):
    """A FIFO where a SavedModel is expected, links in a loop, a file, an empty folder."""
    (models / "fifo" / "1").mkdir(parents=True)
    os.mkfifo(models / "fifo" / "1" / "saved_model.pb")
    (models / "loop").symlink_to(models / "loop")
    (models / "file").write_text("no model")
    (models / "empty" / "1").mkdir(parents=True)
    (models / "looping" / "1").mkdir(parents=True)
    (models / "looping" / "1" / "saved_model.pb").symlink_to("saved_model.pb")
    return [models / name for name in ("fifo", "loop", "file", "empty", "looping")]


def test_a_killed_engine_is_back_at_once(running, publish):  # noqa: ARG001
    for _ in range(2):
        with innocent_client(running):
            os.kill(running.engine_pid(), signal.SIGKILL)
            time.sleep(0.5)
            wait_for(lambda: ask(running, MODEL, 1.0).status_code == 200, "the innocent model", SETTLE_SECONDS)


def test_a_stopped_engine_shows_in_the_probes_and_is_replaced(running, publish):  # noqa: ARG001
    engine = running.engine_pid()
    os.kill(engine, signal.SIGSTOP)
    try:
        wait_for(lambda: not running.is_ready(), "readiness to tell it", 15)
        wait_for(lambda: running.engine_pid() != engine, "another engine", SETTLE_SECONDS)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(engine, signal.SIGCONT)
    wait_for(running.is_ready, "readiness", SETTLE_SECONDS)
    assert running.predict(MODEL, {"instances": [4.0]}) == [8.0]


def small_service(built, **settings):
    """A service of the innocent model alone."""
    return service(built / "faults", models=[MODEL], workers=1, **settings)


@pytest.mark.parametrize("moment", ["at the start", "while it serves"])
def test_a_killed_supervisor_leaves_no_process(built, moment):
    with small_service(built, grpc=True, ready=moment == "while it serves") as running:
        if moment == "at the start":
            wait_for(lambda: len(running.pids()) > 1, "the first process")
        running.process.kill()
        running.process.wait()
        wait_for(lambda: not running.pids(), lambda: f"the end of {running.describe()}", 20)


@contextlib.contextmanager
def small_disk(folder):
    """A file system of 8 MB in memory, where mounting is permitted; gives whether it is."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(folder)]
    mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill_disk(folder, running, mounted):
    """Leaves no room: by a large file; where nothing could be mounted, no process may write to a file any more."""
    if not mounted:
        for pid in running.pids():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, 0))
        return
    with contextlib.suppress(OSError), (folder / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


@pytest.fixture
def short_folder():
    """A folder whose path leaves room for that of a socket, wherever pytest keeps its own."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def test_a_full_disk_stops_no_answer(built, short_folder):
    folder = short_folder / "small"
    with small_disk(folder) as mounted, small_service(built, environment={"TMPDIR": str(folder)}) as running:
        with innocent_client(running):
            fill_disk(folder, running, mounted)
            for name in ("classify", "metadata", "predict") * 50:
                running.post(f"/v1/models/{MODEL}:{name}", json={"instances": [4.0]})
                assert running.predict(MODEL, {"instances": [4.0]}) == [8.0]
        os.kill(running.workers()[0], signal.SIGKILL)
        wait_for(lambda: running.answers_200("/v2/health/live"), "another worker", SETTLE_SECONDS)
        with innocent_client(running):
            os.kill(running.engine_pid(), signal.SIGKILL)
            time.sleep(0.5)
            wait_for(lambda: ask(running, MODEL, 1.0).status_code == 200, "the engine", SETTLE_SECONDS)
            assert running.predict(MODEL, {"instances": [4.0]}) == [8.0]


def test_two_services_share_no_file(built, short_folder):
    """Both have one TMPDIR; one that ends, even by force, takes nothing away from the other."""
    shared = {"TMPDIR": str(short_folder)}
    with small_service(built, environment=shared) as first:
        with small_service(built, environment=shared) as second:
            assert second.predict(MODEL, {"instances": [4.0]}) == [8.0]
        assert first.predict(MODEL, {"instances": [4.0]}) == [8.0]
        with small_service(built, environment=shared) as second:
            second.process.kill()
            second.process.wait()
        with innocent_client(first):
            time.sleep(2)
        assert first.is_ready()
