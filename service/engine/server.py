"""The engine's side of the socket: one thread at a time listens, and runs what it hears itself.

Waking a thread takes longer than many a model. So the thread that reads a request runs it, and goes on listening where
that takes no time worth speaking of; before a longer call, or where more work waits, it leaves that to another. There
is one thread more than calls may run at a time, so somebody always listens.
"""

import logging
import os
import selectors
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from service.engine.attempt import Attempt
from service.engine.connection import Connection
from service.engine.interface import Arrays, Call
from service.engine.wire import ADMINISTER, ANSWER, CALL, FAILURE, Message, encode
from service.errors import ServiceError

logger = logging.getLogger(__name__)

# Calls that are expected to take no longer do not keep others waiting.
SHORT_SECONDS = 0.002

Reply = Callable[[Arrays | BaseException], None]


@dataclass(frozen=True, slots=True)
class Work:
    """Something to be run in the thread that asks for it.

    Attributes:
        run: does it.
        seconds: how long that is expected to take.
    """

    run: Callable[[], None]
    seconds: float


class Host(Protocol):
    """What runs the models behind the socket."""

    def submit(self, call: Call, reply: Reply) -> None:
        """Takes a request; `reply` gets its outputs or its error, in any thread."""

    def work(self) -> Work | None:
        """Something to be run now, or None."""

    def has_work(self) -> bool:
        """Whether `work` would give something."""

    def start(self) -> None:
        """Begins to load."""

    def close(self) -> None:
        """Ends what runs in the background."""

    def administer(self, operation: str, arguments: list[Any]) -> Any:
        """Loads, unloads and the like; see `Engine`."""


class Server:
    """Serves a host to the fronts.

    Args:
        path: where to make the socket.
        host: what runs the models.
        threads: how many threads listen and work.
    """

    def __init__(self, path: Path, host: Host, threads: int) -> None:
        self._host = host
        self._threads = [
            threading.Thread(target=self._serve, name=f"engine-{number}", daemon=True) for number in range(threads)
        ]
        self._leading = threading.Lock()
        self._stopping = False
        self._selector = selectors.DefaultSelector()
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        path.chmod(0o600)
        self._listener.listen(1024)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._waker, self._woken = os.pipe()
        os.set_blocking(self._waker, False)
        self._selector.register(self._waker, selectors.EVENT_READ, None)

    def start(self) -> None:
        """Starts the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Hears no more, and returns when what the host had to run has run."""
        self._stopping = True
        os.write(self._woken, b".")
        for thread in self._threads:
            thread.join()

    def close(self) -> None:
        """Ends the connections."""
        for key in list(self._selector.get_map().values()):
            if key.data is not None:
                key.data.close()
        self._selector.close()
        self._listener.close()
        os.close(self._waker)
        os.close(self._woken)

    def _serve(self) -> None:
        while (work := self._host.work() or self._lead()) is not None:
            work.run()

    def _lead(self) -> Work | None:
        """Listens, until there is something to do that should not keep others waiting, or the end."""
        with self._leading:
            while not self._stopping:
                work = self._host.work()
                if work is None:
                    for key, events in self._selector.select():
                        self._handle(key.fileobj, key.data, events)
                elif work.seconds > SHORT_SECONDS or self._host.has_work():
                    return work
                else:
                    work.run()
        return self._host.work()

    def _handle(self, source: Any, connection: Connection | None, events: int) -> None:
        if source is self._listener:
            self._accept()
        elif connection is not None:
            with Attempt() as attempt:
                if events & selectors.EVENT_WRITE:
                    connection.flush()
                if events & selectors.EVENT_READ:
                    for message in connection.receive():
                        self._dispatch(connection, message)
            if attempt.error is not None:
                logger.error("A message cannot be understood; its connection ends", exc_info=attempt.error)
                connection.close()

    def _accept(self) -> None:
        try:
            accepted, _ = self._listener.accept()
        except OSError:  # gone again, or too many open files
            return
        connection = Connection(accepted, self._selector)
        self._selector.register(accepted, selectors.EVENT_READ, connection)

    def _dispatch(self, connection: Connection, message: Message) -> None:
        if message.kind == CALL:
            model, version, signature, outputs, deadline = message.document
            call = Call(model, version, signature, message.arrays, tuple(outputs), deadline)
            self._host.submit(call, lambda outcome: answer(connection, outcome))
        elif message.kind == ADMINISTER:
            operation, arguments = message.document
            # It may take as long as loading a model does.
            threading.Thread(target=self._administer, args=(connection, operation, arguments), daemon=True).start()
        else:
            raise ValueError(f"kind {message.kind}, which no front sends")

    def _administer(self, connection: Connection, operation: str, arguments: list[Any]) -> None:
        with Attempt() as attempt:
            connection.send(encode(ANSWER, self._host.administer(operation, arguments)))
        if attempt.error is not None:
            if not isinstance(attempt.error, ServiceError):
                logger.error("Operation '%s' failed", operation, exc_info=attempt.error)
            answer(connection, attempt.error)


def answer(connection: Connection, outcome: Arrays | BaseException) -> None:
    """Sends outputs or an error; outputs that no message can carry are an error too."""
    with Attempt() as attempt:
        message = encode_outcome(outcome)
    if attempt.error is not None:
        logger.error("An answer cannot be sent", exc_info=attempt.error)
        message = encode_outcome(attempt.error)
    connection.send(message)


def encode_outcome(outcome: Arrays | BaseException) -> list[Any]:
    """Outputs or an error as a message."""
    if not isinstance(outcome, BaseException):
        return encode(ANSWER, None, outcome)
    retry = getattr(outcome, "retry_after_seconds", None)
    return encode(FAILURE, [type(outcome).__name__, str(outcome), retry])
