"""JSON schemas of the HTTP API's bodies, for the OpenAPI document."""

from typing import Any


def record(properties: dict[str, Any], *, optional: tuple[str, ...] = (), description: str = "") -> dict[str, Any]:
    """An object whose keys are all required but for `optional`; further keys may be added to answers later."""
    required = [name for name in properties if name not in optional]
    schema = {"type": "object", "properties": properties, "required": required}
    return schema | ({"description": description} if description else {})


def list_of(items: dict[str, Any], **limits: int) -> dict[str, Any]:
    """A list of such items."""
    return {"type": "array", "items": items} | limits


def ref(name: str) -> dict[str, str]:
    """A reference to another schema."""
    return {"$ref": f"#/components/schemas/{name}"}


TEXT = {"type": "string"}
NUMBER = {"type": "number"}
COUNT = {"type": "integer", "minimum": 0}
VERSION_NUMBER = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
STATE = {"type": "string", "enum": ["START", "LOADING", "AVAILABLE", "UNLOADING", "END"]}
SIGNATURE_NAME = {
    "type": "string",
    "default": "serving_default",
    "description": (
        "`classify` answers labels, `image_bytes` takes PNG or JPEG files, `named_features` names inputs. The "
        "orientation in a picture's EXIF data is not applied."
    ),
}
VERSION_STATUS = record(
    {
        "version": {"type": "string", "pattern": "^[0-9]+$"},
        "state": STATE,
        "status": record({"error_code": TEXT, "error_message": TEXT}),
        "batching": {
            "type": "object",
            "additionalProperties": record({"enabled": {"type": "boolean"}, "reason": TEXT}),
            "description": "Whether rows of several requests for a signature run as one call, and why, by signature.",
        },
    },
    optional=("batching",),
)
NAMED = record({"name": TEXT, "unit": TEXT})
DIMENSION = record({"size": {"type": "string", "pattern": "^-?[0-9]+$"}, "name": TEXT}, optional=("name",))
TENSOR_INFO = record(
    {
        "dtype": {"type": "string", "pattern": "^DT_[A-Z0-9_]+$"},
        "tensor_shape": record({"dim": list_of(DIMENSION), "unknown_rank": {"type": "boolean"}}),
        "name": TEXT,
    }
)
TENSOR_INFOS = {"type": "object", "additionalProperties": TENSOR_INFO}
SIGNATURE = record({"inputs": TENSOR_INFOS, "outputs": TENSOR_INFOS, "method_name": TEXT})

# What `GET /v1/models` repeats of a model's `model.json`.
DESCRIBED = {
    "task": {"enum": ["binary", "multiclass", "regression"]},
    "labels": list_of(TEXT) | {"description": "Class names by class id; empty for a regression."},
    "input": record(
        {
            "kind": {"enum": ["image", "features"]},
            "name": TEXT,
            "shape": list_of(COUNT),
            "range": {"type": ["array", "null"], "items": NUMBER, "minItems": 2, "maxItems": 2},
        }
    ),
    "features": list_of(NAMED),
    "target": NAMED,
    "metrics": {"type": "object", "description": "Figures on the test data, and a baseline's beside them."},
    "operating_point": {
        "type": ["object", "null"],
        "description": "From which probability on a binary classifier answers its second label.",
    },
    "data": {"type": "object", "description": "What it was trained on: source, split, checksum."},
    "example": {"type": "object", "description": "A row of the test data and its true value."},
    "created": {"type": "string", "format": "date-time"},
}

