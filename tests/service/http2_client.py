"""An HTTP/2 client that sends frames one by one, as no gRPC library does, and reads only when asked to."""

import socket
import struct
from collections.abc import Iterator
from itertools import islice

DATA, HEADERS, RST_STREAM, SETTINGS, PING = 0, 1, 3, 4, 6
END_STREAM = ACK = 1
END_HEADERS = 4
MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE = 3, 4
FRAME_BYTES = 16384


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def literal(name: str, value: str) -> bytes:
    """A header in HPACK without any table."""
    return b"\0" + b"".join(bytes([len(text)]) + text.encode() for text in (name, value))


class Connection:
    """A connection; a window of 0 keeps the server from sending answers."""

    def __init__(self, port: int, window: int = 65535) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._last = -1
        settings = struct.pack(">HI", INITIAL_WINDOW_SIZE, window)
        self._socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0, settings))

    def open(self, path: str) -> int:
        """Begins a call, and sends no message."""
        self._last += 2
        headers = {
            ":method": "POST", ":scheme": "http", ":path": path, ":authority": "kiln", "te": "trailers",
            "content-type": "application/grpc",
        }  # fmt: skip
        content = b"".join(literal(*entry) for entry in headers.items())
        self._socket.sendall(frame(HEADERS, END_HEADERS, self._last, content))
        return self._last

    def send(self, stream: int, content: bytes, announced: int | None = None) -> None:
        """Sends a message, or the beginning of one that is announced to be longer."""
        body = b"\0" + struct.pack(">I", len(content) if announced is None else announced) + content
        is_whole = announced in (None, len(content))
        for start in range(0, len(body), FRAME_BYTES):
            part = body[start : start + FRAME_BYTES]
            ends = is_whole and start + len(part) == len(body)
            self._socket.sendall(frame(DATA, END_STREAM if ends else 0, stream, part))

    def frames(self, seconds: float) -> Iterator[tuple[int, int, int, bytes]]:
        """Kind, flags, stream and payload of what comes, until nothing has come for so long."""
        self._socket.settimeout(seconds)
        try:
            while head := self._read(9):
                kind, flags, stream = head[3], head[4], int.from_bytes(head[5:])
                payload = self._read(int.from_bytes(head[:3]))
                if kind in (SETTINGS, PING) and not flags & ACK:
                    self._socket.sendall(frame(kind, ACK, 0, payload if kind == PING else b""))
                yield kind, flags, stream, payload
        except OSError:
            return

    def count_ended_calls(self, most: int) -> int:
        """How many calls have ended, once all have or nothing has come for ten seconds."""
        ends = (1 for kind, flags, _, _ in self.frames(10) if kind == HEADERS and flags & END_STREAM)
        return sum(islice(ends, most))

    def _read(self, count: int) -> bytes:
        return self._socket.recv(count, socket.MSG_WAITALL) if count else b""

    def close(self) -> None:
        self._socket.close()
