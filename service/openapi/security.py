"""Tokens in the OpenAPI document: which scope each operation needs, and how it refuses."""

from typing import Any

from service.auth import ADMIN, METRICS, PREDICT
from service.openapi.parts import failure

SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "description": "A token of the service's token file, of scope `predict`, `metrics` or `admin` (includes both).",
}
OPEN_PATHS = frozenset({"/v2/health/live", "/v2/health/ready", "/openapi.json"})
# By path; every other one needs `predict`.
SCOPES = {
    "/metrics": METRICS,
    "/v2/repository/models/{model}/load": ADMIN,
    "/v2/repository/models/{model}/unload": ADMIN,
}
LABEL_PATH = "/v1/models/{model}/labels/{label}"
LABEL_METHODS = frozenset({"put", "delete"})

CHALLENGE = {"WWW-Authenticate": {"$ref": "#/components/headers/Challenge"}}
CHALLENGE_HEADER = {"description": "`Bearer`: a token is needed.", "schema": {"type": "string", "pattern": "^Bearer "}}
NO_TOKEN = "A token is needed. Send it as the header 'Authorization: Bearer TOKEN'."
OTHER_SCOPE = "The token does not allow this. It needs scope {} and has: {}."
ELSEWHERE = (
    "Without tokens, administration is for this machine only: ask http://127.0.0.1 or http://localhost directly, or "
    "set KILN_TOKEN_FILE and send a token of scope admin."
)


def add_security(document: dict[str, Any], *, has_tokens: bool) -> dict[str, Any]:
    """Adds what a service with tokens asks for, or what one without them refuses.

    Args:
        document: the OpenAPI document without any of that.
        has_tokens: whether the service has a token file.

    Returns:
        A document with the additions.
    """
    paths = {
        path: {method: guard(path, method, operation, has_tokens=has_tokens) for method, operation in methods.items()}
        for path, methods in document["paths"].items()
    }
    components = document["components"]
    if has_tokens:
        headers = components["headers"] | {"Challenge": CHALLENGE_HEADER}
        components = components | {"headers": headers, "securitySchemes": {"token": SCHEME}}
    return document | {"paths": paths, "components": components}


def guard(path: str, method: str, operation: dict[str, Any], *, has_tokens: bool) -> dict[str, Any]:
    """An operation with its scope and its refusals."""
    scope = scope_of(path, method)
    if scope and has_tokens:
        sentence = OTHER_SCOPE.format(scope, PREDICT if scope != PREDICT else METRICS)
        refusals = {
            "401": failure("No token came, or an unknown one.", NO_TOKEN, CHALLENGE),
            "403": failure(f"The token has no scope `{scope}`.", sentence),
        }
        operation = operation | {"security": [{"token": [scope]}]}
    elif scope == ADMIN:
        refusals = {"403": failure("The request comes from another machine.", ELSEWHERE)}
    else:
        return operation
    return operation | {"responses": dict(sorted((operation["responses"] | refusals).items()))}


def scope_of(path: str, method: str) -> str:
    """The scope that an operation needs, or "" where it needs none."""
    if path in OPEN_PATHS:
        return ""
    if path == LABEL_PATH and method in LABEL_METHODS:
        return ADMIN
    return SCOPES.get(path, PREDICT)
