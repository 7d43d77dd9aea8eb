"""TensorFlow Serving's REST API beyond predict: labels, classify, regress, NaN tokens, compression, other origins."""

import base64
import gzip
import json
import math
import time

import numpy as np
import pytest

from service.app import create_app
from service.engine.signature import Signature, TensorSpec
from service.engine.tensorflow.protos import load_protos
from service.settings import Settings
from tests.service.fake_engine import fake_repository

CLASSIFY, REGRESS, ECHO = "tensorflow/serving/classify", "tensorflow/serving/regress", "tensorflow/serving/predict"


def spec(name, dtype="DT_STRING", shape=(-1,)):
    return TensorSpec(name, dtype, shape, f"{name}:0")


def signature(inputs, outputs, method=ECHO):
    return Signature({item.name: item for item in inputs}, {item.name: item for item in outputs}, method)


CLASSES, SCORES = spec("classes", shape=(-1, -1)), spec("scores", "DT_FLOAT", (-1, -1))
VALUES = spec("outputs", "DT_FLOAT")
EXAMPLES = spec("inputs")
SIGNATURES = {
    "serving_default": signature([spec("x", "DT_FLOAT", (-1, 2))], [spec("y", "DT_FLOAT", (-1, 2))]),
    "classify": signature([EXAMPLES], [CLASSES, SCORES], CLASSIFY),
    "scores": signature([EXAMPLES], [SCORES], CLASSIFY),
    "classes": signature([EXAMPLES], [CLASSES], CLASSIFY),
    "modern": signature([EXAMPLES], [CLASSES, SCORES]),
    "regress": signature([EXAMPLES], [VALUES], REGRESS),
    "column": signature([EXAMPLES], [VALUES], REGRESS),
    "two inputs": signature([EXAMPLES, spec("x")], [SCORES], CLASSIFY),
    "three outputs": signature([EXAMPLES], [CLASSES, SCORES, VALUES], CLASSIFY),
    "other input": signature([spec("x")], [SCORES], CLASSIFY),
    "other output": signature([EXAMPLES], [spec("y")], CLASSIFY),
    "numbers": signature([spec("inputs", "DT_FLOAT")], [SCORES], CLASSIFY),
    "flat": signature([EXAMPLES], [SCORES], CLASSIFY),
    "short": signature([EXAMPLES], [VALUES], REGRESS),
    "wide": signature([EXAMPLES], [VALUES], REGRESS),
    "double": signature([EXAMPLES], [VALUES], REGRESS),
    "uneven": signature([EXAMPLES], [CLASSES, SCORES], CLASSIFY),
    "bfloat": signature([spec("x", "DT_FLOAT", (-1, 2))], [spec("y", "DT_BFLOAT16", (-1, 2))]),
    "whole": signature([spec("n", "DT_INT32")], [spec("n", "DT_INT32")]),
}


class ExampleModel:
    """Keeps the examples that it was given; scores every example with the number of its features."""

    def __init__(self, _path, name, version):
        self.name, self.version, self.signatures = name, version, SIGNATURES
        self.examples = []

    def call(self, name, inputs):
        if name in ("serving_default", "bfloat", "whole"):
            [array] = inputs.values()
            if name == "bfloat":
                return {"y": (array.view(np.uint32) >> 16).astype("<u2").view("V2")}
            return {next(iter(SIGNATURES[name].outputs)): array}
        example = load_protos("tensorflow.core.example.example_pb2").Example
        self.examples[:] = [example.FromString(item) for item in inputs["inputs"]]
        counts = np.array([len(item.features.feature) for item in self.examples], np.float32)
        scores = np.stack([counts, counts / 10], axis=1)
        classes = np.array([[b"many", b"f\xc3\xa9w"]] * len(counts), object)
        odd = {
            "column": {"outputs": counts[:, None]},
            "regress": {"outputs": counts},
            "flat": {"scores": counts},
            "short": {"outputs": counts[:0]},
            "wide": {"outputs": scores},
            "double": {"outputs": counts.astype(float)},
            "uneven": {"classes": classes[:, :1], "scores": scores},
        }
        outputs = odd.get(name, {"classes": classes, "scores": scores})
        return {key: outputs[key] for key in SIGNATURES[name].outputs}


