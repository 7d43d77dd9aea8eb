"""What the OpenAPI document says of the Open Inference Protocol, against what the service answers."""

import jsonschema
import orjson
import pytest

from service.app import create_app
from service.codecs.open_inference.datatypes import DATATYPES as SERVED
from service.errors import DeadlineExceeded, ModelUnavailable
from service.openapi.document import build_document
from service.openapi.open_inference import open_inference_paths
from service.openapi.open_inference_schemas import DATATYPES, INFERENCES
from service.settings import Settings
from tests.service.published_models import publish

LIMIT = 4000
DOCUMENT = build_document(Settings())
[DIGIT] = INFERENCES["digits_probabilities"][1]["inputs"]
ASK = {"inputs": [DIGIT]}
HALF = {
    "parameters": {"signature_name": "half"},
    "inputs": [{"name": "x", "shape": [1], "datatype": "FP16", "data": [1]}],
}
LARGE = {"inputs": [DIGIT], "id": "x" * LIMIT}
MODEL, VERSION = "/v2/models/{model}", "/v2/models/{model}/versions/{version}"
LOAD, UNLOAD = "/v2/repository/models/{model}/load", "/v2/repository/models/{model}/unload"


def lookups(suffix, *, unloaded=True):
    """A GET route of models: found, and all the ways not to be."""
    yield from ((f"{MODEL}{suffix}", "digits", "", None, 200), (f"{MODEL}{suffix}", "mnits", "", None, 404))
    for version, status in (("1", 200), ("9" * 20, 400), ("9", 404)):
        yield f"{VERSION}{suffix}", "digits", version, None, status
    if unloaded:
        yield from ((f"{MODEL}{suffix}", "broken", "", None, 503), (f"{VERSION}{suffix}", "broken", "1", None, 503))


ANSWERS = [
    ("/v2", "", "", None, 200),
    ("/v2/models/stats", "", "", None, 200),
    *lookups(""),
    *lookups("/config"),
    *lookups("/ready"),
    *lookups("/stats", unloaded=False),
    (f"{MODEL}/infer", "digits", "", ASK, 200),
    (f"{MODEL}/infer", "digits", "", {"inputs": []}, 400),
    (f"{MODEL}/infer", "mnits", "", ASK, 404),
    (f"{MODEL}/infer", "digits", "", LARGE, 413),
    (f"{MODEL}/infer", "foreign", "", HALF, 501),
    (f"{MODEL}/infer", "broken", "", ASK, 503),
    (f"{VERSION}/infer", "digits", "1", ASK, 200),
    (f"{VERSION}/infer", "digits", "9" * 20, ASK, 400),
    (f"{VERSION}/infer", "digits", "9", ASK, 404),
    (f"{VERSION}/infer", "digits", "1", LARGE, 413),
    (f"{VERSION}/infer", "foreign", "1", HALF, 501),
    (f"{VERSION}/infer", "broken", "1", ASK, 503),
    ("/v2/repository/index", "", "", {"ready": True}, 200),
    ("/v2/repository/index", "", "", [], 400),
    ("/v2/repository/index", "", "", LARGE, 413),
    (LOAD, "digits", "", {}, 200),
    (LOAD, "digits", "", {"parameters": {"config": "{}"}}, 400),
    (LOAD, "mnits", "", {}, 404),
    (LOAD, "digits", "", LARGE, 413),
    (LOAD, "broken", "", {}, 503),
    (UNLOAD, "foreign", "", {}, 200),
    (UNLOAD, "digits", "", [], 400),
    (UNLOAD, "mnits", "", {}, 404),
    (UNLOAD, "digits", "", LARGE, 413),
]


@pytest.fixture
def client(tmp_path):
    repository = publish(tmp_path / "models", "digits", "foreign", "broken")
    return create_app(Settings(max_body_bytes=LIMIT), repository).test_client()


def described(path, status):
    [operation] = DOCUMENT["paths"][path].values()
    return operation["responses"][str(status)]["content"]["application/json"]["schema"]


def check_schema(value, schema):
    rooted = {"$schema": "https://json-schema.org/draft/2020-12/schema", "components": DOCUMENT["components"]} | schema
    jsonschema.validate(value, rooted)


@pytest.mark.parametrize(("path", "model", "version", "body", "status"), ANSWERS)
def test_an_answer_is_as_the_document_says(client, path, model, version, body, status):
    [method] = DOCUMENT["paths"][path]
    response = client.open(path.format(model=model, version=version), method=method.upper(), json=body)
    assert response.status_code == status, response.text
    check_schema(response.json, described(path, status))


@pytest.mark.parametrize("path", [f"{MODEL}/infer", f"{VERSION}/infer"])
@pytest.mark.parametrize(("error", "status"), [(DeadlineExceeded("too late"), 504), (RuntimeError("a bug"), 500)])
def test_a_failing_engine_is_as_the_document_says(client, monkeypatch, path, error, status):
    def fail(_call):
        raise error

    monkeypatch.setattr(client.application.repository.engine, "call", fail)
    client.application.config["PROPAGATE_EXCEPTIONS"] = False
    response = client.post(path.format(model="digits", version="1"), json=ASK)
    assert response.status_code == status
    check_schema(response.json, described(path, status))


ENGINE_AWAY = ["/v2/models/stats", f"{MODEL}/stats", f"{VERSION}/stats", UNLOAD]


@pytest.mark.parametrize("path", ENGINE_AWAY)
def test_an_engine_that_is_away_is_as_the_document_says(client, monkeypatch, path):
    def fail(*_arguments):
        raise ModelUnavailable("The engine is being started. Try again shortly.", 2)

    monkeypatch.setattr(client.application.repository.engine, "statistics", fail)
    monkeypatch.setattr(client.application.repository.engine, "unload", fail)
    [method] = DOCUMENT["paths"][path]
    response = client.open(path.format(model="digits", version="1"), method=method.upper())
    assert (response.status_code, response.headers["Retry-After"]) == (503, "2")
    check_schema(response.json, described(path, 503))


def test_every_documented_status_is_one_that_was_seen():
    seen = {(path, status) for path, _, _, _, status in ANSWERS}
    seen |= {(f"{path}/infer", status) for path in (MODEL, VERSION) for status in (500, 504)}
    seen |= {(path, 503) for path in ENGINE_AWAY}
    documented = {
        (path, int(status))
        for path, methods in open_inference_paths(LIMIT).items()
        for operation in methods.values()
        for status in operation["responses"]
    }
    assert documented == seen


@pytest.mark.parametrize("name", INFERENCES)
def test_every_example_request_is_answered_in_the_examples_form(client, name):
    _, request, answer = INFERENCES[name]
    response = client.post("/v2/models/digits/infer", json=request)
    assert form(response.json) == form(answer)
    check_schema(response.json, described(f"{MODEL}/infer", 200))


def form(value):
    if isinstance(value, dict):
        return {key: form(item) for key, item in value.items()}
    return [form(item) for item in value] if isinstance(value, list) else type(value).__name__


def test_the_document_has_every_datatype():
    assert set(DATATYPES) == set(SERVED.values())


def test_the_document_states_the_limit():
    assert str(LIMIT) in orjson.dumps(open_inference_paths(LIMIT)).decode()
