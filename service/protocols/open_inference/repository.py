"""The Open Inference Protocol's extensions for those who run the service: index, load, unload, statistics.

Source:
    Triton Inference Server, `extension_model_repository.md` and `extension_statistics.md`.
"""

from typing import Any

import orjson
from flask import Blueprint, Response

from service.codecs.json.document import dump, parse_document
from service.engine.interface import Statistics
from service.engine.repository import Repository
from service.errors import InvalidPayload
from service.http import prediction
from service.http.routing import parse_version
from service.protocols.open_inference.documents import describe_index, describe_statistics


def add_repository_routes(routes: Blueprint, repository: Repository) -> None:
    """Adds the routes.

    Args:
        routes: those of the protocol.
        repository: the models.
    """

    @routes.post("/repository/index")
    def index() -> Response:
        only_ready = read_object().get("ready") or False
        if type(only_ready) is not bool:
            raise InvalidPayload(f"'ready' is {dump(only_ready)}, but must be true or false")
        return answer(describe_index(repository.engine.catalog(), only_ready=only_ready))

    @routes.post("/repository/models/<model:model>/load")
    def load_model(model: str) -> Response:
        prediction.note_model(repository, model)
        for name in read_parameters():
            if name == "version":
                raise InvalidPayload(
                    "The parameter 'version' is not supported: KILN_VERSIONS, or the model configuration, says which "
                    "versions are loaded"
                )
            if name == "config" or name.startswith("file:"):
                raise InvalidPayload(
                    f"The parameter '{name[:256]}' is not supported: models are loaded as they lie in the repository"
                )
        repository.engine.load(model)
        return answer({"name": model, "load": True})

    @routes.post("/repository/models/<model:model>/unload")
    def unload_model(model: str) -> Response:
        prediction.note_model(repository, model)
        read_parameters()  # `unload_dependents` among them: no model depends on another
        repository.engine.unload(model)
        return answer({"name": model, "unload": True})

    @routes.get("/models/stats")
    def statistics_of_all() -> Response:
        return answer(model_stats(repository.engine.statistics()))

    @routes.get("/models/<model:model>/stats")
    @routes.get("/models/<model:model>/versions/<version:version>/stats")
    def statistics(model: str, version: str | None = None) -> Response:
        prediction.note_model(repository, model)
        known = {entry.number for entry in repository.versions(model, parse_version(version))}
        entries = repository.engine.statistics()
        return answer(model_stats([entry for entry in entries if entry.name == model and entry.version in known]))


def model_stats(entries: list[Statistics]) -> dict[str, Any]:
    """Statistics as the protocol wraps them."""
    return {"model_stats": [describe_statistics(entry) for entry in entries]}


def read_object() -> dict[str, Any]:
    """The request's body, which may be empty.

    Raises:
        InvalidJson: it is not valid JSON.
        InvalidPayload: it is not an object.
    """
    body = prediction.read_body()
    if not body.strip():
        return {}
    value = parse_document(body)
    if not isinstance(value, dict):
        raise InvalidPayload(f"The request is {dump(value)}, but must be an object")
    return value


def read_parameters() -> dict[str, Any]:
    """The parameters in the request's body.

    Raises:
        InvalidPayload: they are no object.
    """
    parameters = read_object().get("parameters") or {}
    if not isinstance(parameters, dict):
        raise InvalidPayload(f"'parameters' is {dump(parameters)}, but must be an object")
    return parameters


def answer(value: Any) -> Response:
    """A JSON answer."""
    return Response(orjson.dumps(value), content_type="application/json")
