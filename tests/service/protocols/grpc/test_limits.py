"""Clients that send nothing, too much or too many calls: the gRPC server ends them in time, and answers the others."""

import logging
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.service.grpc_fleet import GrpcModel, echo_request, refusal, serving
from tests.service.http2_client import MAX_CONCURRENT_STREAMS, SETTINGS, Connection

PREDICT = "/tensorflow.serving.PredictionService/Predict"
SERVING = 1


@pytest.fixture
def gate():
    """Holds calls of signature `waits` until `may_go` is set."""
    GrpcModel.may_go.clear()
    GrpcModel.entered = threading.Semaphore(0)
    yield GrpcModel
    GrpcModel.may_go.set()


def test_calls_that_send_nothing_cost_no_thread_and_end_in_time(folder):
    with serving(folder, threads=1, timeout_seconds=2) as (server, _, client):
        connections = [Connection(server.port) for _ in range(3)]
        for connection in connections:
            for _ in range(100):
                connection.open(PREDICT)
        half = Connection(server.port)
        half.send(half.open(PREDICT), b"x" * 500, announced=1000)
        assert client.prediction.Predict(echo_request(), timeout=10).outputs
        for connection, count in ((half, 1), *((connection, 100) for connection in connections)):
            assert connection.count_ended_calls(count) == count
            connection.close()


def test_silence_and_its_opposite_are_told(folder):
    message = echo_request().SerializeToString()

    def one_without_end():
        yield message
        time.sleep(3)

    with serving(folder, timeout_seconds=1) as (_, _, client):
        call = client.channel.stream_unary(PREDICT)
        assert call(iter([message]))
        assert refusal(call, iter([])) == (
            "INVALID_ARGUMENT",
            "The call has no message, or one that is larger than KILN_MAX_BODY_BYTES; expected one.",
        )
        assert refusal(call, iter([message] * 2)) == (
            "INVALID_ARGUMENT", "The call has more than one message; expected one.",
        )  # fmt: skip
        assert refusal(call, one_without_end()) == (
            "DEADLINE_EXCEEDED", "The client did not send a whole message before the call's deadline.",
        )  # fmt: skip


def test_streams_per_connection_are_limited(folder):
    with serving(folder) as (server, _, _), closing(Connection(server.port)) as connection:
        settings = next(payload for kind, _, _, payload in connection.frames(5) if kind == SETTINGS)
        assert dict(struct.iter_unpack(">HI", settings))[MAX_CONCURRENT_STREAMS] == 128


def test_health_is_served_whatever_hangs(folder, gate):
    with serving(folder, threads=1) as (_, _, client):
        waiting = [client.prediction.Predict.future(echo_request(1, "waits")) for _ in range(16)]
        assert gate.entered.acquire(timeout=10)
        health = health_pb2_grpc.HealthStub(client.channel)
        assert health.Check(health_pb2.HealthCheckRequest(), timeout=5).status == SERVING
        assert next(health.Watch(health_pb2.HealthCheckRequest(), timeout=5)).status == SERVING
        gate.may_go.set()
        assert all(call.result(20).outputs for call in waiting)


class Ends:
    """Counts calls that are over."""

    def __init__(self):
        self.over = threading.Semaphore(0)

    def began(self):
        pass

    def ended(self, _request, _code, _seconds):
        self.over.release()


def test_a_call_is_not_run_after_its_deadline(folder, gate):
    ends = Ends()
    with serving(folder, threads=1, observer=ends) as (_, engine, client):
        first = client.prediction.Predict.future(echo_request(1, "waits"))
        assert gate.entered.acquire(timeout=10)
        assert refusal(client.prediction.Predict, echo_request(), timeout=0.5)[0] == "DEADLINE_EXCEEDED"
        assert ends.over.acquire(timeout=10)
        late = client.prediction.Predict.future(echo_request())
        gate.may_go.set()
        assert first.result(10).outputs
        assert late.result(10).outputs
        assert [call.signature for call in engine.calls] == ["waits", "serving_default"]


def test_a_call_that_hangs_ends_in_time_though_its_client_waits(folder, gate):
    with serving(folder, timeout_seconds=1) as (_, _, client):
        assert refusal(client.prediction.Predict, echo_request(1, "waits"), timeout=None) == (
            "DEADLINE_EXCEEDED", "There was no answer before the call's deadline.",
        )  # fmt: skip
        assert gate.entered.acquire(timeout=10)


