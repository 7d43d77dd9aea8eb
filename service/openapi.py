"""The OpenAPI document of the HTTP API: every route, every status that it can answer, schemas and real examples."""

from typing import Any

from service.openapi_examples import PREDICTIONS, STATUS, SUMMARY
from service.openapi_open_inference import open_inference_paths
from service.openapi_open_inference_schemas import SCHEMAS as OPEN_INFERENCE_SCHEMAS
from service.openapi_parts import (
    HEADERS,
    INTERNAL,
    LARGE_VERSION,
    MODEL,
    NOT_LOADED,
    REQUEST_ID,
    RETRY_AFTER,
    TOO_LARGE,
    UNKNOWN_MODEL,
    VERSION,
    failure,
    json_answer,
    operation,
    text_answer,
)
from service.openapi_schemas import SCHEMAS, ref
from service.openapi_security import add_security

API_VERSION = "1"
DESCRIPTION = """\
Kiln serves SavedModels over TensorFlow Serving's REST API.

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
        "info": {"title": "Kiln", "version": API_VERSION, "description": DESCRIPTION},
        "servers": [{"url": "."}],
        "tags": [
            {"name": "predict", "description": "Ask a model."},
            {"name": "models", "description": "What is there to ask."},
            {"name": "health", "description": "For probes and monitoring."},
        ],
        "paths": model_paths(settings.max_body_bytes)
        | open_inference_paths(settings.max_body_bytes)
        | health_paths()
        | document_paths(),
        "components": {"schemas": SCHEMAS | OPEN_INFERENCE_SCHEMAS, "headers": HEADERS},
    }
    return add_security(document, has_tokens=settings.token_file is not None)


def model_paths(max_body_bytes: int) -> dict[str, Any]:
    """The routes of TensorFlow Serving's REST API; each exists for the newest version and for a given one."""
    listing = operation("models", "listModels", "All models with their versions and what is known of them")
    listing["responses"] = {"200": json_answer("The models.", "ModelList", {"example": {"models": [SUMMARY]}})}
    paths = {"/v1/models": {"get": listing}}
    for suffix, of_version in (("", False), ("/versions/{version}", True)):
        path = f"/v1/models/{{model}}{suffix}"
        paths[path] = {"get": status_operation(of_version)}
        paths[f"{path}/metadata"] = {"get": metadata_operation(of_version)}
        paths[f"{path}:predict"] = {"post": predict_operation(of_version, max_body_bytes)}
    return paths


def model_operation(tag: str, name: str, summary: str, of_version: bool) -> dict[str, Any]:
    """An operation on a model's newest version or, `of_version`, on the one that the path gives."""
    given = operation(tag, f"{name}OfVersion", f"{summary}, of a given version")
    newest = operation(tag, name, summary)
    # Swagger UI shows parameters only where the operation itself has them, not the path.
    return (given if of_version else newest) | {"parameters": [MODEL, VERSION] if of_version else [MODEL]}


def predict_operation(of_version: bool, max_body_bytes: int) -> dict[str, Any]:
    """`:predict`, with an example for each kind of model."""
    requests = {key: {"summary": text, "value": request} for key, (text, request, _) in PREDICTIONS.items()}
    answers = {key: {"summary": text, "value": answer} for key, (text, _, answer) in PREDICTIONS.items()}
    return model_operation("predict", "predict", "Predictions", of_version) | {
        "description": (
            "Rows are sent as `instances` and answered as `predictions`; whole tensors are sent as `inputs` and "
            f"answered as `outputs`. Bodies may have up to {max_body_bytes} bytes and are read as JSON whatever "
            "their content type."
        ),
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": ref("PredictRequest"), "examples": requests}},
        },
        "responses": {
            "200": json_answer("The model's outputs.", "PredictResponse", {"examples": answers}),
            "400": failure("The request does not fit the signature; the sentence names the place.", MISFIT),
            "404": failure("No such model or version.", UNKNOWN_MODEL),
            "413": failure("The body is larger than the service accepts.", TOO_LARGE.format(max_body_bytes)),
            "500": failure("A fault of the service or the model.", INTERNAL),
            "501": failure("JSON has no form for the type of an input.", NO_FORM),
            "503": failure("The model is not loaded yet, or failed to load.", NOT_LOADED, RETRY_AFTER),
        },
    }


def status_operation(of_version: bool) -> dict[str, Any]:
    """The states of a model's versions."""
    responses = {
        "200": json_answer("The versions and their states, newest first.", "ModelStatus", {"example": STATUS}),
        **(LARGE_VERSION if of_version else {}),
        "404": failure("No such model or version.", "Could not find any versions of model mnits"),
    }
    return model_operation("models", "getStatus", "States", of_version) | {"responses": responses}


def metadata_operation(of_version: bool) -> dict[str, Any]:
    """The signatures of a model."""
    responses = {
        "200": json_answer("The signatures with their inputs and outputs.", "ModelMetadata", {}),
        **(LARGE_VERSION if of_version else {}),
        "404": failure("No such model or version.", UNKNOWN_MODEL),
        "503": failure("The model is not loaded yet, or failed to load.", NOT_LOADED, RETRY_AFTER),
    }
    return model_operation("models", "getMetadata", "Signatures", of_version) | {"responses": responses}


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


MISFIT = 'Serving signature name: "clasify" not found in signature def. Signatures: classify, serving_default'
NO_FORM = "Conversion of JSON Value: 1.5 to type: half"
WAITING = "version 1 is in state LOADING"
NOT_READY = {"live": True, "ready": False, "reason": f"model digits: {WAITING}", "models": {"digits": WAITING}}
