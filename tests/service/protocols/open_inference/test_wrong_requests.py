"""Requests of the Open Inference Protocol that are refused: the status, and a sentence that names the input."""

import gzip
import zlib
from types import SimpleNamespace

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.app import create_app
from service.engine.signature import Signature, TensorSpec
from service.errors import DeadlineExceeded, QueueFull
from service.settings import Settings
from tests.service.fake_engine import fake_repository

INFER = "/v2/models/echo/infer"
LENGTH = "Inference-Header-Content-Length"
X = {"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}
SIZED = {"name": "x", "shape": [1, 3], "datatype": "FP32", "parameters": {"binary_data_size": 12}}


def pack(document, blob):
    text = orjson.dumps(document)
    return {"data": text + blob, "headers": {LENGTH: str(len(text))}}


def x(**changes):
    return {"inputs": [X | changes]}


def of(signature, **tensor):
    return {"inputs": [tensor], "parameters": {"signature_name": signature}}


JSON_REQUESTS = [
    ([], "The request is [], but must be an object"),
    (None, "The request is null, but must be an object"),
    ({}, "The request needs a list of objects as 'inputs'"),
    ({"inputs": [1]}, "The request needs a list of objects as 'inputs'"),
    ({"inputs": []}, "Missing inputs: 'x'"),
    ({"inputs": [{}]}, "Unknown input null. Inputs: 'x'"),
    (x(name="z"), "Unknown input \"z\". Inputs: 'x'"),
    (x(name=["x"]), "Unknown input [\"x\"]. Inputs: 'x'"),
    ({"inputs": [X, X]}, "Input 'x' is given twice"),
    (x(datatype="FP64"), "Input 'x' has datatype \"FP64\", but takes FP32"),
    (x(datatype=None), "Input 'x' has datatype null, but takes FP32"),
    (x(shape=[1, 28]), "Input 'x' has 3 values in data, but its shape [1,28] takes 28"),
    (x(shape=[-1, 3]), "Input 'x' has shape [-1,3], but it must be a list of sizes"),
    (x(shape=[True, 3]), "Input 'x' has shape [true,3], but it must be a list of sizes"),
    (x(shape=[1.0, 3]), "Input 'x' has shape [1.0,3], but it must be a list of sizes"),
    (x(shape="1,3"), "Input 'x' has shape \"1,3\", but it must be a list of sizes"),
    (x(shape=[2, 3]), "Input 'x' has 3 values in data, but its shape [2,3] takes 6"),
    (
        x(shape=[2**40, 3]),
        "Input 'x' has 3 values in data, but its shape [1099511627776,3] takes 3298534883328",
    ),
    (x(data=5), "Input 'x' has data 5, but takes a list"),
    (x(data={}), "Input 'x' has data {}, but takes a list"),
    (x(data=[1, 2]), "Input 'x' has 2 values in data, but its shape [1,3] takes 3"),
    (x(data=[[1, 2]]), "Input 'x' has [1,2] at data[0], but its shape [1,3] takes a list of 3 there"),
    (x(data=[[1, 2, 3], [4]]), "Input 'x' has 2 lists in data, but its shape is [1,3]"),
    (x(data=[[1, 2, 3], 4], shape=[2, 3]), "Input 'x' has 4 at data[1], but its shape [2,3] takes a list of 3 there"),
    (
        x(data=[1, [2], 3]),
        "Input 'x' has [2] at data[0][1], but FP32 takes a number from -3.4028234663852886e+38 to "
        "3.4028234663852886e+38",
    ),
    (
        x(data=[1, True, 3]),
        "Input 'x' has true at data[0][1], but FP32 takes a number from -3.4028234663852886e+38 to "
        "3.4028234663852886e+38",
    ),
    (
        x(data=[1, 2, "3"]),
        "Input 'x' has \"3\" at data[0][2], but FP32 takes a number from -3.4028234663852886e+38 to "
        "3.4028234663852886e+38",
    ),
    (
        x(data=[[1, 2, 3], [4, 1e39, 5]], shape=[2, 3]),
        "Input 'x' has 1e+39 at data[1][1], but FP32 takes a number from -3.4028234663852886e+38 to "
        "3.4028234663852886e+38",
    ),
    ({"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32"}]},
     "Input 'x' needs 'data', or the parameter 'binary_data_size'"),
    (x(parameters={"binary_data_size": 12}), "Input 'x' has both 'data' and the parameter 'binary_data_size'"),
    (x(parameters=[]), "Input 'x' has parameters [], but they must be an object"),
    (x(parameters={"shared_memory_region": "a", "shared_memory_byte_size": 12}),
     "Input 'x' has the parameter 'shared_memory_region', which is not supported"),
    ({"inputs": [SIZED]}, "Input 'x' announces 12 bytes of binary data, but 0 are left in the body"),
    (
        of("pixels", name="pixels", shape=[1, 2, 2], datatype="UINT8", data=[1, 2, 3, 256]),
        "Input 'pixels' has 256 at data[0][1][1], but UINT8 takes a whole number from 0 to 255",
    ),
    (
        of("pixels", name="pixels", shape=[1, 2, 2], datatype="UINT8", data=[1.0, 2, 3, 4]),
        "Input 'pixels' has 1.0 at data[0][0][0], but UINT8 takes a whole number from 0 to 255",
    ),
    (
        of("flags", name="flags", shape=[1, 2], datatype="BOOL", data=[True, 1]),
        "Input 'flags' has 1 at data[0][1], but BOOL takes true or false",
    ),
    (
        of("texts", name="text", shape=[1], datatype="BYTES", data=[1]),
        "Input 'text' has 1 at data[0], but BYTES takes a string",
    ),
    (
        of("two", name="b", shape=[1], datatype="INT64", data=[1]),
        "Missing inputs: 'a'",
    ),
    (
        of("any", name="v", shape=[0, 2**62, 2**62], datatype="FP64", data=[]),
        f"Input 'v' has shape [0,{2**62},{2**62}], whose sizes are too large",
    ),
    (
        of("any", name="v", shape=[1] * 40, datatype="FP64", data=[1]),
        "Input 'v' has 40 axes, but at most 32 are possible",
    ),
    (x() | {"parameters": 1}, "The request has parameters 1, but they must be an object"),
    (x() | {"parameters": {"signature_name": 1}}, "'signature_name' is 1, but must be a string"),
    (x() | {"id": 7}, "'id' is 7, but must be a string"),
    (
        x() | {"parameters": {"binary_data_output": 1}},
        "The request has 1 as parameter 'binary_data_output', but it must be true or false",
    ),
    (
        x() | {"parameters": {"timeout": -1}},
        "The request has -1 as parameter 'timeout', but it must be a whole number of microseconds",
    ),
    (x() | {"parameters": {"sequence_id": 5}},
     "The request has the parameter 'sequence_id', which is not supported"),
    (x() | {"outputs": {"name": "y"}}, "'outputs' must be a list of objects"),
    (x() | {"outputs": [{}]}, "Each of 'outputs' needs a 'name'"),
    (x() | {"outputs": [{"name": "z"}]}, "Unknown output 'z'. Outputs: 'y'"),
    (x() | {"outputs": [{"name": "y"}, {"name": "y"}]}, "Output 'y' is asked for twice"),
    (
        x() | {"outputs": [{"name": "y", "parameters": {"classification": 2}}]},
        "Output 'y' has the parameter 'classification', which is not supported",
    ),
    (
        x() | {"outputs": [{"name": "y", "parameters": {"binary_data": "yes"}}]},
        "Output 'y' has \"yes\" as parameter 'binary_data', but it must be true or false",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("document", "sentence"), JSON_REQUESTS)