@pytest.fixture
def model_repository(tmp_path, make_version):
    for number in (1, 2, 3):
        make_version(tmp_path / "models" / "M", number)
    return fake_repository(tmp_path / "models", ExampleModel, latest=0)


@pytest.fixture
def make_client(model_repository):
    return lambda **settings: create_app(Settings(**settings), model_repository).test_client()


@pytest.fixture
def rest(make_client):
    return make_client()


def check(response, status, sentence):
    assert response.status_code == status, response.text
    assert list(response.get_json()) == ["error"]
    assert sentence in response.get_json()["error"]


# Labels.


def test_labels_are_set_listed_used_and_removed(rest):
    assert rest.get("/v1/models/M/labels").get_json() == {"labels": {}}
    answer = rest.put("/v1/models/M/labels/stable", json={"version": 2})
    assert (answer.status_code, answer.get_json()) == (200, {"label": "stable", "version": 2})
    assert rest.get("/v1/models/M/labels").get_json() == {"labels": {"stable": 2}}
    [state] = rest.get("/v1/models/M/labels/stable").get_json()["model_version_status"]
    assert (state["version"], state["state"]) == ("2", "AVAILABLE")
    metadata = rest.get("/v1/models/M/labels/stable/metadata").get_json()
    assert metadata["model_spec"] == {"name": "M", "signature_name": "", "version": "2"}
    assert rest.post("/v1/models/M/labels/stable:predict", json={"instances": [[1, 2]]}).get_json() == {
        "predictions": [[1.0, 2.0]]
    }
    body = {"signature_name": "regress", "examples": [{"a": 1}]}
    assert rest.post("/v1/models/M/labels/stable:regress", json=body).get_json() == {"results": [1.0]}
    assert rest.post("/v1/models/M/labels/stable:classify", json=body | {"signature_name": "scores"}).status_code == 200
    answer = rest.delete("/v1/models/M/labels/stable")
    assert (answer.status_code, answer.get_json()) == (200, {"label": "stable", "version": None})
    check(rest.get("/v1/models/M/labels/stable"), 400, "Unrecognized servable version label: stable")


def test_a_label_moves_between_two_requests(rest, model_repository):
    for number in (1, 3):
        rest.put("/v1/models/M/labels/canary", json={"version": number})
        rest.post("/v1/models/M/labels/canary:predict", json={"instances": [[1, 2]]})
        assert model_repository.engine.calls[-1].version == number


def test_words_of_a_path_are_matched_without_regard_to_case_but_labels_are_not(rest):
    rest.put("/V1/MODELS/M/LABELS/Stable", json={"version": 1})
    assert rest.get("/v1/Models/M/Labels").get_json() == {"labels": {"Stable": 1}}
    assert rest.get("/V1/models/M/LABELS/Stable/METADATA").status_code == 200
    assert rest.post("/v1/models/M/Labels/Stable:PREDICT", json={"instances": [[1, 2]]}).status_code == 200
    check(rest.get("/v1/models/M/labels/stable"), 400, "Unrecognized servable version label: stable. Labels: Stable")


def test_names_and_labels_are_decoded(rest):
    rest.put("/v1/models/%4D/labels/a%2Db", json={"version": 1})
    assert rest.get("/v1/models/M/labels/a-b").status_code == 200


