"""The Open Inference Protocol's routes in the OpenAPI document; those under `/v2/health` are in `openapi`."""

from typing import Any

from service.openapi.open_inference_schemas import INFERENCES, METADATA
from service.openapi.parts import (
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
)
from service.openapi.schemas import ref

AWAY = "The engine is being started. Try again shortly."
LATE = "There was no answer within 30 seconds."
MISFIT = "Input 'image' has datatype \"FP64\", but takes FP32"
NO_FORM = "Input 'x' is of type FP16, for which JSON has no form. Send it as binary data."
NO_OVERRIDE = "The parameter 'config' is not supported: models are loaded as they lie in the repository"
NOT_AN_OBJECT = "The request is [], but must be an object"
HEADER_LENGTH = {
    "name": "Inference-Header-Content-Length",
    "in": "header",
    "description": "Bytes of the JSON where binary data follow it; 0: the body is nothing but the one input's bytes.",
    "schema": {"type": "integer", "minimum": 0},
}


def open_inference_paths(max_body_bytes: int) -> dict[str, Any]:
    """The routes; those of a model exist for the newest version and for a given one.

    Args:
        max_body_bytes: the largest body that is accepted.
    """
    service = operation("models", "getService", "The service and its extensions of the Open Inference Protocol")
    service["responses"] = {"200": json_answer("Name, version and extensions.", "ServiceMetadata", {})}
    paths = {"/v2": {"get": service}}
    for suffix, given in (("", False), ("/versions/{version}", True)):
        path = f"/v2/models/{{model}}{suffix}"
        paths[path] = {"get": metadata_operation(given)}
        paths[f"{path}/config"] = {"get": configuration_operation(given)}
        paths[f"{path}/ready"] = {"get": ready_operation(given)}
        paths[f"{path}/infer"] = {"post": infer_operation(given, max_body_bytes)}
        paths[f"{path}/stats"] = {"get": statistics_operation(given)}
    everything = operation("models", "getAllStatistics", "What every version has done")
    everything["responses"] = {"200": json_answer("Counts and times.", "Statistics", {})} | engine_away()
    return paths | {"/v2/models/stats": {"get": everything}} | repository_paths(max_body_bytes)


def open_operation(tag: str, name: str, summary: str, given: bool) -> dict[str, Any]:
    """An operation on a model's newest version or, `given`, on the one that the path gives."""
    if given:
        return operation(tag, f"{name}OfVersion", f"{summary}, of a given version") | {"parameters": [MODEL, VERSION]}
    return operation(tag, name, summary) | {"parameters": [MODEL]}


def lookup_failures(given: bool) -> dict[str, Any]:
    """How a model or version may fail to be found."""
    return (LARGE_VERSION if given else {}) | {"404": failure("No such model or version.", UNKNOWN_MODEL)}


def not_loaded() -> dict[str, Any]:
    """The failure of a model that is known but cannot be asked."""
    return {"503": failure("The model is not loaded yet, or failed to load.", NOT_LOADED, RETRY_AFTER)}


def engine_away() -> dict[str, Any]:
    """The failure of what only the engine's process knows or does."""
    return {"503": failure("The engine is being started again.", AWAY, RETRY_AFTER)}


def metadata_operation(given: bool) -> dict[str, Any]:
    """A model's inputs and outputs."""
    answer = json_answer("Inputs and outputs, by signature.", "OpenModelMetadata", {"example": METADATA})
    responses = {"200": answer} | lookup_failures(given) | not_loaded()
    return open_operation("models", "getModel", "Inputs and outputs", given) | {"responses": responses}


def configuration_operation(given: bool) -> dict[str, Any]:
    """Triton's model configuration."""
    answer = json_answer("What clients of Triton ask for before they send a batch.", "ModelConfiguration", {})
    responses = {"200": answer} | lookup_failures(given) | not_loaded()
    return open_operation("models", "getConfiguration", "Configuration", given) | {"responses": responses}


def ready_operation(given: bool) -> dict[str, Any]:
    """A model's readiness."""
    example = {"name": "digits", "ready": False, "reason": NOT_LOADED}
    responses = {
        "200": json_answer("It answers.", "ModelReady", {"example": {"name": "digits", "ready": True}}),
        **lookup_failures(given),
        "503": json_answer("It does not.", "ModelReady", {"example": example}),
    }
    return open_operation("health", "modelReady", "Whether a model answers", given) | {"responses": responses}


