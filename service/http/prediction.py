"""What the HTTP protocols share: the model in the request's context, the body, and the call."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import gevent
from gunicorn.http.errors import NoMoreData

from service.codecs.compressed_bodies import decompress, is_identity
from service.engine.call_model import call_model
from service.engine.interface import Arrays
from service.engine.repository import Model, Repository
from service.errors import InvalidPayload, PayloadTooLarge, RequestTimeout
from service.http.body_budget import FREE_BYTES, Share
from service.http.request_context import RequestContext, close_connection, current

# The most that is asked of the server at a time; it reads no more at once either.
LARGEST_PIECE = 1024 * 1024


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
    """Tells the request's context which model is asked; made-up names would be labels without end."""
    current().model = name if repository.knows(name) else "unknown"


def read_body() -> bytes:
    """The request's body, decompressed where it came compressed.

    A large one waits until it is the only one in the service; see `service.http.body_budget`.

    Raises:
        PayloadTooLarge: it is larger than the service accepts.
        InvalidPayload: it ends before its time, or cannot be decompressed.
        RequestTimeout: it did not come in time.
        ModelUnavailable: there was no memory for it in time.
    """
    context = current()
    body = receive_body(context)
    share, large = context.share, context.share.large_bytes
    if len(body) > large:
        share.enter()
    coding = context.environ.get("HTTP_CONTENT_ENCODING", "")
    if is_identity(coding):
        return body
    try:
        content = decompress(body, coding, min(large, context.settings.max_body_bytes))
    except PayloadTooLarge:
        share.enter()
        return decompress(body, coding, context.settings.max_body_bytes)
    if len(content) > FREE_BYTES:
        share.reserve(len(content))
    return content


def receive_body(context: RequestContext) -> bytes:
    """The request's body as it came.

    Raises:
        PayloadTooLarge: it is larger than the service accepts.
        InvalidPayload: it ends before its time.
        RequestTimeout: it did not come in time.
        ModelUnavailable: there was no memory for it in time.
    """
    environ, most_bytes = context.environ, context.settings.max_body_bytes
    length = environ.get("CONTENT_LENGTH")
    if not length and "HTTP_TRANSFER_ENCODING" not in environ:
        return b""
    expected = int(length) if length else None
    if expected is not None and expected > most_bytes:
        raise PayloadTooLarge(most_bytes)
    pieces = receive_pieces(context, most_bytes + 1 if expected is None else expected)
    received = sum(map(len, pieces))
    if received > most_bytes:
        raise PayloadTooLarge(most_bytes)
    if expected is not None and received < expected:
        raise InvalidPayload(f"The body ends after {received} of {expected} bytes.")
    if received > context.share.large_bytes:
        # While the pieces are joined, they are there twice.
        context.share.enter()
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def receive_pieces(context: RequestContext, most_bytes: int) -> list[bytes]:
    """Waits for a body, for no longer than requests may take.

    Args:
        context: the request's.
        most_bytes: where to stop.

    Raises:
        RequestTimeout: it did not come in time.
        ModelUnavailable: there was no memory for it in time.
    """
    seconds, timeout, pieces = context.settings.timeout_seconds, None, []
    try:
        if "gunicorn.socket" in context.environ:
            timeout = gevent.Timeout.start_new(seconds, RequestTimeout)
        pieces = read_pieces(context.environ["wsgi.input"], context.share, most_bytes)
    except (RequestTimeout, TimeoutError):
        end_slow_body(context, f"The body did not come within {seconds} seconds.")
    except NoMoreData:
        if not context.share.was_cut:
            raise
    finally:
        if timeout is not None:
            timeout.close()
    if context.share.was_cut:
        end_slow_body(context, "The body came slowly while the memory for requests was used up. Try again later.")
    return pieces


def read_pieces(stream: Any, share: Share, most_bytes: int) -> list[bytes]:
    """Reads a body in pieces that grow as the client sends, and for which there is memory."""
    pieces: list[bytes] = []
    received = 0
    share.begin_reading()
    try:
        while received < most_bytes:
            size = min(max(received, FREE_BYTES), LARGEST_PIECE, most_bytes - received)
            if received:
                share.reserve(size)
            share.wait_for_client()
            piece = stream.read(size)
            share.note_moved(len(piece))
            if not piece:
                break
            pieces.append(piece)
            received += len(piece)
    finally:
        share.finish_reading()
    return pieces


def end_slow_body(context: RequestContext, sentence: str) -> NoReturn:
    """Refuses a request whose body comes too slowly, and has its connection closed.

    Raises:
        RequestTimeout: always.
    """
    context.refusal = "slow_body"
    close_connection.get()()
    raise RequestTimeout(sentence) from None


def predict(model: Model, signature: str, inputs: Arrays, outputs: Sequence[str] = ()) -> Arrays:
    """Runs a signature within the request's time, and notes it in the request's context.

    Args:
        model: the version to run.
        signature: its name.
        inputs: one array per input, of the shapes and types that the signature states.
        outputs: those that are wanted; empty for all.

    Raises:
        InvalidPayload: the graph refused the inputs.
        ServiceError: as `Engine.call` says.
    """
    context = current()
    context.version, context.signature = model.version, signature
    context.rows = max((len(array) for array in inputs.values() if array.ndim), default=1)
    answered = call_model(model, signature, inputs, outputs, context.deadline)
    if sum(array.nbytes for array in answered.values()) > LARGEST_PIECE:
        # It takes a while to encode, so that those who wait for less go first.
        time.sleep(0)
    return answered
