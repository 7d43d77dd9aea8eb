"""The gRPC server as a process and as a port: limits, time, health, TLS, measurement, start and end."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from service.auth import Access
from service.errors import InvalidSettings
from service.protocols.grpc.server import create_server
from service.settings import Settings
from tests.programs import require_programs
from tests.service.fake_engine import fake_repository
from tests.service.grpc_fleet import Client, GrpcModel, echo_request, refusal, serving

SERVING, NOT_SERVING = 1, 2


@pytest.fixture
def gate():
    """Holds calls of signature `waits`; gives a way to wait until so many have come."""
    GrpcModel.may_go.clear()
    GrpcModel.entered = threading.Semaphore(0)

    def wait_for(count):
        for _ in range(count):
            assert GrpcModel.entered.acquire(timeout=10)

    yield wait_for
    GrpcModel.may_go.set()


def test_requests_above_the_limit_are_refused(folder):
    with serving(folder, max_body_bytes=10_000) as (_, _, client):
        assert client.prediction.Predict(echo_request(100)).outputs
        code, details = refusal(client.prediction.Predict, echo_request(1000))
        assert code == "RESOURCE_EXHAUSTED"
        assert "larger than max" in details


def test_the_shorter_of_both_times_counts(folder):
    with serving(folder, timeout_seconds=60) as (_, engine, client):
        client.prediction.Predict(echo_request(), timeout=20)
        assert 15 < engine.calls[-1].deadline - time.monotonic() < 21
        client.prediction.Predict(echo_request(), timeout=1000)
        assert 55 < engine.calls[-1].deadline - time.monotonic() < 60
        client.prediction.Predict(echo_request())
        assert 55 < engine.calls[-1].deadline - time.monotonic() < 60


def test_too_many_calls_are_refused_early(folder, gate):
    ended = threading.Semaphore(0)
    with serving(folder, threads=1) as (_, _, client):
        futures = [client.prediction.Predict.future(echo_request(1, "waits")) for _ in range(40)]
        for future in futures:
            future.add_done_callback(lambda _future: ended.release())
        gate(1)
        # 16 for the one thread; the others do not wait for it.
        assert all(ended.acquire(timeout=10) for _ in range(24))
        GrpcModel.may_go.set()
        codes = [future.code().name for future in futures]
    assert (codes.count("OK"), codes.count("RESOURCE_EXHAUSTED")) == (16, 24)


class Notes:
    """Notes what is told of calls."""

    def __init__(self):
        self.begun = 0
        self.calls = []
        self.ends = threading.Semaphore(0)

    def began(self):
        self.begun += 1

    def ended(self, request, code, seconds):
        self.calls.append((*request, code, 0 <= seconds < 5))
        self.ends.release()


def test_calls_are_measured(folder):
    notes = Notes()
    with serving(folder, observer=notes) as (_, _, client):
        client.prediction.Predict(echo_request())
        request = echo_request()
        request.model_spec.name = "made up"
        refusal(client.prediction.Predict, request)
        assert all(notes.ends.acquire(timeout=5) for _ in range(2))
    assert notes.begun == 2
    assert notes.calls == [
        ("Predict", "echo", "1", "serving_default", "OK", True),
        ("Predict", "unknown", "", "", "NOT_FOUND", True),
    ]


def test_waiting_is_told_to_clients_that_retry(folder):
    with serving(folder, options={"loaded": False}) as (_, _, client):
        with pytest.raises(grpc.RpcError) as refused:
            client.prediction.Predict(echo_request(), timeout=5)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert dict(refused.value.trailing_metadata())["grpc-retry-pushback-ms"] == "2000"


def test_health_follows_the_models(folder):
    with serving(folder, options={"loaded": False}) as (server, engine, client):
        health = health_pb2_grpc.HealthStub(client.channel)
        stream = health.Watch(health_pb2.HealthCheckRequest(service="tensorflow.serving.PredictionService"), timeout=20)
        assert next(stream).status == NOT_SERVING
        engine.load_all()
        assert next(stream).status == SERVING
        for service in ("", "tensorflow.serving.ModelService"):
            assert health.Check(health_pb2.HealthCheckRequest(service=service)).status == SERVING
        assert refusal(health.Check, health_pb2.HealthCheckRequest(service="x"))[0] == "NOT_FOUND"
        stopped = server.stop(5)
        assert next(stream).status == NOT_SERVING
        stream.cancel()
        assert stopped.wait(5)


def test_calls_in_hand_are_answered_at_the_end(folder, gate):
    with serving(folder) as (server, _, client), ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.prediction.Predict, echo_request(1, "waits"), 10)
        gate(1)
        stopped = server.stop(10)
        assert not stopped.is_set()
        GrpcModel.may_go.set()
        assert answer.result(10).outputs
        assert stopped.wait(5)


def test_a_taken_port_is_an_error(folder):
    with serving(folder) as (server, _, _):
        settings = Settings(model_repository=folder, grpc_port=server.port)
        with pytest.raises(InvalidSettings, match="Cannot listen on 127.0.0.1:.* Set KILN_GRPC_PORT"):
            create_server(settings, fake_repository(folder, GrpcModel), Access(None))


@pytest.fixture
def certificate(tmp_path):
    require_programs("openssl")
    paths = tmp_path / "tls.crt", tmp_path / "tls.key"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost", "-out", str(paths[0]), "-keyout", str(paths[1])]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    return paths


def test_tls(folder, certificate):
    chain, key = certificate
    with serving(folder, grpc_tls_certificate=chain, grpc_tls_key=key) as (server, _, plain):
        credentials = grpc.ssl_channel_credentials(chain.read_bytes())
        with grpc.secure_channel(f"localhost:{server.port}", credentials) as channel:
            assert Client(channel).prediction.Predict(echo_request(), timeout=10).outputs
        assert refusal(plain.prediction.Predict, echo_request(), timeout=2)[0] in (
            "UNAVAILABLE",
            "DEADLINE_EXCEEDED",
        )


def test_a_certificate_and_its_key_must_be_usable(folder, certificate, tmp_path):
    chain, key = certificate
    other = tmp_path / "other.key"
    other.write_text("no key")
    for settings, sentence in (
        ({"grpc_tls_certificate": chain, "grpc_tls_key": other}, "cannot be used: .*Expected PEM files"),
        ({"grpc_tls_certificate": tmp_path / "none", "grpc_tls_key": key}, "cannot be used: .*No such file"),
    ):
        with pytest.raises(InvalidSettings, match=sentence), serving(folder, **settings):
            pass


PROCESS = """
import os, sys
from pathlib import Path
from service.processes import grpc_front_end
from tests.service.fake_engine import fake_repository
from tests.service.grpc_fleet import GrpcModel
grpc_front_end.connect = lambda environment: fake_repository(Path(environment["FOLDER"]), GrpcModel).engine
sys.exit(grpc_front_end.main())
"""


@contextmanager
def front_process(folder, **variables):
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), "FOLDER": str(folder)}
    command = [sys.executable, "-c", PROCESS]
    with subprocess.Popen(command, env=environment | variables, stderr=subprocess.PIPE, text=True) as front:
        try:
            yield front
        finally:
            front.kill()


@pytest.fixture
def unused_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def resident_megabytes(pid):
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def test_the_process_serves_until_it_is_told_to_stop(folder, unused_port):
    with front_process(folder, KILN_GRPC_PORT=str(unused_port), KILN_LOG_FORMAT="json") as front:
        with grpc.insecure_channel(f"127.0.0.1:{unused_port}") as channel:
            response = Client(channel).prediction.Predict(echo_request(), timeout=20, wait_for_ready=True)
            assert response.outputs
        assert resident_megabytes(front.pid) < 120
        front.send_signal(signal.SIGTERM)
        _, log = front.communicate(timeout=20)
    assert front.returncode == 0, log
    assert [json.loads(line)["message"] for line in log.splitlines()] == ["gRPC is listening", "gRPC is stopping"]


def test_settings_that_cannot_be_used_end_the_process(folder, unused_port):
    with front_process(folder, KILN_GRPC_PORT=str(unused_port), KILN_GRPC_TLS_KEY="/none") as front:
        _, log = front.communicate(timeout=20)
    assert front.returncode == 2, log
    assert "KILN_GRPC_TLS_KEY is set without KILN_GRPC_TLS_CERTIFICATE" in log
