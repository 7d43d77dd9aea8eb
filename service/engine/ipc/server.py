"""The engine's side of the socket: one thread at a time listens, and runs what it hears itself.

Waking a thread takes longer than many a model. So the thread that reads a request runs it, and goes on listening where
that takes no time worth speaking of; before a longer call, or where more work waits, it leaves that to another. Where a
call takes longer than expected, a watching thread hands the listening over. There is always a thread that can listen:
one more than may run calls, and one more for each call that takes long.
"""

import logging
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from service.engine.attempt import Attempt
from service.engine.interface import Arrays, Call
from service.engine.ipc.connection import Connection
from service.engine.ipc.messages import ADMINISTER, ANSWER, CALL, FAILURE, Message, encode
from service.errors import ServiceError

logger = logging.getLogger(__name__)

# Calls that are expected to take no longer do not keep others waiting.
SHORT_SECONDS = 0.002
# After so long the listening is handed over, whatever was expected; looked at as often.
HAND_OVER_SECONDS = 0.004
# Threads for calls that take long; when all are busy, more calls wait.
MOST_THREADS = 64

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

    def submit(self, call: Call, reply: Reply, is_abandoned: Callable[[], bool]) -> None:
        """Takes a request; `reply` gets its outputs or its error, in any thread.

        `is_abandoned` tells whether nobody waits for the answer any more.
        """

    def work(self) -> Work | None:
        """Something to be run now, or None."""

    def has_work(self) -> bool:
        """Whether `work` would give something."""

    def watch(self) -> tuple[bool, int]:
        """Looks after what runs; called every few milliseconds while something does, and else twice a second.

        Returns:
            Whether anything runs, and how many calls take long and so need a thread beside the usual ones.
        """

    def start(self) -> None:
        """Begins to load."""

    def close(self) -> None:
        """Ends what runs in the background."""

    def administer(self, operation: str, arguments: list[Any]) -> Any:
        """Loads, unloads and the like; see `Engine`."""


