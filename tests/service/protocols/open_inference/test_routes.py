"""The Open Inference Protocol over REST: metadata, readiness, inference in JSON and bytes, and the repository."""

import gzip
import re
import zlib

import numpy as np
import orjson
import pytest

from service.app import create_app
from service.engine.signature import Signature, TensorSpec
from service.protocols.open_inference.documents import VERSION
from service.settings import Settings
from tests.service.fake_engine import fake_repository

INFER = "/v2/models/echo/infer"
ROWS = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.5]]
X = {"name": "x", "shape": [2, 3], "datatype": "FP32", "data": ROWS}
LENGTH = "Inference-Header-Content-Length"


def pack(document, *blobs):
    """A body with binary data, and its headers."""
    text = orjson.dumps(document)
    return {"data": b"".join([text, *blobs]), "headers": {LENGTH: str(len(text))}}


def unpack(response):
    """The JSON of an answer with binary data, and the bytes behind it."""
    assert response.status_code == 200, response.text
    assert response.content_type == "application/octet-stream"
    length = int(response.headers[LENGTH])
    return orjson.loads(response.data[:length]), response.data[length:]


def test_the_service_tells_its_name_version_and_extensions(client):
    body = client.get("/v2").get_json()
    assert (body["name"], body["version"]) == ("kiln", VERSION)
    assert {"binary_tensor_data", "model_repository", "statistics"} < set(body["extensions"])


def test_metadata_has_the_default_signature_and_beside_it_the_others(client):
    body = client.get("/v2/models/echo").get_json()
    others = body.pop("signatures")
    assert body == {
        "name": "echo",
        "versions": ["2"],
        "platform": "tensorflow_savedmodel",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 3]}],
    }
    assert others["texts"]["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
    assert others["any"]["inputs"] == [{"name": "v", "datatype": "FP64", "shape": [-1]}]
    assert others["scalar"]["outputs"] == [{"name": "total", "datatype": "FP32", "shape": []}]
    assert "serving_default" not in others


def test_metadata_lists_every_version_or_the_one_that_is_asked_for(models, fake_model):
    client = create_app(Settings(), fake_repository(models, fake_model, latest=0)).test_client()
    assert client.get("/v2/models/echo").get_json()["versions"] == ["1", "2"]
    assert client.get("/v2/models/echo/versions/1").get_json()["versions"] == ["1"]


def test_a_model_with_one_signature_of_another_name_is_asked_for_that_one(make_client):
    spec = TensorSpec("in", "DT_INT32", (-1,))
    client = make_client({"only": Signature({"in": spec}, {"in": spec})})
    metadata = client.get("/v2/models/echo").get_json()
    assert metadata["inputs"] == [{"name": "in", "datatype": "INT32", "shape": [-1]}]
    assert "signatures" not in metadata
    answer = client.post(INFER, json={"inputs": [{"name": "in", "shape": [1], "datatype": "INT32", "data": [7]}]})
    assert answer.get_json()["outputs"][0]["data"] == [7]


@pytest.fixture
def make_client(models):
    """A client of models with the given signatures, which answer their first input as every output."""

    def make(signatures, **settings):
        class Echo:
            def __init__(self, *_):
                self.signatures = signatures

            def call(self, signature, inputs):
                return dict.fromkeys(signatures[signature].outputs, next(iter(inputs.values())))

        return create_app(Settings(**settings), fake_repository(models, Echo)).test_client()

    return make


def test_the_configuration_tells_clients_the_largest_batch(client, make_client):
    assert client.get("/v2/models/echo/config").get_json() == {
        "name": "echo",
        "platform": "tensorflow_savedmodel",
        "backend": "tensorflow",
        "max_batch_size": 128,
        "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [3], "format": "FORMAT_NONE"}],
        "output": [{"name": "y", "data_type": "TYPE_FP32", "dims": [3]}],
    }
    word = TensorSpec("word", "DT_STRING", ())
    configuration = make_client({"only": Signature({"word": word}, {})}).get("/v2/models/echo/config").get_json()
    assert configuration["max_batch_size"] == 0
    assert configuration["input"][0]["data_type"] == "TYPE_STRING"


def test_readiness_of_models(models, fake_model):
    client = create_app(Settings(), fake_repository(models, fake_model, loaded=False)).test_client()
    response = client.get("/v2/models/echo/ready")
    sentence = "Model 'echo' is still being loaded. Try again shortly."
    assert (response.status_code, response.get_json()) == (503, {"name": "echo", "ready": False, "reason": sentence})
    client = create_app(Settings(), fake_repository(models, fake_model)).test_client()
    response = client.get("/v2/models/echo/versions/2/ready")
    assert (response.status_code, response.get_json()) == (200, {"name": "echo", "ready": True})
    assert client.get("/v2/models/absent/ready").status_code == 404
    assert client.get("/v2/models/echo/versions/9/ready").status_code == 404


@pytest.mark.parametrize("data", [ROWS, [1, 2, 3, 4, 5, 6.5]])
def test_data_may_be_nested_or_flat_and_are_answered_flat(client, data):
    response = client.post(INFER, json={"id": "a-1", "inputs": [X | {"data": data}]})
    assert response.status_code == 200
    assert response.get_json() == {
        "model_name": "echo",
        "model_version": "2",
        "id": "a-1",
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [2, 3], "data": [1.0, 2.0, 3.0, 4.0, 5.0, 6.5]}],
    }


