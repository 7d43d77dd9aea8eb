"""A connection of HTTP/1.1 that notices what it was never to be sent, which other clients of Python throw away."""

import contextlib
import select
import socket

CHUNK_BYTES = 1 << 20


class UnaskedAnswer(Exception):
    """There is something to read on a connection on which nothing was asked."""


class CutAnswer(Exception):
    """The connection ended within an answer."""


class BadAnswer(Exception):
    """What came is no answer of HTTP."""


class KeptConnection:
    """Sends requests and reads answers, on one connection for as long as the service keeps it.

    Args:
        address: `host:port`.
        seconds: how long to wait for the next bytes of an answer.

    Attributes:
        has_answered: whether an answer came on the connection that is open.
    """

    def __init__(self, address: str, seconds: float) -> None:
        self._address, self._seconds = address, seconds
        self._socket: socket.socket | None = None
        self.has_answered = False

    def post(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        """Sends a request.

        Returns:
            The status, the headers with names in lower case, and the body.

        Raises:
            UnaskedAnswer: bytes came before the request, or follow the answer.
            CutAnswer: the connection ended within the answer.
            BadAnswer: what came is no answer.
            OSError: the connection ended before the answer, or cannot be opened; TimeoutError: nothing came in time.
        """
        self._check()
        if self._socket is None:
            host, _, port = self._address.rpartition(":")
            self._socket = socket.create_connection((host, int(port)), self._seconds)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        lines = [f"POST {path} HTTP/1.1", f"Host: {self._address}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode("ascii") + body)
        status, found, content = self._read()
        self.has_answered = True
        if found.get("connection", "").lower() == "close":
            self.close()
        return status, found, content

    def _read(self) -> tuple[int, dict[str, str], bytes]:
        data = bytearray()
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._receive(is_begun=bool(data))
        first, *lines = data[:end].decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        try:
            protocol, status, _ = first.split(" ", 2)
            length = int(headers["content-length"])
        except (ValueError, KeyError):
            protocol = ""
        if protocol != "HTTP/1.1":
            raise BadAnswer(f"no answer of HTTP: {bytes(data[:200])!r}")
        while len(data) < end + 4 + length:
            data += self._receive(is_begun=True)
        if len(data) > end + 4 + length:
            raise UnaskedAnswer(repr(bytes(data[end + 4 + length :][:200])))
        return int(status), headers, bytes(data[end + 4 :])

    def _receive(self, *, is_begun: bool) -> bytes:
        data = self._socket.recv(CHUNK_BYTES)
        if not data and is_begun:
            raise CutAnswer("the connection ended within an answer")
        if not data:
            raise ConnectionResetError("the connection ended before the answer")
        return data

    def _check(self) -> None:
        """Closes a connection that the service has closed meanwhile, as every client does."""
        if self._socket is not None and select.select([self._socket], [], [], 0)[0]:
            data = b""
            with contextlib.suppress(OSError):
                data = self._socket.recv(200)
            if data:
                raise UnaskedAnswer(repr(data))
            self.close()

    def close(self) -> None:
        """Closes the connection; the next request opens another one."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self.has_answered = None, False
