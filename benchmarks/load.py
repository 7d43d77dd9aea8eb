"""A load of so many requests a second, whatever the answers take, and a record of every one.

Run as a process of its own: `python -m benchmarks.load ADDRESS RATE SEED OUTPUT` sends until SIGTERM, then writes the
records to OUTPUT.npy and some answers to OUTPUT.json. It asks a model of `benchmarks.tiny_models`, whose answers tell
their version.
"""

import asyncio
import contextlib
import json
import random
import signal
import socket
import sys
import time
from array import array
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.tiny_models import MODEL, SCALE

CONNECTIONS, MOST_CONNECTIONS = 16, 256
ANSWER_SECONDS = 40.0
TICK_SECONDS = 0.001
BODIES = 64

# What became of a request. A positive outcome is the version that answered; below -100 it is a status, to which 1000 is
# added if it came without Retry-After.
WRONG, REFUSED, RESET_FRESH, RESET_REUSED, CUT, SILENT = 0, -1, -2, -3, -4, -5
BARE = 1000
COLUMNS = ("due", "sent", "received", "outcome")


@dataclass(frozen=True)
class Question:
    """A request and what to expect.

    Attributes:
        message: all its bytes.
        sums: the sum of each row, to which the answer adds `SCALE` times its version.
    """

    message: bytes
    sums: tuple[int, ...]


class Connection(asyncio.Protocol):
    """One connection, which sends a request when it is given one.

    Args:
        load: who is told.
    """

    def __init__(self, load: "Load") -> None:
        self._load = load
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._question: Question | None = None
        self._due = self._sent = 0.0
        self._answered = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self._transport = transport  # type: ignore[assignment]
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, question: Question, due: float) -> None:
        """Sends a request."""
        self._question, self._due, self._sent = question, due, time.monotonic()
        self._transport.write(question.message)

    def data_received(self, data: bytes) -> None:
        """Reads an answer, or a part of one."""
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator or self._question is None:
            return
        status, headers = read_head(head)
        if len(body) < int(headers.get(b"content-length", b"0")):
            return
        self._answered += 1
        outcome = read_outcome(self._question, status, headers, body)
        if outcome <= 0:
            self._load.quote(outcome, body)
        self._end(outcome)
        if headers.get(b"connection", b"").lower() == b"close":
            self._transport.close()
        else:
            self._load.idle.append(self)

    def connection_lost(self, _error: Exception | None) -> None:
        """The connection ended; while nothing is asked that is in order."""
        self._load.forget(self)
        if self._question is not None:
            self._end(CUT if self._buffer else RESET_REUSED if self._answered else RESET_FRESH)

    def check(self, now: float) -> None:
        """Gives up an answer that takes too long."""
        if self._question is not None and now - self._sent > ANSWER_SECONDS:
            self._end(SILENT)
            self._transport.abort()

    def _end(self, outcome: int) -> None:
        self._load.record(self._due, self._sent, outcome)
        self._question, self._buffer = None, b""


def read_head(head: bytes) -> tuple[int, dict[bytes, bytes]]:
    """Status and headers of an answer."""
    first, *lines = head.split(b"\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(b":")
        headers[name.lower()] = value.strip()
    return int(first.split(b" ", 2)[1]), headers


def read_outcome(question: Question, status: int, headers: dict[bytes, bytes], body: bytes) -> int:
    """What an answer is worth: the version that gave it, or why it is not right."""
    if status != 200:
        return -status if b"retry-after" in headers else -status - BARE
    try:
        answers = [value for [value] in json.loads(body)["predictions"]]
    except (ValueError, KeyError, TypeError):
        return WRONG
    version = round((answers[0] - question.sums[0]) / SCALE) if answers else 0
    is_right = answers == [value + SCALE * version for value in question.sums]
    return version if is_right and version > 0 else WRONG


class Load:
    """Sends requests at their time, over as many connections as that takes.

    Args:
        address: `host:port`.
        rate: requests per second.
        seed: of the numbers that are asked.

    Attributes:
        idle: connections without a request, the one that waits longest first.
        quotes: an answer of each kind that is not good.
    """

    def __init__(self, address: str, rate: float, seed: int) -> None:
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._pause = 1 / rate
        self._questions = make_questions(address, random.Random(seed))
        self._connections: set[Connection] = set()
        self._opening = 0
        self._waiting: deque[tuple[Question, float]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self.idle: deque[Connection] = deque()
        self._records = array("d")
        self.quotes: dict[int, str] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Sends requests until told to stop, and waits for the answers."""
        due, number = time.monotonic(), 0
        checked = due
        while not stop.is_set():
            now = time.monotonic()
            while due <= now:
                self._waiting.append((self._questions[number % BODIES], due))
                due += self._pause
                number += 1
            self._send()
            if now - checked > 1:
                checked = now
                for connection in list(self._connections):
                    connection.check(now)
            await asyncio.sleep(TICK_SECONDS)
        for _ in range(100):
            if len(self._connections) == len(self.idle) and not self._opening:
                break
            await asyncio.sleep(0.05)

    def _send(self) -> None:
        while self._waiting and self.idle:
            self.idle.popleft().ask(*self._waiting.popleft())
        missing = max(len(self._waiting), CONNECTIONS - len(self._connections)) - self._opening
        room = MOST_CONNECTIONS - len(self._connections) - self._opening
        for _ in range(min(missing, room)):
            self._opening += 1
            task = asyncio.ensure_future(self._open())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(lambda: Connection(self), self._host, self._port)
        except OSError:
            if self._waiting:
                _, due = self._waiting.popleft()
                self.record(due, time.monotonic(), REFUSED)
            return
        finally:
            self._opening -= 1
        self._connections.add(connection)
        self.idle.append(connection)

    def forget(self, connection: Connection) -> None:
        """A connection has ended."""
        self._connections.discard(connection)
        with contextlib.suppress(ValueError):
            self.idle.remove(connection)

    def record(self, due: float, sent: float, outcome: int) -> None:
        """Keeps what became of a request."""
        self._records.extend((due, sent, time.monotonic(), outcome))

    def quote(self, outcome: int, body: bytes) -> None:
        """Keeps the first answer of its kind."""
        self.quotes.setdefault(outcome, body[:300].decode("utf-8", "replace"))

    def records(self) -> np.ndarray:
        """What became of the requests: float64, shape (requests, 4), columns as in `COLUMNS`; times in seconds."""
        return np.frombuffer(self._records, np.float64).reshape(-1, len(COLUMNS))


def make_questions(address: str, numbers: random.Random) -> list[Question]:
    """Requests of one to four rows of three small whole numbers."""
    questions = []
    for number in range(BODIES):
        rows = [[numbers.randint(0, 99) for _ in range(3)] for _ in range(1 + number % 4)]
        body = json.dumps({"instances": rows}).encode("ascii")
        head = (
            f"POST /v1/models/{MODEL}:predict HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        questions.append(Question(head.encode("ascii") + body, tuple(sum(row) for row in rows)))
    return questions


async def main() -> None:
    """Runs the load that the command line names."""
    address, rate, seed, output = sys.argv[1:]
    load, stop = Load(address, float(rate), int(seed)), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await load.run(stop)
    np.save(output, load.records())
    Path(output).with_suffix(".json").write_text(json.dumps(load.quotes), encoding="ascii")


if __name__ == "__main__":
    asyncio.run(main())