class Server:
    """Serves a host to the front ends.

    Args:
        path: where to make the socket.
        host: what runs the models.
        threads: how many threads listen and work, beside those for calls that take long.
        beat: called again and again while the server is alive.
        idle_seconds: how often to watch, and to call `beat`, where nothing runs.
    """

    def __init__(
        self, path: Path, host: Host, threads: int, beat: Callable[[], None] = lambda: None, idle_seconds: float = 0.5
    ) -> None:
        self._host = host
        self._beat = beat
        self._usual_threads = threads
        self._idle_seconds = idle_seconds
        self._threads: list[threading.Thread] = []
        self._leading = threading.Lock()
        # Guards `_inline_since`: when the listening thread began to run a call itself, or None.
        self._handing_over = threading.Lock()
        self._inline_since: float | None = None
        self._is_running = threading.Event()
        self._stopping = self._is_closed = False
        self._watcher = threading.Thread(target=self._watch, name="engine-watch", daemon=True)
        self._selector = selectors.DefaultSelector()
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        path.chmod(0o600)
        self._listener.listen(1024)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._waker, self._woken = os.pipe()
        for end in (self._waker, self._woken):
            os.set_blocking(end, False)
        self._selector.register(self._waker, selectors.EVENT_READ, None)

    def start(self) -> None:
        """Starts the threads."""
        self._have_threads(self._usual_threads)
        self._watcher.start()

    def _have_threads(self, count: int) -> None:
        while len(self._threads) < count:
            thread = threading.Thread(target=self._serve, name=f"engine-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self, seconds: float | None = None) -> bool:
        """Hears no more, and returns when what the host had to run has run.

        Args:
            seconds: how long to wait for that; None for as long as it takes.

        Returns:
            Whether it has.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        self._stopping = True
        self._wake()
        for thread in self._threads:
            thread.join(None if deadline is None else max(deadline - time.monotonic(), 0.0))
        return not any(thread.is_alive() for thread in self._threads)

    def close(self) -> None:
        """Ends the connections."""
        self._is_closed = True
        self._is_running.set()
        self._watcher.join()
        for key in list(self._selector.get_map().values()):
            if key.data is not None:
                key.data.close()
        self._selector.close()
        self._listener.close()
        os.close(self._waker)
        os.close(self._woken)

    def _wake(self) -> None:
        """Has the listening thread look for work."""
        with suppress(BlockingIOError):  # it has been told often enough
            os.write(self._woken, b".")

    def _watch(self) -> None:
        """Looks after what runs; sees to it that somebody listens within a few milliseconds."""
        while not self._is_closed:
            if self._is_running.wait(self._idle_seconds):
                time.sleep(HAND_OVER_SECONDS)
                self._is_running.clear()
            with self._handing_over:
                since = self._inline_since
                if since is not None and time.monotonic() - since > HAND_OVER_SECONDS:
                    self._inline_since = None
                    self._leading.release()
            self._beat()
            runs, long = self._host.watch()
            if runs:
                self._is_running.set()
            if long and not self._stopping:
                self._have_threads(min(self._usual_threads + long, MOST_THREADS))
                if self._host.has_work():
                    self._wake()

    def _serve(self) -> None:
        while (work := self._host.work() or self._lead()) is not None:
            self._is_running.set()
            work.run()

    def _lead(self) -> Work | None:
        """Listens, until there is something to do that should not keep others waiting, or the end."""
        self._leading.acquire()
        while not self._stopping:
            work = self._host.work()
            if work is None:
                for key, events in self._selector.select():
                    self._handle(key.fileobj, key.data, events)
            elif work.seconds > SHORT_SECONDS or self._host.has_work():
                self._leading.release()
                return work
            elif not self._run_inline(work):
                work = self._host.work()
                if work is not None:
                    return work
                self._leading.acquire()
        self._leading.release()
        return self._host.work()

    def _run_inline(self, work: Work) -> bool:
        """Runs something without leaving the listening to another thread; says whether it has stayed with this one."""
        self._inline_since = time.monotonic()
        if not self._is_running.is_set():
            self._is_running.set()
        work.run()
        with self._handing_over:
            is_leading, self._inline_since = self._inline_since is not None, None
        return is_leading

    def _handle(self, source: Any, connection: Connection | None, events: int) -> None:
        if source is self._listener:
            self._accept()
        elif source == self._waker:
            os.read(self._waker, 4096)
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
        number = message.number
        if message.kind == CALL:
            model, version, signature, outputs, deadline = message.document
            call = Call(model, version, signature, message.arrays, tuple(outputs), deadline)
            self._host.submit(call, lambda outcome: answer(connection, number, outcome), lambda: connection.closed)
        elif message.kind == ADMINISTER:
            operation, arguments = message.document
            # It may take as long as loading a model does.
            threading.Thread(
                target=self._administer, args=(connection, number, operation, arguments), daemon=True
            ).start()
        else:
            raise ValueError(f"kind {message.kind}, which no front end sends")

    def _administer(self, connection: Connection, number: int, operation: str, arguments: list[Any]) -> None:
        with Attempt() as attempt:
            connection.send(encode(ANSWER, self._host.administer(operation, arguments), None, number))
        if attempt.error is not None:
            if not isinstance(attempt.error, ServiceError):
                logger.error("Operation '%s' failed", operation, exc_info=attempt.error)
            answer(connection, number, attempt.error)


def answer(connection: Connection, number: int, outcome: Arrays | BaseException) -> None:
    """Sends outputs or an error; outputs that no message can carry are an error too."""
    with Attempt() as attempt:
        message = encode_outcome(outcome, number)
    if attempt.error is not None:
        logger.error("An answer cannot be sent", exc_info=attempt.error)
        message = encode_outcome(attempt.error, number)
    connection.send(message)


def encode_outcome(outcome: Arrays | BaseException, number: int = 0) -> list[Any]:
    """Outputs or an error as a message."""
    if not isinstance(outcome, BaseException):
        return encode(ANSWER, None, outcome, number)
    retry = getattr(outcome, "retry_after_seconds", None)
    return encode(FAILURE, [type(outcome).__name__, str(outcome), retry], None, number)
