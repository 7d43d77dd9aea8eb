"""A gRPC server on fakes in this process, and the official stubs to call it by."""

import threading
from contextlib import contextmanager

import grpc
import numpy as np

from service.auth import Access
from service.engine.model import InvalidInput
from service.engine.signature import Signature, TensorSpec
from service.engine.tensorflow.protos import load_protos
from service.engine.tensorflow.tensor_protos import encode_tensor
from service.protocols.grpc.server import create_server
from service.settings import Settings
from tests.service.fake_engine import fake_repository

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


def spec(name, dtype="DT_FLOAT", shape=(-1,), tensor=""):
    return TensorSpec(name, dtype, shape, tensor or f"{name}:0")


def signature(inputs, outputs, method="tensorflow/serving/predict"):
    return Signature({item.name: item for item in inputs}, {item.name: item for item in outputs}, method)


EXAMPLES = spec("inputs", "DT_STRING", (-1,), "examples:0")
SIGNATURES = {
    "serving_default": signature([spec("x", shape=(-1, 3))], [spec("y", shape=(-1, 3))]),
    "two": signature([spec("a", shape=(-1, 2)), spec("b", "DT_INT64")], [spec("sum"), spec("b", "DT_INT64")]),
    "texts": signature([spec("text", "DT_STRING")], [spec("text", "DT_STRING")]),
    "halves": signature([spec("h", "DT_BFLOAT16", None)], [spec("h", "DT_BFLOAT16", None)]),
    "classify": signature([EXAMPLES], [spec("classes", "DT_STRING", (-1, 2)), spec("scores", shape=(-1, 2))], CLASSIFY),
    "scores": signature([EXAMPLES], [spec("scores", shape=(-1, 2))], CLASSIFY),
    "flat_scores": signature([EXAMPLES], [spec("scores")], CLASSIFY),
    "unnamed": signature([EXAMPLES], [spec("odd")], CLASSIFY),
    "arrays": signature([spec("inputs", shape=(-1, 2))], [spec("scores", shape=(-1, 2))], CLASSIFY),
    "regress": signature([EXAMPLES], [spec("outputs")], REGRESS),
    "elsewhere": signature([spec("inputs", "DT_STRING", (-1,), "other:0")], [spec("outputs")], REGRESS),
    "refuses": signature([spec("x")], [spec("x")]),
    "breaks": signature([spec("x")], [spec("x")]),
    "waits": signature([spec("x")], [spec("x")]),
    "grows": signature([spec("x")], [spec("x", shape=(-1, 512))]),
    "strict_texts": signature([spec("text", "DT_STRING")], [spec("length", "DT_INT64")]),
    "complex64": signature([spec("c", "DT_COMPLEX64")], [spec("c", "DT_COMPLEX64")]),
    "complex128": signature([spec("c", "DT_COMPLEX128")], [spec("c", "DT_COMPLEX128")]),
}


class GrpcModel:
    """Multiplies by its version; reads feature `x` of examples."""

    entered = threading.Semaphore(0)
    may_go = threading.Event()

    def __init__(self, path, _name, version):
        if (path / "broken").exists():
            raise OSError("variables are missing")
        self.version = version
        self.signatures = SIGNATURES

    def call(self, name, inputs):
        if name == "refuses":
            raise InvalidInput("Unknown image file format")
        if name == "breaks":
            raise RuntimeError("secret detail of the inside")
        if name == "waits":
            self.entered.release()
            self.may_go.wait(10)
        if name == "grows":
            return {"x": np.repeat(inputs["x"][:, None], 512, axis=1)}
        if name == "strict_texts":
            if inputs["text"].ndim != 1:
                raise InvalidInput("expected rank 1")
            return {"length": np.array([len(text) for text in inputs["text"]])}
        if name == "serving_default":
            return {"y": inputs["x"] * self.version}
        if name == "two":
            return {"sum": inputs["a"].sum(axis=1), "b": inputs["b"]}
        if "inputs" in inputs:
            return read_features(name, inputs["inputs"])
        return inputs


def read_features(name, serialized):
    example = load_protos("tensorflow.core.example.example_pb2").Example
    values = [example.FromString(entry).features.feature["x"].float_list.value[0] for entry in serialized]
    numbers = np.array(values, np.float32)
    classes = np.empty((len(numbers), 2), object)
    classes[:] = [[b"low", b"high"]]
    scores = np.stack([1 - numbers, numbers], axis=1)
    return {"classes": classes, "scores": numbers if name == "flat_scores" else scores, "outputs": 2 * numbers}


class Client:
    """The official stubs for a server."""

    def __init__(self, channel):
        self.channel = channel
        prediction = load_protos("tensorflow_serving.apis.prediction_service_pb2_grpc")
        models = load_protos("tensorflow_serving.apis.model_service_pb2_grpc")
        self.prediction = prediction.PredictionServiceStub(channel)
        self.models = models.ModelServiceStub(channel)


@contextmanager
def serving(folder, *, access=None, observer=None, options=None, latest=0, **settings):
    """Serves a folder of fakes; gives the server, its engine and a client."""
    settings = Settings(**{"model_repository": folder, "grpc_port": 0, "threads": 8} | settings)
    repository = fake_repository(folder, GrpcModel, **({"latest": latest} | (options or {})))
    server = create_server(settings, repository, access or Access(None), observer)
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            yield server, repository.engine, Client(channel)
    finally:
        server.stop(0).wait()


def refusal(method, request, **options):
    """The code and the sentence of a call that fails."""
    try:
        method(request, timeout=options.pop("timeout", 10), **options)
    except grpc.RpcError as error:
        return error.code().name, error.details()
    raise AssertionError("the call succeeded")


def make(name, **fields):
    """A message of TensorFlow Serving's, e.g. `make("predict.PredictRequest")`."""
    module, kind = name.split(".")
    return getattr(load_protos(f"tensorflow_serving.apis.{module}_pb2"), kind)(**fields)


def example(x):
    """A `tf.Example` with one feature."""
    message = load_protos("tensorflow.core.example.example_pb2").Example()
    message.features.feature["x"].float_list.value.append(x)
    return message


def echo_request(rows=1, signature="serving_default"):
    """A Predict request of the model `echo`, all zeros; other signatures than the default one take a list."""
    request = make("predict.PredictRequest")
    request.model_spec.name = "echo"
    request.model_spec.signature_name = signature
    encode_tensor(np.zeros((rows, 3) if signature == "serving_default" else rows, np.float32), request.inputs["x"])
    return request
