"""The engine as its fronts reach it: the catalogue on the board, and calls over a socket."""

import dataclasses
import select
import socket
import struct
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from service.engine.board import Board
from service.engine.interface import Arrays, Call, Catalog, Choice, Statistics
from service.engine.model import InvalidInput
from service.engine.wire import ADMINISTER, CALL, FAILURE, HEAD, Buffers, Message, decode, encode
from service.errors import (
    DeadlineExceeded,
    InvalidConfiguration,
    ModelUnavailable,
    QueueFull,
    UnknownModel,
)
from service.metrics import FOLDER_VARIABLE

SOCKET = "engine.sock"
RETRY_AFTER_SECONDS = 2
SEND_SECONDS = 10
# Answers that are no larger are read in one go.
CHUNK = 16 * 1024

FAILURES = {
    error.__name__: error
    for error in (DeadlineExceeded, InvalidConfiguration, InvalidInput, ModelUnavailable, QueueFull, UnknownModel)
}


class EngineFailed(Exception):
    """The engine failed in a way that is not the request's fault; its log says how."""


class EngineClient:
    """Speaks with the engine's process; each thread has a connection of its own.

    Args:
        folder: the service's own, with the socket and the board.
    """

    def __init__(self, folder: Path) -> None:
        self._board = Board(folder)
        self._path = str(folder / SOCKET)
        self._thread = threading.local()

    def catalog(self) -> Catalog:
        """What is served now."""
        return self._board.read()

    def call(self, call: Call) -> Arrays:
        """Runs a signature; see `Engine.call`."""
        document = [call.model, call.version, call.signature, list(call.outputs), call.deadline]
        return self._exchange(encode(CALL, document, call.inputs), call.deadline).arrays

    def load(self, model: str) -> None:
        """Looks for versions of a model; see `Engine.load`."""
        self._administer("load", model)

    def unload(self, model: str) -> None:
        """Serves a model no longer; see `Engine.unload`."""
        self._administer("unload", model)

    def set_label(self, model: str, label: str, version: int | None) -> None:
        """Points a label at a version; see `Engine.set_label`."""
        self._administer("set_label", model, label, version)

    def configure(self, choices: Mapping[str, Choice], labels: Mapping[str, Mapping[str, int]]) -> None:
        """Serves exactly these models; see `Engine.configure`."""
        self._administer("configure", {name: dataclasses.astuple(choice) for name, choice in choices.items()}, labels)

    def statistics(self) -> list[Statistics]:
        """What every available version has done."""
        return [
            Statistics(**(entry | {"batches": {int(rows): tuple(sums) for rows, sums in entry["batches"].items()}}))
            for entry in self._administer("statistics")
        ]

    def _administer(self, operation: str, *arguments: Any) -> Any:
        return self._exchange(encode(ADMINISTER, [operation, arguments]), None).document

    def _exchange(self, request: Buffers, deadline: float | None) -> Message:
        stream = self._send(request)
        answer = None
        try:
            answer = receive(stream, deadline)
        except OSError as error:
            raise explain(error) from None
        finally:
            if answer is None:
                # What may still come must not be taken for the answer to the next request.
                self._disconnect()
        if answer.kind == FAILURE:
            raise restore(*answer.document)
        return answer

    def _send(self, request: Buffers) -> socket.socket:
        """Sends a message, over a new connection where the old one belongs to an engine that is gone."""
        stream: socket.socket | None = getattr(self._thread, "stream", None)
        if stream is not None:
            try:
                send(stream, request)
            except OSError:
                self._disconnect()
            else:
                return stream
        stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # An engine that hangs reads no more; without this, no deadline would end the wait.
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", SEND_SECONDS, 0))
        try:
            stream.connect(self._path)
            send(stream, request)
        except OSError:
            stream.close()
            raise ModelUnavailable("The engine is being started. Try again shortly.", RETRY_AFTER_SECONDS) from None
        self._thread.stream = stream
        return stream

    def _disconnect(self) -> None:
        self._thread.stream.close()
        self._thread.stream = None


def connect(environment: Mapping[str, str]) -> EngineClient:
    """The engine of the service that this process belongs to."""
    return EngineClient(Path(environment[FOLDER_VARIABLE]))


def send(stream: socket.socket, buffers: Buffers) -> None:
    """Sends a whole message."""
    left = [memoryview(buffer) for buffer in buffers if len(buffer)]
    while left:
        sent = stream.sendmsg(left[:512])
        while left and sent >= len(left[0]):
            sent -= len(left.pop(0))
        if sent:
            left[0] = left[0][sent:]


def receive(stream: socket.socket, deadline: float | None) -> Message:
    """Waits for a whole message.

    Raises:
        TimeoutError: it did not come in time.
        ConnectionError: it never will.
    """
    buffer = bytearray(CHUNK)
    filled = receive_into(stream, memoryview(buffer), HEAD.size, deadline)
    kind, head, content = HEAD.unpack_from(buffer)
    total = HEAD.size + head + content
    if total > len(buffer):
        buffer += bytes(total - len(buffer))
    view = memoryview(buffer)
    if filled < total:
        receive_into(stream, view[filled:total], total - filled, deadline)
    return decode(kind, view[HEAD.size : HEAD.size + head], view[HEAD.size + head : total])


def receive_into(stream: socket.socket, view: memoryview, least: int, deadline: float | None) -> int:
    """Reads at least so many bytes, and gives their number."""
    filled = 0
    while filled < least:
        if deadline is not None:
            wait_for_answer(stream, deadline)
        count = stream.recv_into(view[filled:])
        if not count:
            raise ConnectionResetError("the engine closed the connection")
        filled += count
    return filled


def wait_for_answer(stream: socket.socket, deadline: float) -> None:
    """Waits until there is something to read.

    Raises:
        TimeoutError: there was nothing before the deadline.
    """
    poller = select.poll()
    poller.register(stream, select.POLLIN)
    if not poller.poll(max(deadline - time.monotonic(), 0.0) * 1000):
        raise TimeoutError


def explain(error: OSError) -> DeadlineExceeded | ModelUnavailable:
    """What to tell of an answer that did not come."""
    if isinstance(error, TimeoutError):
        return DeadlineExceeded("The model did not answer before the request's deadline.")
    return ModelUnavailable(
        "The engine stopped while it had the request, and is being started again. Try again shortly.",
        RETRY_AFTER_SECONDS,
    )


def restore(name: str, sentence: str, retry_after_seconds: int | None) -> Exception:
    """An error of the engine."""
    kind = FAILURES.get(name)
    if kind is None:
        return EngineFailed(sentence)
    if issubclass(kind, ModelUnavailable):
        return kind(sentence, retry_after_seconds)
    return kind(sentence)
