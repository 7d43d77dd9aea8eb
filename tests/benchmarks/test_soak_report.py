"""The soak finds what it is there to find."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import orjson
import pytest

from benchmarks import hammer
from benchmarks.disturbances import Passed, Phase
from benchmarks.soak_report import are_current, judge
from benchmarks.versions import Publisher

STEADY, KILLED = Passed(Phase("steady"), 0, 10), Passed(Phase("killed", may_reset=True), 10, 20)


@pytest.fixture
def publisher(tmp_path):
    """Version 1 is served from the start; 2 appears at 4 s, and is known to be served at 6 s."""
    return Publisher(tmp_path, tmp_path, "", published={1: -1.0, 2: 4.0}, served={1: -0.5, 2: 6.0})


def record(sent, received, outcome, version=1):
    return [0, 100, sent, received, outcome, version]


@pytest.mark.parametrize(
    ("sent", "received", "version", "right"),
    [
        (1, 2, 1, True),
        (3.9, 4.1, 2, True),
        (3.8, 3.9, 2, False),
        (5.9, 6.5, 1, True),
        (6.1, 6.5, 1, False),
        (6.1, 6.5, 2, True),
        (6.1, 6.5, 3, False),
    ],
)
def test_an_answer_is_right_for_a_version_that_was_current_when_asked_or_answered(
    publisher, sent, received, version, right
):
    assert are_current(np.array([record(sent, received, 200, version)]), publisher).tolist() == [right]


GOOD = [record(0, moment / 4, 200, 1 if moment < 20 else 2) for moment in range(80)]


def complaints(publisher, *records, innocent=GOOD):
    return judge(np.array([*GOOD, *records]), np.array(innocent), [STEADY, KILLED], publisher).complaints()


@pytest.mark.parametrize("outcome", [429, 503, 504])
def test_deliberate_refusals_are_no_complaint(publisher, outcome):
    assert complaints(publisher, record(1, 1.1, outcome)) == []


@pytest.mark.parametrize(
    ("outcome", "sentence"),
    [
        (hammer.WRONG, "1 answers: wrong"),
        (hammer.TWICE, "1 answers: twice"),
        (hammer.UNASKED, "1 answers: unasked"),
        (hammer.SILENT, "1 answers: silent"),
        (500, "1 answers of status 500"),
        (503 + hammer.BARE, "1 answers of status 503 without Retry-After"),
        (hammer.RESET_KEPT, "1 connections broke though no worker had been killed"),
        (hammer.CUT, "1 connections broke though no worker had been killed"),
    ],
)
def test_what_must_not_be_is_a_complaint(publisher, outcome, sentence):
    assert complaints(publisher, record(1, 1.1, outcome)) == [sentence]


def test_resets_are_allowed_where_workers_are_killed(publisher):
    # Asked in the phase before, and reset by the kill.
    assert complaints(publisher, record(9.9, 11.1, hammer.RESET_KEPT)) == []


def test_a_long_time_without_an_answer_is_a_complaint(publisher):
    found = complaints(publisher, innocent=[entry for entry in GOOD if not 1 < entry[3] < 9])
    assert found == ["8.0 s without an answer of the innocent client in phase 'steady'"]


class Echo(BaseHTTPRequestHandler):
    """Answers with the rows of the request, or with those that `answers` has for it."""

    protocol_version = "HTTP/1.1"
    answers: dict[float, float] = {}  # noqa: RUF012
    after = b""

    def do_POST(self):
        rows = orjson.loads(self.rfile.read(int(self.headers["Content-Length"])))["instances"]
        rows = [[self.answers.get(value, value) for value in row] for row in rows]
        body = orjson.dumps({"predictions": [{"y": row, "version": 1.0} for row in rows]})
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body + self.after)

    def log_message(self, *_):
        pass


@pytest.fixture
def client(monkeypatch):
    """A client of a server that answers as `Echo.answers` and `Echo.after` say."""
    monkeypatch.setattr(Echo, "answers", {})
    monkeypatch.setattr(Echo, "after", b"")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    client = hammer.Hammer(f"127.0.0.1:{server.server_port}", "", 0)
    yield client
    client.close()
    server.shutdown()
    thread.join()
    server.server_close()


def ask(client, number):
    return client.ask(client.rest_rows, hammer.make_input(number, 400, is_json=True), number)


def test_a_client_knows_its_own_answers(client):
    assert [ask(client, number) for number in (1, 2, 3)] == [(200, 1.0)] * 3


def test_a_client_knows_anothers_numbers_and_those_that_it_had_already(client, monkeypatch):
    monkeypatch.setattr(Echo, "answers", {2.0: 99.0, 3.0: 1.0})
    assert [ask(client, number)[0] for number in (1, 2, 3)] == [200, hammer.WRONG, hammer.TWICE]


def test_a_client_notices_what_it_never_asked_for(client, monkeypatch):
    monkeypatch.setattr(Echo, "after", b"HTTP/1.1 200 OK")
    assert ask(client, 1)[0] == hammer.UNASKED


@pytest.mark.parametrize("size", hammer.SIZES)
@pytest.mark.parametrize("is_json", [True, False])
def test_a_request_has_about_the_size_that_it_is_to_have(size, is_json):
    x = hammer.make_input(2**24 - 1, size, is_json=is_json)
    length = len(hammer.matrix(x)) if is_json else x.nbytes
    assert 0.5 * size < length < 1.2 * size
