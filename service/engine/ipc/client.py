"""The engine as its front ends reach it: the catalogue in a file, and calls over a socket."""

import dataclasses
import itertools
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from service.engine.interface import Arrays, Call, Catalog, Choice, Statistics
from service.engine.ipc.catalog_file import CatalogFile
from service.engine.ipc.messages import ADMINISTER, CALL, FAILURE, HEAD, Buffers, Message, decode, encode
from service.engine.ipc.shared_memory import Demand, Heartbeat
from service.engine.model import InvalidInput
from service.errors import (
    RETRY_AFTER_SECONDS,
    AnswerTooLarge,
    DeadlineExceeded,
    InvalidConfiguration,
    ModelUnavailable,
    QueueFull,
    UnknownModel,
)
from service.metrics import FOLDER_VARIABLE
from service.settings import Settings

SOCKET = "engine.sock"
# How long the engine may take to read a message, to answer what it only has to look up, and to close a model.
SEND_SECONDS = 10.0
LOOK_UP_SECONDS = 5.0
CLOSE_SECONDS = 90.0
# Answers that are no larger are read in one go.
CHUNK = 16 * 1024
# Connections that wait for their next request; more are closed.
MOST_IDLE = 64

FAILURES = {
    error.__name__: error
    for error in (
        AnswerTooLarge, DeadlineExceeded, InvalidConfiguration, InvalidInput, ModelUnavailable, QueueFull, UnknownModel,
    )
}  # fmt: skip


class EngineFailed(Exception):
    """The engine failed in a way that is not the request's fault; its log says how."""


class EngineClient:
    """Speaks with the engine's process; may be used by several threads or greenlets.

    A connection has one request at a time, and is used again only after the whole answer to it was read.

    Args:
        folder: the service's own, with the socket and the catalogue.
        load_seconds: how long loading a model may take.
    """

    def __init__(self, folder: Path, load_seconds: float = 300.0) -> None:
        self._catalog_file = CatalogFile(folder)
        self._heartbeat = Heartbeat(folder)
        self._demand = Demand(folder)
        self._path = str(folder / SOCKET)
        self._load_seconds = load_seconds
        # Appending and popping are single steps for threads and greenlets alike.
        self._idle: list[socket.socket] = []
        self._numbers = itertools.count(1)

    def catalog(self) -> Catalog:
        """What is served now."""
        return self._catalog_file.read()

    def silent_seconds(self) -> float:
        """For how long the engine's process has given no sign of life."""
        return self._heartbeat.age()

    def note_demand(self, model: str) -> None:
        """Somebody asks for a model that is not loaded now; see `Demand`."""
        self._demand.note(model)

    def call(self, call: Call) -> Arrays:
        """Runs a signature; see `Engine.call`."""
        document = [call.model, call.version, call.signature, list(call.outputs), call.deadline]
        return self._exchange(CALL, document, call.deadline, call.inputs).arrays

    def load(self, model: str) -> None:
        """Looks for versions of a model; see `Engine.load`."""
        self._administer("load", model, seconds=self._load_seconds + LOOK_UP_SECONDS)

    def unload(self, model: str) -> None:
        """Serves a model no longer; see `Engine.unload`."""
        self._administer("unload", model, seconds=CLOSE_SECONDS)

    def set_label(self, model: str, label: str, version: int | None) -> None:
        """Points a label at a version; see `Engine.set_label`."""
        self._administer("set_label", model, label, version, seconds=LOOK_UP_SECONDS)

    def configure(self, choices: Mapping[str, Choice], labels: Mapping[str, Mapping[str, int]]) -> None:
        """Serves exactly these models; see `Engine.configure`."""
        plain = {name: dataclasses.astuple(choice) for name, choice in choices.items()}
        self._administer("configure", plain, labels, seconds=self._load_seconds + CLOSE_SECONDS)

    def statistics(self) -> list[Statistics]:
        """What every available version has done."""
        return [
            Statistics(**(entry | {"batches": {int(rows): tuple(sums) for rows, sums in entry["batches"].items()}}))
            for entry in self._administer("statistics", seconds=LOOK_UP_SECONDS)
        ]

    def _administer(self, operation: str, *arguments: Any, seconds: float) -> Any:
        try:
            return self._exchange(ADMINISTER, [operation, arguments], time.monotonic() + seconds).document
        except DeadlineExceeded:
            raise DeadlineExceeded(
                f"The engine has not finished '{operation}' within {seconds:g} s. It may still do so; "
                "GET /v1/models tells what is loaded."
            ) from None

    def _exchange(self, kind: int, document: Any, deadline: float | None, arrays: Arrays | None = None) -> Message:
        number = next(self._numbers)
        stream = self._send(encode(kind, document, arrays, number))
        answer = None
        try:
            answer = receive(stream, deadline)
        except OSError as error:
            raise explain(error) from None
        finally:
            # What may still come must not be taken for the answer to another request.
            if answer is None or answer.number != number or len(self._idle) >= MOST_IDLE:
                stream.close()
            else:
                self._idle.append(stream)
        if answer.number != number:
            raise EngineFailed(f"The engine answered request {answer.number} where {number} was asked")
        if answer.kind == FAILURE:
            raise restore(*answer.document)
        return answer

    def _send(self, request: Buffers) -> socket.socket:
        """Sends a message, over a new connection where the old ones belong to an engine that is gone."""
        while self._idle:
            try:
                stream = self._idle.pop()
            except IndexError:  # another thread took it
                break
            try:
                send(stream, request)
            except OSError:
                stream.close()
            else:
                return stream
        stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            stream.settimeout(SEND_SECONDS)
            stream.connect(self._path)
            send(stream, request)
        except OSError:
            stream.close()
            raise ModelUnavailable("The engine is being started. Try again shortly.", RETRY_AFTER_SECONDS) from None
        return stream

    def close(self) -> None:
        """Closes the connections that wait."""
        while self._idle:
            self._idle.pop().close()


def connect(environment: Mapping[str, str]) -> EngineClient:
    """The engine of the service that this process belongs to."""
    return EngineClient(Path(environment[FOLDER_VARIABLE]), Settings.from_env(environment).load_timeout_seconds)


def send(stream: socket.socket, buffers: Buffers) -> None:
    """Sends a whole message; an engine that hangs reads no more, so this has its time.

    Raises:
        OSError: the engine is gone, or does not read.
    """
    stream.settimeout(SEND_SECONDS)
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
    kind, head, content, number = HEAD.unpack_from(buffer)
    total = HEAD.size + head + content
    if total > len(buffer):
        buffer += bytes(total - len(buffer))
    view = memoryview(buffer)
    if filled < total:
        receive_into(stream, view[filled:total], total - filled, deadline)
    return decode(kind, view[HEAD.size : HEAD.size + head], view[HEAD.size + head : total], number)


def receive_into(stream: socket.socket, view: memoryview, least: int, deadline: float | None) -> int:
    """Reads at least so many bytes, and gives their number."""
    filled = 0
    while filled < least:
        # A time-out of 0 would mean not to wait at all, which is another error.
        stream.settimeout(None if deadline is None else max(deadline - time.monotonic(), 1e-6))
        count = stream.recv_into(view[filled:])
        if not count:
            raise ConnectionResetError("the engine closed the connection")
        filled += count
    return filled


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
