"""The OpenAPI document against itself, against the routes, and against what the service answers."""

import dataclasses
import re

import jsonschema
import pytest
from flask.testing import FlaskClient
from openapi_spec_validator import validate

from service.app import KilnApp, create_app
from service.engine.interface import Catalog
from service.errors import DeadlineExceeded, ModelUnavailable, QueueFull
from service.openapi.document import build_document
from service.openapi.examples import PREDICTIONS
from service.openapi.open_inference import open_inference_paths
from service.settings import Settings
from tests.service.published_models import publish

LIMIT = 4000
PAGES = {"/", "/docs", "/docs/<name>", "/pages/<path:filename>"}
DOCUMENT = build_document(Settings())
REQUEST_ID = DOCUMENT["components"]["headers"]["RequestId"]["schema"]
OPEN_INFERENCE = open_inference_paths(LIMIT)  # test_open_inference_openapi.py
MODELS = ("digits", "breast_cancer", "diabetes", "foreign", "examples", "broken")
ROW = {"signature_name": "classify", "instances": [[[0] * 8] * 8]}


@pytest.fixture
def app(tmp_path) -> KilnApp:
    repository = publish(tmp_path, *MODELS)
    engine = repository.engine
    for name in ("digits", "foreign", "examples"):
        engine.set_label(name, "stable", 1)
    # A label may stand for a version that is gone since.
    catalog = engine.catalog()
    labelled = {"broken": dataclasses.replace(catalog.models["broken"], labels={"stable": 1})}
    engine.catalog = lambda: Catalog(dict(engine._models) | labelled)
    return create_app(Settings(max_body_bytes=LIMIT), repository)


@pytest.fixture
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


MODEL, VERSION, LABEL = (
    "/v1/models/{model}",
    "/v1/models/{model}/versions/{version}",
    "/v1/models/{model}/labels/{label}",
)
STABLE = {"version": "1", "label": "stable"}
LARGE = {"instances": [[[0.123456789] * 8] * 8] * 10}
HALF = {"signature_name": "half", "inputs": [1.5]}
EXAMPLES = {"examples": [{"a": 1}]}
REGRESS = EXAMPLES | {"signature_name": "regress"}


def lookups(path, method, body, *, unloaded=503):
    """A route of models: found, and all the ways not to be."""
    model = "examples" if path.endswith(("classify", "regress")) else "digits"
    yield path, method, model, STABLE, body, 200
    yield path, method, "mnits", STABLE, body, 404
    if "{version}" in path:
        yield path, method, model, {"version": "9" * 20}, body, 400
        yield path, method, model, {"version": "9"}, body, 404
    if "{label}" in path:
        yield path, method, model, {"label": "canary"}, body, 400
    yield path, method, "broken", STABLE, body, unloaded


ANSWERS = [
    ("/v1/models", "get", "", {}, None, 200),
    ("/v1/models/{model}/labels", "get", "digits", {}, None, 200),
    ("/v1/models/{model}/labels", "get", "mnits", {}, None, 404),
    (LABEL, "put", "digits", STABLE, {"version": 1}, 200),
    (LABEL, "put", "digits", STABLE, {}, 400),
    (LABEL, "put", "digits", STABLE, {"version": 9}, 404),
    (LABEL, "put", "digits", STABLE, LARGE, 413),
    (LABEL, "delete", "digits", STABLE, None, 200),
    (LABEL, "delete", "mnits", STABLE, None, 404),
    ("/v2/health/live", "get", "", {}, None, 200),
    ("/v2/health/ready", "get", "", {}, None, 503),
    ("/metrics", "get", "", {}, None, 200),
    ("/openapi.json", "get", "", {}, None, 200),
]
for target in (MODEL, VERSION, LABEL):
    ANSWERS += [
        *lookups(target, "get", None, unloaded=200),
        *lookups(f"{target}/metadata", "get", None),
        *lookups(f"{target}:predict", "post", ROW),
        *lookups(f"{target}:classify", "post", EXAMPLES),
        *lookups(f"{target}:regress", "post", REGRESS),
        (f"{target}:predict", "post", "digits", STABLE, {"instances": ["a"]}, 400),
        (f"{target}:predict", "post", "digits", STABLE, {"signature_name": "image_bytes", "instances": ["no"]}, 400),
        (f"{target}:predict", "post", "foreign", STABLE, HALF, 501),
        *((f"{target}:{verb}", "post", "examples", STABLE, {}, 400) for verb in ("classify", "regress")),
        *((f"{target}:{verb}", "post", "digits", STABLE, LARGE, 413) for verb in ("predict", "classify", "regress")),
    ]


