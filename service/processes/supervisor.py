"""The service's first process: starts the engine and the front ends, starts again what dies, and ends them in order."""

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

from service.engine.attempt import Attempt
from service.engine.interface import LOADING, START, Catalog
from service.engine.ipc.catalog_file import STARTING, CatalogFile
from service.engine.ipc.client import SOCKET, EngineClient
from service.engine.ipc.shared_memory import Demand, Heartbeat
from service.engine.isolation.crash_log import CrashLog, explain_crash
from service.engine.isolation.journal import Journal
from service.engine.isolation.watchdog import ENDED_FOR_A_VERSION
from service.engine.repository import Repository
from service.engine.resources import count_memory_kills
from service.errors import InvalidSettings
from service.metrics import FOLDER_VARIABLE, LOCK, fold_dead_worker
from service.process_setup import PARENT_VARIABLE, allow_many_files
from service.processes.child import MOST_SECONDS_BETWEEN_STARTS, Child, pause_before_start
from service.processes.startup_banner import announce
from service.settings import Settings, bracketed

logger = logging.getLogger(__name__)

PREFIX = "kiln-"
RESTARTING = "The engine is being started again."
# A child that lived longer than this is started again at once; one that dies sooner waits, each time twice as long.
SETTLED_SECONDS = 10.0
TICK_SECONDS = 0.2
# An engine that gives no sign of life for so long, in as many looks, is replaced. One that has yet to give its first
# has more time: a busy machine may take long to start it.
STUCK_SECONDS = 10.0
STUCK_LOOKS = 25
START_SECONDS = 120.0
# The status of an engine whose settings name what is not there, or cannot be read.
REFUSED = 2
# Beyond KILN_GRACEFUL_TIMEOUT_SECONDS, for what is left to do after the last answer.
SPARE_SECONDS = 5.0
# sockaddr_un.sun_path has 108 bytes on Linux and 104 on macOS, one of them for the end.
LONGEST_SOCKET_PATH = 100


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
    front_ends: list[Child] = field(init=False)
    _stopping: bool = False
    _announced: bool = False

    def __post_init__(self) -> None:
        configuration = Path(__file__).parent / "gunicorn.conf.py"
        self.engine = Child("engine", [sys.executable, "-m", "service.engine"])
        gunicorn = [sys.executable, "-m", "gunicorn", "--config", str(configuration)]
        self.front_ends = [Child("http", gunicorn)]
        if self.settings.admin_port:
            address = f"{bracketed(self.settings.host)}:{self.settings.admin_port}"
            options = ["--bind", address, "--workers", "1", "service.app:create_admin_worker_app()"]
            self.front_ends.append(Child("admin", [*gunicorn, *options]))
        if self.settings.grpc_port:
            self.front_ends.append(Child("grpc", [sys.executable, "-m", "service.processes.grpc_front_end"]))
        self._catalog_file = CatalogFile(self.folder)
        self._catalog_file.publish(Catalog(obstacle=STARTING, starting=True))
        self._heartbeat = Heartbeat(self.folder)
        # Made here, the engine has their space also where it is started again on a full disk.
        for shared in (Journal, CrashLog, Demand):
            shared(self.folder)
        (self.folder / LOCK).touch()
        self._started_at = 0.0
        self._silent_looks = 0
        self._memory_kills = count_memory_kills()
        self._reader, self._writer = socket.socketpair()

    def run(self) -> int:
        """Runs the service.

        Returns:
            0 after it was told to stop, 1 where HTTP could not be served, 2 where the engine refuses its settings.
        """
        self._listen_to_signals()
        allow_many_files()
        for child in (self.engine, *self.front_ends):
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
        for front_end in self.front_ends:
            front_end.tell(signal.SIGHUP)

    def _watch(self) -> int:
        while not self._stopping:
            if self.front_ends[0].has_ended():
                logger.error("The HTTP front ended, and the service with it")
                return 1
            if not self._announced and self.engine.has_ended(REFUSED):
                # It has said why. Later the same may pass: a file that is being written, say.
                return REFUSED
            self._end_stuck_engine()
            for child in (self.engine, *self.front_ends[1:]):
                self._restart(child)
            if not self._announced:
                self._announce()
            select.select([self._reader], [], [], TICK_SECONDS)
            try:
                self._reader.recv(4096)
            except BlockingIOError:
                continue
        return 0

    def _end_stuck_engine(self) -> None:
        """Ends an engine that was stopped or hangs altogether; one that only has a call that hangs ends itself.

        As many looks as seconds must find it silent: where all processes were stopped for a while, it is not its fault.
        """
        has_begun = self._heartbeat.last() != self._started_at
        most = STUCK_SECONDS if has_begun else START_SECONDS
        is_silent = self._heartbeat.age() > most and not self.engine.has_ended()
        self._silent_looks = self._silent_looks + 1 if is_silent else 0
        if self._silent_looks >= STUCK_LOOKS and self.engine.process is not None:
            logger.error("Process 'engine' has not responded for %.0f s and is killed", self._heartbeat.age())
            self.engine.process.kill()
            self.engine.process.wait()

    def _restart(self, child: Child) -> None:
        """Starts a child again that has died."""
        now = time.monotonic()
        if child.has_ended() and child.process is not None:
            is_explained = self._reap(child, child.process)
            lived = now - child.started
            # Where a version is to blame, that ends with its quarantine.
            child.failures = 0 if is_explained or lived > SETTLED_SECONDS else child.failures + 1
            child.process, child.start_at = None, now + pause_before_start(child.failures)
        if child.process is None and now >= child.start_at:
            if child is self.engine:
                self._heartbeat.beat()
                self._started_at = self._heartbeat.last()
                self._memory_kills = count_memory_kills()
            with Attempt() as attempt:
                child.start()
            if attempt.error is not None:
                logger.error("Process '%s' cannot be started: %s", child.name, attempt.error)
                child.start_at = now + MOST_SECONDS_BETWEEN_STARTS

    def _reap(self, child: Child, process: subprocess.Popen[bytes]) -> bool:
        """Puts away what a dead child left; says whether a version of a model is known to have ended it."""
        logger.error("Process '%s' ended with %s and is started again", child.name, process.returncode)
        # It may have left anything behind, which must not end the service.
        reason = ""
        with Attempt() as attempt:
            if child is self.engine:
                self._catalog_file.publish(without_versions(self._catalog_file.read()))
                was_memory_short = count_memory_kills() > self._memory_kills
                reason = explain_crash(self.folder, process.returncode, was_memory_short=was_memory_short)
            fold_dead_worker(process.pid, self.folder)
        if attempt.error is not None:
            logger.error("What process '%s' left cannot be put away", child.name, exc_info=attempt.error)
        if reason:
            logger.error("%s", reason)
        return bool(reason) or process.returncode == ENDED_FOR_A_VERSION

    def _announce(self) -> None:
        """Says once what is served, when every model was loaded or could not be."""
        catalog = self._catalog_file.read()
        states = {version.state for model in catalog.models.values() for version in model.versions}
        if catalog.starting or states & {START, LOADING}:
            return
        self._announced = True
        with Attempt() as attempt:
            announce(self.settings, Repository(EngineClient(self.folder)))
        if attempt.error is not None:
            logger.warning("What is served cannot be announced: %s", attempt.describe())

    def _stop(self) -> None:
        """Ends the front ends, which finish what they have in flight, and then the engine."""
        patience = self.settings.graceful_timeout_seconds + SPARE_SECONDS
        deadline = time.monotonic() + patience
        for front_end in self.front_ends:
            front_end.tell(signal.SIGTERM)
        for front_end in self.front_ends:
            front_end.wait(deadline - time.monotonic())
        self.engine.tell(signal.SIGTERM)
        self.engine.wait(SPARE_SECONDS)


