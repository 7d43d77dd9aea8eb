"""Requests that no client would send on purpose, made from the OpenAPI document, and what every answer must keep to."""

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import hypothesis
import schemathesis
from hypothesis import HealthCheck
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
# Refusals on purpose; any other 5xx is a fault, documented or not.
DELIBERATE = {501, 503, 504}
OPERATIONS_THAT_CHANGE_WHAT_IS_SERVED = ("/load", "/unload", "/labels/{label}")

# Sends a method, path, headers and body; gives a werkzeug or requests response.
Send = Callable[[str, str, dict[str, str], bytes | None], Any]

WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/:"), min_size=1, max_size=12)
NAMES = WORDS.filter(lambda name: name not in (".", ".."))
NUMBERS = (0, -1, 256, 2**31, 2**63, -(2**63) - 1, 2**64, 10**30, 0.5, -0.0, 1e39, 1e308, float("nan"), float("inf"))
WORDS_AND_EMPTINESS = (None, True, False, "", "x", "\0", "ééé", "NaN", [], {}, [[]], {"": 1})
FILES = ({"b64": ""}, {"b64": "!"}, {"b64": "AAAA"})
# Copied, since lists and objects are changed later.
EXTREMES = st.sampled_from(NUMBERS + WORDS_AND_EMPTINESS + FILES).map(copy.deepcopy)
JSON = st.recursive(
    EXTREMES | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "X-Request-Timeout": st.sampled_from(["1", "0", "-1", "nan", "inf", "1e9", "", "soon", "0.0000001"]),
        "X-Request-ID": st.sampled_from(["a-b.c_1", "", "x" * 200, "a b", "{}"]),
        "Accept": st.sampled_from(["*/*", "text/html", "nonsense"]),
        "Content-Encoding": st.sampled_from(["identity", "gzip", "deflate", "br", "gzip, gzip"]),
        "Inference-Header-Content-Length": st.sampled_from(["0", "1", "2", "40", "-1", "999999999999", "x", ""]),
        "Authorization": st.sampled_from(["", "Bearer", "Bearer x", "Basic eDp5"]),
        "Origin": st.sampled_from(["http://localhost", "null", "x"]),
        "If-None-Match": st.sampled_from(["*", '"x"', "x"]),
    },
)
MEDIA_TYPES = ("application/json", "application/octet-stream", "text/csv", "text/plain", "", "application/json; a=b")


def operations(schema: schemathesis.BaseSchema) -> list[schemathesis.APIOperation]:
    """The document's operations; those that change what is served come last."""
    found = [result.ok() for result in schema.get_all_operations()]
    return sorted(found, key=lambda operation: operation.path.endswith(OPERATIONS_THAT_CHANGE_WHAT_IS_SERVED))


def fuzz(operation: schemathesis.APIOperation, send: Send, models: list[str], examples: int) -> None:
    """Sends an operation wrong and right requests until one is answered as the document does not say.

    Args:
        operation: which one.
        send: how.
        models: names that are served.
        examples: how many requests to make.
    """

    @hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(requests(operation, models))
    def check(request: tuple[dict[str, Any], dict[str, str], bytes | None]) -> None:
        parameters, headers, body = request
        path = operation.path.format(**{key: quote(str(value), safe="") for key, value in parameters.items()})
        response = send(operation.method.upper(), path, headers, body)
        assert response.status_code < 500 or response.status_code in DELIBERATE, (path, headers, body, response.text)
        case = operation.Case(path_parameters=parameters, headers=headers)
        case.validate_response(response, checks=CHECKS)

    check()


def requests(operation: schemathesis.APIOperation, models: list[str]) -> st.SearchStrategy:
    """Path parameters, headers and body."""
    known = {
        "model": st.sampled_from(models) | st.sampled_from(models) | NAMES,
        "version": st.sampled_from([1, 2, 7, 0, 99, 2**63 - 1, 2**63, 10**40]),
        "label": st.sampled_from(["stable", "canary"]) | NAMES,
    }
    names = [parameter.name for parameter in operation.path_parameters]
    parameters = st.fixed_dictionaries({name: known[name] for name in names})
    return st.tuples(parameters, headers_of(operation), bodies(operation))


