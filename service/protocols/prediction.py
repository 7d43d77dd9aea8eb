"""What the HTTP protocols share: the model in the request's record, the body, and the call."""

from collections.abc import Sequence

from flask import g, request

from service.engine.interface import Arrays
from service.engine.model import InvalidInput
from service.engine.repository import Model, Repository
from service.errors import InvalidPayload, PayloadTooLarge


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


def predict(model: Model, signature: str, inputs: Arrays, outputs: Sequence[str] = ()) -> Arrays:
    """Runs a signature within the request's time, and notes it in the request's record.

    Args:
        model: the version to run.
        signature: its name.
        inputs: one array per input, of the shapes and types that the signature states.
        outputs: those that are wanted; empty for all.

    Raises:
        InvalidPayload: the graph refused the inputs.
        ServiceError: as `Engine.call` says.
    """
    record = g.record
    record.version, record.signature = model.version, signature
    record.rows = max((len(array) for array in inputs.values() if array.ndim), default=1)
    try:
        return model.call(signature, inputs, outputs, record.deadline)
    except InvalidInput as error:
        raise InvalidPayload(f"The model refused the inputs: {error}") from None
