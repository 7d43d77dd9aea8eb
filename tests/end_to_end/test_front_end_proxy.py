"""nginx in front of the service, with exactly the configuration that `docs/how-to/buffering-proxy.md` gives."""

import collections
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.end_to_end.front_end import GOOD, ROOT, ROW, WIDE_REQUEST, free_port, head, running, save_models

ANSWER_SECONDS = 8
# What surrounds the documented file: Debian's nginx.conf, as far as it matters, with every file in the test's folder.
AROUND = """
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
worker_processes 1;
events {{ worker_connections 10000; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/kiln.conf;
}}
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = tmp_path_factory.mktemp("service")
    save_models(folder / "models")
    with running(folder, folder / "models", workers=1) as started:
        yield started


@pytest.fixture(scope="module")
def proxy(service):
    """The port of nginx."""
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    folder, port = Path(tempfile.mkdtemp(prefix="nginx-")), free_port()
    document = (ROOT / "docs" / "how-to" / "buffering-proxy.md").read_text()
    [text] = re.findall(r"```nginx\n(.*?)```", document, re.DOTALL)
    assert text.count("listen 80;") == 1
    assert text.count("127.0.0.1:8080") == 2
    text = text.replace("listen 80;", f"listen 127.0.0.1:{port};").replace(
        "127.0.0.1:8080", f"127.0.0.1:{service.port}"
    )
    (folder / "kiln.conf").write_text(text)
    (folder / "nginx.conf").write_text(AROUND.format(folder=folder))
    # nginx gives up being root for its worker, which has to read and write here.
    folder.chmod(0o755)
    process = subprocess.Popen([program, "-p", str(folder), "-c", str(folder / "nginx.conf")])
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            assert process.poll() is None, (folder / "error.log").read_text()
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder)


def predict(port, row=ROW):
    return requests.post(f"http://127.0.0.1:{port}/v1/models/tiny:predict", json=row, timeout=60)


def assert_others_are_answered(port, service, seconds=6):
    slowest, end = 0.0, time.monotonic() + seconds
    while time.monotonic() < end:
        started = time.monotonic()
        assert predict(port).json() == GOOD
        assert service.get("/v2/health/live").status_code == 200
        slowest = max(slowest, time.monotonic() - started)
    assert slowest < ANSWER_SECONDS


@pytest.mark.parametrize(
    ("count", "sent", "receive_buffer"),
    [
        (300, b"POST /v1/models/tiny:predict HTTP/1.1\r\nHost: x\r\nConte", None),
        (300, head(100_000) + b'{"instances"', None),
        (40, WIDE_REQUEST, 4096),
        (2500, b"", None),
    ],
    ids=["heads", "bodies", "answers", "idle"],
)
def test_the_proxy_holds_slow_clients(proxy, service, count, sent, receive_buffer):
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", proxy), timeout=60))
            if receive_buffer:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            connection.sendall(sent)
        assert_others_are_answered(proxy, service)


def test_kiln_sees_no_body_before_it_is_whole(proxy, service):
    before = service.get("/metrics").text.count("tensorflow_serving.predict")
    with socket.create_connection(("127.0.0.1", proxy), timeout=60) as connection:
        connection.sendall(head(100_000) + b"{")
        time.sleep(0.5)
        in_flight = re.search(
            r'kiln_in_flight_requests{protocol="tensorflow_serving"} (\S+)', service.get("/metrics").text
        )
        assert float(in_flight[1]) == 0
    assert service.get("/metrics").text.count("tensorflow_serving.predict") == before


def test_headers_and_bodies_up_to_kilns_limits_pass(proxy):
    headers = {"X-Large": "x" * 16 * 1024}
    address = f"http://127.0.0.1:{proxy}/v1/models/tiny:predict"
    assert requests.post(address, json=ROW, headers=headers, timeout=60).json() == GOOD
    answer = requests.post(address, data=b" " * 31 * 2**20, timeout=120)
    assert (answer.status_code, answer.text) == (400, '{"error":"JSON Parse error: The document is empty"}')
    with socket.create_connection(("127.0.0.1", proxy), timeout=60) as connection:
        connection.sendall(head(33 * 2**20))
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_killed_worker_costs_clients_behind_the_proxy_nothing(proxy, service):
    """nginx asks again, unless it has passed the head of an answer on, whose body follows in the next packet."""
    stop = threading.Event()

    def ask():
        answers = []
        with requests.Session() as session:
            while not stop.is_set():
                try:
                    answer = session.post(f"http://127.0.0.1:{proxy}/v1/models/tiny:predict", json=ROW, timeout=60)
                    answers.append(answer.status_code)
                except requests.exceptions.ChunkedEncodingError:
                    answers.append("cut")
        return answers

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask) for _ in range(4)]
        try:
            for _ in range(3):
                time.sleep(1)
                os.kill(service.workers()[0], signal.SIGKILL)
        finally:
            time.sleep(2)
            stop.set()
        answers = [status for future in asked for status in future.result(60)]
    counts = collections.Counter(answers)
    assert set(counts) <= {200, "cut"}, counts
    assert counts["cut"] <= 3 * 4, counts


def test_nobody_administers_through_the_proxy(proxy, service):
    path = "/v2/repository/models/tiny/load"
    assert requests.post(f"http://127.0.0.1:{proxy}{path}", timeout=60).status_code == 403
    assert requests.post(service.address + path, timeout=60).status_code == 200


def test_the_document_names_this_test():
    document = (ROOT / "docs" / "how-to" / "buffering-proxy.md").read_text()
    assert Path(__file__).relative_to(ROOT).as_posix() in document
