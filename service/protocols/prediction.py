"""What the HTTP protocols share: the model in the request's record, the body, and the call."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.engine.interface import Arrays
from service.engine.repository import Model, Repository
from service.errors import InvalidPayload, PayloadTooLarge
from service.protocols.call_model import call_model
from service.record import current


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a prediction.

    Attributes:
        body: its bytes.
        content_type: of which type they are.
        further: more headers.
    """

    body: bytes
    content_type: str = "application/json"
    further: tuple[tuple[str, str], ...] = ()

    def headers(self) -> list[tuple[str, str]]:
        """Its headers."""
        return [("Content-Type", self.content_type), ("Content-Length", str(len(self.body))), *self.further]


def note_model(repository: Repository, name: str) -> None:
    """Tells the request's record which model is asked; made-up names would be labels without end."""
    current().model = name if repository.knows(name) else "unknown"


def read_body() -> bytes:
    """The request's body.

    Raises:
        PayloadTooLarge: it is larger than the service accepts.
        InvalidPayload: it ends before its time.
    """
    record = current()
    environ, most_bytes = record.environ, record.most_body_bytes
    stream, length = environ["wsgi.input"], environ.get("CONTENT_LENGTH")
    if not length:
        # In chunks, or none at all.
        body: bytes = stream.read(most_bytes + 1) if "HTTP_TRANSFER_ENCODING" in environ else b""
        if len(body) > most_bytes:
            raise PayloadTooLarge(most_bytes)
        return body
    expected = int(length)
    if expected > most_bytes:
        raise PayloadTooLarge(most_bytes)
    body = stream.read(expected)
    if len(body) < expected:
        raise InvalidPayload(f"The body ends after {len(body)} of {expected} bytes.")
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
    record = current()
    record.version, record.signature = model.version, signature
    record.rows = max((len(array) for array in inputs.values() if array.ndim), default=1)
    return call_model(model, signature, inputs, outputs, record.deadline)
