"""TensorFlow Serving's routes in the OpenAPI document, and those for labels."""

from dataclasses import dataclass
from typing import Any

from service.openapi.examples import PREDICTIONS, STATUS, SUMMARY
from service.openapi.parts import (
    INTERNAL,
    LARGE_VERSION,
    MODEL,
    NOT_LOADED,
    RETRY_AFTER,
    TOO_LARGE,
    UNKNOWN_MODEL,
    VERSION,
    failure,
    json_answer,
    operation,
)
from service.openapi.schemas import ref

LABEL = {
    "name": "label",
    "in": "path",
    "required": True,
    "description": "A label that stands for a version.",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
    "example": "stable",
}
UNKNOWN_LABEL = {
    "400": failure("The model has no such label.", "Unrecognized servable version label: stabel. Labels: stable")
}
UNKNOWN = {"404": failure("No such model or version.", UNKNOWN_MODEL)}
NOT_SERVED = {"404": failure("No such model or version.", "Could not find any versions of model mnits")}
UNAVAILABLE = {"503": failure("The model is not loaded yet, or failed to load.", NOT_LOADED, RETRY_AFTER)}
AWAY = {
    "503": failure("The engine is being started again.", "The engine is being started. Try again shortly.", RETRY_AFTER)
}
MISFIT = 'Serving signature name: "clasify" not found in signature def. Signatures: classify, serving_default'
NO_EXAMPLES = "No signature was found with the name: clasify. Signatures: classify, serving_default"
NO_FORM = "Conversion of JSON Value: 1.5 to type: half"
PROBLEMS = {"flat": "saved_model.pb must lie in a version's folder, e.g. flat/1/saved_model.pb"}
LATE = "The model did not answer before the request's deadline."
EXAMPLES = {
    "signature_name": "classify_examples",
    "context": {"country": "NL"},
    "examples": [{"age": 39, "hours": 40.0}, {"age": 50, "hours": 13.5}],
}


@dataclass(frozen=True)
class Target:
    """A way to name a version of a model.

    Attributes:
        path: what the path has of it.
        name, words: what the operation's name and summary have of it.
        parameters: the path's.
        failures: how it can be wrong in itself.
    """

    path: str
    name: str
    words: str
    parameters: tuple[dict[str, Any], ...]
    failures: dict[str, Any]


TARGETS = (
    Target("", "", "", (MODEL,), {}),
    Target("/versions/{version}", "OfVersion", ", of a given version", (MODEL, VERSION), LARGE_VERSION),
    Target("/labels/{label}", "OfLabel", ", of a label's version", (MODEL, LABEL), UNKNOWN_LABEL),
)


def tensorflow_serving_paths(max_body_bytes: int) -> dict[str, Any]:
    """The routes; those of a model exist for the newest version, for a given one and for that of a label.

    Args:
        max_body_bytes: the largest body that is accepted.
    """
    listing = operation("models", "listModels", "All models with their versions and what is known of them")
    listing["responses"] = {
        "200": json_answer("The models.", "ModelList", {"example": {"models": [SUMMARY], "problems": PROBLEMS}})
    }
    paths: dict[str, Any] = {"/v1/models": {"get": listing}}
    for target in TARGETS:
        path = f"/v1/models/{{model}}{target.path}"
        paths[path] = {"get": aim(status_operation(), target)}
        paths[f"{path}/metadata"] = {"get": aim(metadata_operation(), target)}
        paths[f"{path}:predict"] = {"post": aim(predict_operation(max_body_bytes), target)}
        paths[f"{path}:classify"] = {"post": aim(classify_operation(max_body_bytes), target)}
        paths[f"{path}:regress"] = {"post": aim(regress_operation(max_body_bytes), target)}
    paths["/v1/models/{model}/labels"] = {"get": labels_operation()}
    paths["/v1/models/{model}/labels/{label}"] |= change_operations(max_body_bytes)
    return paths


def aim(part: dict[str, Any], target: Target) -> dict[str, Any]:
    """An operation on the version that a target names."""
    # Swagger UI shows parameters only where the operation itself has them, not the path.
    return part | {
        "operationId": part["operationId"] + target.name,
        "summary": part["summary"] + target.words,
        "parameters": list(target.parameters),
        "responses": dict(sorted((target.failures | part["responses"]).items())),
    }


def status_operation() -> dict[str, Any]:
    """The states of a model's versions."""
    answer = json_answer("The versions and their states, newest first.", "ModelStatus", {"example": STATUS})
    return operation("models", "getStatus", "States") | {"responses": {"200": answer} | NOT_SERVED}


def metadata_operation() -> dict[str, Any]:
    """The signatures of a model."""
    answer = json_answer("The signatures with their inputs and outputs.", "ModelMetadata", {})
    return operation("models", "getMetadata", "Signatures") | {"responses": {"200": answer} | UNKNOWN | UNAVAILABLE}


