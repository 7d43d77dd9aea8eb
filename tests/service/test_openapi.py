"""The OpenAPI document against itself, against the routes, and against what the service answers."""

import re

import jsonschema
import pytest
from flask.testing import FlaskClient
from openapi_spec_validator import validate

from service.app import KilnApp, create_app
from service.openapi import build_document
from service.openapi_examples import PREDICTIONS
from service.openapi_open_inference import open_inference_paths
from service.settings import Settings
from tests.service.published_models import publish

LIMIT = 4000
PAGES = {"/", "/docs", "/docs/<name>", "/pages/<path:filename>"}
DOCUMENT = build_document(Settings())
REQUEST_ID = DOCUMENT["components"]["headers"]["RequestId"]["schema"]
OPEN_INFERENCE = open_inference_paths(LIMIT)  # test_open_inference_openapi.py
MODELS = ("digits", "breast_cancer", "diabetes", "foreign", "broken")
ROW = {"signature_name": "classify", "instances": [[[0] * 8] * 8]}


@pytest.fixture(scope="module")
def app(tmp_path_factory) -> KilnApp:
    repository = publish(tmp_path_factory.mktemp("models"), *MODELS)
    return create_app(Settings(max_body_bytes=LIMIT), repository)


@pytest.fixture(scope="module")
def client(app) -> FlaskClient:
    return app.test_client()


def check_schema(value, schema):
    rooted = {"$schema": "https://json-schema.org/draft/2020-12/schema", "components": DOCUMENT["components"]} | schema
    jsonschema.validate(value, rooted)


def operations():
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_the_document_is_valid_openapi():
    validate(DOCUMENT)


def test_the_document_and_the_routes_are_the_same(app):
    routes = set()
    for rule in app.url_map.iter_rules():
        if rule.rule not in PAGES:
            path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
            routes |= {(path, method.lower()) for method in rule.methods - {"HEAD", "OPTIONS"}}
    assert routes == {(path, method) for path, method, _ in operations()}


def test_every_path_parameter_is_described():
    for path, _, operation in operations():
        parameters = operation.get("parameters", [])
        described = {parameter["name"] for parameter in parameters if parameter["in"] == "path"}
        assert described == set(re.findall(r"{(\w+)}", path)), path


def test_operations_have_names_of_their_own():
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(names) == len(set(names))


def test_every_example_fits_its_schema():
    checked = 0
    for _, _, operation in operations():
        for part in [operation.get("requestBody", {}), *operation["responses"].values()]:
            for content in part.get("content", {}).values():
                examples = [example["value"] for example in content.get("examples", {}).values()]
                for example in examples + [content[key] for key in ("example",) if key in content]:
                    check_schema(example, content["schema"])
                    checked += 1
    assert checked > 20


@pytest.mark.parametrize("name", PREDICTIONS)
def test_every_example_request_is_answered_in_the_examples_form(client, name):
    _, request, answer = PREDICTIONS[name]
    model = next(model for model in MODELS if name.startswith(model))
    response = client.post(f"/v1/models/{model}:predict", json=request)
    assert response.status_code == 200, response.text
    assert form(response.json) == form(answer)


def form(value):
    if isinstance(value, dict):
        return {key: form(item) for key, item in value.items()}
    return [form(item) for item in value] if isinstance(value, list) else type(value).__name__


PREDICT = "/v1/models/{model}:predict"
PREDICT_VERSION = "/v1/models/{model}/versions/{version}:predict"
STATUS = "/v1/models/{model}"
STATUS_VERSION = "/v1/models/{model}/versions/{version}"
METADATA = "/v1/models/{model}/metadata"
METADATA_VERSION = "/v1/models/{model}/versions/{version}/metadata"
ANSWERS = [
    ("/v1/models", "get", "", "", None, 200),
    (STATUS, "get", "digits", "", None, 200),
    (STATUS, "get", "broken", "", None, 200),
    (STATUS, "get", "mnits", "", None, 404),
    (STATUS_VERSION, "get", "digits", "1", None, 200),
    (STATUS_VERSION, "get", "digits", "9" * 20, None, 400),
    (STATUS_VERSION, "get", "digits", "9", None, 404),
    (METADATA, "get", "foreign", "", None, 200),
    (METADATA, "get", "mnits", "", None, 404),
    (METADATA, "get", "broken", "", None, 503),
    (METADATA_VERSION, "get", "digits", "1", None, 200),
    (METADATA_VERSION, "get", "digits", "9" * 20, None, 400),
    (METADATA_VERSION, "get", "digits", "9", None, 404),
    (METADATA_VERSION, "get", "broken", "1", None, 503),
    (PREDICT, "post", "digits", "", ROW, 200),
    (PREDICT, "post", "digits", "", {"instances": [1]}, 400),
    (PREDICT, "post", "digits", "", {"signature_name": "image_bytes", "instances": ["no picture"]}, 400),
    (PREDICT, "post", "mnits", "", ROW, 404),
    (PREDICT, "post", "digits", "", {"instances": [[[0.123456789] * 8] * 8] * 10}, 413),
    (PREDICT, "post", "foreign", "", {"signature_name": "half", "inputs": [1.5]}, 501),
    (PREDICT, "post", "broken", "", ROW, 503),
    (PREDICT_VERSION, "post", "digits", "1", ROW, 200),
    (PREDICT_VERSION, "post", "digits", "9" * 20, ROW, 400),
    (PREDICT_VERSION, "post", "digits", "2", ROW, 404),
    (PREDICT_VERSION, "post", "digits", "1", {"instances": [[[0.123456789] * 8] * 8] * 10}, 413),
    (PREDICT_VERSION, "post", "foreign", "1", {"signature_name": "half", "inputs": [1.5]}, 501),
    (PREDICT_VERSION, "post", "broken", "1", ROW, 503),
    ("/v2/health/live", "get", "", "", None, 200),
    ("/v2/health/ready", "get", "", "", None, 503),
    ("/metrics", "get", "", "", None, 200),
    ("/openapi.json", "get", "", "", None, 200),
]


@pytest.mark.parametrize(("path", "method", "model", "version", "body", "status"), ANSWERS)
def test_an_answer_is_as_the_document_says(client, path, method, model, version, body, status):
    response = client.open(path.format(model=model, version=version), method=method.upper(), json=body)
    assert response.status_code == status, response.text
    described = DOCUMENT["paths"][path][method]["responses"][str(status)]
    [(media_type, content)] = described["content"].items()
    assert response.mimetype == media_type
    if media_type == "application/json":
        check_schema(response.json, content["schema"])
    assert re.fullmatch(REQUEST_ID["pattern"], response.headers["X-Request-ID"])


def test_every_documented_status_is_one_that_was_seen(client):
    etag = client.get("/openapi.json").headers["ETag"]
    assert client.get("/openapi.json", headers={"If-None-Match": etag}).status_code == 304
    # 500 needs a fault that nobody has found yet, and 200 needs models that all load.
    seen = {(path, status) for path, _, _, _, _, status in ANSWERS}
    seen |= {("/openapi.json", 304), (PREDICT, 500), (PREDICT_VERSION, 500), ("/v2/health/ready", 200)}
    documented = {(path, int(status)) for path, _, operation in operations() for status in operation["responses"]}
    documented = {(path, status) for path, status in documented if path not in OPEN_INFERENCE}
    assert documented == seen


def test_the_document_states_the_limit_of_the_settings():
    description = build_document(Settings(max_body_bytes=12345))["paths"][PREDICT]["post"]["description"]
    assert "12345 bytes" in description