def without_versions(catalog: Catalog) -> Catalog:
    """The catalogue while there is no engine: every version that was served is being loaded again."""
    models = {
        name: replace(model, versions=tuple(replace(version, state=LOADING) for version in model.versions))
        for name, model in catalog.models.items()
    }
    return Catalog(models, RESTARTING, starting=True)


def supervise(settings: Settings) -> int:
    """Runs the service in a folder of its own, which no other service shares.

    Returns:
        The exit status.

    Raises:
        InvalidSettings: there is not a folder to write to.
    """
    given = os.environ.get(FOLDER_VARIABLE)
    try:
        if given:
            Path(given).mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=given))
    except OSError as error:
        raise InvalidSettings(describe_folder(error)) from None
    try:
        if len(str(folder / SOCKET)) > LONGEST_SOCKET_PATH:
            sentence = f"The path {folder} is too long for a socket. Set TMPDIR to a shorter one, such as /tmp."
            raise InvalidSettings(sentence)
        os.environ[FOLDER_VARIABLE] = str(folder)
        os.environ[PARENT_VARIABLE] = str(os.getpid())
        try:
            supervisor = Supervisor(settings, folder)
        except OSError as error:
            raise InvalidSettings(describe_folder(error)) from None
        return supervisor.run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def describe_folder(error: OSError) -> str:
    """The sentence for a folder that cannot be written to."""
    return f"The service needs a folder that it can write to, such as /tmp, or as TMPDIR names it: {error}."