def test_a_path_may_name_the_version(client):
    assert client.post("/v2/models/echo/versions/2/infer", json={"inputs": [X]}).get_json()["model_version"] == "2"


def test_a_signature_is_chosen_by_a_parameter(client):
    inputs = [
        {"name": "b", "shape": [2], "datatype": "INT64", "data": [5, 6]},
        {"name": "a", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]},
    ]
    body = {"inputs": inputs, "parameters": {"signature_name": "two"}}
    outputs = client.post(INFER, json=body).get_json()["outputs"]
    assert [(output["name"], output["datatype"], output["data"]) for output in outputs] == [
        ("sum", "FP32", [3.0, 7.0]),
        ("b", "INT64", [5, 6]),
    ]
    chosen = client.post(INFER, json=body | {"outputs": [{"name": "b"}]}).get_json()["outputs"]
    assert [output["name"] for output in chosen] == ["b"]


def test_only_the_outputs_that_are_wanted_are_asked_of_the_engine(client, repository):
    client.post(INFER, json={"inputs": [X]})
    client.post(INFER, json={"inputs": [X], "outputs": [{"name": "y"}]})
    assert [tuple(call.outputs) for call in repository.engine.calls] == [(), ("y",)]


def test_bytes_in_and_out(client):
    x = np.array(ROWS, np.float32)
    tensor = {"name": "x", "shape": [2, 3], "datatype": "FP32", "parameters": {"binary_data_size": 24}}
    request = {"inputs": [tensor], "parameters": {"binary_data_output": True}}
    answer, blob = unpack(client.post(INFER, **pack(request, x.tobytes())))
    assert answer["outputs"] == [
        {"name": "y", "datatype": "FP32", "shape": [2, 3], "parameters": {"binary_data_size": 24}}
    ]
    assert blob == x.tobytes()


def test_bytes_reach_the_engine_without_a_copy(client, repository):
    x = np.array(ROWS, np.float32)
    tensor = {"name": "x", "shape": [2, 3], "datatype": "FP32", "parameters": {"binary_data_size": 24}}
    client.post(INFER, **pack({"inputs": [tensor]}, x.tobytes()))
    [call] = repository.engine.calls
    assert not call.inputs["x"].flags.owndata
    assert not call.inputs["x"].flags.writeable
    np.testing.assert_array_equal(call.inputs["x"], x)


def test_json_and_bytes_may_be_mixed_both_ways(client):
    a, b = np.array([[1, 2]], np.float32), [9]
    request = {
        "parameters": {"signature_name": "two", "binary_data_output": True},
        "inputs": [
            {"name": "b", "shape": [1], "datatype": "INT64", "data": b},
            {"name": "a", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}},
        ],
        "outputs": [{"name": "b", "parameters": {"binary_data": False}}, {"name": "sum"}],
    }
    answer, blob = unpack(client.post(INFER, **pack(request, a.tobytes())))
    assert [output.get("data") for output in answer["outputs"]] == [b, None]
    assert np.frombuffer(blob, np.float32) == [3]


def test_an_output_may_be_binary_by_itself(client):
    request = {"inputs": [X], "outputs": [{"name": "y", "parameters": {"binary_data": True}}]}
    _, blob = unpack(client.post(INFER, json=request))
    assert np.frombuffer(blob, np.float32).tolist() == [1, 2, 3, 4, 5, 6.5]


def test_a_body_may_be_nothing_but_the_tensor(client):
    x = np.array(ROWS, np.float32)
    answer, blob = unpack(client.post(INFER, data=x.tobytes(), headers={LENGTH: "0"}))
    assert answer["outputs"][0]["shape"] == [2, 3]
    assert blob == x.tobytes()


