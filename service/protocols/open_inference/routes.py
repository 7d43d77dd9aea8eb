"""The Open Inference Protocol, version 2, over REST: metadata, readiness and inference, with Triton's extensions.

A request chooses a signature by its parameter `signature_name`, which the protocol leaves to the server; without it the
signature is `serving_default`. Its parameter `timeout` is in microseconds, as Triton's clients send it.

Source:
    KServe, `specification/protocol/inference_rest.md`; Triton Inference Server, `docs/protocol`.
"""

from typing import Any

import orjson
from flask import Blueprint, Response

from service.codecs.compressed_bodies import compress
from service.codecs.open_inference.answer import choose_outputs, encode_answer
from service.codecs.open_inference.inputs import decode_inputs, decode_raw
from service.codecs.open_inference.request import InferRequest, parse_request
from service.engine.interface import AVAILABLE
from service.engine.repository import Model, Repository
from service.errors import InvalidPayload, ModelUnavailable, UnknownModel
from service.http import prediction
from service.http.prediction import Answer
from service.http.request_context import current
from service.http.routing import parse_version
from service.protocols.open_inference.documents import (
    describe_configuration,
    describe_model,
    describe_service,
    find_signature,
)
from service.protocols.open_inference.repository import add_repository_routes
from service.settings import Settings

HEADER_LENGTH = "Inference-Header-Content-Length"
JSON, BINARY = "application/json", "application/octet-stream"


def create_blueprint(repository: Repository, settings: Settings) -> Blueprint:
    """Makes the routes under /v2; `/v2/health` is elsewhere.

    Args:
        repository: the models.
        settings: see `Settings`.
    """
    routes = Blueprint("open_inference", __name__, url_prefix="/v2")

    @routes.get("")
    def service() -> Response:
        return json_response(describe_service())

    @routes.get("/models/<model:model>")
    @routes.get("/models/<model:model>/versions/<version:version>")
    def metadata(model: str, version: str | None = None) -> Response:
        loaded = find_model(repository, model, version)
        numbers = [loaded.version] if version is not None else available_versions(repository, model)
        return json_response(describe_model(loaded, numbers))

    @routes.get("/models/<model:model>/config")
    @routes.get("/models/<model:model>/versions/<version:version>/config")
    def configuration(model: str, version: str | None = None) -> Response:
        return json_response(describe_configuration(find_model(repository, model, version), settings.largest_batch))

    @routes.get("/models/<model:model>/ready")
    @routes.get("/models/<model:model>/versions/<version:version>/ready")
    def ready(model: str, version: str | None = None) -> Response:
        try:
            find_model(repository, model, version)
        except (ModelUnavailable, UnknownModel) as error:
            # A model that was unloaded is known and not ready; a version that is not there is unknown.
            if isinstance(error, UnknownModel) and (version is not None or not repository.knows(model)):
                raise
            return json_response({"name": model, "ready": False, "reason": str(error)}, 503)
        return json_response({"name": model, "ready": True})

    @routes.post("/models/<model:model>/infer")  # type: ignore[type-var]  # `KilnApp` takes an `Answer`
    @routes.post("/models/<model:model>/versions/<version:version>/infer")
    def infer(model: str, version: str | None = None) -> Answer:
        body = prediction.read_body()
        loaded = find_model(repository, model, version)
        length = read_header_length(current().environ.get("HTTP_INFERENCE_HEADER_CONTENT_LENGTH"))
        if length == 0:
            return infer_raw(loaded, body)
        parsed = parse_request(body, length, settings.max_body_bytes, nan_tokens=settings.nan_tokens)
        del body
        return infer_parsed(loaded, parsed, settings)

    add_repository_routes(routes, repository)
    return routes


def find_model(repository: Repository, name: str, version: str | None) -> Model:
    """The version that a path names, which the request's record learns.

    Raises:
        UnknownModel: there is no such model or version.
        ModelUnavailable: it is not loaded.
    """
    prediction.note_model(repository, name)
    return repository.find(name, parse_version(version))


def available_versions(repository: Repository, name: str) -> list[int]:
    """The numbers of a model's versions that can be called."""
    return [version.number for version in repository.versions(name) if version.state == AVAILABLE]


def infer_parsed(model: Model, parsed: InferRequest, settings: Settings) -> Answer:
    """Answers a request with JSON in it.

    Raises:
        ServiceError: the request does not fit the model, or the engine did not answer.
    """
    name, signature = find_signature(model, parsed.signature)
    codecs = parsed.codecs
    wanted = choose_outputs(parsed.outputs, signature, binary_output=parsed.binary_output, codecs=codecs)
    inputs = decode_inputs(parsed, signature, settings.max_body_bytes)
    parsed.inputs = []  # lists of Python's numbers, larger than the arrays, that the call does not need
    if parsed.timeout_seconds is not None:
        record = current()
        record.deadline = min(record.deadline, record.started + parsed.timeout_seconds)
    arrays = prediction.predict(model, name, inputs, tuple(parsed.outputs))
    head = {"model_name": model.name, "model_version": str(model.version)}
    if parsed.id:
        head["id"] = parsed.id
    answer = encode_answer(head, wanted, arrays, signature, nan_tokens=settings.nan_tokens, codecs=codecs)
    return inference_response(*answer)


def infer_raw(model: Model, body: bytes) -> Answer:
    """Answers a request that is nothing but the bytes of its one input, with all outputs as binary data.

    Raises:
        ServiceError: the request does not fit the model, or the engine did not answer.
    """
    name, signature = find_signature(model, "")
    wanted = choose_outputs({}, signature, binary_output=True)
    arrays = prediction.predict(model, name, decode_raw(body, signature))
    head = {"model_name": model.name, "model_version": str(model.version)}
    return inference_response(*encode_answer(head, wanted, arrays, signature, nan_tokens=False))


def inference_response(body: bytes, header_length: int | None) -> Answer:
    """An inference's answer, compressed where the client asks for that."""
    body, coding = compress(body, current().environ.get("HTTP_ACCEPT_ENCODING"))
    further: tuple[tuple[str, str], ...] = () if header_length is None else ((HEADER_LENGTH, str(header_length)),)
    if coding is not None:
        further += (("Content-Encoding", coding),)
    return Answer(body, JSON if header_length is None else BINARY, further)


def read_header_length(text: str | None) -> int | None:
    """The length of the JSON before the binary data, from its header; None where there is no such header.

    Raises:
        InvalidPayload: it is not a number.
    """
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 19):
        raise InvalidPayload(f"{HEADER_LENGTH} is '{text[:64]}', but must be a number of bytes")
    return int(text)


def json_response(value: Any, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(orjson.dumps(value), status, content_type=JSON)
