"""The service's first process: starts the engine and the fronts, starts again what dies, and ends them in order."""

import logging
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType

from service.announcement import announce
from service.custody.counts import is_supported
from service.custody.keeper import Keeper
from service.engine.attempt import Attempt
from service.engine.board import STARTING, Board
from service.engine.client import SOCKET, EngineClient
from service.engine.interface import LOADING, START, Catalog
from service.engine.repository import Repository
from service.errors import InvalidSettings
from service.metrics import FOLDER_VARIABLE, fold_dead_worker
from service.processes import allow_many_files
from service.settings import Settings

logger = logging.getLogger(__name__)

PREFIX = "kiln-"
RESTARTING = "The engine is being started again."
# A child that lived longer than this is started again at once; one that dies sooner waits, each time twice as long.
SETTLED_SECONDS = 10.0
MOST_SECONDS_BETWEEN_STARTS = 30.0
TICK_SECONDS = 0.2
# The status of an engine whose settings name what is not there, or cannot be read.
REFUSED = 2
# Beyond KILN_GRACEFUL_TIMEOUT_SECONDS, for what is left to do after the last answer.
SPARE_SECONDS = 5.0
# sockaddr_un.sun_path has 108 bytes on Linux and 104 on macOS, one of them for the end.
LONGEST_SOCKET_PATH = 100