WRONG_LABELS = {
    "unknown label": ("POST", "/v1/models/M/labels/x:predict", b"{}", 400, "servable version label: x. Labels: none"),
    "unknown label's metadata": ("GET", "/v1/models/M/labels/x/metadata", b"", 400, "servable version label: x"),
    "label of an unknown model": ("POST", "/v1/models/N/labels/x:predict", b"{}", 404, "request: Latest(N)"),
    "status of an unknown model": ("GET", "/v1/models/N/labels/x", b"", 404, "Could not find any versions of model N"),
    "labels of an unknown model": ("GET", "/v1/models/N/labels", b"", 404, "Could not find any versions of model N"),
    "version not there": (
        "PUT",
        "/v1/models/M/labels/x",
        b'{"version": 9}',
        404,
        "Could not find version 9 of model M",
    ),
    "model not there": ("PUT", "/v1/models/N/labels/x", b'{"version": 1}', 404, "any versions of model N"),
    "no body": ("PUT", "/v1/models/M/labels/x", b"", 400, "JSON Parse error: The document is empty"),
    "no object": ("PUT", "/v1/models/M/labels/x", b"1", 400, "JSON Value: 1 not formatted correctly. Expecting"),
    "text": ("PUT", "/v1/models/M/labels/x", b'{"version": "1"}', 400, 'Expecting {"version": N}'),
    "bool": ("PUT", "/v1/models/M/labels/x", b'{"version": true}', 400, 'Expecting {"version": N}'),
    "negative": ("PUT", "/v1/models/M/labels/x", b'{"version": -1}', 400, 'Expecting {"version": N}'),
    "too large": ("PUT", "/v1/models/M/labels/x", b'{"version": 9223372036854775808}', 400, "Expecting"),
    "company": ("PUT", "/v1/models/M/labels/x", b'{"version": 1, "x": 1}', 400, "Expecting"),
    "odd name": ("PUT", "/v1/models/M/labels/a%20b", b'{"version": 1}', 400, "Label 'a b' is not made of 1 to 64 of"),
    "nothing to remove": ("DELETE", "/v1/models/M/labels/x", b"", 404, "Model 'M' has no label 'x'"),
    "version and label": (
        "POST",
        "/v1/models/M/versions/1/labels/x:predict",
        b"{}",
        400,
        "Malformed request: POST /v1/models/M/versions/1/labels/x:predict",
    ),
    "put to a version": ("PUT", "/v1/models/M/versions/1", b"", 400, "Malformed request: PUT /v1/models/M/versions/1"),
    "two slashes": ("GET", "/v1//models/M", b"", 400, "Malformed request: GET /v1//models/M"),
    "last slash": ("GET", "/v1/models/M/", b"", 400, "Malformed request: GET /v1/models/M/"),
}


@pytest.mark.parametrize(("method", "path", "body", "status", "sentence"), WRONG_LABELS.values(), ids=WRONG_LABELS)
def test_a_wrong_label_is_refused(rest, method, path, body, status, sentence):
    check(rest.open(path, method=method, data=body), status, sentence)


# Classify and regress.


def test_classify_answers_labels_and_scores_for_each_example(rest):
    body = {"signature_name": "classify", "examples": [{"a": 1, "b": 2}, {"a": 1}]}
    assert rest.post("/v1/models/M:classify", json=body).get_json() == {
        "results": [[["many", 2.0], ["féw", 0.2]], [["many", 1.0], ["féw", 0.1]]]
    }


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("scores", [["", 1.0], ["", 0.1]]),
        ("classes", [["many", 0.0], ["féw", 0.0]]),
        ("modern", [["many", 1.0], ["féw", 0.1]]),
    ],
)
def test_classify_takes_signatures_with_either_output_and_those_of_tensorflow_2(rest, name, result):
    body = {"signature_name": name, "examples": [{"a": 1}]}
    assert rest.post("/v1/models/M/versions/2:classify", json=body).get_json() == {"results": [result]}


@pytest.mark.parametrize("name", ["regress", "column"])
def test_regress_answers_a_number_for_each_example(rest, name):
    body = {"signature_name": name, "examples": [{"a": 1, "b": 2}, {"a": 1}]}
    assert rest.post("/v1/models/M:regress", json=body).get_json() == {"results": [2.0, 1.0]}


