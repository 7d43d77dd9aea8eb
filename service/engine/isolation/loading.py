"""Loads versions so that none can harm the engine: a new one is first loaded in a process that may die of it."""

import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import orjson

from service.engine.isolation.crash_log import MOST_TIMES, CrashLog, describe_quarantine
from service.engine.isolation.examined import Examined
from service.engine.isolation.journal import Journal
from service.engine.isolation.watchdog import Running
from service.engine.model import Quarantined
from service.engine.resources import resident_bytes
from service.engine.saved_model.loaded_model import LoadedModel
from service.engine.saved_model.loader import Examination, SavedModelLoader
from service.engine.sources.files import take_fingerprint

logger = logging.getLogger(__name__)

# How often to look at a process that examines a version.
LOOK_SECONDS = 0.05
# A process that has nothing to examine ends after so long, or at once where it has become this large.
IDLE_SECONDS = 5.0
LARGE_BYTES = 700 * 2**20


class LoadFailed(Exception):
    """A version cannot be loaded; the text says why."""


class ExaminerProcess(subprocess.Popen[bytes]):
    """The process of an `Examiner`, which has both pipes."""

    stdin: IO[bytes]
    stdout: IO[bytes]


@dataclass(eq=False)
class Examiner:
    """A process that examines versions, one at a time.

    Attributes:
        process: it.
        idle_since: clock of `time.monotonic` since when it has nothing to do.
    """

    process: ExaminerProcess = field(
        default_factory=lambda: ExaminerProcess(
            [sys.executable, "-m", "service.engine.isolation.examiner"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
    )
    idle_since: float = 0.0

    def ask(self, request: dict[str, Any], deadline: float, most_bytes: int | None) -> dict[str, Any]:
        """Has a version examined.

        Returns:
            `examination`, or `error` with a sentence; `before_probe` alone where the probe ended the process.

        Raises:
            LoadFailed: the process ended before the probe, or took too long or too much memory.
        """
        known: dict[str, Any] = {}
        try:
            self.process.stdin.write(orjson.dumps(request) + b"\n")
            self.process.stdin.flush()
            for line in self._read_lines(deadline, most_bytes):
                known = orjson.loads(line)
                if "before_probe" not in known:
                    return known
        except BrokenPipeError:
            pass
        except LoadFailed:
            if not known:
                raise
        if not known:
            raise LoadFailed(describe_end(self.process.wait()))
        return known

    def _read_lines(self, deadline: float, most_bytes: int | None) -> Iterator[bytes]:
        """The lines of the process, until it ends."""
        output = self.process.stdout
        text = b""
        while True:
            ready, _, _ = select.select([output], [], [], LOOK_SECONDS)
            if ready:
                part = os.read(output.fileno(), 65536)
                if not part:
                    return
                *lines, text = (text + part).split(b"\n")
                yield from lines
            self._check(deadline, most_bytes)

    def _check(self, deadline: float, most_bytes: int | None) -> None:
        """Raises `LoadFailed` where the process takes too long or too much memory."""
        if time.monotonic() > deadline:
            raise LoadFailed("it was not loaded and warmed up within KILN_LOAD_TIMEOUT_SECONDS")
        if most_bytes is not None and (size := resident_bytes(self.process.pid)) > most_bytes:
            raise LoadFailed(
                f"loading it takes more memory than there is: {size >> 20} MiB of {most_bytes >> 20} MiB "
                "(KILN_ENGINE_MEMORY_BYTES)"
            )

    def end(self) -> None:
        """Ends the process."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            try:
                stream.close()
            except BrokenPipeError:
                continue


def describe_end(status: int) -> str:
    """How a process ended, as the end of a sentence."""
    if status >= 0:
        return f"the process that loaded it ended with status {status}"
    return f"the process that loaded it ended by {signal.Signals(-status).name}"


class IsolatedLoader:
    """Loads versions; see `Load`.

    Args:
        loader: loads a version into this process, and examines one.
        examined: what is known of versions that were loaded before.
        crash_log: the versions that have ended a process.
        journal: told of each load in this process.
        timeout_seconds: how long a load may take.
        most_bytes: memory that the engine may have, or None.
    """

    def __init__(
        self,
        loader: SavedModelLoader,
        examined: Examined,
        crash_log: CrashLog,
        journal: Journal,
        timeout_seconds: float,
        most_bytes: int | None,
    ) -> None:
        self._loader = loader
        self._examined = examined
        self._crash_log = crash_log
        self._journal = journal
        self._timeout_seconds = timeout_seconds
        self._most_bytes = most_bytes
        self._idle: list[Examiner] = []
        self._lock = threading.Lock()
        # Loads into this process, by their thread.
        self._loading: dict[int, Running] = {}
        self._is_closed = False

    def __call__(self, path: Path, name: str, number: int) -> LoadedModel:
        """Loads one version.

        Raises:
            Quarantined: it has ended a process twice.
            LoadFailed: it cannot be loaded.
        """
        self._crash_log.check(name, number)
        files = take_fingerprint(path)
        known = self._examined.find(name, number, files)
        examination = self._examine(path, name, number) if known is None else known
        entry = self._journal.begin((name, number, ""))
        thread = threading.get_ident()
        self._loading[thread] = Running(name, number, "loading it", time.monotonic(), self._timeout_seconds)
        try:
            model = self._loader(path, name, number, examination, is_again=known is not None)
        finally:
            self._loading.pop(thread, None)
            self._journal.end(entry)
        self._examined.note(name, number, files, examination)
        if crash := self._crash_log.find(name, number):
            model.warning = f"It has ended the process that ran it: {crash.reason}"
        return model

    def _examine(self, path: Path, name: str, number: int) -> Examination:
        examiner = self._take()
        most = None if self._most_bytes is None else max(self._most_bytes - resident_bytes(), 0)
        request = {"path": str(path.absolute()), "name": name, "number": number}
        try:
            answer = examiner.ask(request, time.monotonic() + self._timeout_seconds, most)
        except LoadFailed as error:
            examiner.end()
            crash = self._crash_log.blame(name, number, str(error))
            if crash.times >= MOST_TIMES:
                raise Quarantined(describe_quarantine(name, crash)) from None
            raise
        if "before_probe" in answer:
            examiner.end()
            return Examination.from_json(answer["before_probe"])
        self._put_back(examiner)
        if "error" in answer:
            raise LoadFailed(answer["error"])
        return Examination.from_json(answer["examination"])

    def _take(self) -> Examiner:
        with self._lock:
            while self._idle:
                examiner = self._idle.pop()
                if examiner.process.poll() is None:
                    return examiner
                examiner.end()
        return Examiner()

    def _put_back(self, examiner: Examiner) -> None:
        examiner.idle_since = time.monotonic()
        with self._lock:
            if not self._is_closed and resident_bytes(examiner.process.pid) < LARGE_BYTES:
                self._idle.append(examiner)
                return
        examiner.end()

    def end_idle(self, now: float) -> None:
        """Ends the processes that have had nothing to do for a while."""
        with self._lock:
            over = [examiner for examiner in self._idle if now - examiner.idle_since > IDLE_SECONDS]
            self._idle = [examiner for examiner in self._idle if examiner not in over]
        for examiner in over:
            examiner.end()

    def loading(self) -> list[Running]:
        """The loads into this process that have not ended."""
        return list(self._loading.values())

    def forgive(self, name: str, number: int) -> None:
        """A version's files have changed, or somebody loads it by hand: it is examined as if it were new."""
        self._crash_log.forgive(name, number)
        self._examined.forget(name, number)

    def close(self) -> None:
        """Ends the processes."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for examiner in idle:
            examiner.end()
