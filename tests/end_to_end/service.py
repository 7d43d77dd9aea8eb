"""The real service, `python -m service`, on free ports and in a folder of its own for temporary files.

    with service(models, timeout_seconds=3, grpc=True) as running:
        assert running.predict("half_plus_two", {"instances": [1.0]}) == [2.5]

Its log is kept and shown where a test fails, it is always ended, and nothing of it may be left behind.
"""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from service.settings import PREFIX, variable_name

ROOT = Path(__file__).parent.parent.parent
MARK = "END_TO_END_TEST"
START_SECONDS, STOP_SECONDS, GONE_SECONDS = 120, 60, 10
SHOWN_LINES = 30

# Those that run now, for the report of a test that fails.
running: list["Service"] = []


@dataclass
class Service:
    """A service that runs.

    Attributes:
        process: the one that was started, the supervisor.
        folder: its TMPDIR.
        log_path: what it printed.
        models: its model repository.
        address, admin_address: `http://127.0.0.1:8080` and the like; "" where it is off.
        grpc_address: `127.0.0.1:8500` and the like, or "".
    """

    process: subprocess.Popen[bytes]
    folder: Path
    log_path: Path
    models: Path
    address: str
    grpc_address: str = ""
    admin_address: str = ""

    @property
    def pid(self) -> int:
        """The supervisor's."""
        return self.process.pid

    @property
    def port(self) -> int:
        """Of HTTP."""
        return int(self.address.rpartition(":")[2])

    def log(self) -> str:
        """All that was printed so far."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def predict(self, model: str, body: dict[str, Any], *, timeout: float = 60) -> Any:
        """The predictions (or outputs) of a REST request, which must be answered 200."""
        response = self.post(f"/v1/models/{model}:predict", json=body, timeout=timeout)
        assert response.status_code == 200, f"{response.status_code}: {response.text}"
        document = response.json()
        return document["predictions"] if "predictions" in document else document["outputs"]

    def post(self, path: str, *, timeout: float = 60, **options: Any) -> requests.Response:
        """Sends a POST request on a connection of its own."""
        return requests.post(self.address + path, timeout=timeout, **options)

    def get(self, path: str, *, timeout: float = 60, **options: Any) -> requests.Response:
        """Sends a GET request on a connection of its own."""
        return requests.get(self.address + path, timeout=timeout, **options)

    def is_ready(self, timeout: float = 5) -> bool:
        """Whether readiness is answered 200."""
        return self.answers_200("/v2/health/ready", timeout)

    def answers_200(self, path: str, timeout: float = 5) -> bool:
        """Whether a path is answered 200; False where there is no answer."""
        try:
            return self.get(path, timeout=timeout).status_code == 200
        except requests.RequestException:
            return False

    def status(self, model: str) -> list[dict[str, Any]]:
        """What `GET /v1/models/NAME` says of the versions; empty where it is not 200."""
        response = self.get(f"/v1/models/{model}")
        return response.json()["model_version_status"] if response.status_code == 200 else []

    def state(self, model: str, version: int = 1) -> str:
        """One version's state, or ""."""
        return next((entry["state"] for entry in self.status(model) if entry["version"] == str(version)), "")

    def pids(self) -> list[int]:
        """All its processes, those too whose parent has ended: whatever was started with its mark."""
        mark = f"{MARK}={self.log_path}".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if mark in path.read_bytes().split(b"\0") and not is_zombie(int(path.parent.name)):
                    found.append(int(path.parent.name))
        return sorted(found)

    def engine_pid(self) -> int:
        """The process that runs the models; waits until there is one."""
        found: list[int] = []
        wait_for(lambda: found.extend(self._engines()) or found, "an engine")
        return found[0]

    def _engines(self) -> list[int]:
        return [pid for pid in self.pids() if "service.engine" in command_line(pid) and parent(pid) == self.pid]

    def workers(self) -> list[int]:
        """The HTTP workers: what gunicorn's main process started; not those of the admin port."""
        masters = {
            pid for pid in self.pids()
            if parent(pid) == self.pid and "gunicorn" in " ".join(command_line(pid))
            and "admin" not in " ".join(command_line(pid))
        }  # fmt: skip
        return [pid for pid in self.pids() if parent(pid) in masters]

    def rss(self) -> int:
        """Bytes of resident memory, summed over the processes."""
        return sum(memory(pid, "VmRSS") for pid in self.pids())

    def peak_rss(self) -> int:
        """The most bytes that each living process ever had, summed."""
        return sum(memory(pid, "VmHWM") for pid in self.pids())

    def wait_until_ready(self, seconds: float = START_SECONDS) -> None:
        """Waits for readiness."""
        deadline = time.monotonic() + seconds
        while not self.is_ready():
            assert self.process.poll() is None, f"the service ended with {self.process.returncode}:\n{self.log()}"
            assert time.monotonic() < deadline, f"not ready after {seconds} s:\n{self.log()}"
            time.sleep(0.05)

    def stop(self) -> None:
        """Ends it by SIGTERM, unless a test has ended it, and checks that it leaves no process and no file."""
        ended_before = self.process.poll() is not None
        try:
            if not ended_before:
                self.process.terminate()
                code = self.process.wait(STOP_SECONDS)
                assert code == 0, f"the service ended with {code}"
            wait_for(lambda: not self.pids(), lambda: f"the end of {self.describe()}", GONE_SECONDS)
            if not ended_before and self.folder.parent == self.log_path.parent:
                assert list(self.folder.iterdir()) == [], "the service leaves files in TMPDIR"
        finally:
            self.kill()

    def kill(self) -> None:
        """Ends what is left by SIGKILL."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def describe(self) -> dict[int, str]:
        """Its processes with what they were started with."""
        return {pid: " ".join(command_line(pid)) for pid in self.pids()}


@contextlib.contextmanager
def service(
    models: Path, /, *, grpc: bool = False, admin: bool = False, ready: bool = True,
    environment: dict[str, str] | None = None, **settings: Any,
) -> Iterator[Service]:  # fmt: skip
    """Runs the service until the block ends.

    Args:
        models: the model repository.
        grpc: whether to serve gRPC too.
        admin: whether to serve probes and metrics on a port of their own.
        ready: whether to wait until it is ready.
        environment: further variables.
        settings: fields of `service.settings.Settings`, e.g. `timeout_seconds=3`, `batching=False`.
    """
    folder = Path(tempfile.mkdtemp(prefix="e2e-"))
    log = folder / "log"
    temporary = Path((environment or {}).get("TMPDIR") or folder / "t")
    temporary.mkdir(exist_ok=True)
    variables = {"TMPDIR": str(temporary), MARK: str(log)} | (environment or {})
    ports = {"port": free_port()}
    ports |= {"grpc_port": free_port()} if grpc else {}
    ports |= {"admin_port": free_port()} if admin else {}
    values = ports | {"model_repository": models.absolute()} | settings
    variables |= {variable_name(name): show(value) for name, value in values.items()}
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "service"], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            env=clean_environment() | variables,
        )  # fmt: skip
    started = Service(process, temporary, log, models, f"http://127.0.0.1:{values['port']}")
    started.grpc_address = f"127.0.0.1:{values['grpc_port']}" if "grpc_port" in values else ""
    started.admin_address = f"http://127.0.0.1:{values['admin_port']}" if "admin_port" in values else ""
    running.append(started)
    try:
        if ready:
            started.wait_until_ready()
        yield started
        started.stop()
    finally:
        started.kill()
        running.remove(started)
        shutil.rmtree(folder, ignore_errors=True)


def clean_environment() -> dict[str, str]:
    """This process's environment without settings of Kiln's, and with this Python's programs first."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith((PREFIX, "PROMETHEUS_"))}
    return kept | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}", "TF_CPP_MIN_LOG_LEVEL": "2"}


def show(value: Any) -> str:
    """A setting as its variable has it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def free_port() -> int:
    """A TCP port that nobody listens on, below those that outgoing connections are given."""
    while True:
        port = random.SystemRandom().randint(10_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port


def wait_for(condition: Callable[[], Any], what: str | Callable[[], str], seconds: float = 30) -> None:
    """Waits until something is so, and fails where it takes too long."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, (
            f"after {seconds} s, still waiting for {what if isinstance(what, str) else what()}"
        )
        time.sleep(0.05)


def command_line(pid: int) -> list[str]:
    """What a process was started with; empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def parent(pid: int) -> int:
    """The process that started it; 0 if it is gone."""
    return int((fields(pid) or ["", "0"])[1])


def is_zombie(pid: int) -> bool:
    """Whether it has ended and nobody has asked for its status yet."""
    return (fields(pid) or ["Z"])[0] == "Z"


def fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def memory(pid: int, field: str) -> int:
    """A size in /proc/PID/status in bytes, such as `VmRSS`; 0 if the process is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), 0)