def test_a_wrong_request_is_told_what_is_wrong(client, document, sentence):
    response = client.post(INFER, data=orjson.dumps(document))
    assert response.status_code == 400
    assert response.get_json() == {"error": sentence}


def test_an_unknown_signature_is_told_the_known_ones(client):
    response = client.post(INFER, json=of("clasify", **X))
    assert response.status_code == 400
    assert response.get_json()["error"].startswith(
        "Model 'echo' has no signature 'clasify'. The request's parameter 'signature_name' chooses one of: 'any', "
    )


BINARY_REQUESTS = [
    (SIZED, b"\0" * 13, "The body has 13 bytes of binary data, but the inputs announce 12"),
    (SIZED, b"\0" * 11, "Input 'x' announces 12 bytes of binary data, but 11 are left in the body"),
    (X, b"\0", "The body has 1 bytes of binary data, but the inputs announce 0"),
    (
        SIZED | {"shape": [2, 3]},
        b"\0" * 12,
        "Input 'x' of shape [2,3] and type FP32 takes 24 bytes, but its binary data has 12",
    ),
    (
        SIZED | {"shape": [2**40, 3]},
        b"\0" * 12,
        "Input 'x' of shape [1099511627776,3] and type FP32 takes 13194139533312 bytes, but its binary data has 12",
    ),
    (
        SIZED | {"parameters": {"binary_data_size": -1}},
        b"",
        "Input 'x' has -1 as parameter 'binary_data_size', but it must be a size",
    ),
    (
        SIZED | {"parameters": {"binary_data_size": True}},
        b"0",
        "Input 'x' has true as parameter 'binary_data_size', but it must be a size",
    ),
]


