"""Slow and silent clients of `python -m service` with its default settings, while others ask and are answered."""

import contextlib
import gzip
import http.client
import json
import os
import re
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.end_to_end.front_end import GOOD, LONG, ROW, WIDE_REQUEST, command, head, running, save_models

# Generous, for a machine that does other things too; a quiet one needs a tenth of it.
ANSWER_SECONDS = 8
WATCH_SECONDS = 8
SERVICE_BYTES = 280 * 2**20
GET = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    save_models(folder)
    return folder


@pytest.fixture(scope="module")
def service(tmp_path_factory, models):
    with running(tmp_path_factory.mktemp("service"), models) as started:
        yield started


@pytest.fixture(scope="module")
def idle_memory(service):
    """What the front end takes when each worker has answered everything once."""
    for _ in range(12):
        predict(service, json.dumps(ROW).encode())
        predict(service, LONG, "long")
        with service.connect() as connection:
            connection.sendall(WIDE_REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            connection.makefile("rb").read()
    return service.memory()


def predict(service, body, model="tiny"):
    return requests.post(f"{service.address}/v1/models/{model}:predict", data=body, timeout=60)


def assert_others_are_answered(service, seconds=WATCH_SECONDS):
    """Probes on both ports, a small request and one of 200 kB, over new connections."""
    row = json.dumps(ROW).encode()
    questions = [
        lambda: service.get("/v2/health/live"),
        lambda: service.get("/v2/health/ready", service.admin),
        lambda: predict(service, row),
        lambda: predict(service, LONG, "long"),
    ]
    slowest, end = [0.0] * len(questions), time.monotonic() + seconds
    while time.monotonic() < end:
        for number, ask in enumerate(questions):
            started = time.monotonic()
            answer = ask()
            slowest[number] = max(slowest[number], time.monotonic() - started)
            assert answer.status_code == 200, answer.text[:200]
            if number == 2:
                assert answer.json() == GOOD
    assert max(slowest) < ANSWER_SECONDS, slowest


def assert_memory_is_back(service, idle_memory):
    deadline = time.monotonic() + 30
    # A tenth of what the service takes with its engine.
    while service.memory() > idle_memory + 0.1 * SERVICE_BYTES:
        assert time.monotonic() < deadline, (service.memory() / 2**20, idle_memory / 2**20)
        time.sleep(0.5)


@contextlib.contextmanager
def clients(service, count, *first, receive_buffer=None):
    """So many connections, on each of which something is sent."""
    with contextlib.ExitStack() as stack:
        opened = []
        for _ in range(count):
            connection = stack.enter_context(service.connect())
            if receive_buffer:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            for piece in first:
                connection.sendall(piece)
            opened.append(connection)
        yield opened


@pytest.mark.parametrize(
    "sent",
    [b"POST /v1/models/tiny:predict HTTP/1.1\r\nHost: x\r\nConte", head(100_000) + b'{"instances"'],
    ids=["heads", "bodies"],
)
def test_300_half_sent_requests_keep_nobody_waiting(service, idle_memory, sent):
    with clients(service, 300, sent):
        assert_others_are_answered(service)
    assert_memory_is_back(service, idle_memory)


def test_80_bodies_at_60_kb_a_second_keep_nobody_waiting(service, idle_memory):
    """Together they use up the memory for bodies, so that the slow ones give way."""
    stop = threading.Event()
    with clients(service, 80, head(8_000_000)) as slow:

        def drip():
            while not stop.wait(0.1):
                for connection in slow:
                    with contextlib.suppress(OSError):
                        connection.send(b" " * 6000)

        with ThreadPoolExecutor(1) as pool:
            dripped = pool.submit(drip)
            try:
                assert_others_are_answered(service, 25)
            finally:
                stop.set()
            dripped.result()
    assert service.refusals("slow_body") > 0
    assert_memory_is_back(service, idle_memory)


def test_40_clients_that_never_read_their_answer_keep_nobody_waiting(service, idle_memory):
    with clients(service, 40, WIDE_REQUEST, receive_buffer=4096):
        assert_others_are_answered(service, 12)
    assert_memory_is_back(service, idle_memory)


def count_sockets(pid):
    found = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found += str(entry.readlink()).startswith("socket:")
    return found


def test_connections_that_come_at_once_are_shared_by_the_workers(service):
    """One worker with all of eight busy connections would leave the others' CPUs idle."""
    workers = service.workers()
    before = [count_sockets(pid) for pid in workers]

    def count():
        return [count_sockets(pid) for pid in workers]

    def wait_until(is_right):
        deadline = time.monotonic() + ANSWER_SECONDS
        while not is_right(found := count()):
            assert time.monotonic() < deadline, found
            time.sleep(0.01)
        return found

    def shares(crowd):
        with clients(service, crowd, GET):
            wait_until(lambda found: sum(found) >= sum(before) + crowd)
        wait_until(lambda found: found == before)
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        with clients(service, 8, GET):
            for pid in workers:
                os.kill(pid, signal.SIGCONT)
            found = wait_until(lambda found: sum(found) >= sum(before) + 8)
            return [now - then for now, then in zip(found, before, strict=True)]

    # A machine with other work may let one worker sleep for long.
    for crowd in (0, 100):
        tries = [shares(crowd) for _ in range(5)]
        assert any(min(found) >= 8 // (2 * len(workers)) for found in tries), tries


def test_2500_idle_connections_keep_nobody_waiting(service, idle_memory):
    with clients(service, 2500):
        assert_others_are_answered(service)
    assert_memory_is_back(service, idle_memory)


def test_all_of_them_together_keep_nobody_waiting(service, idle_memory):
    with clients(service, 300, b"POST /v1"), clients(service, 300, head(100_000) + b"{"), clients(service, 2500):
        assert_others_are_answered(service)
    assert_memory_is_back(service, idle_memory)


def test_a_small_body_that_becomes_a_large_one_leaves_no_memory_behind(service, idle_memory):
    """32 kB in gzip are 32 MB of empty lists."""
    text = b'{"instances":[' + b",".join([b"[]"] * (31 * 2**20 // 3)) + b"]}"
    body = gzip.compress(text, 9)
    for _ in range(3):
        answer = requests.post(
            f"{service.address}/v1/models/tiny:predict", data=body, headers={"Content-Encoding": "gzip"}, timeout=120
        )
        assert answer.status_code in (400, 413)
    assert_memory_is_back(service, idle_memory)


def test_large_bodies_of_many_clients_are_all_answered_right(service, idle_memory):
    """Each of its own sum; together they are more than the memory for bodies, which they wait for."""

    def ask(number):
        body = json.dumps({"instances": [[number] + [1.0] * 99_999] * 12}).encode()
        answer = predict(service, body, "long")
        assert answer.status_code == 200, answer.text
        assert set(answer.json()["predictions"]) == {number + 99_999.0}
        return len(body)

    with ThreadPoolExecutor(12) as pool:
        sizes = list(pool.map(ask, range(24)))
    assert min(sizes) > 2**25 // 8
    assert_memory_is_back(service, idle_memory)


def test_what_is_refused_or_cut_off_is_logged_and_counted(tmp_path, models):
    with running(tmp_path, models, timeout_seconds=2) as service:
        with service.connect() as half:
            half.sendall(head(100) + b"{")
            answer = half.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert json.loads(answer.split(b"\r\n\r\n")[1]) == {"error": "The body did not come within 2 seconds."}
        with clients(service, 1, *[WIDE_REQUEST] * 3, receive_buffer=4096):
            deadline = time.monotonic() + 60
            while not service.refusals("slow_answer"):
                assert time.monotonic() < deadline
                time.sleep(0.2)
        assert service.refusals("slow_body") == 1
        lines = [json.loads(line) for line in service.log.read_text().splitlines() if line.startswith("{")]
        reasons = {line["reason"]: line["client"] for line in lines if "reason" in line}
        assert reasons["The body did not come within 2 seconds."] == "127.0.0.1"
        assert reasons["The client did not take its answer"] == "127.0.0.1"


def test_the_admin_port_has_probes_and_metrics_and_nothing_else(service):
    assert service.get("/v2/health/ready", service.admin).json() == {"live": True, "ready": True}
    assert service.get("/v2/health/live", service.admin).status_code == 200
    predict(service, json.dumps(ROW).encode())
    counted = r'kiln_requests_total{code="200",endpoint="tensorflow_serving.predict"'
    for address in (service.admin, service.address):
        assert re.search(counted, service.get("/metrics", address).text)
    assert service.get("/v1/models", service.admin).status_code == 404
    assert requests.post(f"{service.admin}/v1/models/tiny:predict", json=ROW, timeout=60).status_code == 404


def test_without_an_admin_port_there_is_none(tmp_path, models):
    with running(tmp_path, models, admin_port=0) as service:
        # gunicorn and its two workers
        assert sum("gunicorn" in command(pid) for pid in service.processes()) == 3
        connection = http.client.HTTPConnection("127.0.0.1", service.admin_port, timeout=5)
        with pytest.raises(ConnectionRefusedError):
            connection.request("GET", "/v2/health/live")
