"""Each request is counted, logged and answered for itself, whatever came before it."""

import contextlib
import gc
import http.client
import io
import json
import logging
import os
import re
import socket
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from werkzeug.test import EnvironBuilder

from service.app import create_app
from service.http import application as web
from service.http import request_context
from service.http.request_context import parse_timeout, protocol_of
from service.settings import Settings

ROOT = Path(__file__).parents[3]
PREDICT = "/v1/models/echo:predict"
ROW = {"instances": [[1.0, 2.0, 3.0]]}
SECONDS = 20
GOOD = {"predictions": [[1.0, 2.0, 3.0]]}


def samples(app, name):
    """A metric's values by labels, without those that are 0."""
    found = re.findall(rf"^{name}{{(.*)}} (.*)$", app.measures.expose().decode(), re.MULTILINE)
    return {labels: float(value) for labels, value in found if float(value)}


def counted(app, **wanted):
    """Requests that were counted with these labels."""
    texts = [f'{name}="{value}"' for name, value in wanted.items()]
    found = samples(app, "kiln_requests_total")
    return sum(value for labels, value in found.items() if all(text in labels for text in texts))


def lines(caplog):
    return [entry.fields for entry in caplog.records if entry.getMessage() == "Request answered"]


@pytest.fixture(autouse=True)
def logged(caplog):
    caplog.set_level(logging.DEBUG, logger="service.http.request_context")


@pytest.mark.parametrize(
    ("method", "path", "labels", "code"),
    [
        ("GET", "/v1/models/echo", {"endpoint": "tensorflow_serving.status", "model": "echo"}, 200),
        ("HEAD", "/v1/models/echo", {"endpoint": "tensorflow_serving.status", "model": "echo"}, 200),
        ("OPTIONS", "/v1/models/echo", {"endpoint": "tensorflow_serving.status", "model": ""}, 200),
        ("GET", PREDICT, {"protocol": "tensorflow_serving", "endpoint": "other"}, 400),
        ("GET", "/v1/models/none", {"endpoint": "tensorflow_serving.status", "model": "unknown"}, 404),
        ("POST", PREDICT, {"endpoint": "tensorflow_serving.predict", "model": "echo"}, 400),
        ("DELETE", "/v2", {"protocol": "open_inference", "endpoint": "other"}, 405),
        ("PUT", "/nothing", {"protocol": "http", "endpoint": "other"}, 404),
        ("POST", "/v2/health/live", {"protocol": "http", "endpoint": "other"}, 405),
    ],
)
def test_every_answer_is_counted_and_logged_once(app, client, caplog, method, path, labels, code):
    response = client.open(path, method=method)
    assert response.status_code == code
    assert counted(app, code=code, **labels) == counted(app) == 1
    [line] = lines(caplog)
    assert (line["method"], line["path"], line["status"]) == (method, path, code)
    assert line["request_id"] == response.headers["X-Request-ID"]
    assert not samples(app, "kiln_in_flight_requests")


def test_a_failure_inside_is_counted_and_logged_as_an_error_and_leaves_nothing_behind(app, client, caplog):
    for _ in range(2):
        response = client.post(PREDICT, json={"signature_name": "breaks", "instances": [1.0]})
        assert response.status_code == 500
    assert counted(app, code=500, signature="breaks", version="2", model="echo") == counted(app) == 2
    logged = [entry.levelname for entry in caplog.records if entry.name == "service.http.request_context"]
    assert logged == ["ERROR", "ERROR"]
    assert not samples(app, "kiln_in_flight_requests")
    client.get("/v2")
    assert counted(app, model="", version="", signature="", code=200) == 1