def features(rest, model_repository, body):
    response = rest.post("/v1/models/M:regress", json={"signature_name": "regress"} | body)
    assert response.status_code == 200, response.text
    inputs = model_repository.engine.calls[-1].inputs["inputs"]
    assert (inputs.dtype, inputs.shape) == (object, (len(body["examples"]),))
    example = load_protos("tensorflow.core.example.example_pb2").Example
    found = []
    for item in inputs:
        parts = example.FromString(item).features.feature
        kinds = {name: part.WhichOneof("kind") for name, part in parts.items()}
        found.append(
            {name: (kind, list(getattr(parts[name], kind).value) if kind else []) for name, kind in kinds.items()}
        )
    return found


def test_features_become_the_lists_that_their_json_types_stand_for(rest, model_repository):
    encoded = base64.b64encode(b"\xff\x00").decode()
    example = {
        "whole": [1, -2, True], "one": 2**63 - 1, "flag": False, "point": [1.0, 2.5], "text": ["é", {"b64": encoded}],
        "none": [],
    }  # fmt: skip
    assert features(rest, model_repository, {"examples": [example]}) == [
        {
            "whole": ("int64_list", [1, -2, 1]),
            "one": ("int64_list", [2**63 - 1]),
            "flag": ("int64_list", [0]),
            "point": ("float_list", [1.0, 2.5]),
            "text": ("bytes_list", ["é".encode(), b"\xff\x00"]),
            "none": (None, []),
        }
    ]


def test_the_context_is_part_of_every_example_and_gives_way_to_it(rest, model_repository):
    body = {"context": {"c": 1.5, "a": [7, 8]}, "examples": [{"a": 1}, {"b": "x"}]}
    assert features(rest, model_repository, body) == [
        {"c": ("float_list", [1.5]), "a": ("int64_list", [1])},
        {"c": ("float_list", [1.5]), "a": ("int64_list", [7, 8]), "b": ("bytes_list", [b"x"])},
    ]


