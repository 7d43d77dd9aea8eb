"""JSON schemas and examples of the Open Inference Protocol's bodies, for the OpenAPI document."""

from typing import Any

from service.openapi.examples import ZERO
from service.openapi.schemas import COUNT, NUMBER, TEXT, list_of, record, ref

DATATYPES = (
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "BF16", "FP32", "FP64",
    "BYTES",
)  # fmt: skip
FLAG = {"type": "boolean"}
SIZES = list_of(COUNT)
OPEN_SIZES = list_of({"type": "integer", "minimum": -1}) | {"description": "-1 where any size goes."}
DATATYPE = {"type": "string", "enum": list(DATATYPES)}
TENSOR_INFO = record({"name": TEXT, "datatype": TEXT, "shape": OPEN_SIZES})
SIGNATURE = record({"inputs": list_of(TENSOR_INFO), "outputs": list_of(TENSOR_INFO)})
CONFIGURED = record({"name": TEXT, "data_type": TEXT, "dims": OPEN_SIZES, "format": TEXT}, optional=("format",))
DURATION = record({"count": COUNT, "ns": COUNT})
COMPUTE = {"compute_input": DURATION, "compute_infer": DURATION, "compute_output": DURATION}
SIZE = {"binary_data_size": COUNT | {"description": "How many bytes of the tensor follow the JSON, in its order."}}
CODEC = {"content_type": TEXT | {"description": "MLServer's codec: `np`, `pd`, and for BYTES `str` or `base64`."}}


def parameters(properties: dict[str, Any]) -> dict[str, Any]:
    """An object of parameters, of which those that are not known are ignored."""
    return {"type": "object", "properties": properties}


SCHEMAS = {
    "ServiceMetadata": record({"name": {"const": "kiln"}, "version": TEXT, "extensions": list_of(TEXT)}),
    "OpenModelMetadata": record(
        {
            "name": TEXT,
            "versions": list_of({"type": "string", "pattern": "^[0-9]+$"}),
            "platform": {"const": "tensorflow_savedmodel"},
            "inputs": list_of(TENSOR_INFO),
            "outputs": list_of(TENSOR_INFO),
            "signatures": {
                "type": "object",
                "additionalProperties": SIGNATURE,
                "description": "The signatures beside the default one; the parameter `signature_name` chooses one.",
            },
        },
        optional=("signatures",),
    ),
    "ModelConfiguration": record(
        {
            "name": TEXT,
            "platform": TEXT,
            "backend": TEXT,
            "max_batch_size": COUNT | {"description": "0 where the model has no batch axis; then `dims` are all."},
            "input": list_of(CONFIGURED),
            "output": list_of(CONFIGURED),
        }
    ),
    "ModelReady": record(
        {"name": TEXT, "ready": FLAG, "reason": TEXT | {"description": "Why it is not."}}, optional=("reason",)
    ),
    "InferRequest": record(
        {
            "id": TEXT | {"description": "Repeated in the answer."},
            "parameters": parameters(
                {
                    "signature_name": TEXT | {"description": "Which signature; `serving_default` where absent."},
                    "binary_data_output": FLAG | {"description": "Whether outputs come as bytes behind the JSON."},
                    "timeout": COUNT | {"description": "Microseconds that the client waits; 0: no limit of its own."},
                }
            ),
            "inputs": list_of(
                record(
                    {
                        "name": TEXT,
                        "shape": SIZES,
                        "datatype": DATATYPE,
                        "parameters": parameters(SIZE | CODEC),
                        "data": ref("Tensor") | {"description": "Flat in row-major order, or nested as the shape is."},
                    },
                    optional=("parameters", "data"),
                )
            ),
            "outputs": list_of(
                record(
                    {"name": TEXT, "parameters": parameters({"binary_data": FLAG} | CODEC)},
                    optional=("parameters",),
                )
            )
            | {"description": "Those that are wanted; all where absent."},
        },
        optional=("id", "parameters", "outputs"),
    ),
    "InferResponse": record(
        {
            "model_name": TEXT,
            "model_version": TEXT,
            "id": TEXT,
            "outputs": list_of(
                record(
                    {
                        "name": TEXT,
                        "datatype": DATATYPE,
                        "shape": SIZES,
                        "parameters": parameters(SIZE | CODEC),
                        "data": list_of({"anyOf": [NUMBER, TEXT, FLAG]}) | {"description": "In row-major order."},
                    },
                    optional=("parameters", "data"),
                )
            ),
        },
        optional=("id",),
    ),
    "IndexRequest": {"type": "object", "properties": {"ready": FLAG | {"description": "Only versions that are."}}},
    "Index": list_of(
        record(
            {
                "name": TEXT,
                "version": TEXT,
                "state": {"enum": ["READY", "LOADING", "UNLOADING", "UNAVAILABLE"]},
                "reason": TEXT,
            },
            optional=("version",),
        )
    ),
    "ControlRequest": {"type": "object", "properties": {"parameters": parameters({"unload_dependents": FLAG})}},
    "Loaded": record({"name": TEXT, "load": {"const": True}}),
    "Unloaded": record({"name": TEXT, "unload": {"const": True}}),
    "Statistics": record(
        {
            "model_stats": list_of(
                record(
                    {
                        "name": TEXT,
                        "version": TEXT,
                        "last_inference": COUNT | {"description": "Milliseconds since 1970."},
                        "inference_count": COUNT | {"description": "Rows."},
                        "execution_count": COUNT | {"description": "Calls of the model."},
                        "inference_stats": record(
                            {"success": DURATION, "fail": DURATION, "queue": DURATION}
                            | COMPUTE
                            | {"cache_hit": DURATION, "cache_miss": DURATION}
                        ),
                        "batch_stats": list_of(record({"batch_size": COUNT} | COMPUTE)),
                    }
                )
            )
        }
    ),
}

IMAGE = {"name": "image", "datatype": "FP32", "shape": [-1, 8, 8]}
PROBABILITIES = {"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]}
METADATA = {
    "name": "digits",
    "versions": ["1"],
    "platform": "tensorflow_savedmodel",
    "inputs": [IMAGE],
    "outputs": [PROBABILITIES],
}
DIGIT = IMAGE | {"shape": [1, 8, 8], "data": [ZERO]}
LABEL = {"name": "label", "datatype": "BYTES", "shape": [1], "data": ["0"]}
# By name: what it shows, the request, and the answer.
INFERENCES = {
    "digits_probabilities": (
        "A digit of 8x8 pixels",
        {"id": "1", "inputs": [DIGIT]},
        {
            "model_name": "digits",
            "model_version": "1",
            "id": "1",
            "outputs": [PROBABILITIES | {"shape": [1, 10], "data": [0.99999, *[0.0] * 8, 0.00001]}],
        },
    ),
    "digits_label": (
        "The same digit by another signature, with one of its outputs",
        {"parameters": {"signature_name": "classify"}, "inputs": [DIGIT], "outputs": [{"name": "label"}]},
        {"model_name": "digits", "model_version": "1", "outputs": [LABEL]},
    ),
}