def test_what_escapes_flask_is_counted_too(app, caplog, monkeypatch):
    def fail(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(app, "full_dispatch_request", fail)
    with pytest.raises(KeyboardInterrupt):
        app.wsgi_app(EnvironBuilder("/v2").get_environ(), lambda *_: None)
    assert counted(app, code=500) == 1
    assert [line["status"] for line in lines(caplog)] == [500]
    assert not samples(app, "kiln_in_flight_requests")


def test_requests_are_in_flight_while_they_are_answered(app, repository):
    inside, go_on = threading.Event(), threading.Event()
    call = repository.engine.call

    def slow(request):
        inside.set()
        assert go_on.wait(SECONDS)
        return call(request)

    repository.engine.call = slow
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(lambda: app.test_client().post(PREDICT, json=ROW))
        assert inside.wait(SECONDS)
        assert samples(app, "kiln_in_flight_requests") == {'protocol="tensorflow_serving"': 1.0}
        go_on.set()
        assert asked.result(SECONDS).status_code == 200
    assert not samples(app, "kiln_in_flight_requests")


def test_a_prediction_is_told_with_its_version_signature_and_rows(app, client, caplog):
    client.post(PREDICT, json={"instances": [[1, 2, 3]] * 4}, headers={"X-Request-ID": "mine.1"})
    [line] = lines(caplog)
    assert line["request_id"] == "mine.1"
    assert (line["model"], line["version"], line["signature"], line["rows"]) == ("echo", 2, "serving_default", 4)
    assert counted(app, model="echo", version="2", signature="serving_default") == 1


def test_nothing_of_a_request_is_left_for_the_next_one_of_its_thread(app, client, caplog, monkeypatch):
    contexts, begin = [], request_context.begin

    def note(*arguments):
        contexts.append(begin(*arguments))
        return contexts[-1]

    monkeypatch.setattr(request_context, "begin", note)
    headers = {"X-Request-ID": "mine", "X-Request-Timeout": "0.001", "Host": "first"}
    client.post(PREDICT, json=ROW, headers=headers)
    with pytest.raises(LookupError):
        request_context.current()
    client.get("/v1/models")
    first, second = contexts
    assert second is not first
    assert second.request_id != "mine"
    assert second.deadline - second.started == pytest.approx(app.settings.timeout_seconds)
    assert (second.model, second.version, second.signature, second.rows) == ("", None, "", None)
    assert second.environ["HTTP_HOST"] != "first"
    assert {"model", "version", "signature", "rows"}.isdisjoint(lines(caplog)[1])


@pytest.mark.parametrize("identity", ["", "a b", "x" * 129, "grün", "a\tb", "../a", "a,b"])
def test_an_id_that_could_deceive_is_replaced(client, identity):
    headers = {"X-Request-ID": identity}
    assert re.fullmatch("[0-9a-f]{16}", client.get("/v2", headers=headers).headers["X-Request-ID"])


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2", 2), ("0.5", 0.5), ("99", 30), ("inf", 30), ("nan", 30), ("-1", 30), ("0", 30), ("soon", 30), ("", 30)],
)
def test_a_client_may_have_less_patience_than_the_service_but_not_more(text, seconds):
    assert parse_timeout(text, 30) == seconds


@pytest.mark.parametrize(
    ("path", "protocol"),
    [
        ("/v1/models/a", "tensorflow_serving"), ("/V1/models", "tensorflow_serving"), ("/v1", "http"),
        ("/v2", "open_inference"), ("/v2/models/a", "open_inference"), ("/v2/health/live", "http"), ("/", "http"),
        ("", "http"),
    ],
)  # fmt: skip
def test_paths_belong_to_protocols(path, protocol):
    assert protocol_of(path) == protocol


def test_the_short_way_answers_what_the_long_one_does(client, monkeypatch):
    bodies = [
        ROW, {"inputs": [[1, 2, 3]]}, {}, {"instances": [[1]]}, {"signature_name": "x"},
        {"signature_name": "refuses", "instances": [1]}, {"signature_name": "breaks", "instances": [1]},
    ]  # fmt: skip
    for path in (PREDICT, "/v2/models/echo/infer"):
        short = [client.post(path, json=body) for body in (*bodies, V2)]
        with monkeypatch.context() as patch:
            patch.setattr(web, "find_prediction", lambda *_: None)
            long = [client.post(path, json=body) for body in (*bodies, V2)]
        for one, other in zip(short, long, strict=True):
            assert (one.status_code, one.content_type) == (other.status_code, other.content_type)
            assert without_id(one) == without_id(other)
            assert set(one.headers.keys()) == set(other.headers.keys())


def without_id(response):
    return response.text.replace(response.headers["X-Request-ID"], "id")


V2 = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}


def test_the_short_way_is_for_no_other_path_or_method(app, client):
    for _ in range(3):
        with client.post(PREDICT, json=ROW) as answer:
            assert answer.status_code == 200
        assert client.get(PREDICT).status_code == 400
        assert client.put(PREDICT).status_code == 400
        assert client.head(PREDICT).status_code == 400
        assert client.options(PREDICT).status_code == 200
        assert client.post(PREDICT + "x", json=ROW).status_code == 400
        assert client.post("/v1/models/ECHO:predict", json=ROW).status_code == 404
        assert client.post("/v1/models/echo/versions/1:predict", json=ROW).status_code == 404
        assert client.post("/V1/Models/echo:PREDICT", json=ROW).status_code == 200
        with client.post("/v1/models/named:predict", json=ROW) as answer:
            assert answer.json == GOOD
        with client.post("/v2/models/echo/infer", json=V2) as answer:
            assert answer.status_code == 200
    assert counted(app, model="echo", code=200, endpoint="tensorflow_serving.predict") == 6