def predict_operation(max_body_bytes: int) -> dict[str, Any]:
    """`:predict`, with an example for each kind of model."""
    requests = {key: {"summary": text, "value": request} for key, (text, request, _) in PREDICTIONS.items()}
    answers = {key: {"summary": text, "value": answer} for key, (text, _, answer) in PREDICTIONS.items()}
    return operation("predict", "predict", "Predictions") | {
        "description": (
            "Rows are sent as `instances` and answered as `predictions`; whole tensors are sent as `inputs` and "
            f"answered as `outputs`. {describe_bodies(max_body_bytes)}"
        ),
        "requestBody": json_body("PredictRequest", {"examples": requests}),
        "responses": {
            "200": json_answer("The model's outputs.", "PredictResponse", {"examples": answers}),
            "400": failure("The request does not fit the signature; the sentence names the place.", MISFIT),
            "501": failure("JSON has no form for the type of an input.", NO_FORM),
            **inference_failures(max_body_bytes),
        },
    }


def classify_operation(max_body_bytes: int) -> dict[str, Any]:
    """`:classify`, for signatures that take serialized `tf.Example`s."""
    results = {"results": [[["<=50K", 0.83], [">50K", 0.17]], [["<=50K", 0.95], [">50K", 0.05]]]}
    return operation("predict", "classify", "Classes of examples") | {
        "description": (
            "For signatures whose one input `inputs` takes serialized `tf.Example`s, and which give `classes`, "
            f"`scores` or both. {describe_bodies(max_body_bytes)}"
        ),
        "requestBody": json_body("ExamplesRequest", {"example": EXAMPLES}),
        "responses": {
            "200": json_answer("Labels and scores for each example.", "ClassifyResponse", {"example": results}),
            "400": failure("The request does not fit the signature.", NO_EXAMPLES),
            **inference_failures(max_body_bytes),
        },
    }


def regress_operation(max_body_bytes: int) -> dict[str, Any]:
    """`:regress`, for signatures that take serialized `tf.Example`s."""
    return operation("predict", "regress", "Numbers for examples") | {
        "description": (
            "For signatures whose one input `inputs` takes serialized `tf.Example`s, and which give `outputs`, one "
            f"number for each. {describe_bodies(max_body_bytes)}"
        ),
        "requestBody": json_body("ExamplesRequest", {"example": EXAMPLES | {"signature_name": "regress_examples"}}),
        "responses": {
            "200": json_answer("A number for each example.", "RegressResponse", {"example": {"results": [2.5, -1.0]}}),
            "400": failure("The request does not fit the signature.", NO_EXAMPLES),
            **inference_failures(max_body_bytes),
        },
    }


def describe_bodies(max_body_bytes: int) -> str:
    """What is said of the bodies of all inferences."""
    return (
        f"Bodies may have up to {max_body_bytes} bytes, may be compressed with gzip or deflate, and are read as JSON "
        "whatever their content type."
    )


def inference_failures(max_body_bytes: int) -> dict[str, Any]:
    """How every inference can fail."""
    return {
        **UNKNOWN,
        **too_large(max_body_bytes),
        "500": failure("A fault of the service or the model.", INTERNAL),
        "503": failure("The model is not loaded, or too many rows are waiting already.", NOT_LOADED, RETRY_AFTER),
        "504": failure("There was no answer within the time that the client or the settings give.", LATE),
    }


def too_large(max_body_bytes: int) -> dict[str, Any]:
    """The failure of a body beyond the limit."""
    return {"413": failure("The body is larger than the service accepts.", TOO_LARGE.format(max_body_bytes))}


def json_body(schema: str, examples: dict[str, Any]) -> dict[str, Any]:
    """A request's body of the given schema; `examples` is `{"example": ...}` or `{"examples": ...}`."""
    return {"required": True, "content": {"application/json": {"schema": ref(schema)} | examples}}


def labels_operation() -> dict[str, Any]:
    """The labels of a model."""
    answer = json_answer("Version numbers by label.", "Labels", {"example": {"labels": {"stable": 1}}})
    return operation("models", "listLabels", "Labels and their versions") | {
        "parameters": [MODEL],
        "responses": {"200": answer} | NOT_SERVED,
    }


def change_operations(max_body_bytes: int) -> dict[str, Any]:
    """Setting and removing a label."""
    known = {"404": failure("No such model, version or label.", "Could not find version 9 of model digits")}
    put = operation("models", "setLabel", "Point a label at a version") | {
        "parameters": [MODEL, LABEL],
        "requestBody": json_body("LabelRequest", {"example": {"version": 1}}),
        "responses": {
            "200": json_answer("It does.", "LabelChange", {"example": {"label": "stable", "version": 1}}),
            "400": failure("The request is not what it should be.", NO_VERSION),
            **known,
            **too_large(max_body_bytes),
            **AWAY,
        },
    }
    delete = operation("models", "removeLabel", "Remove a label") | {
        "parameters": [MODEL, LABEL],
        "responses": {
            "200": json_answer("It is gone.", "LabelChange", {"example": {"label": "stable", "version": None}}),
            **known,
            **AWAY,
        },
    }
    return {"put": put, "delete": delete}


NO_VERSION = 'JSON Value: {} not formatted correctly. Expecting {"version": N}, a version of the model.'
