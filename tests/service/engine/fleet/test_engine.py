"""An engine whose models run elsewhere; Kiln's own gRPC server plays the TensorFlow Serving fleet."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import grpc
import numpy as np
import pytest

from service.engine.fleet.calls import FleetFailed
from service.engine.fleet.engine import RemoteEngine
from service.engine.interface import AVAILABLE, END, Call, Choice
from service.engine.model import InvalidInput
from service.engine.repository import Repository
from service.engine.tensorflow.protos import load_protos
from service.errors import (
    DeadlineExceeded,
    InvalidConfiguration,
    ModelUnavailable,
    QueueFull,
    UnknownModel,
)
from tests.service.grpc_fleet import SIGNATURES, GrpcModel, serving

POLL_SECONDS = 0.05
X = np.array([[1, 2, 3]], np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, make_version):
    folder = tmp_path_factory.mktemp("models")
    make_version(folder / "echo", 1)
    make_version(folder / "echo", 2)
    make_version(folder / "failed", 4, broken=True)
    return folder


class Changes:
    """Catalogues as they are published, to wait for one."""

    def __init__(self):
        self._changed = threading.Condition()
        self._catalog = None

    def publish(self, catalog):
        with self._changed:
            self._catalog = catalog
            self._changed.notify_all()

    def wait_for(self, condition):
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self._catalog), timeout=10), self._catalog


@contextmanager
def remote(*addresses, names=("echo",), **options):
    changes = Changes()
    engine = RemoteEngine(addresses, names, POLL_SECONDS, publish=changes.publish, **options)
    engine.start()
    try:
        yield engine, changes
    finally:
        engine.close()


@pytest.fixture(scope="module")
def fleet(folder):
    with serving(folder) as (server, engine, _):
        yield f"127.0.0.1:{server.port}", engine


@pytest.fixture(scope="module")
def engine(fleet):
    with remote(fleet[0], names=("echo", "failed", "missing")) as (engine, _):
        yield engine


@pytest.fixture
def unused_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def call(signature="serving_default", version=2, outputs=(), deadline=None, **inputs):
    return Call("echo", version, signature, inputs or {"x": X}, outputs, deadline)


def test_the_catalogue_is_what_the_fleet_has(engine):
    catalog = engine.catalog()
    assert catalog.obstacle == ""
    newest, oldest = catalog.models["echo"].versions
    assert (newest.number, newest.state, oldest.number, oldest.state) == (2, AVAILABLE, 1, AVAILABLE)
    assert newest.signatures == SIGNATURES
    assert newest.loaded_at > 0
    [failed] = catalog.models["failed"].versions
    assert (failed.state, failed.error) == (END, "OSError: variables are missing")


def test_readiness_names_models_that_are_not_available(engine):
    assert Repository(engine).pending() == {
        "failed": "version 4 is in state END: OSError: variables are missing",
        "missing": "no TensorFlow Serving knows this model",
    }


def test_predictions_go_to_the_version_that_is_asked_for(engine):
    assert engine.call(call())["y"].tolist() == [[2, 4, 6]]
    assert engine.call(call(version=1))["y"].tolist() == [[1, 2, 3]]


def test_strings_halves_and_chosen_outputs(engine):
    texts = np.array([b"a", b"\xff\x00"], object)
    assert engine.call(call("texts", text=texts))["text"].tolist() == texts.tolist()
    halves = np.array([[b"\x80\x3f"]], "V2")
    assert engine.call(call("halves", h=halves))["h"].tobytes() == halves.tobytes()
    inputs = {"a": np.ones((2, 2), np.float32), "b": np.array([5, 6])}
    assert list(engine.call(call("two", **inputs))) == ["b", "sum"]
    assert list(engine.call(call("two", outputs=["sum"], **inputs))) == ["sum"]


def test_errors_of_the_fleet_are_the_engines(engine):
    with pytest.raises(InvalidInput, match="Unknown image file format"):
        engine.call(call("refuses", x=X[0]))
    with pytest.raises(UnknownModel, match="Servable not found for request: Specific\\(echo, 9\\)"):
        engine.call(call(version=9))
    with pytest.raises(FleetFailed, match="answered INTERNAL for model 'echo'"):
        engine.call(call("breaks", x=X[0]))


def test_the_deadline_is_the_fleets_too(engine, fleet):
    engine.call(call(deadline=time.monotonic() + 15))
    assert 10 < fleet[1].calls[-1].deadline - time.monotonic() < 16
    GrpcModel.may_go.clear()
    try:
        started = time.monotonic()
        with pytest.raises(DeadlineExceeded, match="did not answer before the request's deadline"):
            engine.call(call("waits", deadline=started + 0.2, x=X[0]))
        assert time.monotonic() - started < 2
        with pytest.raises(DeadlineExceeded):
            engine.call(call(deadline=started))
    finally:
        GrpcModel.may_go.set()


def test_calls_are_counted(fleet):
    with remote(fleet[0]) as (engine, _):
        engine.call(call())
        with pytest.raises(InvalidInput):
            engine.call(call("refuses", x=X[0]))
        newest, oldest = engine.statistics()
        assert (newest.version, newest.calls, newest.failures, newest.rows) == (2, 1, 1, 1)
        assert newest.total_ns > 0
        assert newest.failure_ns > 0
        assert oldest.calls == 0


def test_administration_is_refused(engine):
    for refused in (
        lambda: engine.load("echo"),
        lambda: engine.unload("echo"),
        lambda: engine.set_label("echo", "stable", 1),
        lambda: engine.configure({"echo": Choice()}, {}),
    ):
        with pytest.raises(InvalidConfiguration, match="is administered by its own model configuration"):
            refused()
    with pytest.raises(UnknownModel, match="Could not find any versions of model x. Models: echo, failed, missing."):
        engine.load("x")


def test_readiness_follows_a_fleet_that_goes_and_comes_back(folder, unused_port):
    with remote(f"127.0.0.1:{unused_port}") as (engine, changes):
        assert engine.catalog().obstacle.startswith(f"No TensorFlow Serving answers: 127.0.0.1:{unused_port} (")
        for _ in range(2):
            with serving(folder, grpc_port=unused_port):
                changes.wait_for(lambda catalog: not catalog.obstacle and catalog.models["echo"].versions)
                assert Repository(engine).pending() == {}
                assert engine.call(call())["y"].tolist() == [[2, 4, 6]]
            changes.wait_for(lambda catalog: "UNAVAILABLE" in catalog.obstacle)
            # Requests still find the model, so that they are told to come back rather than that it does not exist.
            assert Repository(engine).find("echo").version == 2
            with pytest.raises(ModelUnavailable, match="does not answer. Try again shortly.") as refused:
                engine.call(call())
            assert refused.value.retry_after_seconds == 2


def test_versions_come_and_go_with_the_fleet(tmp_path, make_version):
    make_version(tmp_path / "echo", 1)
    with serving(tmp_path) as (server, fleet, _), remote(f"127.0.0.1:{server.port}") as (engine, changes):
        make_version(tmp_path / "echo", 2)
        fleet.load("echo")
        changes.wait_for(lambda catalog: [v.number for v in catalog.models["echo"].versions] == [2, 1])
        assert Repository(engine).find("echo").call("serving_default", {"x": X})["y"].tolist() == [[2, 4, 6]]
        fleet.unload("echo")
        changes.wait_for(lambda catalog: catalog.models["echo"].obstacle == "version 2 is in state END")


def test_a_server_that_dies_is_not_noticed_where_there_is_another(folder, unused_port):
    with serving(folder) as (server, _, _), ExitStack() as other:
        other.enter_context(serving(folder, grpc_port=unused_port))
        with remote(f"127.0.0.1:{unused_port}", f"127.0.0.1:{server.port}") as (engine, _):
            with ThreadPoolExecutor(4) as pool:
                answers = [pool.submit(engine.call, call()) for _ in range(50)]
                other.close()
                answers += [pool.submit(engine.call, call()) for _ in range(50)]
            assert all(answer.result()["y"].tolist() == [[2, 4, 6]] for answer in answers)
            assert Repository(engine).pending() == {}


def test_a_version_is_asked_of_the_servers_that_have_it(tmp_path, make_version):
    for server, number in (("a", 1), ("b", 2)):
        make_version(tmp_path / server / "echo", number)
    with (
        serving(tmp_path / "a") as (a, _, _),
        serving(tmp_path / "b") as (b, _, _),
        remote(f"127.0.0.1:{a.port}", f"127.0.0.1:{b.port}") as (engine, _),
    ):
        assert [version.number for version in engine.catalog().models["echo"].versions] == [2, 1]
        for _ in range(4):
            assert engine.call(call(version=1))["y"].tolist() == [[1, 2, 3]]
            assert engine.call(call(version=2))["y"].tolist() == [[2, 4, 6]]


@contextmanager
def scripted_fleet(answers):
    """A server whose Predict fails with each (code, trailing metadata) in turn, and then answers."""
    predictions = load_protos("tensorflow_serving.apis.predict_pb2")
    requests = []

    def predict(request, context):
        requests.append(request)
        if answers:
            code, metadata = answers.pop(0)
            context.set_trailing_metadata(metadata)
            context.abort(code, "not now")
        return predictions.PredictResponse(outputs={"y": request.inputs["x"]})

    handler = grpc.unary_unary_rpc_method_handler(
        predict, predictions.PredictRequest.FromString, predictions.PredictResponse.SerializeToString
    )
    server = grpc.server(ThreadPoolExecutor(2))
    service = "tensorflow.serving.PredictionService"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Predict": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    engine = RemoteEngine([f"127.0.0.1:{port}"], ["echo"])
    try:
        yield engine, requests
    finally:
        engine.close()
        server.stop(0).wait()


UNAVAILABLE = (grpc.StatusCode.UNAVAILABLE, ())


def test_what_is_unavailable_for_a_moment_is_asked_again():
    with scripted_fleet([UNAVAILABLE, (grpc.StatusCode.CANCELLED, ())]) as (engine, requests):
        assert engine.call(call(outputs=["y"]))["y"].tolist() == X.tolist()
        assert len(requests) == 3
        assert (requests[0].model_spec.version.value, requests[0].model_spec.signature_name) == (2, "serving_default")
        assert list(requests[0].output_filter) == ["y"]


@pytest.mark.parametrize(
    ("answer", "attempts", "error"),
    [
        (UNAVAILABLE, 3, ModelUnavailable),
        ((grpc.StatusCode.UNAVAILABLE, (("grpc-retry-pushback-ms", "5000"),)), 1, ModelUnavailable),
        ((grpc.StatusCode.RESOURCE_EXHAUSTED, ()), 1, QueueFull),
        ((grpc.StatusCode.DEADLINE_EXCEEDED, ()), 1, DeadlineExceeded),
        ((grpc.StatusCode.INVALID_ARGUMENT, ()), 1, InvalidInput),
        ((grpc.StatusCode.NOT_FOUND, ()), 3, UnknownModel),
        ((grpc.StatusCode.DATA_LOSS, ()), 1, FleetFailed),
    ],
)
def test_only_what_is_safe_is_asked_again_and_not_for_ever(answer, attempts, error):
    with scripted_fleet([answer] * 9) as (engine, requests):
        with pytest.raises(error) as raised:
            engine.call(call())
        assert type(raised.value) is error
        assert len(requests) == attempts
        if answer[1]:
            assert raised.value.retry_after_seconds == 5


def test_an_answer_that_lacks_an_output_is_a_failure():
    with scripted_fleet([]) as (engine, _), pytest.raises(FleetFailed, match="lacks outputs: z"):
        engine.call(call(outputs=["z"]))
