"""TensorFlow Serving's REST API: predict, status and metadata, and a list of models that it does not have.

Deliberate differences: `GET /v1/models` lists the models; numbers must be finite both ways; small integers are
range-checked; one document is one value, with nothing behind it.

Source:
    TensorFlow Serving, `http_rest_api_handler.cc`, `json_tensor.cc` and `docs/api_rest.md`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
from flask import Blueprint, Response

from service.codecs.json_answers import encode_outputs, encode_predictions
from service.codecs.json_requests import PredictRequest
from service.engine.interface import Version
from service.engine.repository import Model, Repository, describe_state
from service.engine.signature import Signature, TensorSpec
from service.errors import InvalidPayload
from service.protocols import prediction
from service.protocols.paths import parse_version
from service.settings import Settings

DEFAULT_SIGNATURE = "serving_default"
JSON = "application/json"

Arrays = dict[str, np.ndarray]
Encode = Callable[[Arrays], bytes]


def create_blueprint(repository: Repository, _settings: Settings) -> Blueprint:
    """Makes the routes under /v1/models.

    Args:
        repository: the models.
        _settings: see `Settings`.
    """
    routes = Blueprint("tensorflow_serving", __name__, url_prefix="/v1/models")

    @routes.get("")
    def models() -> Response:
        return json_response({"models": repository.list_models()})

    @routes.get("/<model:model>")
    @routes.get("/<model:model>/versions/<version:version>")
    def status(model: str, version: str | None = None) -> Response:
        prediction.note_model(repository, model)
        return json_response(describe_status(repository.versions(model, parse_version(version))))

    @routes.get("/<model:model>/metadata")
    @routes.get("/<model:model>/versions/<version:version>/metadata")
    def metadata(model: str, version: str | None = None) -> Response:
        prediction.note_model(repository, model)
        return json_response(describe_metadata(repository.find(model, parse_version(version))))

    @routes.post("/<model:model>:predict")
    @routes.post("/<model:model>/versions/<version:version>:predict")
    def predict(model: str, version: str | None = None) -> Response:
        prediction.note_model(repository, model)
        with PredictRequest(prediction.read_body()) as body:
            loaded = repository.find(model, parse_version(version))
            inputs, by_rows = body.decode(find_signature(loaded, body.signature_name))
        outputs = prediction.predict(loaded, body.signature_name, inputs)
        encode = encode_predictions if by_rows else encode_outputs
        return Response(encode(outputs), content_type=JSON)

    return routes


def find_signature(model: Model, name: str) -> Signature:
    """A signature by name.

    Raises:
        InvalidPayload: the model has none of that name.
    """
    signature = model.signatures.get(name)
    if signature is None:
        available = ", ".join(sorted(model.signatures)) or "none"
        raise InvalidPayload(
            f'Serving signature name: "{name[:256]}" not found in signature def. Signatures: {available}'
        )
    return signature


def describe_status(versions: list[Version]) -> dict[str, Any]:
    """The states of versions, newest first."""
    return {"model_version_status": [describe_state(version) for version in versions]}


def describe_metadata(model: Model) -> dict[str, Any]:
    """A model's signatures."""
    signatures = {name: describe_signature(signature) for name, signature in model.signatures.items()}
    return {
        "model_spec": {"name": model.name, "signature_name": "", "version": str(model.version)},
        "metadata": {"signature_def": {"signature_def": signatures}},
    }


def describe_signature(signature: Signature) -> dict[str, Any]:
    """A signature as the JSON form of `SignatureDef`."""
    return {
        "inputs": {name: describe_tensor(spec) for name, spec in signature.inputs.items()},
        "outputs": {name: describe_tensor(spec) for name, spec in signature.outputs.items()},
        "method_name": signature.method_name,
    }


def describe_tensor(spec: TensorSpec) -> dict[str, Any]:
    """An input or output as the JSON form of `TensorInfo`; sizes are strings, since they are 64-bit integers."""
    dimensions = [{"size": str(size), "name": ""} for size in spec.shape or ()]
    return {
        "dtype": spec.dtype,
        "tensor_shape": {"dim": dimensions, "unknown_rank": spec.shape is None},
        "name": spec.tensor,
    }


def json_response(value: Any) -> Response:
    """A JSON answer."""
    return Response(orjson.dumps(value), content_type=JSON)
