"""An answer's head and body go out together."""

import socket
from typing import Any

# Larger answers are sent in parts.
MOST_BYTES = 64 * 1024


class JoinedWrites:
    """A socket that keeps what is sent until it is much, or `flush` is called.

    gunicorn sends the head of an answer and then its body: two calls of the system and two packets, between which a
    worker can be killed.

    Args:
        connection: the client's socket, to which everything else goes.
    """

    __slots__ = ("_connection", "_parts", "_size")

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
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
            content = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
            self._parts, self._size = [], 0
            self._connection.sendall(content)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)
