"""Triton's own HTTP client, unchanged, against the service behind a socket."""

import threading
import warnings

import numpy as np
import pytest
from werkzeug.serving import make_server

from service.app import create_app
from service.engine.signature import Signature, TensorSpec
from service.settings import Settings
from tests.service.fake_engine import fake_repository

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import tritonclient.http as triton
    from tritonclient.utils import InferenceServerException

TYPES = {
    "FP32": np.float32, "FP64": np.float64, "FP16": np.float16, "INT8": np.int8, "INT16": np.int16, "INT32": np.int32,
    "INT64": np.int64, "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64, "BOOL": bool,
}  # fmt: skip
TENSORFLOW_TYPES = {
    "FP32": "DT_FLOAT", "FP64": "DT_DOUBLE", "FP16": "DT_HALF", "BOOL": "DT_BOOL", "BYTES": "DT_STRING",
} | {name: f"DT_{name}" for name in TYPES if "INT" in name}  # fmt: skip


class Echo:
    """A signature per type that answers its input, and `serving_default` that answers it twice."""

    def __init__(self, *_):
        image = TensorSpec("image", "DT_FLOAT", (-1, 28, 28))
        outputs = {name: TensorSpec(name, "DT_FLOAT", (-1, 28, 28)) for name in ("first", "second")}
        self.signatures = {"serving_default": Signature({"image": image}, outputs)}
        for name, dtype in TENSORFLOW_TYPES.items():
            spec = TensorSpec("t", dtype, (-1, 2))
            self.signatures[name] = Signature({"t": spec}, {"t": spec})

    def call(self, signature, inputs):
        return dict.fromkeys(self.signatures[signature].outputs, next(iter(inputs.values())))


@pytest.fixture(scope="module")
def client(tmp_path_factory, make_version):
    models = tmp_path_factory.mktemp("models")
    make_version(models / "echo", 1)
    make_version(models / "echo", 2)
    server = make_server("127.0.0.1", 0, create_app(Settings(), fake_repository(models, Echo)), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}", concurrency=4) as client:
        yield client
    server.shutdown()
    thread.join()
    server.server_close()


def tensor(name, array, datatype, *, binary=True):
    made = triton.InferInput(name, list(array.shape), datatype)
    return made.set_data_from_numpy(array, binary_data=binary)


def images(rows=2):
    return np.random.default_rng(7).random((rows, 28, 28), np.float32)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("binary_output", [True, False])
def test_floats_there_and_back(client, binary, binary_output):
    outputs = [triton.InferRequestedOutput("second", binary_data=binary_output)]
    result = client.infer("echo", [tensor("image", images(), "FP32", binary=binary)], outputs=outputs, request_id="7")
    np.testing.assert_array_equal(result.as_numpy("second"), images())
    assert result.as_numpy("first") is None
    response = result.get_response()
    assert (response["id"], response["model_name"], response["model_version"]) == ("7", "echo", "2")


@pytest.mark.parametrize("name", TYPES)
def test_every_type_there_and_back(client, name):
    array = np.array([[0, 1], [1, 0]], TYPES[name])
    result = client.infer("echo", [tensor("t", array, name)], parameters={"signature_name": name})
    assert result.as_numpy("t").dtype == array.dtype
    np.testing.assert_array_equal(result.as_numpy("t"), array)


@pytest.mark.parametrize("binary", [True, False])
def test_strings_there_and_back(client, binary):
    array = np.array([["a", "é"], ["", "long " * 100]], object)
    outputs = [triton.InferRequestedOutput("t", binary_data=binary)]
    inputs = [tensor("t", array, "BYTES", binary=binary)]
    result = client.infer("echo", inputs, outputs=outputs, parameters={"signature_name": "BYTES"})
    texts = [item.decode() if isinstance(item, bytes) else item for item in result.as_numpy("t").ravel()]
    assert texts == array.ravel().tolist()


def test_no_rows_there_and_back(client):
    result = client.infer("echo", [tensor("image", images(0), "FP32")])
    assert result.as_numpy("first").shape == (0, 28, 28)


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
@pytest.mark.parametrize("binary", [True, False])
def test_compression_both_ways(client, algorithm, binary):
    outputs = [triton.InferRequestedOutput("first", binary_data=binary)]
    result = client.infer(
        "echo",
        [tensor("image", images(), "FP32", binary=binary)],
        outputs=outputs,
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    np.testing.assert_array_equal(result.as_numpy("first"), images())


def test_several_requests_at_once(client):
    arrays = [np.full((1, 28, 28), number, np.float32) for number in range(8)]
    asked = [client.async_infer("echo", [tensor("image", array, "FP32")], timeout=10**7) for array in arrays]
    for array, request in zip(arrays, asked, strict=True):
        np.testing.assert_array_equal(request.get_result().as_numpy("first"), array)


def test_a_version_may_be_named(client):
    inputs = [tensor("image", images(), "FP32")]
    assert client.infer("echo", inputs, model_version="2").get_response()["model_version"] == "2"
    with pytest.raises(InferenceServerException, match="Servable not found for request") as caught:
        client.infer("echo", inputs, model_version="9")
    assert caught.value.status() == "404"


def test_a_refusal_is_the_clients_exception(client):
    with pytest.raises(InferenceServerException) as caught:
        client.infer("echo", [tensor("image", np.zeros((1, 28, 28), np.float64), "FP64")])
    assert caught.value.status() == "400"
    assert caught.value.message() == "Input 'image' has datatype \"FP64\", but takes FP32"
    with pytest.raises(InferenceServerException, match="'sequence_id', which is not supported"):
        client.infer("echo", [tensor("image", images(), "FP32")], sequence_id=5, sequence_start=True)


def test_health_and_metadata(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("echo")
    assert client.is_model_ready("echo", "2")
    assert not client.is_model_ready("absent")
    assert client.get_server_metadata()["name"] == "kiln"
    assert client.get_model_metadata("echo", "2")["inputs"] == [
        {"name": "image", "datatype": "FP32", "shape": [-1, 28, 28]}
    ]
    assert client.get_model_config("echo")["max_batch_size"] == 128


def test_the_repository_and_the_statistics(client):
    [entry] = client.get_model_repository_index()
    assert entry == {"name": "echo", "version": "2", "state": "READY", "reason": ""}
    client.unload_model("echo", unload_dependents=True)
    assert not client.is_model_ready("echo")
    client.load_model("echo")
    assert client.is_model_ready("echo")
    with pytest.raises(InferenceServerException, match="'config' is not supported"):
        client.load_model("echo", config="{}")
    assert client.get_inference_statistics()["model_stats"][0]["name"] == "echo"
    assert client.get_inference_statistics("echo", "2")["model_stats"][0]["version"] == "2"