def infer_operation(given: bool, max_body_bytes: int) -> dict[str, Any]:
    """An inference, with an example for each way to ask."""
    requests = {key: {"summary": text, "value": request} for key, (text, request, _) in INFERENCES.items()}
    answers = {key: {"summary": text, "value": answer} for key, (text, _, answer) in INFERENCES.items()}
    inference = open_operation("predict", "infer", "Inference", given)
    answer = json_answer("The model's outputs.", "InferResponse", {"examples": answers})
    answer["content"] |= {"application/octet-stream": {}}
    answer["headers"] = REQUEST_ID | {
        "Inference-Header-Content-Length": {
            "description": "Bytes of the JSON, where binary data follow it.",
            "schema": {"type": "integer", "minimum": 1},
        }
    }
    return inference | {
        "description": (
            "Tensors are sent as `data` in the JSON, or as bytes behind it in the order of the inputs, each with the "
            "parameter `binary_data_size`. The content type does not matter. Bodies may be compressed with gzip or "
            f"deflate, and may have up to {max_body_bytes} bytes before and after."
        ),
        "parameters": [*inference["parameters"], HEADER_LENGTH],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": ref("InferRequest"), "examples": requests},
                "application/octet-stream": {},
            },
        },
        "responses": {
            "200": answer,
            "400": failure("The request does not fit the signature; the sentence names the input.", MISFIT),
            "404": failure("No such model or version.", UNKNOWN_MODEL),
            "413": failure("The body is larger than the service accepts.", TOO_LARGE.format(max_body_bytes)),
            "500": failure("A fault of the service or the model.", INTERNAL),
            "501": failure("JSON has no form for the type of an input or output.", NO_FORM),
            **not_loaded(),
            "504": failure("The request's time is over.", LATE),
        },
    }


def statistics_operation(given: bool) -> dict[str, Any]:
    """What a model has done."""
    responses = {"200": json_answer("Counts and times.", "Statistics", {})} | lookup_failures(given) | engine_away()
    return open_operation("models", "getStatistics", "What it has done", given) | {"responses": responses}


def repository_paths(max_body_bytes: int) -> dict[str, Any]:
    """The repository's index, and loading and unloading."""
    too_large = {"413": failure("The body is larger than the service accepts.", TOO_LARGE.format(max_body_bytes))}
    index = operation("models", "index", "Every version and its state") | {
        "requestBody": optional_body("IndexRequest"),
        "responses": {
            "200": json_answer("The versions that are served, or could not be loaded.", "Index", {}),
            "400": failure("The request is not what it should be.", NOT_AN_OBJECT),
            **too_large,
        },
    }
    load = open_operation("models", "load", "Look for versions and load them", False) | {
        "requestBody": optional_body("ControlRequest"),
        "responses": {
            "200": json_answer("They are loaded.", "Loaded", {}),
            "400": failure("The request is not what it should be, or asks for another model.", NO_OVERRIDE),
            "404": failure("There is no such folder, or no version in it.", UNKNOWN_MODEL),
            **too_large,
            "503": failure("None of the versions can be loaded.", "Model 'digits' could not be loaded", RETRY_AFTER),
        },
    }
    unload = open_operation("models", "unload", "Serve a model no longer", False) | {
        "requestBody": optional_body("ControlRequest"),
        "responses": {
            "200": json_answer("It is served no longer, until it is loaded again.", "Unloaded", {}),
            "400": failure("The request is not what it should be.", NOT_AN_OBJECT),
            "404": failure("It is not served.", "Model 'mnits' is not served"),
            **too_large,
            **engine_away(),
        },
    }
    return {
        "/v2/repository/index": {"post": index},
        "/v2/repository/models/{model}/load": {"post": load},
        "/v2/repository/models/{model}/unload": {"post": unload},
    }


def optional_body(schema: str) -> dict[str, Any]:
    """A JSON body that may be empty."""
    return {"required": False, "content": {"application/json": {"schema": ref(schema)}}}
