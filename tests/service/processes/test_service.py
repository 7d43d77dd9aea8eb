"""The real service: supervisor, engine with TensorFlow, gunicorn with two workers, a port, signals."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

ROOT = Path(__file__).parents[3]
ROW = {"instances": [[1.0, 2.5, 3.0]]}
START_SECONDS = 120


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(**settings):
    """The shell's environment with these settings and no others."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KILN_", "PROMETHEUS_"))}
    return kept | {f"KILN_{name.upper()}": str(value) for name, value in settings.items()}


def run_service(*arguments, **settings):
    return subprocess.run(
        [sys.executable, "-m", "service", *arguments],
        cwd=ROOT, env=environment(**settings), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def wait_for(condition, seconds=START_SECONDS):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except requests.ConnectionError:
            pass
        time.sleep(0.05)
    pytest.fail("waited in vain")


def save_tiny(folder, factor=1.0):
    import tensorflow as tf

    class Sum(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="features")])
        def __call__(self, features):
            return {"prediction": factor * tf.reduce_sum(features, axis=1, keepdims=True)}

    module = Sum()
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.__call__})
    (folder / "assets.extra").mkdir()
    example = {"signature_name": "serving_default", "instances": ROW["instances"], "expected": 6.5}
    (folder / "assets.extra" / "model.json").write_text(json.dumps({"task": "regression", "example": example}))


class Service:
    """A running service."""

    def __init__(self, folder):
        self.models = folder / "models"
        save_tiny(self.models / "tiny" / "1")
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        self.out, self.err = folder / "out", folder / "err"
        settings = environment(
            port=port, workers=2, model_repository=self.models, log_format="json", poll_seconds=1, log_level="info"
        )
        with self.out.open("w") as out, self.err.open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "service"],
                cwd=ROOT, env=settings | {"TMPDIR": str(folder)}, stdout=out, stderr=err,
            )  # fmt: skip

    def get(self, path):
        return requests.get(self.address + path, timeout=30)

    def predict(self, path="tiny"):
        return requests.post(f"{self.address}/v1/models/{path}:predict", json=ROW, timeout=30)

    def is_ready(self):
        return self.get("/v2/health/ready").status_code == 200

    def count(self, name):
        """The sum of a counter."""
        samples = [line for line in self.get("/metrics").text.splitlines() if line.startswith(f"{name}{{")]
        return sum(float(sample.rsplit(" ", 1)[1]) for sample in samples)

    def children(self, *words):
        """Ids of the service's processes whose command line holds one of the words."""
        found, parents = [], {self.process.pid}
        for path in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
            try:
                parent = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
                command = (path / "cmdline").read_text()
            except OSError:
                continue
            if parent in parents:
                parents.add(int(path.name))
                if any(word in command for word in words):
                    found.append(int(path.name))
        return found

    def engine(self):
        [process] = self.children("service.engine\0")
        return process

    def workers(self):
        return self.children("gunicorn")[1:]


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    running = Service(tmp_path_factory.mktemp("service"))
    wait_for(running.is_ready)
    yield running
    if running.process.poll() is None:
        running.process.kill()
        running.process.wait()


@contextmanager
def questions(service):
    """Asks for predictions, without a pause and over one connection, until the block ends; gives the answers."""
    answers, stop = [], threading.Event()

    def ask():
        with requests.Session() as session:
            while not stop.is_set():
                answers.append(session.post(f"{service.address}/v1/models/tiny:predict", json=ROW, timeout=30))

    with ThreadPoolExecutor(1) as executor:
        asked = executor.submit(ask)
        try:
            yield answers
        finally:
            stop.set()
        asked.result(timeout=60)


def test_predictions_come_from_the_engine_and_no_worker_has_tensorflow(service):
    assert [service.predict().json() for _ in range(20)] == [{"predictions": [[6.5]]}] * 20
    loaded = {
        pid: "libtensorflow" in Path(f"/proc/{pid}/maps").read_text() for pid in (service.engine(), *service.workers())
    }
    assert list(loaded.values()) == [True, False, False]


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_the_service_writes_a_command_that_works_when_pasted(service):
    wait_for(service.out.read_text, seconds=10)
    text = service.out.read_text()
    assert text.count(f"Kiln serves tiny on {service.address}\n") == 1
    [command] = [line for line in text.splitlines() if line.startswith("  curl")]
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30, check=False)
    assert json.loads(result.stdout) == {"predictions": [[6.5]]}


def test_counters_go_on_and_files_do_not_pile_up_when_a_worker_dies(service):
    folder = next(service.out.parent.glob("kiln-*"))
    before, files = service.count("kiln_requests_total"), len(list(folder.iterdir()))
    dead = service.workers()[0]
    os.kill(dead, signal.SIGKILL)
    wait_for(lambda: len(service.workers()) == 2 and not list(folder.glob(f"*_{dead}.db")), seconds=20)
    assert {service.predict().status_code for _ in range(20)} == {200}
    assert service.count("kiln_requests_total") > before
    assert len(list(folder.iterdir())) <= files + 2


def test_a_killed_worker_costs_its_own_connections_only(service):
    """Whoever was connected to it is reset, and is answered when trying again."""
    stop = threading.Event()

    def ask():
        statuses = []
        while not stop.is_set():
            try:
                statuses.append(service.predict().status_code)
            except requests.ConnectionError:
                statuses.append("reset")
        return statuses

    with ThreadPoolExecutor(4) as executor:
        asked = [executor.submit(ask) for _ in range(4)]
        try:
            for _ in range(3):
                os.kill(service.workers()[0], signal.SIGKILL)
                time.sleep(0.5)
                wait_for(lambda: len(service.workers()) == 2, seconds=20)
        finally:
            stop.set()
        answers = [status for future in asked for status in future.result(timeout=60)]
    assert set(answers) <= {200, "reset"}
    assert answers.count("reset") <= 3 * 4
    assert service.predict().status_code == 200


