"""What is derived from gunicorn's gevent worker is what that has, and does what it should where a server is needed."""

import inspect
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from http import HTTPStatus
from pathlib import Path

import gevent
import pytest
from gevent.server import StreamServer
from gunicorn import util
from gunicorn.config import Config
from gunicorn.http import errors, wsgi
from gunicorn.http.message import Request
from gunicorn.workers.base import Worker as BaseWorker
from gunicorn.workers.base_async import AsyncWorker
from gunicorn.workers.ggevent import GeventWorker

from service.processes.gunicorn_worker import Connection, RequestWait, Server, Worker, error_answer

ROOT = Path(__file__).parents[3]
PREDICT = "/v1/models/echo:predict"
BODY = b'{"instances": [[1.0, 2.0, 3.0]]}'
GOOD = {"predictions": [[1.0, 2.0, 3.0]]}
SECONDS = 20
LIMIT = 2


def names(function):
    return list(inspect.signature(function).parameters)


@pytest.mark.parametrize("name", ["handle", "handle_request", "handle_error", "timeout_ctx", "notify"])
def test_what_is_overridden_is_public_and_takes_what_gunicorn_gives(name):
    assert names(getattr(Worker, name)) == names(getattr(GeventWorker, name))
    assert not name.startswith("_")


def test_nothing_else_of_gunicorn_or_gevent_is_overridden():
    own = {name for name in vars(Worker) if not name.startswith("__")}
    assert own == {"handle", "handle_request", "handle_error", "timeout_ctx", "notify", "note_slow_head", "refuse"}
    assert {name for name in vars(Server) if not name.startswith("__")} == {"do_read", "go_on"}
    assert names(StreamServer.do_read) == ["self"]
    assert issubclass(RequestWait, gevent.Timeout)


def test_gunicorn_still_does_what_the_worker_builds_on():
    run = inspect.getsource(GeventWorker.run)
    assert "self.server_class(" in run
    assert "self.notify()" in run
    handle = inspect.getsource(AsyncWorker.handle)
    assert "with self.timeout_ctx():" in handle
    assert "self.handle_error(req, client, addr, e)" in handle
    assert "must_close" in inspect.getsource(Request.should_close)
    assert "self.req.should_close()" in inspect.getsource(wsgi.Response.should_close)
    assert names(BaseWorker.handle_error) == ["self", "req", "client", "addr", "exc"]
    assert names(util.close_graceful)[0] == "sock"
    assert {"worker_connections", "limit_request_field_size", "keepalive"} <= set(Config().settings)
    assert issubclass(errors.NoMoreData, OSError)


def test_an_error_is_a_whole_answer():
    head, body = error_answer(HTTPStatus.BAD_REQUEST, "Why.").split(b"\r\n\r\n")
    assert b"Content-Length: %d" % len(body) in head
    assert json.loads(body) == {"error": "Why."}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Running:
    """gunicorn with the service's worker, on models that answer their inputs and requests of two seconds at most."""

    def __init__(self, folder):
        self.port, self.log = free_port(), folder / "log"
        command = [
            sys.executable, "-m", "gunicorn", "--config", "service/processes/gunicorn.conf.py", "--workers", "1",
            "--keep-alive", str(LIMIT), "tests.service.echo_app:create()",
        ]  # fmt: skip
        variables = {
            "PROMETHEUS_MULTIPROC_DIR": str(folder), "ECHO_SECONDS": str(LIMIT), "KILN_LOG_FORMAT": "json",
            "KILN_PORT": str(self.port),
        }  # fmt: skip
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=os.environ | variables, stderr=log)
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            with suppress(OSError), self.connect():
                return
            time.sleep(0.05)
        pytest.fail("gunicorn did not start")

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS)

    def ask(self, *pieces):
        """What is answered until the connection ends."""
        with self.connect() as connection:
            for piece in pieces:
                connection.sendall(piece)
            return connection.makefile("rb").read()

    def lines(self):
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def wait_for_line(self, **wanted):
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            for line in self.lines():
                if all(re.search(text, str(line.get(key))) for key, text in wanted.items()):
                    return line
            time.sleep(0.05)
        return pytest.fail(f"no line with {wanted} in {self.log.read_text()}")

    def refusals(self, reason):
        text = self.ask(b"GET /metrics HTTP/1.0\r\n\r\n").decode()
        return float(re.search(rf'kiln_refusals_total{{reason="{reason}"}} (\S+)', text)[1])


