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
from flask import Blueprint, Response, g, request

from service.codecs.json_answers import encode_outputs, encode_predictions
from service.codecs.json_document import Document, dump, parse_document
from service.codecs.json_tensors import decode_inputs, decode_instances
from service.engine.model import InvalidInput, Model
from service.engine.repository import Repository, Version, describe_state
from service.engine.signature import Signature, TensorSpec
from service.errors import InvalidPayload, PayloadTooLarge
from service.metrics import Metrics
from service.protocols.paths import parse_version

DEFAULT_SIGNATURE = "serving_default"
JSON = "application/json"

Arrays = dict[str, np.ndarray]
Encode = Callable[[Arrays], bytes]


def create_blueprint(repository: Repository, metrics: Metrics) -> Blueprint:
    """Makes the routes under /v1/models.

    Args:
        repository: the models.
        metrics: where calls are counted.
    """
    routes = Blueprint("tensorflow_serving", __name__, url_prefix="/v1/models")

    @routes.get("")
    def models() -> Response:
        return json_response({"models": repository.list_models()})

    @routes.get("/<model:model>")
    @routes.get("/<model:model>/versions/<version:version>")
    def status(model: str, version: str | None = None) -> Response:
        note_model(repository, model)
        return json_response(describe_status(repository.versions(model, parse_version(version))))

    @routes.get("/<model:model>/metadata")
    @routes.get("/<model:model>/versions/<version:version>/metadata")
    def metadata(model: str, version: str | None = None) -> Response:
        note_model(repository, model)
        return json_response(describe_metadata(repository.find(model, parse_version(version))))

    @routes.post("/<model:model>:predict")
    @routes.post("/<model:model>/versions/<version:version>:predict")
    def predict(model: str, version: str | None = None) -> Response:
        note_model(repository, model)
        document = parse_document(read_body())
        name = signature_name(document)
        loaded = repository.find(model, parse_version(version))
        inputs, encode = decode(document, find_signature(loaded, name))
        return Response(encode(call(loaded, name, inputs, metrics)), content_type=JSON)

    return routes


def note_model(repository: Repository, name: str) -> None:
    """Tells the request's record which model is asked; made-up names would be labels without end."""
    g.record.model = name if repository.knows(name) else "unknown"


def read_body() -> bytes:
    """The request's body.

    Raises:
        PayloadTooLarge: it came in chunks, which werkzeug reads up to the limit without a word about the rest.
    """
    body = request.get_data(cache=False)
    limit = request.max_content_length
    is_full = request.content_length is None and limit is not None and len(body) >= limit
    if is_full and request.environ["wsgi.input"].read(1):
        raise PayloadTooLarge(limit)
    return body


def signature_name(document: Document) -> str:
    """The signature that a request names.

    Raises:
        InvalidPayload: the body is no object, or the name no string.
    """
    body = document.value
    if not isinstance(body, dict):
        raise InvalidPayload(f"JSON Value: {dump(body)} Is not object")
    name = body.get("signature_name", DEFAULT_SIGNATURE)
    if not isinstance(name, str):
        raise InvalidPayload(
            f"JSON Value: {dump(body)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return name or DEFAULT_SIGNATURE


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


def decode(document: Document, signature: Signature) -> tuple[Arrays, Encode]:
    """The arrays in a request, and how its answer is to be written.

    Raises:
        InvalidPayload: the body does not fit the signature.
    """
    rows, columns = "instances" in document.value, "inputs" in document.value
    if rows and columns:
        raise InvalidPayload(
            f"JSON Value: {dump(document.value)} Not formatted correctly expecting only one of 'inputs' or "
            "'instances' keys to exist "
        )
    if rows:
        return decode_instances(document, signature), encode_predictions
    if columns:
        return decode_inputs(document, signature), encode_outputs
    raise InvalidPayload("Missing 'inputs' or 'instances' key")


def call(model: Model, signature: str, inputs: Arrays, metrics: Metrics) -> Arrays:
    """Runs the model, timed and counted.

    Raises:
        InvalidPayload: the graph refused the inputs.
    """
    labels = (model.name, str(model.version), signature)
    rows = max((len(array) for array in inputs.values() if array.ndim), default=1)
    record = g.record
    record.version, record.signature, record.rows = model.version, signature, rows
    try:
        with metrics.call_duration.labels(*labels).time():
            outputs = model.call(signature, inputs)
    except InvalidInput as error:
        raise InvalidPayload(f"The model refused the inputs: {error}") from None
    metrics.rows.labels(*labels).inc(rows)
    return outputs


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