def test_a_body_may_be_nothing_but_a_string(make_client):
    spec = TensorSpec("image", "DT_STRING", (-1,))
    client = make_client({"serving_default": Signature({"image": spec}, {"image": spec})})
    answer, blob = unpack(client.post(INFER, data=b"\x89PNG", headers={LENGTH: "0"}))
    assert answer["outputs"][0]["shape"] == [1]
    assert blob == b"\x04\0\0\0\x89PNG"


def test_strings_go_as_text_or_with_their_lengths(client):
    tensor = {"name": "text", "shape": [3], "datatype": "BYTES", "data": ["é", "", {"b64": "AP8="}]}
    parameters = {"signature_name": "texts", "binary_data_output": True}
    _, blob = unpack(client.post(INFER, json={"inputs": [tensor], "parameters": parameters}))
    once = b"\x02\0\0\0\xc3\xa9\0\0\0\0\x02\0\0\0\0\xff"
    assert blob == once + once
    tensor = {"name": "text", "shape": [3], "datatype": "BYTES", "parameters": {"binary_data_size": len(once)}}
    request = {"inputs": [tensor], "parameters": {"signature_name": "texts"}}
    response = client.post(INFER, **pack(request, once))
    assert response.status_code == 400
    assert "has strings that are not UTF-8" in response.get_json()["error"]
    tensor |= {"shape": [1], "parameters": {"binary_data_size": 6}}
    response = client.post(INFER, **pack(request | {"inputs": [tensor]}, once[:6]))
    assert [output["data"] for output in response.get_json()["outputs"]] == [["é"], ["é"]]


