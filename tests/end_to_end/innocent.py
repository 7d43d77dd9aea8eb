"""A client of a model that has done nothing: it asks every 20 ms and keeps what it was answered."""

import contextlib
import http.client
import json
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.end_to_end.service import Service

MODEL = "innocent"
PAUSE_SECONDS = 0.02
# Longer without any answer is a hang.
PATIENCE_SECONDS = 8.0
# How long the innocent model may be away for each trouble, on a machine that does nothing else; 2 s of it are the aim.
AWAY_SECONDS = 4.0


@dataclass
class Record:
    """What the client saw.

    Attributes:
        answers: how often, by status; 0 stands for none.
        faults: wrong answers and requests without one.
        longest: the most seconds from one good answer to the next.
    """

    answers: Counter = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    longest: float = 0.0
    _good: float = field(default_factory=time.monotonic)

    def add(self, number: float, status: int, body: bytes) -> None:
        """Keeps an answer."""
        self.answers[status] += 1
        if status == 200:
            now = time.monotonic()
            self.longest, self._good = max(self.longest, now - self._good), now
            if json.loads(body) != {"predictions": [2 * number]}:
                self.faults.append(f"asked {number}, answered {body[:200]!r}")
        elif status not in (503, 504):
            self.faults.append(f"{status}: {body[:200]!r}")

    def finish(self) -> None:
        """Counts the time since the last good answer."""
        self.longest = max(self.longest, time.monotonic() - self._good)


@contextlib.contextmanager
def innocent_client(running: Service) -> Iterator[Record]:
    """Asks from a thread, on a connection that is kept, until the block ends; then checks what was answered."""
    stop, record = threading.Event(), Record()
    thread = threading.Thread(target=ask, args=(running.port, stop, record))
    thread.start()
    try:
        yield record
    finally:
        stop.set()
        thread.join()
        record.finish()
    logging.getLogger(__name__).info("%s, at most %.2f s without an answer", dict(record.answers), record.longest)
    assert record.faults == []
    # What waits for each processor slows a restart as much.
    allowed = AWAY_SECONDS * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    assert record.longest < allowed, f"{record}; allowed {allowed:.1f} s"


def ask(port: int, stop: threading.Event, record: Record) -> None:
    """Asks for numbers that are asked for once only; nothing is sent a second time."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    number = 0.0
    while not stop.wait(PAUSE_SECONDS):
        number += 0.25
        try:
            body = json.dumps({"instances": [number]})
            connection.request("POST", f"/v1/models/{MODEL}:predict", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            record.add(number, answer.status, answer.read())
        except (OSError, http.client.HTTPException) as error:
            record.answers[0] += 1
            record.faults.append(f"asked {number}, got {error!r}")
            connection.close()
    connection.close()
