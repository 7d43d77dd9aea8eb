"""The real service: gunicorn with two workers, TensorFlow, a port, signals."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

ROOT = Path(__file__).parent.parent.parent
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


def save_tiny(folder):
    import tensorflow as tf

    class Sum(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="features")])
        def __call__(self, features):
            return {"prediction": tf.reduce_sum(features, axis=1, keepdims=True)}

    module = Sum()
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.__call__})
    (folder / "assets.extra").mkdir()
    example = {"signature_name": "serving_default", "instances": ROW["instances"], "expected": 6.5}
    (folder / "assets.extra" / "model.json").write_text(json.dumps({"task": "regression", "example": example}))


class Service:
    """A running service."""

    def __init__(self, folder):
        save_tiny(folder / "models" / "tiny" / "1")
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        self.out, self.err = folder / "out", folder / "err"
        settings = environment(port=port, workers=2, model_repository=folder / "models", log_format="json")
        with self.out.open("w") as out, self.err.open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "service"],
                cwd=ROOT, env=settings | {"TMPDIR": str(folder)}, stdout=out, stderr=err,
            )  # fmt: skip

    def get(self, path):
        return requests.get(self.address + path, timeout=30)

    def predict(self):
        return requests.post(f"{self.address}/v1/models/tiny:predict", json=ROW, timeout=30)

    def is_ready(self):
        return self.get("/v2/health/ready").status_code == 200

    def answered(self):
        line = 'kiln_requests_total{code="200",endpoint="tensorflow_serving.predict",model="tiny"}'
        [sample] = [text for text in self.get("/metrics").text.splitlines() if text.startswith(line)]
        return float(sample.split()[1])

    def workers(self):
        """Process ids, from the log."""
        lines = [json.loads(line) for line in self.err.read_text().splitlines() if line.startswith("{")]
        return [int(line["message"].rsplit(" ", 1)[1]) for line in lines if "Booting worker" in line["message"]]


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    running = Service(tmp_path_factory.mktemp("service"))
    yield running
    if running.process.poll() is None:
        running.process.kill()
        running.process.wait()


def test_the_port_answers_while_the_models_are_being_loaded(service):
    wait_for(lambda: service.get("/v2/health/live").json() == {"live": True}, seconds=20)
    response = service.get("/v2/health/ready")
    assert (response.status_code, response.json()["ready"]) == (503, False)
    response = service.predict()
    assert response.status_code == 503
    assert response.headers["Retry-After"]
    wait_for(service.is_ready)
    assert [service.predict().json() for _ in range(20)] == [{"predictions": [[6.5]]}] * 20


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_one_worker_writes_a_command_that_works_when_pasted(service):
    wait_for(service.out.read_text, seconds=10)
    text = service.out.read_text()
    assert text.count(f"Kiln serves tiny on {service.address}\n") == 1
    [command] = [line for line in text.splitlines() if line.startswith("  curl")]
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30, check=False)
    assert json.loads(result.stdout) == {"predictions": [[6.5]]}


def test_counters_go_on_and_files_do_not_pile_up_when_a_worker_dies(service):
    folder = next(service.out.parent.glob("kiln-workers-*"))
    before, files = service.answered(), len(list(folder.iterdir()))
    assert before >= 20
    dead = service.workers()[0]
    os.kill(dead, signal.SIGKILL)
    wait_for(lambda: len(service.workers()) == 3 and not list(folder.glob(f"*_{dead}.db")), seconds=20)
    statuses = set()
    while not (folder / f"{service.workers()[2]}.ready").exists():
        statuses |= {service.predict().status_code, service.get("/v2/health/ready").status_code}
    assert statuses == {200}
    assert service.answered() > before
    assert len(list(folder.iterdir())) <= files + 2


@pytest.mark.parametrize(
    ("request_text", "status", "sentence"),
    [
        (f"GET /{'x' * 9000} HTTP/1.1\r\n\r\n", "414 Request-URI Too Long", "Request Line is too large"),
        (
            f"GET / HTTP/1.1\r\nA: {'x' * 9000}\r\n\r\n",
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
    os.kill(service.process.pid, signal.SIGTERM)
    assert service.process.wait(timeout=30) == 0
    assert not list(service.out.parent.glob("kiln-workers-*"))
    assert "Traceback" not in service.err.read_text()


def test_wrong_settings_are_said_in_one_line():
    result = run_service(port="http")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "KILN_PORT is 'http': expected a whole number from 1 to 65535.\n"


def test_help_lists_the_variables():
    result = run_service("--help")
    assert result.returncode == 0
    assert "KILN_MODEL_REPOSITORY" in result.stdout