def headers_of(operation: schemathesis.APIOperation) -> st.SearchStrategy[dict[str, str]]:
    """Mostly just the right content type, and now and then others."""
    media_types = [body.media_type for body in operation.body] or ["application/json"]
    usual = st.fixed_dictionaries({"Content-Type": st.sampled_from(media_types)})
    unusual = st.fixed_dictionaries({"Content-Type": st.sampled_from(MEDIA_TYPES)})
    return usual | usual | st.builds(dict.__or__, usual | unusual, HEADERS)


def bodies(operation: schemathesis.APIOperation) -> st.SearchStrategy[bytes | None]:
    """Bodies that fit the schema, the document's examples with faults put in, and noise."""
    noise = st.none() | st.binary(max_size=64) | JSON.map(encode)
    if not list(operation.body):
        return noise
    spoilt = st.sampled_from(list(examples_of(operation)) or [{}]).flatmap(spoil).map(encode)
    fitting = operation.as_strategy().map(lambda case: case.body).map(encode_any)
    return spoilt | spoilt | spoilt.flatmap(damage) | fitting | noise


def examples_of(operation: schemathesis.APIOperation) -> Iterator[Any]:
    """The example bodies of the document."""
    for content in operation.definition.raw["requestBody"]["content"].values():
        if "example" in content:
            yield content["example"]
        for example in content.get("examples", {}).values():
            yield example["value"]


@st.composite
def spoil(draw: st.DrawFn, example: Any) -> Any:
    """The example with up to three places changed."""
    holder = {"": copy.deepcopy(example)}
    for _ in range(draw(st.integers(0, 3))):
        parent, key = holder, ""
        # Down to a random place; long lists are entered at their ends.
        while isinstance(parent[key], dict | list) and parent[key] and draw(st.integers(0, 3)):
            parent = parent[key]
            keys = list(parent) if isinstance(parent, dict) else [0, len(parent) - 1]
            key = draw(st.sampled_from(keys))
        change(draw, parent, key)
    return holder[""]


def change(draw: st.DrawFn, parent: Any, key: Any) -> None:
    """Replaces, removes, repeats or wraps one value."""
    kind = draw(st.sampled_from(["replace", "replace", "replace", "remove", "repeat", "wrap", "rename"]))
    if kind == "replace" or (kind != "wrap" and key == ""):
        parent[key] = draw(JSON)
    elif kind == "wrap":
        parent[key] = [parent[key]]
    elif kind == "remove":
        del parent[key]
        if not parent:
            (parent.append if isinstance(parent, list) else parent.setdefault)("x")
    elif isinstance(parent, list):
        parent.append(copy.deepcopy(parent[key]))
    else:
        parent[draw(st.text(max_size=4))] = parent[key] if kind == "repeat" else parent.pop(key)


def damage(body: bytes) -> st.SearchStrategy[bytes]:
    """A body cut short, with a byte changed, or with something behind it."""
    place = st.integers(0, max(len(body) - 1, 0))
    cut = place.map(lambda end: body[:end])
    changed = st.tuples(place, st.binary(min_size=1, max_size=1)).map(
        lambda pair: body[: pair[0]] + pair[1] + body[pair[0] + 1 :]
    )
    return cut | changed | st.binary(min_size=1, max_size=8).map(body.__add__)


def encode(value: Any) -> bytes:
    """JSON, with NaN and Infinity as tokens."""
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def encode_any(value: Any) -> bytes | None:
    """What schemathesis made of a schema: bytes of a binary body, JSON, or no body at all."""
    if isinstance(value, bytes | dict | list | str | int | float | bool | None):
        return encode(value)
    return getattr(value, "data", None)
