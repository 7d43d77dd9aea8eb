"""What the operations of the OpenAPI document are made of: answers, failures, parameters and headers."""

from typing import Any

from service.openapi.schemas import ref

REQUEST_ID = {"X-Request-ID": {"$ref": "#/components/headers/RequestId"}}
RETRY_AFTER = {"Retry-After": {"$ref": "#/components/headers/RetryAfter"}}
TOO_LARGE = "The body is larger than the {} bytes that are accepted. Send fewer rows at a time."
NOT_LOADED = "Model 'digits' is still being loaded. Try again shortly."
UNKNOWN_MODEL = "Servable not found for request: Latest(mnits). Models: breast_cancer, diabetes, digits."
INTERNAL = "Internal error. The log has its cause under request id 6f0c2d6e."
MODEL = {
    "name": "model",
    "in": "path",
    "required": True,
    "description": "A model's name, as its folder in the repository is called.",
    "schema": {"type": "string", "pattern": "^[^/:]+$"},
    "example": "digits",
}
VERSION = {
    "name": "version",
    "in": "path",
    "required": True,
    "description": "A version's number.",
    "schema": {"type": "integer", "minimum": 0, "maximum": 2**63 - 1},
    "example": 1,
}


def operation(tag: str, name: str, summary: str) -> dict[str, Any]:
    """The part that all operations have."""
    return {"tags": [tag], "operationId": name, "summary": summary}


def json_answer(description: str, schema: str, examples: dict[str, Any]) -> dict[str, Any]:
    """A JSON answer of the given schema; `examples` is `{"example": ...}`, `{"examples": ...}` or empty."""
    content = {"application/json": {"schema": ref(schema)} | examples}
    return {"description": description, "headers": REQUEST_ID, "content": content}


def failure(description: str, sentence: str, headers: dict[str, Any] | None = None) -> dict[str, Any]:
    """An error answer with an example of its sentence."""
    answer = json_answer(description, "Error", {"example": {"error": sentence}})
    return answer | {"headers": REQUEST_ID | (headers or {})}


def text_answer(description: str) -> dict[str, Any]:
    """An answer in plain text."""
    return {
        "description": description,
        "headers": REQUEST_ID,
        "content": {"text/plain": {"schema": {"type": "string"}}},
    }


LARGE_VERSION = {
    "400": failure("The version is too large to be one.", "Failed to convert version: 9223372036854775808 to numeric.")
}
HEADERS = {
    "RequestId": {
        "description": "The request's own `X-Request-ID` where it is a sane one, else a new one; the log has it.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
    },
    "RetryAfter": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}},
}