def test_scalars_bools_and_no_rows_at_all(client):
    scalar = {"name": "x", "shape": [2], "datatype": "FP32", "data": [1.5, 2]}
    answer = client.post(INFER, json={"inputs": [scalar], "parameters": {"signature_name": "scalar"}}).get_json()
    assert answer["outputs"] == [{"name": "total", "datatype": "FP32", "shape": [], "data": [3.5]}]
    flags = {"name": "flags", "shape": [1, 2], "datatype": "BOOL", "data": [[True, False]]}
    answer = client.post(INFER, json={"inputs": [flags], "parameters": {"signature_name": "flags"}}).get_json()
    assert answer["outputs"][0]["data"] == [True, False]
    answer = client.post(INFER, json={"inputs": [X | {"shape": [0, 3], "data": []}]}).get_json()
    assert answer["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [0, 3], "data": []}]


def test_a_tensor_of_any_shape_keeps_its_own(client):
    tensor = {"name": "v", "datatype": "FP64"}
    for shape, data in (([], 1.5), ([1, 1, 2], [[[1, 2]]])):
        request = {"inputs": [tensor | {"shape": shape, "data": data}], "parameters": {"signature_name": "any"}}
        assert client.post(INFER, json=request).get_json()["outputs"][0]["shape"] == shape


def test_parameters_that_change_nothing_are_ignored(client):
    parameters = {"priority": 3, "sequence_id": 0, "headers": {"a": "b"}, "content_type": "np", "custom": [1]}
    tensor = X | {"parameters": {"content_type": "np"}}
    request = {"id": "", "inputs": [tensor], "outputs": [], "parameters": parameters}
    response = client.post(INFER, json=request)
    assert (response.status_code, "id" in response.get_json()) == (200, False)


def test_a_timeout_shortens_the_deadline(client, repository):
    for timeout in (2_000_000, 0, 10**15, None):
        client.post(INFER, json={"inputs": [X], "parameters": {"timeout": timeout}})
    short, *others = [call.deadline for call in repository.engine.calls]
    assert all(20 < other - short < 40 for other in others)


def test_nan_goes_as_bytes_and_as_tokens_where_the_settings_say_so(client, make_client):
    ones = {"name": "x", "shape": [2], "datatype": "FP32", "data": [1.0, 0.0]}
    request = {"inputs": [ones], "parameters": {"signature_name": "logarithm"}}
    response = client.post(INFER, json=request)
    assert response.status_code == 400
    assert "output 'y' is not a finite number at y[1]" in response.get_json()["error"]
    request["parameters"]["binary_data_output"] = True
    _, blob = unpack(client.post(INFER, json=request))
    assert np.frombuffer(blob, np.float32).tolist() == [0, -np.inf]
    spec = TensorSpec("x", "DT_FLOAT", (-1,))
    lenient = make_client({"serving_default": Signature({"x": spec}, {"x": spec})}, nan_tokens=True)
    body = b'{"inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "data": [NaN, -Infinity]}]}'
    assert b'"data": [NaN, -Infinity]' in lenient.post(INFER, data=body).data


@pytest.mark.parametrize(("coding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_bodies_may_be_compressed_both_ways(client, coding, compress):
    rows = 200
    tensor = X | {"shape": [rows, 3], "data": [0.25] * 3 * rows}
    headers = {"Content-Encoding": coding, "Accept-Encoding": coding}
    response = client.post(INFER, data=compress(orjson.dumps({"inputs": [tensor]})), headers=headers)
    assert response.headers["Content-Encoding"] == coding
    text = zlib.decompress(response.data, wbits=47)
    assert len(response.data) < len(text) / 4
    assert orjson.loads(text)["outputs"][0]["data"] == tensor["data"]


@pytest.mark.parametrize("accepted", ["gzip, deflate, br", "identity", "br"])
def test_what_libraries_offer_by_themselves_is_not_worth_the_time(client, accepted):
    tensor = X | {"shape": [200, 3], "data": [0.25] * 600}
    response = client.post(INFER, json={"inputs": [tensor]}, headers={"Accept-Encoding": accepted})
    assert "Content-Encoding" not in response.headers


def test_a_small_answer_is_not_compressed(client):
    response = client.post(INFER, json={"inputs": [X]}, headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in response.headers


def test_the_index_lists_versions_in_tritons_words(models, fake_model, make_version):
    make_version(models / "bad", 3, broken=True)
    client = create_app(Settings(), fake_repository(models, fake_model)).test_client()
    bad = {"name": "bad", "version": "3", "state": "UNAVAILABLE", "reason": "OSError: variables are missing"}
    echo = {"name": "echo", "version": "2", "state": "READY", "reason": ""}
    named = {"name": "named", "version": "7", "state": "READY", "reason": ""}
    assert client.post("/v2/repository/index").get_json() == [bad, echo, named]
    assert client.post("/v2/repository/index", json={"ready": True}).get_json() == [echo, named]


def test_models_are_unloaded_and_loaded_again(client):
    unload, load = "/v2/repository/models/echo/unload", "/v2/repository/models/echo/load"
    assert client.post(unload, json={"parameters": {"unload_dependents": True}}).status_code == 200
    assert client.get("/v2/models/echo/ready").status_code == 503
    assert client.post("/v2/repository/index").get_json()[0]["state"] == "UNAVAILABLE"
    assert client.post(load).status_code == 200
    assert client.get("/v2/models/echo/ready").status_code == 200
    assert client.post("/v2/repository/models/absent/load").status_code == 404
    assert client.post("/v2/repository/models/absent/unload").status_code == 404


@pytest.mark.parametrize("name", ["config", "file:1/saved_model.pb"])
def test_a_model_is_loaded_as_it_lies_in_the_repository(client, name):
    response = client.post("/v2/repository/models/echo/load", json={"parameters": {name: "{}"}})
    assert response.status_code == 400
    assert response.get_json()["error"] == (
        f"The parameter '{name}' is not supported: models are loaded as they lie in the repository"
    )


def test_which_versions_are_loaded_is_not_for_a_request_to_say(client):
    response = client.post("/v2/repository/models/echo/load", json={"parameters": {"version": "9"}})
    assert response.status_code == 400
    assert "KILN_VERSIONS, or the model configuration, says which versions" in response.get_json()["error"]


def test_statistics_are_those_of_the_engine(client):
    client.post(INFER, json={"inputs": [X]})
    [echo] = client.get("/v2/models/echo/stats").get_json()["model_stats"]
    assert (echo["name"], echo["version"], echo["inference_count"], echo["execution_count"]) == ("echo", "2", 3, 1)
    assert echo["inference_stats"]["success"] == {"count": 1, "ns": 5000}
    assert echo["batch_stats"][0]["compute_infer"] == {"count": 1, "ns": 3000}
    assert echo["last_inference"] > 1e12
    everything = client.get("/v2/models/stats").get_json()["model_stats"]
    assert [entry["name"] for entry in everything] == ["echo", "named"]
    assert client.get("/v2/models/echo/versions/2/stats").get_json()["model_stats"][0]["version"] == "2"
    assert client.get("/v2/models/absent/stats").status_code == 404


def test_requests_are_counted_by_model(client):
    client.post(INFER, json={"inputs": [X]})
    client.post("/v2/models/made-up/infer", json={"inputs": [X]})
    text = client.get("/metrics").text
    assert re.search(r'kiln_requests_total{[^}]*endpoint="open_inference.infer"[^}]*model="echo"[^}]*} 1.0', text)
    assert "made-up" not in text