ONE = [{"a": 1}]
WRONG_EXAMPLES = {
    "no JSON": ("classify", b"{", 400, "JSON Parse error: Invalid value. at offset: 1"),
    "no object": ("classify", [], 400, "JSON Value: [] Is not object"),
    "signature name no string": ("regress", {"signature_name": 1}, 400, "'signature_name' key must be a string value."),
    "unknown signature": ("classify", {"signature_name": "x"}, 400, "No signature was found with the name: x. Signa"),
    "no examples": (
        "classify",
        {"signature_name": "classify"},
        400,
        'JSON Value: {"signature_name":"classify"} When method is classify, key \'examples\' is expected and was not',
    ),
    "no examples to regress": ("regress", {"signature_name": "regress"}, 400, "key 'examples' is expected and was not"),
    "examples no list": (
        "regress",
        {"signature_name": "regress", "examples": {}},
        400,
        "'examples' value to be an lis",
    ),
    "empty examples": (
        "regress",
        {"signature_name": "regress", "examples": []},
        400,
        "'examples' value is an empty ar",
    ),
    "example no object": (
        "regress",
        {"signature_name": "regress", "examples": [{"a": 1}, 3]},
        400,
        "Example must be JSON object but got JSON Number (at examples[1])",
    ),
    "context no object": (
        "regress",
        {"signature_name": "regress", "context": [], "examples": ONE},
        400,
        "Example must be JSON object but got JSON Array (at context)",
    ),
    "mixed kinds": (
        "regress",
        {"signature_name": "regress", "examples": [{"f": [1.0, 1]}]},
        400,
        "Unexpected element type in feature: f expecting type: float (at examples[0].f)",
    ),
    "text among numbers": (
        "regress",
        {"signature_name": "regress", "examples": [{"f": [1, "1"]}]},
        400,
        "Unexpected element type in feature: f expecting type: int64",
    ),
    "number among texts": (
        "regress",
        {"signature_name": "regress", "examples": [{"f": ["1", 1]}]},
        400,
        "Unexpected element type in feature: f expecting type: bytes",
    ),
    "null": (
        "regress",
        {"signature_name": "regress", "examples": [{"f": None}]},
        400,
        "Feature: f has element with unexpected JSON type: Null",
    ),
    "list in a list": (
        "regress",
        {"signature_name": "regress", "examples": [{"f": [[1]]}]},
        400,
        "Feature: f has element with unexpected JSON type: Array",
    ),
    "object": (
        "regress",
        {"signature_name": "regress", "examples": [{"f": {"b64": 1}}]},
        400,
        "Feature: f has element with unexpected JSON type: Object",
    ),
    "wrong base64": (
        "regress",
        {"signature_name": "regress", "examples": [{"f": {"b64": "!"}}]},
        400,
        "Unable to base64 decode",
    ),
    "large integer": (
        "regress",
        {"signature_name": "regress", "examples": [{"f": 2**63}]},
        400,
        "Feature: f has uint64 element. Only int64 is supported.",
    ),
    "large number": (
        "regress",
        {"signature_name": "regress", "examples": [{"f": 1e39}]},
        400,
        "Cannot convert JSON value: 1e+39 to float without loss of precision.",
    ),
    "small integer": ("regress", {"signature_name": "regress", "examples": [{"f": -(2**63) - 1}]}, 200, ""),
    "no classification": (
        "classify",
        {"examples": ONE},
        400,
        'No classification inputs found in SignatureDef: expected "inputs", found x',
    ),
    "not for predict": (
        "classify",
        {"signature_name": "regress", "examples": ONE},
        400,
        'Expected classification signature outputs to contain at least one of "classes" or "scores". '
        "Signature was: outputs. Its method_name is tensorflow/serving/regress",
    ),
    "not for regress": ("regress", {"signature_name": "classify", "examples": ONE}, 400, "Expected one output Tensor."),
    "no regression outputs": (
        "regress",
        {"signature_name": "scores", "examples": ONE},
        400,
        'No regression outputs found in SignatureDef: expected "outputs", found scores',
    ),
    "two inputs": ("classify", {"signature_name": "two inputs", "examples": ONE}, 400, "Expected one input Tensor."),
    "three outputs": (
        "classify",
        {"signature_name": "three outputs", "examples": ONE},
        400,
        "Expected one or two output Tensors, found 3",
    ),
    "other input": (
        "classify",
        {"signature_name": "other input", "examples": ONE},
        400,
        'No classification inputs found in SignatureDef: expected "inputs", found x',
    ),
    "other output": (
        "classify",
        {"signature_name": "other output", "examples": ONE},
        400,
        'at least one of "classes" or "scores". Signature was: y',
    ),
    "numbers": (
        "classify",
        {"signature_name": "numbers", "examples": ONE},
        400,
        "takes no serialized examples: its input 'inputs' is DT_FLOAT of shape [-1]",
    ),
    "scores no matrix": (
        "classify",
        {"signature_name": "flat", "examples": ONE},
        400,
        "Expected Tensor shape: [batch_size num_classes] but got [1]",
    ),
    "fewer values": (
        "regress",
        {"signature_name": "short", "examples": ONE},
        400,
        "Input batch size did not match output batch size: 1 vs. 0",
    ),
    "values in rows": (
        "regress",
        {"signature_name": "wide", "examples": ONE},
        400,
        "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got [1, 2]",
    ),
    "doubles": (
        "regress",
        {"signature_name": "double", "examples": ONE},
        400,
        "Expected output Tensor of DT_FLOAT. Got: float64",
    ),
    "classes and scores apart": (
        "classify",
        {"signature_name": "uneven", "examples": ONE},
        400,
        "Tensors class and score should match in dim_size(1). Got 1 vs. 2",
    ),
}


@pytest.mark.parametrize(("method", "body", "status", "sentence"), WRONG_EXAMPLES.values(), ids=WRONG_EXAMPLES)
def test_wrong_examples_are_refused(rest, method, body, status, sentence):
    data = body if isinstance(body, bytes) else json.dumps(body)
    response = rest.post(f"/v1/models/M:{method}", data=data)
    if status == 200:
        assert response.status_code == 200, response.text
    else:
        check(response, status, sentence)