def test_a_new_version_takes_over_between_two_requests_and_a_broken_one_never_does(service):
    with questions(service) as answers:
        broken = service.models / "tiny" / "2"
        broken.mkdir()
        (broken / "saved_model.pb").write_bytes(b"broken")
        wait_for(lambda: "END" in service.get("/v1/models/tiny").text, seconds=20)
        save_tiny(service.models / "new", factor=2.0)
        (service.models / "new").rename(service.models / "tiny" / "3")
        wait_for(lambda: service.predict().json() == {"predictions": [[13.0]]}, seconds=20)
    numbers = [answer.json()["predictions"][0][0] for answer in answers]
    assert {answer.status_code for answer in answers} == {200}
    assert numbers == sorted(numbers)
    assert set(numbers) == {6.5, 13.0}
    assert service.is_ready()
    states = {
        state["version"]: state["state"] for state in service.get("/v1/models/tiny").json()["model_version_status"]
    }
    assert (states["3"], states["2"]) == ("AVAILABLE", "END")


def test_the_workers_outlive_the_engine_which_is_started_again(service):
    counted, workers = service.count("kiln_model_rows_total"), service.workers()
    with questions(service) as answers:
        dead = service.engine()
        os.kill(dead, signal.SIGKILL)
        wait_for(lambda: service.children("service.engine\0") not in ([], [dead]) and service.is_ready(), seconds=30)
        before = len(answers)
        wait_for(lambda: len(answers) > before + 10, seconds=20)
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert all(answer.headers["Retry-After"] for answer in answers if answer.status_code == 503)
    assert answers[-1].json() == {"predictions": [[13.0]]}
    assert service.workers() == workers
    assert service.count("kiln_model_rows_total") > counted


def test_a_rolling_restart_changes_the_workers_and_nobody_notices(service):
    before = service.workers()
    with questions(service) as answers:
        os.kill(service.process.pid, signal.SIGHUP)
        wait_for(lambda: len(service.workers()) == 2 and not set(service.workers()) & set(before), seconds=30)
    assert {answer.status_code for answer in answers} == {200}


@pytest.mark.parametrize(
    ("request_text", "status", "sentence"),
    [
        (f"GET /{'x' * 9000} HTTP/1.1\r\n\r\n", "414 Request-URI Too Long", "Request Line is too large"),
        (
            f"GET / HTTP/1.1\r\nA: {'x' * 18000}\r\n\r\n",
            "431 Request Header Fields Too Large",
            "The request cannot be read",
        ),
        ("nonsense\r\n\r\n", "400 Bad Request", "The request cannot be read"),
        ("POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", "400 Bad Request", "CONTENT-LENGTH"),
        (
            "POST /v1/models/tiny:predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
            "Connection: close\r\n\r\nZZ\r\n",
            "400 BAD REQUEST",
            "The request's body cannot be read: Invalid chunk size: b'ZZ'.",
        ),
    ],
    ids=["long line", "long header", "no HTTP", "bad length", "bad chunk"],
)
def test_what_cannot_be_read_is_answered_in_json(service, request_text, status, sentence):
    with socket.create_connection(("127.0.0.1", int(service.address.rsplit(":", 1)[1])), timeout=10) as connection:
        connection.sendall(request_text.encode())
        answer = connection.makefile("rb").read().decode()
    head, body = answer.split("\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status}\r\n")
    assert "Content-Type: application/json" in head
    assert sentence in json.loads(body)["error"]


def test_a_body_over_the_limit_is_refused(service):
    response = requests.post(f"{service.address}/v1/models/tiny:predict", data=b" " * 33 * 2**20, timeout=30)
    assert response.status_code == 413
    chunks = (b" " * 2**20 for _ in range(33))
    response = requests.post(f"{service.address}/v1/models/tiny:predict", data=chunks, timeout=30)
    assert response.status_code == 413
    assert "33554432 bytes" in response.json()["error"]


def test_a_taken_port_is_said_at_once(service):
    result = run_service(port=service.address.rsplit(":", 1)[1])
    assert result.returncode == 2
    assert result.stderr.startswith(f"Cannot listen on 127.0.0.1 port {service.address.rsplit(':', 1)[1]}: Address alr")
    assert result.stderr.count("\n") == 1


def test_sigterm_ends_the_service_with_status_0_and_leaves_nothing(service):
    processes = [service.engine(), *service.workers()]
    os.kill(service.process.pid, signal.SIGTERM)
    assert service.process.wait(timeout=30) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in processes)
    assert not list(service.out.parent.glob("kiln-*"))
    assert "Traceback" not in service.err.read_text()


def test_nothing_is_left_when_the_supervisor_is_killed(tmp_path):
    running = Service(tmp_path)
    try:
        wait_for(running.is_ready)
        processes = [running.engine(), *running.workers()]
    finally:
        running.process.kill()
        running.process.wait()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in processes), seconds=40)


def test_wrong_settings_are_said_in_one_line():
    result = run_service(port="http")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "KILN_PORT is 'http': expected a whole number from 1 to 65535.\n"


def test_help_lists_the_variables():
    result = run_service("--help")
    assert result.returncode == 0
    assert "KILN_MODEL_REPOSITORY" in result.stdout
