"""`ModelSpec`: the model that a gRPC request names, and the one that has answered."""

from typing import Any

from service.engine.repository import Model, Repository
from service.errors import InvalidPayload
from service.protocols.grpc.exchange import Exchange


def find_model(repository: Repository, request: Any, exchange: Exchange) -> Model:
    """The model that a request names.

    Raises:
        InvalidPayload: it names none.
        UnknownModel: there is no such model or version.
        UnknownLabel: the model has no such label.
        ModelUnavailable: it is not loaded.
    """
    if not request.HasField("model_spec"):
        raise InvalidPayload("Missing ModelSpec")
    return find_by_spec(repository, request.model_spec, exchange)


def find_by_spec(repository: Repository, spec: Any, exchange: Exchange) -> Model:
    """The model of a `ModelSpec`; see `find_model`."""
    if not spec.name:
        raise InvalidPayload("ModelSpec has no name specified.")
    # A made-up name would be a label without end in the metrics.
    exchange.model = spec.name if repository.knows(spec.name) else "unknown"
    model = repository.find(spec.name, *version_choice(spec))
    exchange.version = str(model.version)
    return model


def version_choice(spec: Any) -> tuple[int | None, str | None]:
    """The version's number or label that a `ModelSpec` asks for."""
    choice = spec.WhichOneof("version_choice")
    number = spec.version.value if choice == "version" else None
    return number, spec.version_label if choice == "version_label" else None


def state_model(spec: Any, model: Model, signature: str) -> None:
    """Writes what has answered into a `ModelSpec`."""
    spec.name = model.name
    spec.version.value = model.version
    spec.signature_name = signature