@dataclass
class Child:
    """A process of the service.

    Attributes:
        name: what the log calls it.
        command: what to run.
        process: it, while it runs.
        started: clock of `time.monotonic`.
        failures: how often it has died soon after its start, one time after another.
        start_at: when to start it again.
    """

    name: str
    command: list[str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    start_at: float = 0.0

    def start(self) -> None:
        """Starts the process."""
        self.started = time.monotonic()
        self.process = subprocess.Popen(self.command)

    def has_ended(self, status: int | None = None) -> bool:
        """Whether it was started and has ended; with a status, whether with that one."""
        ended = None if self.process is None else self.process.poll()
        return ended is not None and status in (None, ended)

    def tell(self, number: int) -> None:
        """Sends a signal, if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def wait(self, seconds: float) -> None:
        """Waits for its end, and ends it where it takes too long."""
        if self.process is None:
            return
        try:
            self.process.wait(max(seconds, 0.0))
        except subprocess.TimeoutExpired:
            logger.warning("Process '%s' did not end in time and is killed", self.name)
            self.process.kill()
            self.process.wait()


@dataclass
class Supervisor:
    """Runs a service until it is told to stop.

    Attributes:
        settings: see `Settings`.
        folder: where the processes meet: metrics, the engine's socket, the catalogue.
    """

    settings: Settings
    folder: Path
    engine: Child = field(init=False)
    fronts: list[Child] = field(init=False)
    _stopping: bool = False
    _announced: bool = False

    def __post_init__(self) -> None:
        configuration = Path(__file__).parent / "gunicorn.conf.py"
        self.engine = Child("engine", [sys.executable, "-m", "service.engine"])
        self.fronts = [Child("http", [sys.executable, "-m", "gunicorn", "--config", str(configuration)])]
        if self.settings.grpc_port:
            self.fronts.append(Child("grpc", [sys.executable, "-m", "service.grpc_front"]))
        self._board = Board(self.folder)
        self._reader, self._writer = socket.socketpair()

    def run(self) -> int:
        """Runs the service.

        Returns:
            0 after it was told to stop, 1 where HTTP could not be served, 2 where the engine refuses its settings.
        """
        self._board.publish(Catalog(obstacle=STARTING, starting=True))
        self._listen_to_signals()
        allow_many_files()
        if is_supported():
            Keeper(self.folder).start()
        for child in (self.engine, *self.fronts):
            child.start()
        code = self._watch()
        self._stop()
        return code

    def _listen_to_signals(self) -> None:
        for end in (self._reader, self._writer):
            end.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, self._note_stop)
        signal.signal(signal.SIGHUP, self._restart_workers)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def _note_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _restart_workers(self, _number: int, _frame: FrameType | None) -> None:
        for front in self.fronts:
            front.tell(signal.SIGHUP)

    def _watch(self) -> int:
        while not self._stopping:
            if self.fronts[0].has_ended():
                logger.error("The HTTP front ended, and the service with it")
                return 1
            if not self._announced and self.engine.has_ended(REFUSED):
                # It has said why. Later the same may pass: a file that is being written, say.
                return REFUSED
            for child in (self.engine, *self.fronts[1:]):
                self._revive(child)
            if not self._announced:
                self._announce()
            select.select([self._reader], [], [], TICK_SECONDS)
            try:
                self._reader.recv(4096)
            except BlockingIOError:
                continue
        return 0

    def _revive(self, child: Child) -> None:
        """Starts a child again that has died."""
        now = time.monotonic()
        if child.has_ended() and child.process is not None:
            self._bury(child, child.process)
            lived = now - child.started
            child.failures = 0 if lived > SETTLED_SECONDS else child.failures + 1
            child.process, child.start_at = None, now + pause_before_start(child.failures)
        if child.process is None and now >= child.start_at:
            with Attempt() as attempt:
                child.start()
            if attempt.error is not None:
                logger.error("Process '%s' cannot be started: %s", child.name, attempt.error)
                child.start_at = now + MOST_SECONDS_BETWEEN_STARTS

    def _bury(self, child: Child, process: subprocess.Popen[bytes]) -> None:
        logger.error("Process '%s' ended with %s and is started again", child.name, process.returncode)
        # It may have left anything behind, which must not end the service.
        with Attempt() as attempt:
            if child is self.engine:
                self._board.publish(without_versions(self._board.read()))
            fold_dead_worker(process.pid, self.folder)
        if attempt.error is not None:
            logger.error("What process '%s' left cannot be put away", child.name, exc_info=attempt.error)

    def _announce(self) -> None:
        """Says once what is served, when every model was loaded or could not be."""
        catalog = self._board.read()
        states = {version.state for model in catalog.models.values() for version in model.versions}
        if catalog.starting or states & {START, LOADING}:
            return
        self._announced = True
        with Attempt() as attempt:
            announce(self.settings, Repository(EngineClient(self.folder)))
        if attempt.error is not None:
            logger.warning("What is served cannot be announced: %s", attempt.describe())

    def _stop(self) -> None:
        """Ends the fronts, which finish what they have in hand, and then the engine."""
        patience = self.settings.graceful_timeout_seconds + SPARE_SECONDS
        deadline = time.monotonic() + patience
        for front in self.fronts:
            front.tell(signal.SIGTERM)
        for front in self.fronts:
            front.wait(deadline - time.monotonic())
        self.engine.tell(signal.SIGTERM)
        self.engine.wait(SPARE_SECONDS)


def pause_before_start(failures: int) -> float:
    """Seconds to wait before a child is started that has died so often soon after its start."""
    return min(0.25 * 2 ** min(failures, 10), MOST_SECONDS_BETWEEN_STARTS) if failures > 1 else 0.0


def without_versions(catalog: Catalog) -> Catalog:
    """The catalogue while there is no engine: every version that was served is being loaded again."""
    models = {
        name: replace(model, versions=tuple(replace(version, state=LOADING) for version in model.versions))
        for name, model in catalog.models.items()
    }
    return Catalog(models, RESTARTING, starting=True)


def supervise(settings: Settings) -> int:
    """Runs the service in a folder of its own.

    Returns:
        The exit status.

    Raises:
        InvalidSettings: there is no folder to write to.
    """
    given = os.environ.get(FOLDER_VARIABLE)
    try:
        folder = Path(given) if given else Path(tempfile.mkdtemp(prefix=PREFIX))
        folder.mkdir(parents=True, exist_ok=True)
        # What another run left there is not ours to count.
        for path in (*folder.glob("*.db"), *folder.glob("catalog.*"), *folder.glob("engine.*")):
            path.unlink()
    except OSError as error:
        sentence = f"The service needs a folder that it can write to, such as /tmp, or as TMPDIR names it: {error}."
        raise InvalidSettings(sentence) from None
    if len(str(folder / SOCKET)) > LONGEST_SOCKET_PATH:
        raise InvalidSettings(f"The path {folder} is too long for a socket. Set TMPDIR to a shorter one, such as /tmp.")
    os.environ[FOLDER_VARIABLE] = str(folder)
    try:
        return Supervisor(settings, folder).run()
    finally:
        if not given:
            shutil.rmtree(folder, ignore_errors=True)