@pytest.mark.parametrize(("path", "method", "model", "target", "body", "status"), ANSWERS)
def test_an_answer_is_as_the_document_says(client, path, method, model, target, body, status):
    response = client.open(path.format(model=model, **target), method=method.upper(), json=body)
    check_answer(response, path, method, status)


def check_answer(response, path, method, status):
    assert response.status_code == status, response.text
    described = DOCUMENT["paths"][path][method]["responses"][str(status)]
    [(media_type, content)] = described["content"].items()
    assert response.mimetype == media_type
    if media_type == "application/json":
        check_schema(response.json, content["schema"])
    assert re.fullmatch(REQUEST_ID["pattern"], response.headers["X-Request-ID"])
    return described


FAILING = [
    (f"{target}:{verb}", model, body)
    for target in (MODEL, VERSION, LABEL)
    for verb, model, body in (
        ("predict", "digits", ROW),
        ("classify", "examples", EXAMPLES),
        ("regress", "examples", REGRESS),
    )
]


@pytest.mark.parametrize(("path", "model", "body"), FAILING)
@pytest.mark.parametrize(
    ("error", "status"),
    [(DeadlineExceeded("Too late."), 504), (QueueFull("Too many rows.", 1), 503), (RuntimeError("a bug"), 500)],
)
def test_a_failing_engine_is_as_the_document_says(app, monkeypatch, path, model, body, error, status):
    def fail(*_arguments):
        raise error

    monkeypatch.setattr(app.repository.engine, "call", fail)
    response = app.test_client().post(path.format(model=model, **STABLE), json=body)
    described = check_answer(response, path, "post", status)
    if status == 503:
        assert response.headers["Retry-After"] == "1"
        assert "Retry-After" in described["headers"]


@pytest.mark.parametrize("method", ["put", "delete"])
def test_an_engine_that_is_away_is_as_the_document_says(app, monkeypatch, method):
    def fail(*_arguments):
        raise ModelUnavailable("The engine is being started. Try again shortly.", 2)

    monkeypatch.setattr(app.repository.engine, "set_label", fail)
    path = LABEL.format(model="digits", **STABLE)
    response = app.test_client().open(path, method=method.upper(), json={"version": 1})
    check_answer(response, LABEL, method, 503)
    assert response.headers["Retry-After"] == "2"


def test_every_documented_status_is_one_that_was_seen(client):
    etag = client.get("/openapi.json").headers["ETag"]
    assert client.get("/openapi.json", headers={"If-None-Match": etag}).status_code == 304
    # 200 needs models that all load; 403 is for tokens and other machines, in test_access.py.
    seen = {(path, method, status) for path, method, *_, status in ANSWERS}
    seen |= {("/openapi.json", "get", 304), ("/v2/health/ready", "get", 200)}
    seen |= {(path, "post", status) for path, _, _ in FAILING for status in (500, 503, 504)}
    seen |= {(LABEL, method, status) for method in ("put", "delete") for status in (403, 503)}
    documented = {
        (path, method, int(status))
        for path, method, operation in operations()
        for status in operation["responses"]
        if path not in OPEN_INFERENCE
    }
    assert documented == seen


def test_the_document_states_the_limit_of_the_settings():
    description = build_document(Settings(max_body_bytes=12345))["paths"][f"{MODEL}:predict"]["post"]["description"]
    assert "12345 bytes" in description