def test_the_short_way_tells_flask_nothing_and_the_record_everything(app, client, caplog, monkeypatch):
    monkeypatch.delattr(type(app), "_ask_flask")
    for _ in range(2):
        with client.post(PREDICT, json=ROW, headers={"X-Request-ID": "mine"}) as answer:
            assert answer.headers["X-Request-ID"] == "mine"
    assert counted(app, model="echo", version="2", signature="serving_default", code=200) == 2
    assert [line["status"] for line in lines(caplog)] == [200] * 2
    assert not samples(app, "kiln_in_flight_requests")


def test_the_short_way_looks_for_the_newest_version_each_time(client, repository):
    assert client.post(PREDICT, json=ROW).status_code == 200
    repository.engine.unload("echo")
    assert client.post(PREDICT, json=ROW).status_code == 404


def test_the_short_way_is_no_way_around_the_tokens(tmp_path, repository):
    (tmp_path / "tokens").write_text("predict secret\n")
    client = create_app(Settings(token_file=tmp_path / "tokens"), repository).test_client()
    for _ in range(2):
        assert client.post(PREDICT, json=ROW, headers={"Authorization": "Bearer secret"}).status_code == 200
        assert client.post(PREDICT, json=ROW).status_code == 401


def post_raw(app, body, **environ):
    """What the application answers to a body and headers that need not agree."""
    made = EnvironBuilder(PREDICT, method="POST", input_stream=io.BytesIO(body)).get_environ()
    made.pop("CONTENT_LENGTH", None)
    given = {}

    def start(status, headers):
        given.update(status=int(status[:3]), headers=dict(headers))

    answer = b"".join(app.wsgi_app(made | environ, start))
    return given["status"], json.loads(answer)


BODY = json.dumps(ROW).encode()


@pytest.mark.parametrize(
    ("environ", "status", "sentence"),
    [
        ({"CONTENT_LENGTH": str(len(BODY))}, 200, ""),
        ({"CONTENT_LENGTH": str(len(BODY) + 5)}, 400, f"The body ends after {len(BODY)} of {len(BODY) + 5} bytes."),
        ({"CONTENT_LENGTH": str(len(BODY) - 5)}, 400, "JSON"),
        ({"CONTENT_LENGTH": "0"}, 400, "The document is empty"),
        ({}, 400, "The document is empty"),
        ({"CONTENT_LENGTH": "10001"}, 413, "larger than the 10000 bytes"),
        ({"HTTP_TRANSFER_ENCODING": "chunked"}, 200, ""),
    ],
)
def test_the_length_that_is_stated_is_what_counts(app, environ, status, sentence):
    found, answer = post_raw(app, BODY, **environ)
    assert found == status
    assert sentence in answer.get("error", "")


def test_a_body_in_chunks_has_a_limit_too(app):
    status, answer = post_raw(app, b" " * 10_001, HTTP_TRANSFER_ENCODING="chunked")
    assert status == 413
    assert "10000 bytes" in answer["error"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    """gunicorn with the service's worker, on models that answer their inputs."""
    number = free_port()
    process = subprocess.Popen(
        [
            sys.executable, "-m", "gunicorn", "--worker-class", "service.processes.gunicorn_worker.Worker",
            "--bind", f"127.0.0.1:{number}", "--no-control-socket", "--log-level", "critical",
            "tests.service.echo_app:create()",
        ],
        cwd=ROOT, env=os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path_factory.mktemp("service"))},
    )  # fmt: skip
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", number), timeout=1):
            break
        time.sleep(0.05)
    yield number
    process.terminate()
    assert process.wait(SECONDS) == 0


def exchange(port, *pieces, end=True):
    """The answers to what is sent over one connection: status and body of each."""
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection:
        for piece in pieces:
            connection.sendall(piece)
        if end:
            connection.shutdown(socket.SHUT_WR)
        content = connection.makefile("rb").read()
    answers = []
    while content:
        head, _, rest = content.partition(b"\r\n\r\n")
        length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
        answers.append((int(head.split()[1]), json.loads(rest[:length])))
        content = rest[length:]
    return answers