def test_the_bytes_of_calls_in_flight_are_limited(folder, gate):
    with serving(folder, threads=8, max_body_bytes=1000) as (_, _, client):
        request = echo_request(200, "waits")
        fitting = 16 * 1000 // request.ByteSize()
        with ThreadPoolExecutor(24) as pool:
            calls = [pool.submit(outcome, client.prediction.Predict, request) for _ in range(24)]
            while sum(call.done() for call in calls) < 24 - fitting:
                time.sleep(0.05)
            gate.may_go.set()
        codes = [call.result() for call in calls]
        assert (codes.count("OK"), codes.count("RESOURCE_EXHAUSTED")) == (fitting, 24 - fitting)
        assert client.prediction.Predict(request, timeout=10).outputs


def outcome(method, request):
    try:
        method(request, timeout=20)
    except grpc.RpcError as error:
        return error.code().name
    return "OK"


def field(number, content):
    """A field of wire type 2; its length is less than 2**21."""
    size = len(content)
    return bytes([number << 3 | 2, size & 127 | 128, size >> 7 & 127 | 128, size >> 14]) + content


def tensor_request(content):
    return field(1, b"\n\4echo") + field(2, field(1, b"x") + field(2, content))


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("Classify", field(1, b"\n\4echo") + field(2, field(1, b"\n\0" * 100_000))),
        ("Predict", tensor_request(b"\x08\x07" + b"\x42\x00" * 100_000)),
        ("Predict", tensor_request(field(2, b"\x12\x00" * 100_000))),
        ("Predict", tensor_request(b"\x08\x09" + field(10, b"\1" * 500_000))),
        ("Predict", field(2, b"") * 50_000),
    ],
)
def test_a_message_is_weighed_before_it_is_parsed(folder, method, message):
    with serving(folder, max_body_bytes=2**20) as (_, _, client):
        call = client.channel.unary_unary(f"/tensorflow.serving.PredictionService/{method}")
        code, details = refusal(call, message)
        assert code == "INVALID_ARGUMENT"
        assert "bytes would take more than 2097152 bytes of memory (twice KILN_MAX_BODY_BYTES)" in details
        assert client.prediction.Predict(echo_request(80_000)).outputs


def test_an_answer_that_is_not_read_counts_as_in_flight(folder):
    with serving(folder, threads=1) as (server, engine, client):
        connection = Connection(server.port, window=0)
        message = echo_request(4000).SerializeToString()
        for _ in range(16):
            connection.send(connection.open(PREDICT), message)
            time.sleep(0.02)
            next(connection.frames(0.05), None)
        wait_until(lambda: len(engine.calls) == 16)
        assert outcome(client.prediction.Predict, echo_request()) == "RESOURCE_EXHAUSTED"
        connection.close()
        wait_until(lambda: outcome(client.prediction.Predict, echo_request()) == "OK")


def wait_until(holds):
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_answer_larger_than_a_body_is_sent(folder):
    options = (("grpc.max_receive_message_length", -1),)
    with serving(folder, max_body_bytes=100_000) as (server, _, _):
        request = echo_request(20_000, "grows")
        with grpc.insecure_channel(f"127.0.0.1:{server.port}", options) as channel:
            answer = channel.unary_unary(PREDICT)(request.SerializeToString(), timeout=60)
        assert len(answer) > 40_000_000


def test_the_reason_of_each_refusal_is_logged_with_its_client(folder, caplog):
    caplog.set_level(logging.INFO, "service")
    with serving(folder) as (_, _, client):
        refusal(client.prediction.Predict, echo_request(1, "no"))
        refusal(client.channel.unary_unary("/made.up/Name"), b"")
    fields = [record.fields for record in caplog.records if record.getMessage() == "gRPC call refused"]
    assert fields[0]["client"].startswith("ipv4:127.0.0.1:")
    assert fields[0]["reason"].startswith('Serving signature key "no" not found.')
    assert {key: fields[0][key] for key in ("method", "model", "version", "code")} == {
        "method": "Predict", "model": "echo", "version": "1", "code": "FAILED_PRECONDITION",
    }  # fmt: skip
    assert fields[1] == {"method": "/made.up/Name", "code": "UNIMPLEMENTED", "reason": "There is no such method."}
