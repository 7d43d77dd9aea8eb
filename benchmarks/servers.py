"""The three servers that are compared, each on a port of its own."""

import contextlib
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

import numpy as np

from benchmarks import floor, plain_handler
from benchmarks.processes import (
    BenchmarkFailed,
    Memory,
    descendants,
    free_port,
    measure_cpu,
    measure_memory,
    start,
    tail,
    wait_until,
)
from benchmarks.scenarios import FLOOR, KILN, MODELS, PLAIN, Request, decode_answer
from service.metrics import FOLDER_VARIABLE

START_SECONDS = 120


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        kind: floor, plain or kiln.
        process: the one that was started.
        address: e.g. `http://127.0.0.1:8080`.
        log: what it printed.
    """

    kind: str
    process: Popen[bytes]
    address: str
    log: Path

    def url(self, request: Request) -> str:
        """Where a request goes."""
        if self.kind == KILN:
            return self.address + request.path
        return f"{self.address}/{request.name if self.kind == FLOOR else request.model}"

    def memory(self) -> Memory:
        """Resident memory of all its processes."""
        return measure_memory(descendants(self.process.pid))

    def cpu_seconds(self) -> float:
        """CPU time that its processes have used."""
        return measure_cpu(descendants(self.process.pid))


@dataclass(frozen=True)
class Answer:
    """One answer: its status, the headers that say what it is, and its body."""

    status: int
    headers: dict[str, str]
    body: bytes


@contextlib.contextmanager
def start_floor(answers: Path, log: Path, workers: int) -> Iterator[Server]:
    """Runs the floor with the answers in a folder; see `benchmarks.floor`."""
    variables = {floor.FOLDER_VARIABLE: str(answers)}
    with start_flask(FLOOR, "benchmarks.floor:create_app()", variables, log, workers) as server:
        yield server


@contextlib.contextmanager
def start_plain(repository: Path, log: Path, workers: int) -> Iterator[Server]:
    """Runs the plain handler on the models of a repository."""
    variables = {plain_handler.FOLDER_VARIABLE: str(repository), plain_handler.NAMES_VARIABLE: ",".join(MODELS)}
    with start_flask(PLAIN, "benchmarks.plain_handler:create_app()", variables, log, workers) as server:
        yield server


@contextlib.contextmanager
def start_flask(kind: str, app: str, variables: dict[str, str], log: Path, workers: int) -> Iterator[Server]:
    """Runs a Flask application under gunicorn with Kiln's settings."""
    port = free_port()
    configuration = Path(__file__).with_name("gunicorn.conf.py")
    variables |= {"KILN_PORT": str(port), "KILN_WORKERS": str(workers), FOLDER_VARIABLE: str(log.parent)}
    with start(["-m", "gunicorn", "--config", str(configuration), app], variables, log) as process:
        server = Server(kind, process, f"http://127.0.0.1:{port}", log)
        wait_for_answer(server, "/ready")
        yield server


@contextlib.contextmanager
def start_kiln(repository: Path, log: Path, workers: int, **settings: str) -> Iterator[Server]:
    """Runs Kiln as it comes.

    Args:
        repository: the model repository.
        log: file for its log.
        workers: HTTP worker processes.
        settings: further variables, such as `KILN_MODELS`.
    """
    port = free_port()
    variables = {"KILN_PORT": str(port), "KILN_WORKERS": str(workers), "KILN_MODEL_REPOSITORY": str(repository)}
    with start(["-m", "service"], variables | settings, log) as process:
        server = Server(KILN, process, f"http://127.0.0.1:{port}", log)
        wait_for_answer(server, "/v2/health/ready")
        yield server


def wait_for_answer(server: Server, path: str) -> None:
    """Waits until a path answers 200.

    Raises:
        BenchmarkFailed: it does not; the message ends with the log.
    """

    def is_ready() -> bool:
        try:
            return ask(server.address + path).status == 200
        except OSError:
            return False

    try:
        wait_until(f"{path} answered 200", is_ready, START_SECONDS, server.process)
    except BenchmarkFailed as error:
        raise BenchmarkFailed(f"{server.kind} did not start. {error}. Its log ends:\n{tail(server.log)}") from None


def ask(url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
    """Asks once, whatever the status.

    Raises:
        OSError: there was no answer.
    """
    request = urllib.request.Request(url, body, headers or {})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return Answer(response.status, dict(response.headers), response.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, dict(error.headers), error.read())


def predict(server: Server, request: Request, body: bytes, headers: dict[str, str]) -> tuple[Answer, np.ndarray]:
    """Asks once and reads the answer.

    Raises:
        BenchmarkFailed: it was not 200.
    """
    answer = ask(server.url(request), body, headers)
    if answer.status != 200:
        raise BenchmarkFailed(f"{server.kind} answered {answer.status} to {request.name}: {answer.body[:300]!r}")
    length = answer.headers.get("Inference-Header-Content-Length")
    return answer, decode_answer(request, answer.body, None if length is None else int(length))


def save_answers(folder: Path, answers: dict[str, Answer]) -> None:
    """Writes what the floor is to answer: as many bytes as the real answer has, with the same headers."""
    for name, answer in answers.items():
        kept = {key: value for key, value in answer.headers.items()
                if key.lower() in ("content-type", "inference-header-content-length")}  # fmt: skip
        (folder / f"{name}.body").write_bytes(answer.body)
        (folder / f"{name}.json").write_text(json.dumps(kept), encoding="ascii")
