"""gRPC of the real service: memory, silence, large answers, shapes, types, and its end."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from service.engine.tensorflow.tensor_protos import decode_tensor, encode_tensor
from tests.end_to_end import service as real
from tests.service.grpc_fleet import Client, make, refusal
from tests.service.http2_client import Connection

MEBIBYTE = 2**20
BUILD = """
import sys
import tensorflow as tf

class Half(tf.Module):
    def __init__(self):
        self.a, self.b = tf.Variable(0.5), tf.Variable(2.0)

    @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, name="x")])
    def half(self, x):
        return {"y": self.a * x + self.b}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def lengths(self, text):
        return {"length": tf.map_fn(tf.strings.length, text, fn_output_signature=tf.int32)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def grow(self, x):
        return {"y": tf.repeat(x[:, None], 1024, axis=1)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.complex64, name="c")])
    def conjugate(self, c):
        return {"c": tf.math.conj(c)}

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def fixed(self, x):
        return {"y": tf.linalg.matmul(x, tf.ones([3, 1]))}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def slow(self, x):
        n = tf.cast(x[0], tf.int64)
        return {"n": tf.while_loop(lambda i: i < n, lambda i: [i + 1], [tf.constant(0, tf.int64)])[0][None]}

module = Half()
signatures = {"serving_default": module.half} | {
    name: getattr(module, name) for name in ("lengths", "grow", "conjugate", "fixed", "slow")
}
tf.saved_model.save(module, sys.argv[1], signatures=signatures)
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    subprocess.run([sys.executable, "-c", BUILD, str(folder / "half_plus_two" / "1")], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def running(models):
    with real.service(models, grpc=True, timeout_seconds=5, workers=1) as started:
        wait_for_grpc(started)
        yield started


@pytest.fixture
def client(running):
    with channel(running) as opened:
        yield Client(opened)


def channel(running):
    options = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    return grpc.insecure_channel(running.grpc_address, options)


def wait_for_grpc(running):
    with channel(running) as opened:
        grpc.channel_ready_future(opened).result(60)


def request_of(signature="serving_default", **inputs):
    request = make("predict.PredictRequest")
    request.model_spec.name = "half_plus_two"
    request.model_spec.signature_name = signature
    for name, array in inputs.items():
        encode_tensor(array, request.inputs[name])
    return request


def answer(client, request, timeout=20):
    response = client.prediction.Predict(request, timeout=timeout)
    return {name: decode_tensor(proto, 2**30) for name, proto in response.outputs.items()}


def check_health(running):
    with channel(running) as opened:
        started = time.monotonic()
        status = health_pb2_grpc.HealthStub(opened).Check(health_pb2.HealthCheckRequest(), timeout=5).status
    return status, time.monotonic() - started


def test_the_first_example_of_tensorflow_servings_documentation(client):
    outputs = answer(client, request_of(x=np.array([1, 2, 5], np.float32)))
    assert outputs["y"].tolist() == [2.5, 3.0, 4.5]


def test_what_tensorflow_refuses_is_said_with_the_signatures_shapes(client):
    request = request_of("fixed", x=np.zeros((1, 5), np.float32))
    code, details = refusal(client.prediction.Predict, request)
    assert code == "INVALID_ARGUMENT"
    assert details.startswith("The model refused the inputs: ")
    assert details.endswith(" The signature takes 'x' of shape [-1, 3].")


def test_complex_numbers_and_columns_of_strings(client):
    numbers = np.array([1 + 2j, -3j], np.complex64)
    assert answer(client, request_of("conjugate", c=numbers))["c"].tolist() == numbers.conj().tolist()
    column = np.array([[b"a"], [b"bcd"]], object)
    assert answer(client, request_of("lengths", text=column))["length"].reshape(-1).tolist() == [1, 3]


def test_answers_are_larger_than_bodies_may_be(client):
    # 40 MB; bodies end at 32 MiB.
    outputs = answer(client, request_of("grow", x=np.arange(10_000, dtype=np.float32)), timeout=60)
    assert outputs["y"].shape == (10_000, 1024)
    assert (outputs["y"][:, [0, 1023]] == np.arange(10_000)[:, None]).all()


def test_a_few_bytes_cannot_take_the_memory(running, client):
    answer(client, request_of("lengths", text=np.array([b"warm"], object)))
    before = running.peak_rss()
    request = request_of("lengths")
    tensor = request.inputs["text"]
    tensor.dtype = 7
    tensor.string_val.append(b"x" * 8000)
    tensor.tensor_shape.dim.add(size=100_000)
    code, details = refusal(client.prediction.Predict, request)
    assert (code, details[:38]) == ("INVALID_ARGUMENT", "The inputs would take 806400000 bytes ")
    assert running.peak_rss() - before < 20 * MEBIBYTE


def test_silent_calls_end_and_disturb_nobody(running, client):
    path = "/tensorflow.serving.PredictionService/Predict"
    port = int(running.grpc_address.rpartition(":")[2])
    connections = [Connection(port) for _ in range(4)]
    for connection in connections[:3]:
        for _ in range(100):
            connection.open(path)
    connections[3].send(connections[3].open(path), b"x" * 100, announced=200)
    for _ in range(10):
        started = time.monotonic()
        assert answer(client, request_of(x=np.ones((1, 1), np.float32)))["y"].tolist() == [[2.5]]
        assert time.monotonic() - started < 2
        assert check_health(running)[0] == health_pb2.HealthCheckResponse.SERVING
    for connection, count in zip(connections, (100, 100, 100, 1), strict=True):
        assert connection.count_ended_calls(count) == count
        connection.close()
    assert '"code":"DEADLINE_EXCEEDED"' in running.log()


def test_health_answers_while_all_threads_wait(models):
    with (
        real.service(models, grpc=True, timeout_seconds=20, threads=2, workers=1) as started,
        channel(started) as opened,
    ):
        wait_for_grpc(started)
        client = Client(opened)
        # A second and longer, two at a time.
        request = request_of("slow", x=np.array([6e5], np.float32))
        calls = [client.prediction.Predict.future(request, timeout=15) for _ in range(8)]
        for _ in range(5):
            status, seconds = check_health(started)
            assert (status, seconds < 2) == (health_pb2.HealthCheckResponse.SERVING, True)
            time.sleep(0.2)
        for call in calls:
            call.cancel()


def test_calls_in_flight_are_answered_after_sigterm(models):
    with real.service(models, grpc=True, workers=1) as started, channel(started) as opened:
        wait_for_grpc(started)
        watched = []

        def watch():
            with channel(started) as other:
                health = health_pb2_grpc.HealthStub(other)
                watched.extend(entry.status for entry in health.Watch(health_pb2.HealthCheckRequest(), timeout=60))

        watcher = threading.Thread(target=watch)
        watcher.start()
        call = Client(opened).prediction.Predict.future(request_of("slow", x=np.array([1e6], np.float32)), timeout=60)
        real.wait_for(lambda: watched, "the first state")
        time.sleep(0.3)
        started.process.send_signal(signal.SIGTERM)
        assert decode_tensor(call.result(60).outputs["n"], MEBIBYTE).tolist() == [1_000_000]
        watcher.join(30)
        assert watched == [health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING]
        assert started.process.wait(60) == 0