@pytest.mark.parametrize(("tensor", "blob", "sentence"), BINARY_REQUESTS)
def test_sizes_must_add_up(client, tensor, blob, sentence):
    response = client.post(INFER, **pack({"inputs": [tensor]}, blob))
    assert response.status_code == 400
    assert response.get_json() == {"error": sentence}


def test_a_byte_that_is_no_bool_is_refused(client):
    tensor = {"name": "flags", "shape": [1, 2], "datatype": "BOOL", "parameters": {"binary_data_size": 2}}
    response = client.post(INFER, **pack(of("flags", **tensor), b"\x01\x02"))
    assert response.status_code == 400
    assert response.get_json()["error"] == (
        "Input 'flags' has a byte that is neither 0 nor 1 in its binary data of type BOOL"
    )


@pytest.mark.parametrize(
    ("length", "sentence"),
    [
        ("3000", "Inference-Header-Content-Length is 3000, but the body has only 2 bytes"),
        ("-1", "Inference-Header-Content-Length is '-1', but must be a number of bytes"),
        ("1_0", "Inference-Header-Content-Length is '1_0', but must be a number of bytes"),
        ("", "Inference-Header-Content-Length is '', but must be a number of bytes"),
        ("9" * 30, f"Inference-Header-Content-Length is '{'9' * 30}', but must be a number of bytes"),
        ("1", "JSON Parse error: Invalid value. at offset: 1 (unexpected end of data)"),
    ],
)
def test_the_length_of_the_header_must_be_one(client, length, sentence):
    response = client.post(INFER, data=b"{}", headers={LENGTH: length})
    assert (response.status_code, response.get_json()) == (400, {"error": sentence})


@pytest.mark.parametrize(
    ("specs", "body", "sentence"),
    [
        (
            [TensorSpec("x", "DT_FLOAT", (-1, 3))],
            b"\0" * 13,
            "Input 'x' of shape [1,3] and type FP32 takes 12 bytes, but its binary data has 13",
        ),
        (
            [TensorSpec("x", "DT_FLOAT", (2, 3))],
            b"\0" * 12,
            "Input 'x' of shape [2,3] and type FP32 takes 24 bytes, but its binary data has 12",
        ),
        (
            [TensorSpec("x", "DT_FLOAT", (-1, -1))],
            b"",
            "A body without JSON does not tell the shape of input 'x', which takes [-1,-1]",
        ),
        (
            [TensorSpec("x", "DT_FLOAT", None)],
            b"",
            "A body without JSON does not tell the shape of input 'x', which takes any shape",
        ),
        (
            [TensorSpec("x", "DT_STRING", (-1, 2))],
            b"",
            "A body without JSON is one string, but input 'x' takes 2 of them",
        ),
        (
            [TensorSpec("x", "DT_FLOAT", (-1,)), TensorSpec("z", "DT_FLOAT", (-1,))],
            b"",
            "A body without JSON needs a signature with one input, but this one has 2",
        ),
    ],
)
def test_a_body_without_json_must_fit_the_one_input(models, specs, body, sentence):
    class Sole:
        def __init__(self, *_):
            self.signatures = {"serving_default": Signature({spec.name: spec for spec in specs}, {})}

    client = create_app(Settings(), fake_repository(models, Sole)).test_client()
    response = client.post(INFER, data=body, headers={LENGTH: "0"})
    assert (response.status_code, response.get_json()) == (400, {"error": sentence})


