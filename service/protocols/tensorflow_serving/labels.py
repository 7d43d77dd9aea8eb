"""Version labels such as `stable` and `canary`: list, set and remove them. TensorFlow Serving has no such calls."""

import re
from typing import Any

import orjson
from flask import Blueprint, Response

from service.codecs.json.document import dump, parse_document
from service.engine.interface import LARGEST_VERSION
from service.engine.repository import Repository
from service.errors import InvalidPayload, UnknownModel
from service.http import prediction

# A label must do as a part of a path, and in logs.
LABEL = re.compile(r"[A-Za-z0-9._-]{1,64}")


def add_label_routes(routes: Blueprint, repository: Repository) -> None:
    """Adds the routes.

    Args:
        routes: those of the protocol.
        repository: the models.
    """

    @routes.get("/<model:model>/labels")
    def labels(model: str) -> Response:
        prediction.note_model(repository, model)
        return json_response({"labels": list_labels(repository, model)})

    @routes.put("/<model:model>/labels/<label:label>")
    def set_label(model: str, label: str) -> Response:
        prediction.note_model(repository, model)
        if not LABEL.fullmatch(label):
            raise InvalidPayload(f"Label '{label[:64]}' is not made of 1 to 64 of: letters, digits, '.', '_' and '-'")
        version = read_version(prediction.read_body())
        repository.engine.set_label(model, label, version)
        return json_response({"label": label, "version": version})

    @routes.delete("/<model:model>/labels/<label:label>")
    def remove_label(model: str, label: str) -> Response:
        prediction.note_model(repository, model)
        repository.engine.set_label(model, label, None)
        return json_response({"label": label, "version": None})


def list_labels(repository: Repository, name: str) -> dict[str, int]:
    """A model's labels and the versions that they stand for.

    Raises:
        UnknownModel: there is no such model.
    """
    model = repository.engine.catalog().models.get(name)
    if model is None:
        raise UnknownModel(f"Could not find any versions of model {name}")
    return dict(model.labels)


def read_version(body: bytes) -> int:
    """The version that a label is to stand for: `{"version": 3}`.

    Raises:
        InvalidJson: the body is not valid JSON.
        InvalidPayload: it is something else.
    """
    document = parse_document(body)
    version = document.get("version") if isinstance(document, dict) and len(document) == 1 else None
    if type(version) is not int or not 0 <= version <= LARGEST_VERSION:
        raise InvalidPayload(
            f'JSON Value: {dump(document)} not formatted correctly. Expecting {{"version": N}}, a version of the model.'
        )
    return version


def json_response(value: Any) -> Response:
    """A JSON answer."""
    return Response(orjson.dumps(value), content_type="application/json")