@contextmanager
def serve(folder):
    running = Running(folder)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with serve(tmp_path_factory.mktemp("worker")) as server:
        yield server


def head(*headers, version="1.1", path=PREDICT):
    return "\r\n".join([f"POST {path} HTTP/{version}", *headers, "", ""]).encode()


LENGTH = f"Content-Length: {len(BODY)}"


def test_http_1_1_needs_a_host(running):
    answer = running.ask(head(LENGTH) + BODY)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert json.loads(answer.split(b"\r\n\r\n")[1]) == {
        "error": "The request cannot be read: HTTP/1.1 needs the header Host."
    }


def test_http_1_0_is_kept_alive_where_it_asks_for_that(running):
    request = head(LENGTH, "Connection: keep-alive", version="1.0") + BODY
    answer = running.ask(request, request, head(LENGTH, version="1.0") + BODY)
    assert answer.count(b"HTTP/1.0 200 OK") == 3
    assert answer.count(b"Connection: keep-alive") == 2
    assert answer.count(b"Connection: close") == 1


def test_a_header_of_16_kb_is_taken_and_a_larger_one_refused(running):
    taken, refused = (
        running.ask(head("Host: x", "Connection: close", LENGTH, f"X-Large: {'x' * size}") + BODY)
        for size in (16 * 1024, 18 * 1024)
    )
    assert taken.startswith(b"HTTP/1.1 200 OK\r\n")
    assert refused.startswith(b"HTTP/1.1 431 ")
    line = running.wait_for_line(status="431")
    assert "limit request headers fields size" in line["reason"]
    assert line["client"] == "127.0.0.1"


