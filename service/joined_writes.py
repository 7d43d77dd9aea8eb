"""An answer's head and body go out together."""

import socket
from collections.abc import Callable
from typing import Any

# Larger answers are sent in parts.
MOST_BYTES = 64 * 1024


class JoinedWrites:
    """A socket that keeps what is sent until it is much, or `flush` is called.

    gunicorn sends the head of an answer and then its body: two calls of the system and two packets, between which a
    worker can be killed.

    Args:
        connection: the client's socket, to which everything else goes.
        before_end: told, before the end of the answer is sent, of how many bytes it is, and whether some went before.
    """

    __slots__ = ("_before_end", "_connection", "_has_begun", "_has_ended", "_parts", "_size")

    def __init__(self, connection: socket.socket, before_end: Callable[[int, bool], None]) -> None:
        self._connection = connection
        self._before_end = before_end
        self._has_begun = self._has_ended = False
        self._parts: list[bytes] = []
        self._size = 0

    def sendall(self, content: bytes) -> None:
        """Sends bytes, now or later."""
        self._parts.append(content)
        self._size += len(content)
        if self._size > MOST_BYTES:
            self.flush()

    def fileno(self) -> int:
        """The descriptor, for somebody who sends past this object."""
        self.flush()
        return self._connection.fileno()

    def flush(self) -> None:
        """Sends what was kept.

        Raises:
            OSError: the client has gone.
        """
        if self._parts:
            content = b"".join(self._parts)
            self._parts, self._size, self._has_begun = [], 0, True
            self._connection.sendall(content)

    def finish(self) -> None:
        """Sends what was kept, which is the end of the answer.

        Raises:
            OSError: the client has gone.
        """
        if not self._has_ended:
            self._has_ended = True
            self._before_end(self._size, self._has_begun)
        self.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)