def test_types_that_the_protocol_does_not_have_are_not_served(models):
    spec, whole = TensorSpec("c", "DT_COMPLEX64", (-1,)), TensorSpec("x", "DT_FLOAT", (-1,))

    class Complex:
        def __init__(self, *_):
            self.signatures = {"in": Signature({"c": spec}, {}), "out": Signature({"x": whole}, {"c": spec})}

    client = create_app(Settings(), fake_repository(models, Complex)).test_client()
    tensor = {"name": "c", "shape": [1], "datatype": "COMPLEX64", "data": [1]}
    response = client.post(INFER, json=of("in", **tensor))
    assert response.status_code == 501
    assert response.get_json()["error"] == "Input 'c' is of type complex64, which the protocol does not have"
    response = client.post(INFER, json=of("out", name="x", shape=[1], datatype="FP32", data=[1]))
    assert response.status_code == 501
    assert response.get_json()["error"] == "Output 'c' is of type complex64, which the protocol does not have"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("post", "/v2/models/absent/infer", 404),
        ("post", "/v2/models/echo/versions/9/infer", 404),
        ("post", "/v2/models/echo/versions/stable/infer", 404),
        ("post", "/v2/models/echo/versions/99999999999999999999/infer", 400),
        ("get", "/v2/models/absent", 404),
        ("get", "/v2/models/echo/infer", 405),
        ("post", "/v2/models/echo", 405),
        ("get", "/v2/repository/index", 405),
        ("get", "/v2/nothing", 404),
        ("get", "/V2/models/echo", 404),
        ("post", "/v2/models/echo/Infer", 404),
        ("get", "/v2/systemsharedmemory/status", 404),
    ],
)
def test_wrong_paths_and_methods_are_told_in_json(client, method, path, status):
    response = getattr(client, method)(path, **({"json": x()} if method == "post" else {}))
    assert (response.status_code, list(response.get_json())) == (status, ["error"])


@pytest.mark.parametrize(
    ("path", "body", "sentence"),
    [
        ("index", b"[]", "The request is [], but must be an object"),
        ("index", b'{"ready": 1}', "'ready' is 1, but must be true or false"),
        ("models/echo/load", b'{"parameters": 1}', "'parameters' is 1, but must be an object"),
        ("models/echo/unload", b"null", "The request is null, but must be an object"),
    ],
)
def test_the_repository_takes_objects(client, path, body, sentence):
    response = client.post(f"/v2/repository/{path}", data=body)
    assert (response.status_code, response.get_json()) == (400, {"error": sentence})


@pytest.mark.parametrize(
    ("signature", "status", "sentence"),
    [
        (
            "refuses",
            400,
            "The model refused the inputs: Unknown image file format. The signature takes 'x' of shape [-1].",
        ),
        ("breaks", 500, "Internal error. The log has its cause under request id abc."),
    ],
)
def test_what_goes_wrong_in_the_model(client, signature, status, sentence):
    tensor = {"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}
    client.application.config["PROPAGATE_EXCEPTIONS"] = False
    response = client.post(INFER, json=of(signature, **tensor), headers={"X-Request-ID": "abc"})
    assert (response.status_code, response.get_json()) == (status, {"error": sentence})


@pytest.mark.parametrize(
    ("error", "status", "retry"),
    [(DeadlineExceeded("too late"), 504, None), (QueueFull("too many rows", 1), 503, "1")],
)
def test_what_goes_wrong_in_the_engine(client, repository, monkeypatch, error, status, retry):
    def fail(_call):
        raise error

    monkeypatch.setattr(repository.engine, "call", fail)
    response = client.post(INFER, json=x())
    assert (response.status_code, response.headers.get("Retry-After")) == (status, retry)


def test_a_body_may_not_be_larger_than_the_settings_allow_also_when_it_is_unpacked(client):
    large = b"{" + b" " * 20_000 + b"}"
    assert client.post(INFER, data=large).status_code == 413
    response = client.post(INFER, data=gzip.compress(large), headers={"Content-Encoding": "gzip"})
    assert response.status_code == 413
    assert "larger than the 10000 bytes" in response.get_json()["error"]


@pytest.mark.parametrize(
    ("coding", "body", "sentence"),
    [
        ("br", b"{}", "Content-Encoding 'br' is not supported. Supported: gzip, deflate"),
        ("gzip", b"{}", "The body cannot be read as gzip: Error -3 while decompressing data: incorrect header check"),
        ("gzip", gzip.compress(b"{}", mtime=0)[:-1], "The body cannot be read as gzip: it ends too early"),
        ("deflate", zlib.compress(b"{}") + b"x", "The body cannot be read as deflate: something follows its end"),
        ("identity", b"{}", "The request needs a list of objects as 'inputs'"),
    ],
)
def test_a_body_must_be_of_the_coding_that_it_states(client, coding, body, sentence):
    response = client.post(INFER, data=body, headers={"Content-Encoding": coding})
    assert (response.status_code, response.get_json()) == (400, {"error": sentence})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
tensors = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["x", "v", "text", "flags", "pixels", "a", "h"]) | json_values,
        "shape": st.lists(st.integers(-1, 4) | st.integers(), max_size=4) | json_values,
        "datatype": st.sampled_from(["FP32", "FP64", "BYTES", "BOOL", "UINT8", "FP16"]) | json_values,
        "parameters": st.fixed_dictionaries({}, optional={"binary_data_size": st.integers(0, 20)}) | json_values,
        "data": json_values,
    },
)
requests = st.fixed_dictionaries(
    {},
    optional={
        "id": st.text(max_size=3) | json_values,
        "inputs": st.lists(tensors, max_size=3) | json_values,
        "outputs": st.lists(st.fixed_dictionaries({"name": st.sampled_from(["x", "y"])}), max_size=2) | json_values,
        "parameters": st.fixed_dictionaries(
            {},
            optional={
                "signature_name": st.sampled_from(["any", "texts", "flags", "pixels", "two", "half"]) | json_values,
                "binary_data_output": st.booleans() | json_values,
                "timeout": st.integers() | json_values,
            },
        )
        | json_values,
    },
)
fuzz = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def post(client, body, length):
    headers = {} if length is None else {LENGTH: length.encode("utf-8").decode("latin-1")}
    return client.post(INFER, data=body, headers=headers)