SCHEMAS = {
    "Error": {
        "type": "object",
        "properties": {"error": {"type": "string", "minLength": 1}},
        "required": ["error"],
        "additionalProperties": False,
    },
    "Bytes": {
        "type": "object",
        "description": "Bytes in base64, for string inputs.",
        "properties": {"b64": {"type": "string", "contentEncoding": "base64"}},
        "required": ["b64"],
        "additionalProperties": False,
    },
    "Tensor": {
        "description": "A number, bool or string, or lists of them, as deep as the tensor has axes.",
        "anyOf": [NUMBER, TEXT, {"type": "boolean"}, ref("Bytes"), list_of(ref("Tensor"))],
    },
    "Row": {
        "description": "One row: a tensor, or an object of tensors by the signature's input or output names.",
        "anyOf": [ref("Tensor"), {"type": "object", "additionalProperties": ref("Tensor")}],
    },
    "PredictRequest": {
        "type": "object",
        "properties": {
            "signature_name": SIGNATURE_NAME,
            "instances": list_of(ref("Row"), minItems=1) | {"description": "The rows."},
            "inputs": ref("Row") | {"description": "Whole tensors, batch axis first."},
        },
        "oneOf": [{"required": ["instances"]}, {"required": ["inputs"]}],
    },
    "PredictResponse": {
        "type": "object",
        "properties": {
            "predictions": list_of(ref("Row")) | {"description": "The answer to `instances`, in the same order."},
            "outputs": ref("Row") | {"description": "The answer to `inputs`."},
        },
        "oneOf": [{"required": ["predictions"]}, {"required": ["outputs"]}],
        "additionalProperties": False,
    },
    "ExamplesRequest": {
        "type": "object",
        "properties": {
            "signature_name": SIGNATURE_NAME,
            "context": ref("Example") | {"description": "Features that every example has."},
            "examples": list_of(ref("Example"), minItems=1),
        },
        "required": ["examples"],
    },
    "Example": {
        "type": "object",
        "description": "Features by name; all values of one are whole numbers, or have a point, or are texts.",
        "additionalProperties": {"anyOf": [ref("FeatureValue"), list_of(ref("FeatureValue"))]},
    },
    "FeatureValue": {"anyOf": [NUMBER, TEXT, {"type": "boolean"}, ref("Bytes")]},
    "ClassifyResponse": record(
        {"results": list_of(list_of({"type": "array", "prefixItems": [TEXT, NUMBER], "minItems": 2, "maxItems": 2}))}
    ),
    "RegressResponse": record({"results": list_of(NUMBER)}),
    "Labels": record({"labels": {"type": "object", "additionalProperties": VERSION_NUMBER}}),
    "LabelRequest": record({"version": VERSION_NUMBER}) | {"additionalProperties": False},
    "LabelChange": record({"label": TEXT, "version": VERSION_NUMBER | {"type": ["integer", "null"]}}),
    "ModelStatus": record({"model_version_status": list_of(VERSION_STATUS, minItems=1)}),
    "ModelMetadata": record(
        {
            "model_spec": record({"name": TEXT, "signature_name": TEXT, "version": TEXT}),
            "metadata": record(
                {"signature_def": record({"signature_def": {"type": "object", "additionalProperties": SIGNATURE}})}
            ),
        }
    ),
    "Model": record(
        {
            "name": TEXT,
            "versions": list_of(VERSION_STATUS) | {"description": "Newest first."},
            "signatures": list_of(TEXT) | {"description": "Those of the newest version; empty until it is loaded."},
        }
        | DESCRIBED,
        optional=tuple(DESCRIBED),
        description="A model. What its `model.json` would say is absent where it has none.",
    ),
    "ModelList": record(
        {
            "models": list_of(ref("Model")),
            "problems": {
                "type": "object",
                "additionalProperties": TEXT,
                "description": "Entries of the model repository that cannot be served as they lie there, and why.",
            },
        },
        optional=("problems",),
    ),
    "Live": record({"live": {"const": True}}),
    "Ready": record(
        {
            "live": {"const": True},
            "ready": {"type": "boolean"},
            "reason": TEXT | {"description": "What is in the way of readiness."},
            "models": {"type": "object", "additionalProperties": TEXT, "description": "The same by model."},
        },
        optional=("reason", "models"),
    ),
}