def test_an_unknown_model_is_named_before_wrong_examples_are(rest):
    check(rest.post("/v1/models/N:classify", json={"examples": 3}), 404, "Servable not found for request: Latest(N)")
    check(rest.post(f"/v1/models/M/versions/{2**63}:regress", data=b"{"), 400, "Failed to convert version: 9223")


# NaN tokens.


def test_tokens_are_taken_and_written_where_the_settings_say_so(make_client):
    lenient = make_client(nan_tokens=True)
    answer = lenient.post("/v1/models/M:predict", data=b'{"instances": [[NaN, Infinity], [-Infinity, 0.1]]}')
    assert answer.data == b'{"predictions":[[NaN,Infinity],[-Infinity,0.1]]}'
    [[first, second], [third, fourth]] = json.loads(answer.data)["predictions"]
    assert math.isnan(first)
    assert (second, third, fourth) == (math.inf, -math.inf, 0.1)
    answer = lenient.post("/v1/models/M:predict", data=b'{"inputs": [[1, NaN]], "note": "NaN"}')
    assert answer.data == b'{"outputs":[[1.0,NaN]]}'


def test_tokens_are_features_and_results_too(make_client, monkeypatch):
    lenient = make_client(nan_tokens=True)
    body = b'{"signature_name": "regress", "examples": [{"f": [NaN, 1.5]}]}'
    assert lenient.post("/v1/models/M:regress", data=body).get_json() == {"results": [1.0]}
    outputs = {"scores": np.array([[np.nan, 1]], np.float32)}
    monkeypatch.setattr(ExampleModel, "call", lambda *_: outputs)
    body = {"signature_name": "scores", "examples": ONE}
    assert lenient.post("/v1/models/M:classify", json=body).data == b'{"results":[[["",NaN],["",1.0]]]}'
    check(
        make_client().post("/v1/models/M:classify", json=body), 400, "'scores' is not a finite number at scores[0][0]"
    )


LENIENT_MISTAKES = {
    "computed infinity": (b'{"instances": [[NaN, 1e999]]}', "JSON Parse error"),
    "in a list that is none": (b'{"instances": [[NaN, ]]}', "JSON Parse error: Invalid value. at offset: 21"),
    "token of another kind": (b'{"instances": [[nan, 1]]}', "JSON Parse error: Invalid value. at offset: 16"),
    "behind the end": (b'{"instances": [[NaN, 1]]} x', "JSON Parse error: Invalid value. at offset: 26"),
    "half a character": (b'{"signature_name": "\\ud800", "instances": [[NaN, 1]]}', "JSON Parse error"),
    "no UTF-8": (b'{"signature_name": "\xff", "instances": [[NaN, 1]]}', "JSON Parse error"),
    "deep": (b'{"x": NaN, "instances": ' + b"[" * 4000 + b"]" * 4000 + b"}", "JSON Parse error"),
    "finite beyond float32": (b'{"instances": [[NaN, 1e39]]}', "1e+39 is out of range for type: float"),
    "for an integer": (
        b'{"signature_name": "whole", "inputs": [NaN]}',
        "JSON Value: NaN Type: Number is not of expected",
    ),
    "as a version": (b'{"instances": [[NaN, true]]}', "Type: True is not of expected type: float (at instances[0][1])"),
}


@pytest.mark.parametrize(("body", "sentence"), LENIENT_MISTAKES.values(), ids=LENIENT_MISTAKES)
def test_tokens_excuse_no_other_mistake(make_client, body, sentence):
    check(make_client(nan_tokens=True).post("/v1/models/M:predict", data=body), 400, sentence)


def test_whole_numbers_beside_a_token_are_as_large_as_elsewhere(make_client):
    lenient = make_client(nan_tokens=True)
    digits = "123456789012345678901234567890"
    with_token = lenient.post("/v1/models/M:predict", data=f'{{"inputs": [[{digits}, 1]], "n": NaN}}'.encode())
    without = lenient.post("/v1/models/M:predict", data=f'{{"inputs": [[{digits}, 1]]}}'.encode())
    assert with_token.data == without.data