@fuzz
@given(body=st.binary(max_size=60), length=st.none() | st.integers(-1, 70).map(str) | st.text("0123 -+x²", max_size=4))
def test_no_bytes_break_the_service(client, body, length):
    assert post(client, body, length).status_code in (200, 400)


@fuzz
@given(document=requests, blob=st.binary(max_size=40), shift=st.integers(-2, 2) | st.none())
def test_no_request_breaks_the_service(client, document, blob, shift):
    try:
        text = orjson.dumps(document)
    except TypeError:  # integers beyond 64 bits
        return
    body, length = (text, None) if shift is None else (text + blob, str(len(text) + shift))
    response = post(client, body, length)
    assert response.status_code in (200, 400, 501), response.text


def test_strings_that_take_far_more_than_their_bytes_are_refused(repository):
    client = create_app(Settings(max_body_bytes=100_000), repository).test_client()
    count = 20_000  # 80 kB on the wire, 1.3 MB at least in memory
    tensor = {"name": "text", "shape": [count], "datatype": "BYTES", "parameters": {"binary_data_size": 4 * count}}
    response = client.post(
        INFER, **pack({"inputs": [tensor], "parameters": {"signature_name": "texts"}}, bytes(4 * count))
    )
    assert response.status_code == 400
    assert response.get_json()["error"].startswith(
        "The inputs would take 1360000 bytes of memory, and at most 200000 are"
    )


COMPLEX = Signature({"c": TensorSpec("c", "DT_COMPLEX64", (-1,))}, {"c": TensorSpec("c", "DT_COMPLEX64", (-1,))})


def test_complex_numbers_have_no_form_over_http(models):
    model = SimpleNamespace(signatures={"serving_default": COMPLEX})
    repository = fake_repository(models, lambda *_version: model)
    client = create_app(Settings(), repository).test_client()
    tensor = {"name": "c", "shape": [1], "datatype": "FP32", "data": [1]}
    binary = tensor | {"parameters": {"binary_data_size": 8}}
    del binary["data"]
    for request in ({"json": {"inputs": [tensor]}}, pack({"inputs": [binary]}, bytes(8))):
        assert client.post(INFER, **request).status_code == 501
    predict = "/v1/models/echo:predict"
    assert client.post(predict, json={"inputs": [1]}).status_code == 501
    assert client.post(predict, json={"inputs": [1] * 1000}).status_code == 501
    assert "UNIMPLEMENTED" in client.post(predict, json={"instances": [1]}).get_json()["error"]
