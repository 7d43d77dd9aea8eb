"""Every status that the OpenAPI document names is provoked here, for each operation, and no other is ever seen."""

import dataclasses
import re
from functools import cache
from pathlib import Path

import jsonschema
import pytest

from service.app import create_app
from service.engine.repository import Repository
from service.errors import DeadlineExceeded, ModelUnavailable
from service.openapi.document import build_document
from service.openapi.open_inference_schemas import INFERENCES
from service.settings import Settings
from tests.service.fake_engine import FakeEngine
from tests.service.published_models import PublishedModel, publish

LIMIT = 4000
MODELS = ("digits", "breast_cancer", "diabetes", "foreign", "examples")
OPEN = Settings(max_body_bytes=LIMIT)
GUARDED = Settings(max_body_bytes=LIMIT, token_file=Path("tokens"))
TOKENS = "predict let-me-predict\nmetrics let-me-measure\nadmin let-me-run-it\n"


class UnluckyEngine(FakeEngine):
    """Fails in a way that nobody thought of when it runs a model."""

    def call(self, *_):
        raise RuntimeError("secret detail of the inside")


class LateEngine(FakeEngine):
    """Runs no model in time."""

    def call(self, *_):
        raise DeadlineExceeded("There was no answer within 30 seconds.")


class GoneEngine(FakeEngine):
    """Has stopped, but what it served is still in the catalogue."""

    def _fail(self, *_):
        raise ModelUnavailable("The engine is being started. Try again shortly.", 2)

    call = load = unload = set_label = configure = statistics = _fail


ENGINES = {"unlucky": UnluckyEngine, "late": LateEngine, "gone": GoneEngine}
CHANGING = ("load", "unload", "setLabel", "removeLabel")

# What makes an operation answer 200, by name; of a given version, version 1 is asked, and of a label, `stable`.
ROW = {"signature_name": "classify", "instances": [[[0] * 8] * 8]}
EXAMPLES = [{"age": 39, "name": "x"}]
RIGHT = {
    "predict": {"json": ROW},
    "classify": {"model": "examples", "json": {"examples": EXAMPLES}},
    "regress": {"model": "examples", "json": {"signature_name": "regress", "examples": EXAMPLES}},
    "setLabel": {"json": {"version": 1}},
    "infer": {"json": next(iter(INFERENCES.values()))[1]},
}
# What makes any operation answer a status. Worlds: usual, with a broken model; sound, without; loading; an engine that
# is unlucky, late or gone; guarded, by tokens.
WAYS = {
    "200": {"world": "sound"},
    "401": {"world": "guarded"},
    "404": {"model": "mnits"},
    "413": {"json": None, "data": b" " * (LIMIT + 1)},
    "500": {"world": "unlucky"},
    "503": {"world": "loading"},
    "504": {"world": "late"},
}
# Where that does not do.
SPECIAL = {
    ("document", "304"): {"headers": {"If-None-Match": "*"}},
    ("predict", "400"): {"json": {"instances": 1}},
    ("predict", "501"): {"model": "foreign", "json": {"signature_name": "half", "inputs": [1.5]}},
    ("classify", "400"): {"json": {"examples": []}},
    ("regress", "400"): {"json": {"examples": []}},
    ("setLabel", "400"): {"json": {"version": "1"}},
    ("setLabel", "503"): {"world": "gone"},
    ("removeLabel", "503"): {"world": "gone"},
    ("infer", "400"): {"json": {"inputs": 1}},
    ("infer", "501"): {
        "model": "foreign",
        "json": {
            "parameters": {"signature_name": "half"},
            "inputs": [{"name": "x", "datatype": "FP16", "shape": [1], "data": [1.5]}],
        },
    },
    ("index", "400"): {"json": []},
    ("load", "400"): {"json": []},
    ("unload", "400"): {"json": []},
    ("load", "503"): {"world": "gone"},
    ("unload", "503"): {"world": "gone"},
    ("getStatistics", "503"): {"world": "gone"},
    ("getAllStatistics", "503"): {"world": "gone"},
}
TOO_LARGE_VERSION = {"version": 2**63}
UNKNOWN_LABEL = {"label": "none"}
FROM_ELSEWHERE = {"environ_base": {"REMOTE_ADDR": "10.0.0.1"}}
OTHER_SCOPE = {"world": "guarded", "headers": {"Authorization": "Bearer let-me-measure"}}
OTHER_SCOPE_THAN_METRICS = {"world": "guarded", "headers": {"Authorization": "Bearer let-me-predict"}}


def operations(settings):
    """Every operation of the document for these settings: name, path, method and what is said of it."""
    for path, methods in build_document(settings)["paths"].items():
        for method, operation in methods.items():
            yield operation["operationId"], path, method, operation


DOCUMENTED = [
    pytest.param(
        name, path, method, status, settings, id=f"{name}-{status}-{'guarded' if settings.token_file else 'open'}"
    )
    for settings in (OPEN, GUARDED)
    for name, path, method, operation in operations(settings)
    for status in operation["responses"]
    if settings is OPEN or status in ("401", "403")
]


