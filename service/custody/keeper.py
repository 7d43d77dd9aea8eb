"""The supervisor's side: holds the connections of every worker, and looks after those of one that dies."""

import logging
import mmap
import os
import selectors
import socket
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from service.custody.counts import count_bytes
from service.custody.ward import FORGET, GIVE, GREET, MOST_CONNECTIONS, NOTE, NUMBER, SOCKET, TAKE
from service.engine.attempt import Attempt

logger = logging.getLogger(__name__)

BODY = b'{"error":"The process that had the request was killed. Try again."}'
UNANSWERED = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
)
# How long a client may take to read that answer, and a connection waits for a worker where there is none.
PATIENCE_SECONDS = 5.0
PAUSE_SECONDS = 0.1


@dataclass(eq=False)
class Worker:
    """A worker as the keeper knows it.

    Attributes:
        stream: where it speaks.
        pid: its process.
        notes: the memory that it shares.
        connections: copies of its connections, by its numbers for them.
    """

    stream: socket.socket
    pid: int = 0
    notes: mmap.mmap | None = None
    connections: dict[int, socket.socket] = field(default_factory=dict)


class Keeper:
    """Keeps the connections of the workers, in a thread.

    Args:
        folder: the service's own, where the socket is made.
    """

    def __init__(self, folder: Path) -> None:
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        path = folder / SOCKET
        path.unlink(missing_ok=True)
        self._listener.bind(str(path))
        path.chmod(0o600)
        self._listener.listen(64)
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        self._workers: deque[Worker] = deque()
        # Connections that wait for a worker, or whose client still reads its answer, and until when.
        self._orphans: list[tuple[float, socket.socket]] = []
        self._closing: list[tuple[float, socket.socket]] = []

    def start(self) -> None:
        """Starts the thread."""
        threading.Thread(target=self._run, name="keeper", daemon=True).start()

    def _run(self) -> None:
        while True:
            with Attempt() as attempt:
                for key, _ in self._selector.select(1.0):
                    if key.fileobj is self._listener:
                        stream, _ = self._listener.accept()
                        self._selector.register(stream, selectors.EVENT_READ, Worker(stream))
                    else:
                        self._listen(key.data)
                self._let_go()
            if attempt.error is not None:
                # Workers wait for whoever does not listen to them, so this goes on whatever happens.
                logger.error("Keeping connections failed; it goes on", exc_info=attempt.error)
                time.sleep(PAUSE_SECONDS)

    def _listen(self, worker: Worker) -> None:
        """Does what a worker says, or looks after what it leaves behind."""
        try:
            message, descriptors, _, _ = socket.recv_fds(worker.stream, 16, 1)
        except ConnectionResetError:  # killed before it took what it was given
            message = b""
        if not message:
            self._selector.unregister(worker.stream)
            worker.stream.close()
            if worker in self._workers:
                self._workers.remove(worker)
            self._inherit(worker)
            return
        kind, (number,) = message[:1], NUMBER.unpack_from(message, 1)
        if kind == GREET:
            worker.pid, worker.notes = number, mmap.mmap(descriptors[0], MOST_CONNECTIONS * NOTE.size)
            os.close(descriptors[0])
            self._workers.append(worker)
            orphans, self._orphans = self._orphans, []
            for _, connection in orphans:
                self._give(connection)
        elif kind == TAKE and descriptors:  # it has none where this process may not open more files
            worker.connections[number] = socket.socket(fileno=descriptors[0])
        elif kind == FORGET and number in worker.connections:
            worker.connections.pop(number).close()

    def _inherit(self, worker: Worker) -> None:
        """A worker is gone: its connections go to others, or their clients are told to try again."""
        if not worker.connections or worker.notes is None:
            return
        given = told = 0
        for number, connection in worker.connections.items():
            read, before, after = NOTE.unpack_from(worker.notes, number * NOTE.size)
            try:
                counts = count_bytes(connection)
                if counts.written == after and counts.read == read:
                    self._give(connection)
                    given += 1
                elif counts.written in (before, after):
                    # The request was read, or some of it, and nothing of its answer was sent.
                    self._tell_off(connection)
                    told += 1
                else:
                    # Some of an answer is on its way; nothing more can be done for the client.
                    connection.shutdown(socket.SHUT_RDWR)
                    connection.close()
            except OSError:
                connection.close()
        worker.notes.close()
        logger.warning(
            "Worker %d is gone: %d of its connections go on elsewhere, %d requests are answered 503",
            worker.pid, given, told,
        )  # fmt: skip

    def _give(self, connection: socket.socket) -> None:
        """Hands a connection to a worker, to each in turn; or has it wait until there is one."""
        for _ in range(len(self._workers)):
            self._workers.rotate()
            try:
                socket.send_fds(self._workers[0].stream, [GIVE], [connection.fileno()])
            except OSError:
                continue
            connection.close()
            return
        self._orphans.append((time.monotonic() + PATIENCE_SECONDS, connection))

    def _tell_off(self, connection: socket.socket) -> None:
        """Answers that the request should be sent again, and ends the connection when the client has read that."""
        connection.setblocking(False)
        connection.send(UNANSWERED)
        connection.shutdown(socket.SHUT_WR)
        self._closing.append((time.monotonic() + PATIENCE_SECONDS, connection))

    def _let_go(self) -> None:
        """Closes what has been read, or has waited for too long.

        A connection that is closed while bytes of the client's are unread is reset, and the answer may be lost with it.
        """
        now = time.monotonic()
        self._closing = [
            (until, connection) for until, connection in self._closing if until > now and drain(connection)
        ]
        for until, connection in self._orphans:
            if until <= now:
                connection.close()
        self._orphans = [entry for entry in self._orphans if entry[0] > now]


def drain(connection: socket.socket) -> bool:
    """Reads and drops what has come.

    Returns:
        Whether the client may send more; where it may not, the connection is closed.
    """
    try:
        while connection.recv(65536):
            continue
    except BlockingIOError:
        return True
    except OSError:
        pass
    connection.close()
    return False