def head(*headers):
    return "\r\n".join([f"POST {PREDICT} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


def test_requests_one_after_another_over_one_connection(port):
    request = head(f"Content-Length: {len(BODY)}") + BODY
    assert exchange(port, request, request, request) == [(200, GOOD)] * 3


def test_a_body_that_ends_early_is_refused_and_ends_the_connection(port):
    [(status, answer)] = exchange(port, head(f"Content-Length: {len(BODY) + 5}") + BODY)
    assert status == 400
    assert f"The body ends after {len(BODY)} of {len(BODY) + 5} bytes" in answer["error"]


def test_what_follows_a_body_is_the_next_request(port):
    first, second = exchange(port, head(f"Content-Length: {len(BODY)}") + BODY + b"more\r\n\r\n")
    assert first == (200, GOOD)
    assert second[0] == 400
    assert "cannot be read" in second[1]["error"]


def test_bodies_in_chunks_of_any_size(port):
    chunks = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (BODY[:1], BODY[1:7], BODY[7:])]
    chunked = head("Transfer-Encoding: chunked", "Connection: close")
    assert exchange(port, chunked, *chunks, b"0\r\n\r\n", end=False) == [(200, GOOD)]


@pytest.mark.parametrize(
    "headers",
    [
        ("Content-Length: 5", "Content-Length: 7"), ("Content-Length: -1",), ("Content-Length: 5, 5",),
        ("Content-Length: 0x5",), ("Transfer-Encoding: chunked", "Content-Length: 5"),
    ],
)  # fmt: skip
def test_lengths_that_could_smuggle_a_request_are_refused(port, headers):
    [(status, answer)] = exchange(port, head(*headers) + b"0\r\n\r\n")
    assert status == 400
    assert answer["error"]


def test_clients_that_send_nothing_keep_nobody_waiting(port):
    """There are more of them than threads; each waits, outside of the threads, for what never comes."""
    idle = [socket.create_connection(("127.0.0.1", port), timeout=SECONDS) for _ in range(9)]
    try:
        assert exchange(port, head(f"Content-Length: {len(BODY)}") + BODY) == [(200, GOOD)]
    finally:
        for connection in idle:
            connection.close()


@pytest.mark.parametrize("body", [b"", b'{"instances": [[1, "a"]]}'])
def test_a_wrong_request_leaves_the_connection_usable(port, body):
    wrong = head(f"Content-Length: {len(body)}") + body
    (status, _), good = exchange(port, wrong, head(f"Content-Length: {len(BODY)}") + BODY)
    assert (status, good) == (400, (200, GOOD))


def test_connections_are_answered_in_turn(port):
    connections = [http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS) for _ in range(5)]
    with contextlib.ExitStack() as stack:
        for connection in connections:
            stack.enter_context(contextlib.closing(connection))
        for count in (1, 2, 5, 2, 1):
            for _ in range(3):
                for connection in connections[:count]:
                    connection.request("POST", PREDICT, BODY)
                for connection in connections[:count]:
                    assert json.loads(connection.getresponse().read()) == GOOD
            for connection in connections[count:]:
                connection.close()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (PREDICT, ROW),
        (PREDICT, {"instances": [[1]]}),
        (PREDICT, {"instances": [[], []]}),
        (PREDICT, {"signature_name": "breaks", "instances": [1.0]}),
        ("/v2/models/echo/infer", {"inputs": []}),
        ("/v1/models/echo:classify", {"examples": [{}]}),
        ("/v1/models/none:predict", ROW),
    ],
)
def test_nothing_keeps_a_request_alive_after_its_answer(app, monkeypatch, path, body):
    """Without the collector: memory is free at once, and not when many objects have been made."""
    # pytest keeps what is logged, with its traceback.
    monkeypatch.setattr(web.logger, "propagate", False)

    class Body(io.BytesIO):
        pass

    content = json.dumps(body).encode()
    stream = Body(content)
    environ = EnvironBuilder(path, method="POST").get_environ()
    environ |= {"wsgi.input": stream, "CONTENT_LENGTH": str(len(content))}
    gone = weakref.ref(stream)
    gc.collect()
    gc.disable()
    try:
        answer = app.wsgi_app(environ, lambda *_: None)
        b"".join(answer)
        answer.close()
        del answer, environ, stream
        assert gone() is None
    finally:
        gc.enable()