@pytest.mark.parametrize(
    ("request_bytes", "status", "reason"),
    [
        (b"\x1b[31m\xc2\x9b nonsense\r\n\r\n", 400, "Invalid HTTP"),
        (head("Host: x", "Connection: close", LENGTH, path="/v1/models/none:predict") + BODY, 404, "none"),
        (head("Host: x", "Connection: close", "Content-Length: 100001"), 413, "100000 bytes"),
        (b"GET /a%9b%1b[31m%0A HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404, "There is nothing at"),
    ],
)
def test_the_reason_of_a_refusal_and_the_client_are_in_the_log(running, request_bytes, status, reason):
    assert running.ask(request_bytes).split(b" ")[1] == str(status).encode()
    assert running.wait_for_line(status=str(status), reason=reason)["client"] == "127.0.0.1"
    assert not re.search(r"[^\n -~]", running.log.read_text())


@pytest.mark.parametrize("pieces", [[], [b"x"], [b"x" * 70_000]])
def test_a_body_that_does_not_come_is_answered_408_and_ends_the_connection(running, pieces):
    before = running.refusals("slow_body")
    started = time.monotonic()
    answer = running.ask(head("Host: x", "Content-Length: 90000"), *pieces)
    assert time.monotonic() - started > LIMIT * 0.9
    first, _, body = answer.partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 408 ")
    assert b"Connection: close" in first
    assert json.loads(body) == {"error": f"The body did not come within {LIMIT} seconds."}
    assert running.refusals("slow_body") == before + 1
    assert running.wait_for_line(status="408", reason="did not come")["client"] == "127.0.0.1"


def test_a_body_that_never_stops_coming_slowly_is_answered_408_too(running):
    with running.connect() as connection:
        connection.sendall(head("Host: x", "Transfer-Encoding: chunked"))
        connection.settimeout(0.1)
        answer = b""
        deadline = time.monotonic() + SECONDS
        while not answer and time.monotonic() < deadline:
            connection.sendall(b"1\r\n \r\n")
            with suppress(TimeoutError):
                answer = connection.recv(1000)
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_head_that_does_not_come_ends_the_connection(running):
    before = running.refusals("slow_head")
    assert running.ask(b"POST ") == b""
    assert running.refusals("slow_head") == before + 1
    assert running.wait_for_line(reason="No complete request came")["client"] == "127.0.0.1"


def test_an_answer_that_nobody_takes_is_given_up(running):
    before = running.refusals("slow_answer")
    body = json.dumps({"instances": [[1.0, 2.0, 3.0]] * 5000}).encode()
    assert len(body) < 100_000
    with running.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        request = head("Host: x", f"Content-Length: {len(body)}") + body
        connection.settimeout(1.0)
        with suppress(TimeoutError, ConnectionError):
            for _ in range(1000):  # until the system's buffers are full
                connection.sendall(request)
        running.wait_for_line(reason="did not take its answer")
    assert running.refusals("slow_answer") == before + 1


def test_told_to_end_the_worker_ends_only_connections_that_have_waited_for_a_while(monkeypatch):
    monkeypatch.setattr(GeventWorker, "notify", lambda _worker: None)
    ended = []
    monkeypatch.setattr("service.processes.gunicorn_worker.end_reading", ended.append)
    worker = object.__new__(Worker)
    worker.alive, worker.most_connections, now = False, 0, time.monotonic()
    worker.connections = {
        1: Connection("idle", "", waiting_since=now - 2),
        2: Connection("between two requests", "", waiting_since=now),
        3: Connection("answered", "", waiting_since=None),
    }
    worker.notify()
    assert ended == ["idle"]


def test_told_to_end_the_worker_loses_no_request_of_a_busy_connection(tmp_path):
    """Its clients pause for less than a second between an answer and the next request."""
    request = head("Host: x", LENGTH) + BODY

    def ask(connection):
        """Asks until an answer says that it is the last one; gives the ends of the answers."""
        reader, ends = connection.makefile("rb"), []
        while b"Connection: close\r\n" not in ends:
            connection.sendall(request)
            lines = list(iter(reader.readline, b"\r\n"))
            assert lines, f"no answer to request {len(ends)}"
            ends = [*ends, *lines]
            [length] = [int(line.split(b":")[1]) for line in lines if line.lower().startswith(b"content-length")]
            assert json.loads(reader.read(length)) == GOOD
            time.sleep(0.1)
        return ends

    with serve(tmp_path) as running, ExitStack() as stack, ThreadPoolExecutor(8) as executor:
        asked = [executor.submit(ask, stack.enter_context(running.connect())) for _ in range(8)]
        time.sleep(1.0)
        running.process.send_signal(signal.SIGTERM)
        assert all(future.result(timeout=SECONDS) for future in asked)
        assert running.process.wait(SECONDS) == 0


def test_told_to_end_the_worker_answers_what_it_has_and_ends_idle_connections_soon(tmp_path):
    with serve(tmp_path) as running:
        with running.connect() as idle, running.connect() as half, running.connect() as used:
            used.sendall(head("Host: x", LENGTH) + BODY)
            answered = b""
            while not answered.endswith(b"]]}"):
                answered += used.recv(1000)
            half.sendall(head("Host: x", LENGTH) + BODY[:5])
            time.sleep(0.3)
            started = time.monotonic()
            running.process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
            half.sendall(BODY[5:])
            answer = half.makefile("rb").read()
            assert b"Connection: close" in answer
            assert json.loads(answer.split(b"\r\n\r\n")[1]) == GOOD
            assert used.recv(1) == idle.recv(1) == b""
        assert running.process.wait(SECONDS) == 0
        assert time.monotonic() - started < 15
