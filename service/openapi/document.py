"""The OpenAPI document of the HTTP API: every route, every status that it can answer, schemas and real examples."""

from typing import Any

from service import VERSION
from service.openapi.open_inference import open_inference_paths
from service.openapi.open_inference_schemas import SCHEMAS as OPEN_INFERENCE_SCHEMAS
from service.openapi.parts import HEADERS, REQUEST_ID, json_answer, operation, text_answer
from service.openapi.schemas import SCHEMAS
from service.openapi.security import add_security
from service.openapi.tensorflow_serving import tensorflow_serving_paths

DESCRIPTION = """\
Kiln serves SavedModels over TensorFlow Serving's REST API and the Open Inference Protocol, version 2.

- Inputs are raw values in the units of the data; scaling, decoding and labels are inside the models.
- `GET /v1/models` says which models there are, what they take and what they answer.
- Every error is `{"error": "a sentence"}`. A 500 says nothing of its cause; the log has it under the request's id,
  which each answer carries as `X-Request-ID`.
- Paths under `/v1/` are matched without regard to case, as TensorFlow Serving does.
"""


def build_document(settings: Any) -> dict[str, Any]:
    """Describes the HTTP API.

    Args:
        settings: the service's `Settings`; the document states `max_body_bytes` and whether there is a token file.

    Returns:
        An OpenAPI 3.1 document, ready for JSON.
    """
    document = {
        "openapi": "3.1.0",
        "info": {"title": "Kiln", "version": VERSION, "description": DESCRIPTION},
        "servers": [{"url": "."}],
        "tags": [
            {"name": "predict", "description": "Ask a model."},
            {"name": "models", "description": "What is there to ask."},
            {"name": "health", "description": "For probes and monitoring."},
        ],
        "paths": tensorflow_serving_paths(settings.max_body_bytes)
        | open_inference_paths(settings.max_body_bytes)
        | health_paths()
        | document_paths(),
        "components": {"schemas": SCHEMAS | OPEN_INFERENCE_SCHEMAS, "headers": HEADERS},
    }
    return add_security(document, has_tokens=settings.token_file is not None)


def health_paths() -> dict[str, Any]:
    """Probes and metrics."""
    live = operation("health", "live", "Whether the process answers") | {
        "responses": {"200": json_answer("It does.", "Live", {"example": {"live": True}})}
    }
    ready = operation("health", "ready", "Whether every model is loaded and warmed up") | {
        "responses": {
            "200": json_answer("Every model answers.", "Ready", {"example": {"live": True, "ready": True}}),
            "503": json_answer("Some model does not.", "Ready", {"example": NOT_READY}),
        }
    }
    metrics = operation("health", "metrics", "Counters and timings for Prometheus") | {
        "responses": {"200": text_answer("All workers' metrics in Prometheus' text format.")}
    }
    return {"/v2/health/live": {"get": live}, "/v2/health/ready": {"get": ready}, "/metrics": {"get": metrics}}


def document_paths() -> dict[str, Any]:
    """This document."""
    responses = {
        "200": {
            "description": "An OpenAPI 3.1 document.",
            "headers": REQUEST_ID,
            "content": {"application/json": {"schema": {"type": "object", "required": ["openapi", "paths"]}}},
        },
        "304": {"description": "The document that the request's `If-None-Match` names is still the current one."},
    }
    return {"/openapi.json": {"get": operation("health", "document", "This document") | {"responses": responses}}}


WAITING = "version 1 is in state LOADING"
NOT_READY = {"live": True, "ready": False, "reason": f"model digits: {WAITING}", "models": {"digits": WAITING}}