def base_name(name):
    """An operation's name without the way in which it chooses a version."""
    return name.removesuffix("OfVersion").removesuffix("OfLabel")


def way_to(name, status, settings):
    """The request that provokes a status; KeyError where nobody has found one yet."""
    base = base_name(name)
    if status == "403" and settings.token_file:
        way = OTHER_SCOPE_THAN_METRICS if base == "metrics" else OTHER_SCOPE
    elif status == "403":
        way = FROM_ELSEWHERE
    elif status == "400" and name != base and (base, status) not in SPECIAL:
        way = UNKNOWN_LABEL if name.endswith("OfLabel") else TOO_LARGE_VERSION
    else:
        way = SPECIAL[base, status] if (base, status) in SPECIAL else WAYS[status]
    return RIGHT.get(base, {}) | way


@pytest.fixture(scope="module")
def client_of(tmp_path_factory):
    """Makes a client of the service in a world; `owner` has it for itself."""

    @cache
    def make(world, _owner=""):
        folder = tmp_path_factory.mktemp(world)
        repository = publish(folder / "models", *MODELS, *(["broken"] if world == "usual" else []))
        if world in ENGINES:
            repository = Repository(ENGINES[world](folder / "models", PublishedModel))
        if world == "loading":
            repository = Repository(FakeEngine(folder / "models", PublishedModel, loaded=False))
        label_everything(repository.engine)
        settings = OPEN
        if world == "guarded":
            (folder / "tokens").write_text(TOKENS)
            settings = Settings(max_body_bytes=LIMIT, token_file=folder / "tokens")
        return create_app(settings, repository).test_client()

    return make


def label_everything(engine):
    """Gives version 1 of every model the label `stable`, in whatever state it is."""
    for name, model in engine.catalog().models.items():
        engine._models[name] = dataclasses.replace(model, labels={"stable": 1})


def ask(client_of, name, path, method, way):
    request = {"world": "usual", "model": "digits", "version": 1, "label": "stable"} | way
    client = client_of(request.pop("world"), name if name in CHANGING else "")
    address = path.format(**{key: request.pop(key) for key in ("model", "version", "label")})
    return client.open(address, method=method.upper(), **request)


def check_answer(response, operation, document):
    """The answer is as the document says of its status."""
    described = operation["responses"][str(response.status_code)]
    for header in described.get("headers", {}):
        if header in ("X-Request-ID", "WWW-Authenticate"):
            assert header in response.headers
    content = described.get("content", {})
    if not content:
        assert response.data == b""
        return
    schema = content[response.mimetype].get("schema", {})
    if response.mimetype == "application/json":
        rooted = {"$schema": "https://json-schema.org/draft/2020-12/schema", "components": document["components"]}
        jsonschema.validate(response.json, rooted | schema)


@pytest.mark.parametrize(("name", "path", "method", "status", "settings"), DOCUMENTED)
def test_a_documented_status_is_answered(client_of, name, path, method, status, settings):
    response = ask(client_of, name, path, method, way_to(name, status, settings))
    assert str(response.status_code) == status, response.text
    document = build_document(settings)
    check_answer(response, document["paths"][path][method], document)


WORLDS = ("usual", "sound", "loading", "unlucky", "late", "gone")
OTHER_WAYS = {
    "as it should be": {},
    "unknown model": {"model": "mnits"},
    "broken model": {"model": "broken"},
    "unknown version": {"version": 9},
    "version too large": TOO_LARGE_VERSION,
    "unknown label": UNKNOWN_LABEL,
    "no body": {"json": None},
    "no JSON": {"json": None, "data": b"{"},
    "no object": {"json": []},
    "long body": WAYS["413"],
    "from elsewhere": FROM_ELSEWHERE,
    "packed body that is none": {"headers": {"Content-Encoding": "gzip"}},
    "unknown packing": {"headers": {"Content-Encoding": "br"}},
    "no time left": {"headers": {"X-Request-Timeout": "0.000001"}},
    "nothing acceptable": {"headers": {"Accept": "image/png"}},
    "length that is none": {"headers": {"Inference-Header-Content-Length": "x"}},
}


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("way", OTHER_WAYS.values(), ids=OTHER_WAYS)
def test_no_other_status_is_answered(client_of, world, way):
    document = build_document(OPEN)
    for name, path, method, operation in operations(OPEN):
        base = base_name(name)
        response = ask(client_of, name, path, method, RIGHT.get(base, {}) | {"world": world} | way)
        assert str(response.status_code) in operation["responses"], (name, response.text)
        check_answer(response, operation, document)


@pytest.mark.parametrize("method", ["get", "post", "put", "delete", "patch"])
def test_methods_that_an_operation_lacks_are_refused(client_of, method):
    for name, path, own, _ in operations(OPEN):
        if method not in build_document(OPEN)["paths"][path]:
            response = ask(client_of, name, path, method, {})
            assert response.status_code in (400, 405), (path, own)
            assert re.match(r"Malformed request: |.* does not take ", response.json["error"])
