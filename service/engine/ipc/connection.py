"""One front end's connection to the engine: whole messages out of a stream that never blocks the engine."""

import selectors
import socket
import threading
from collections import deque
from collections.abc import Iterator

from service.engine.ipc.messages import HEAD, Buffers, Message, decode

CHUNK = 16 * 1024
# Larger than any message of a front end can be.
MOST_BYTES = 2**33


class Connection:
    """A front end's connection.

    Args:
        stream: the socket, which becomes non-blocking.
        selector: where it is registered; to be told when there is more to write than the socket takes.

    Attributes:
        closed: whether the front end has gone.
    """

    def __init__(self, stream: socket.socket, selector: selectors.BaseSelector) -> None:
        stream.setblocking(False)
        self._stream = stream
        self._selector = selector
        self._buffer = bytearray(CHUNK)
        self._filled = 0
        self._pending: deque[memoryview] = deque()
        self._lock = threading.Lock()
        self.closed = False

    def receive(self) -> Iterator[Message]:
        """Reads what has come, and yields the message once it is whole.

        A front end sends one message and waits for the answer, so there is never more than one.

        Raises:
            ValueError: it is not a message.
        """
        try:
            count = self._stream.recv_into(memoryview(self._buffer)[self._filled :])
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            count = 0
        if not count:
            self.close()
            return
        self._filled += count
        if self._filled < HEAD.size:
            return
        kind, head, content, number = HEAD.unpack_from(self._buffer)
        total = HEAD.size + head + content
        if not self._filled <= total <= MOST_BYTES:
            raise ValueError(f"a message of {total} bytes, of which {self._filled} have come")
        if self._filled == total:
            # Its arrays share the buffer's memory, so the next message gets another.
            view = memoryview(self._buffer)
            self._buffer, self._filled = bytearray(CHUNK), 0
            yield decode(kind, view[HEAD.size : HEAD.size + head], view[HEAD.size + head : total], number)
        elif len(self._buffer) < total:
            larger = bytearray(total)
            larger[: self._filled] = memoryview(self._buffer)[: self._filled]
            self._buffer = larger
            yield from self.receive()

    def send(self, buffers: Buffers) -> None:
        """Sends a message, or as much as the front end takes now, and the rest when it takes more."""
        with self._lock:
            if self.closed:
                return
            if self._pending:
                self._pending += [memoryview(buffer) for buffer in buffers if len(buffer)]
            else:
                self._begin(buffers)

    def _begin(self, buffers: Buffers) -> None:
        """Sends a message; it seldom takes more than one call."""
        try:
            sent = self._stream.sendmsg(buffers)
        except OSError:
            sent = 0
        if sent < sum(map(len, buffers)):
            self._pending += [memoryview(buffer) for buffer in buffers if len(buffer)]
            self._drop(sent)
            self._write()

    def _drop(self, sent: int) -> None:
        """So many bytes of what is left have been sent."""
        while self._pending and sent >= len(self._pending[0]):
            sent -= len(self._pending.popleft())
        if sent:
            self._pending[0] = self._pending[0][sent:]

    def flush(self) -> None:
        """Sends what is left."""
        with self._lock:
            if not self.closed:
                self._write()

    def _write(self) -> None:
        had_more = False
        try:
            while self._pending:
                self._drop(self._stream.sendmsg(list(self._pending)[:512]))
        except (BlockingIOError, InterruptedError):
            had_more = True
        except OSError:
            self._pending.clear()
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if had_more else 0)
        if self._selector.get_key(self._stream).events != events:
            self._selector.modify(self._stream, events, self)

    def close(self) -> None:
        """The front end has gone, or should."""
        with self._lock:
            if not self.closed:
                self.closed = True
                self._selector.unregister(self._stream)
                self._stream.close()