def test_bfloat16_is_answered_in_full(rest):
    body = {"signature_name": "bfloat", "instances": [[1.5, -2], [0.1, 3]]}
    assert rest.post("/v1/models/M:predict", json=body).get_json() == {"predictions": [[1.5, -2.0], [0.099609375, 3.0]]}


# Bodies.


def test_compressed_bodies_are_read(rest):
    body = gzip.compress(b'{"instances": [[1, 2]]}')
    answer = rest.post("/v1/models/M:predict", data=body, headers={"Content-Encoding": "gzip"})
    assert answer.get_json() == {"predictions": [[1.0, 2.0]]}
    examples = gzip.compress(json.dumps({"signature_name": "regress", "examples": ONE}).encode())
    answer = rest.post("/v1/models/M:regress", data=examples, headers={"Content-Encoding": "gzip"})
    assert answer.get_json() == {"results": [1.0]}
    check(
        rest.post("/v1/models/M:predict", data=b"{}", headers={"Content-Encoding": "br"}), 400, "'br' is not supported"
    )


@pytest.mark.parametrize("place", [0, 50_000, 99_999])
@pytest.mark.parametrize("form", ["instances", "inputs"])
def test_one_mistake_in_a_large_body_is_found_at_once(rest, place, form):
    rows = [[1.5, 2.5]] * 100_000
    rows[place] = [1.5, True]
    body = json.dumps({form: rows}).encode()
    started = time.perf_counter()
    response = rest.post("/v1/models/M:predict", data=body)
    seconds = time.perf_counter() - started
    check(response, 400, f"JSON Value: true Type: True is not of expected type: float (at {form}[{place}][1])")
    assert seconds < 5  # some 0.2 s


# Other origins.


def test_pages_of_other_origins_may_ask_where_the_settings_say_so(make_client):
    open_service = make_client(cors=True)
    for origin in ("http://example.com", "https://example.com:8443"):
        preflight = open_service.options("/v1/models/M:predict", headers={"Origin": origin})
        assert (preflight.status_code, preflight.data) == (200, b"")
        assert preflight.headers["Access-Control-Allow-Origin"] == "*"
        assert preflight.headers["Access-Control-Allow-Methods"] == "POST, GET"
        assert "Content-Type" in preflight.headers["Access-Control-Allow-Headers"]
    answer = open_service.post("/v1/models/M:predict", json={"instances": [[1, 2]]}, headers={"Origin": "http://a.b"})
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, "*")
    refusal = open_service.post("/v1/models/M:predict", data=b"{", headers={"Origin": "http://a.b"})
    assert (refusal.status_code, refusal.headers["Access-Control-Allow-Origin"]) == (400, "*")


@pytest.mark.parametrize("origin", [None, "null", "file://", "ftp://example.com"])
def test_a_preflight_from_elsewhere_is_refused(make_client, origin):
    headers = {} if origin is None else {"Origin": origin}
    check(
        make_client(cors=True).options("/v1/models/M:predict", headers=headers), 400, "OPTIONS needs the header Origin"
    )


def test_metrics_and_pages_are_not_for_other_origins(make_client):
    for path in ("/metrics", "/", "/openapi.json"):
        answer = make_client(cors=True).get(path, headers={"Origin": "http://a.b"})
        assert "Access-Control-Allow-Origin" not in answer.headers


def test_other_origins_get_no_leave_by_default(rest):
    answer = rest.post("/v1/models/M:predict", json={"instances": [[1, 2]]}, headers={"Origin": "http://a.b"})
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert "Access-Control-Allow-Origin" not in rest.options("/v1/models/M:predict").headers


def test_a_context_before_many_examples_is_refused_before_it_is_copied(make_client):
    body = {"signature_name": "regress", "context": {"a": "x" * 5000}, "examples": [{}] * 2000}
    response = make_client(max_body_bytes=20_000).post("/v1/models/M:regress", json=body)
    check(response, 400, "bytes of memory, and at most 40000")
