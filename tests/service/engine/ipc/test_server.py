"""The front ends and the engine over a real socket; the models are of numpy."""

import contextlib
import socket
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.app import create_app
from service.engine.interface import AVAILABLE, Catalog, Choice, ServedModel, Statistics, Version
from service.engine.ipc import client as client_module
from service.engine.ipc import connection as connection_module
from service.engine.ipc.catalog_file import CatalogFile
from service.engine.ipc.client import SOCKET, EngineClient, EngineFailed, receive, send
from service.engine.ipc.connection import CHUNK
from service.engine.ipc.messages import ANSWER, CALL, FAILURE, encode
from service.engine.ipc.server import Server, Work
from service.engine.model import InvalidInput
from service.engine.repository import Repository
from service.errors import DeadlineExceeded, InvalidConfiguration, ModelUnavailable, QueueFull, UnknownModel
from service.settings import Settings
from tests.service.engine_bench import SECONDS, Bench, assert_same, make_call, rows


class BenchHost(Bench):
    """A bench as the server's host."""

    def __init__(self, most_calls=2, **options):
        super().__init__(most_calls, **options)
        self.administer = lambda operation, arguments: [operation, arguments]

    def submit(self, call, reply, is_abandoned):
        self.scheduler.submit(call, reply, is_abandoned)

    def watch(self):
        return False, 0

    def work(self):
        batch = self.scheduler.take()
        if batch is None:
            return None
        return Work(lambda: self.executor.run(batch), self.executor.expected_seconds(batch))

    def has_work(self):
        return self.scheduler.has_work()


class Engine:
    """A server in this process, and a client of it."""

    def __init__(self, folder, host):
        self.folder, self.host = folder, host
        self.client = EngineClient(folder)
        self.start()

    def start(self):
        self.server = Server(self.folder / SOCKET, self.host, threads=3)
        self.server.start()

    def stop(self):
        self.server.stop()
        self.server.close()

    def call(self, x, name="rows", **options):
        return self.client.call(make_call(x, name, **options))

    def in_threads(self, count, ask):
        """Calls a function with each number, in a thread of its own."""
        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(ask, range(count)))

    def connect(self):
        stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        stream.settimeout(SECONDS)
        stream.connect(str(self.folder / SOCKET))
        return stream


@pytest.fixture
def folder():
    # Short enough for a socket, wherever pytest keeps its own.
    with tempfile.TemporaryDirectory(prefix="kiln-") as name:
        yield Path(name)


@pytest.fixture
def engine(folder):
    # Some of its messages are large.
    engine = Engine(folder, BenchHost(models=("m", "n"), queue_rows=10**8))
    yield engine
    for model in engine.host.models.values():
        model.go_on.set()
    engine.stop()
    engine.client.close()


def call_message(x, name="rows", seconds=None):
    call = make_call(x, name, seconds=seconds)
    return encode(CALL, [call.model, call.version, call.signature, [], call.deadline], call.inputs)


def as_bytes(message):
    return b"".join(bytes(memoryview(buffer)) for buffer in message)


def test_a_call_gets_its_outputs(engine):
    x = rows(1, 2, 3)
    assert_same(engine.call(x), engine.host.model.alone(make_call(x)))
    assert list(engine.call(x, outputs=("first",))) == ["first"]


def test_the_socket_is_for_this_user_only(engine):
    assert (engine.folder / SOCKET).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("x", "options", "error", "sentence"),
    [
        (rows(np.nan), {}, InvalidInput, "NaN is not for me"),
        (rows(np.inf), {}, EngineFailed, "^$"),
        (rows(1), {"seconds": -1}, DeadlineExceeded, "before"),
        (rows(1), {"model": "other"}, ModelUnavailable, "not loaded at the moment"),
    ],
)
def test_errors_arrive_as_what_they_are(engine, x, options, error, sentence):
    with pytest.raises(error, match=sentence):
        engine.call(x, **options)
    assert len(engine.call(rows(1))["y"]) == 1


def test_a_full_queue_says_when_to_try_again(folder):
    engine = Engine(folder, BenchHost(queue_rows=1))
    engine.host.model.go_on.clear()
    try:
        waiting = [engine.connect(), engine.connect()]
        for stream in waiting:
            send(stream, call_message(rows(1)))
            assert engine.host.model.is_running.wait(SECONDS)
        while not engine.host.queued["m", 1, "rows"]:
            time.sleep(0)
        with pytest.raises(QueueFull, match="1 rows are waiting for model 'm', and 1 may") as caught:
            engine.call(rows(1))
        assert caught.value.retry_after_seconds == 1
        engine.host.model.go_on.set()
        assert [receive(stream, None).kind for stream in waiting] == [ANSWER, ANSWER]
    finally:
        engine.host.model.go_on.set()
        for stream in waiting:
            stream.close()
        engine.stop()
        engine.client.close()


def test_a_failure_is_500_for_the_client_without_its_text(engine):
    version = Version("m", 1, AVAILABLE, signatures=engine.host.model.signatures)
    CatalogFile(engine.folder).publish(Catalog({"m": ServedModel("m", (version,))}))
    repository = Repository(engine.client)

    def fail(*_arguments, **_options):
        raise RuntimeError("secret detail")

    client = create_app(Settings(), repository).test_client()
    body = {"signature_name": "rows", "instances": [[1, 2]]}
    assert client.post("/v1/models/m:predict", json=body).json == {"predictions": [{"y": [2, 4], "first": 1}]}
    engine.host.model.run = fail
    response = client.post("/v1/models/m:predict", json=body)
    assert response.status_code == 500
    assert "secret" not in response.text
    assert "Internal error" in response.json["error"]


def test_administration_goes_through_with_its_errors(engine):
    done = []
    engine.host.administer = lambda *arguments: done.append(arguments)
    engine.client.load("m")
    engine.client.unload("m")
    engine.client.set_label("m", "stable", None)
    engine.client.configure({"m": Choice(2, (1, 3))}, {"m": {"stable": 1}})
    assert done == [
        ("load", ["m"]), ("unload", ["m"]), ("set_label", ["m", "stable", None]),
        ("configure", [{"m": [2, [1, 3]]}, {"m": {"stable": 1}}]),
    ]  # fmt: skip
    for error in (UnknownModel("no such"), InvalidConfiguration("not so"), ModelUnavailable("later", 7)):

        def refuse(*_arguments, error=error):
            raise error

        engine.host.administer = refuse
        with pytest.raises(type(error), match=str(error)) as caught:
            engine.client.load("m")
        assert caught.value.retry_after_seconds == error.retry_after_seconds


def test_an_operation_that_fails_does_not_tell_why(engine, caplog):
    def fail(*_arguments):
        raise RuntimeError("secret detail")

    engine.host.administer = fail
    with pytest.raises(EngineFailed):
        engine.client.load("m")
    assert "Operation 'load' failed" in caplog.text


def test_statistics_come_back_as_they_are(engine):
    entry = Statistics("m", 1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9, {3: (1, 2), 128: (4, 5)})
    fields = {name: getattr(entry, name) for name in entry.__dataclass_fields__}
    engine.host.administer = lambda *_: [fields]
    assert engine.client.statistics() == [entry]


def test_a_long_operation_keeps_no_call_waiting(engine):
    go_on = threading.Event()
    engine.host.administer = lambda *_: go_on.wait(SECONDS)
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(engine.client.load, "m")
        assert len(engine.call(rows(1))["y"]) == 1
        assert not loading.done()
        go_on.set()
        loading.result(SECONDS)


def test_a_running_model_keeps_no_other_waiting(engine):
    engine.host.model.go_on.clear()
    with contextlib.closing(engine.connect()) as stream:
        send(stream, call_message(rows(1)))
        assert engine.host.model.is_running.wait(SECONDS)
        for number in range(3):
            assert engine.call(rows(number), model="n")["first"].tolist() == [number]
        engine.host.model.go_on.set()
        assert receive(stream, None).kind == ANSWER


def test_a_call_that_was_expected_to_be_short_keeps_no_other_waiting(engine):
    for number in range(5):
        engine.call(rows(number))
    for _ in range(3):
        engine.host.model.go_on.clear()
        with contextlib.closing(engine.connect()) as stream:
            send(stream, call_message(rows(1)))
            assert engine.host.model.is_running.wait(SECONDS)
            for number in range(3):
                assert engine.call(rows(number), model="n", seconds=SECONDS)["first"].tolist() == [number]
            engine.host.model.go_on.set()
            assert receive(stream, None).kind == ANSWER
        engine.host.model.is_running.clear()


def test_many_threads_each_get_their_own_answers(engine):
    def ask(number):
        return [engine.call(rows(*range(number, number + 1 + turn % 3)))["first"].tolist() for turn in range(30)]

    for number, answers in enumerate(engine.in_threads(24, ask)):
        assert answers == [[*range(number, number + 1 + turn % 3)] for turn in range(30)]
    while (statistics := engine.host.statistics.read("m", 1)).calls < 720:
        time.sleep(0)  # counted after the answers
    assert (statistics.calls, statistics.rows, statistics.failures) == (720, 1440, 0)


def test_rows_of_several_fronts_share_a_call(engine):
    engine.host.model.go_on.clear()
    streams = [engine.connect() for _ in range(4)]
    send(streams[0], call_message(rows(0)))
    assert engine.host.model.is_running.wait(SECONDS)
    for number, stream in enumerate(streams[1:], 1):
        send(stream, call_message(rows(number)))
        while engine.host.queued["m", 1, "rows"] != number:
            time.sleep(0)
    engine.host.model.go_on.set()
    answers = [receive(stream, None).arrays["first"].tolist() for stream in streams]
    for stream in streams:
        stream.close()
    assert answers == [[0], [1], [2], [3]]
    assert engine.host.model.calls == [[1], [1, 1, 1]]


def test_messages_may_be_large(engine):
    x = np.arange(13_000_000, dtype=np.float32)
    [y] = engine.call(x, "unknown").values()
    np.testing.assert_array_equal(y, x + 1)


@pytest.mark.parametrize("size", [CHUNK - 200, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 16 * 1024, 3])
def test_messages_of_every_size_come_whole(engine, size):
    for count in range(size // 4, size // 4 + 3):
        [y] = engine.call(np.arange(count), "unknown").values()
        assert len(y) == count


def test_messages_may_come_and_be_taken_byte_by_byte(engine):
    with contextlib.closing(engine.connect()) as stream:
        for _ in range(2):
            for byte in as_bytes(call_message(rows(1, 2))):
                stream.sendall(bytes([byte]))
            expected = as_bytes(encode(ANSWER, None, engine.host.model.alone(make_call(rows(1, 2)))))
            taken = b"".join(stream.recv(1) for _ in expected)
            assert taken == expected


def test_a_reader_that_is_slow_keeps_nobody_waiting(engine):
    x = np.arange(3_000_000, dtype=np.float32)
    with contextlib.closing(engine.connect()) as slow:
        send(slow, call_message(x, "unknown"))
        while not engine.host.statistics.read("m", 1).calls:
            time.sleep(0)
        for number in range(5):
            assert engine.call(rows(number))["first"].tolist() == [number]
        np.testing.assert_array_equal(receive(slow, None).arrays["y"], x + 1)
        send(slow, call_message(rows(1)))
        assert receive(slow, None).arrays["first"].tolist() == [1]


@pytest.mark.parametrize("whole", [True, False])
def test_a_front_that_goes_away_takes_nobody_along(engine, whole, caplog):
    engine.host.model.go_on.clear()
    message = as_bytes(call_message(np.arange(3_000_000) if whole else rows(1), "unknown"))
    with contextlib.closing(engine.connect()) as running, contextlib.closing(engine.connect()) as queued:
        running.sendall(message)
        assert engine.host.model.is_running.wait(SECONDS)
        queued.sendall(message if whole else message[:-1])
    engine.host.model.go_on.set()
    for number in range(5):
        assert engine.call(rows(number))["first"].tolist() == [number]
    assert not caplog.records


def test_a_call_ends_with_its_deadline_and_its_late_answer_is_nobodys(engine):
    engine.host.model.go_on.clear()
    with pytest.raises(DeadlineExceeded, match="did not answer before the request's deadline"):
        engine.call(rows(1), seconds=0.05)
    engine.host.model.go_on.set()
    for number in range(2, 6):
        assert engine.call(rows(number), seconds=SECONDS)["first"].tolist() == [number]


def test_calls_wait_without_a_deadline(engine):
    engine.host.model.go_on.clear()
    threading.Timer(0.05, engine.host.model.go_on.set).start()
    assert engine.call(rows(1))["first"].tolist() == [1]


def test_a_client_finds_the_engine_that_was_started_again(engine):
    assert engine.call(rows(1))
    engine.stop()
    for _ in range(2):
        with pytest.raises(ModelUnavailable, match="The engine is being started") as caught:
            engine.call(rows(2))
        assert caught.value.retry_after_seconds == 2
    engine.start()
    assert engine.call(rows(3))["first"].tolist() == [3]


class Peer:
    """An engine that does what a test wants: takes connections one by one, in a thread."""

    def __init__(self, folder, *steps):
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(folder / SOCKET))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, args=(steps,))
        self._thread.start()

    def _serve(self, steps):
        for step in steps:
            stream, _ = self._listener.accept()
            # The client may be gone before it is answered.
            with stream, contextlib.suppress(BrokenPipeError):
                step(stream)

    def close(self):
        self._thread.join(SECONDS)
        self._listener.close()


def answer(stream, number, *, most=None):
    """Reads a request, and answers it with a number, or the first bytes of that."""
    asked = receive(stream, None).number
    stream.sendall(as_bytes(encode(ANSWER, None, {"y": np.array([number])}, asked))[:most])


@pytest.fixture
def lone_client(folder):
    client = EngineClient(folder)
    yield client
    client.close()


@pytest.mark.parametrize("most", [0, 10, 16, 30])
def test_an_engine_that_dies_during_a_call_is_unavailable(folder, lone_client, most):
    peer = Peer(folder, lambda stream: answer(stream, 1, most=most), lambda stream: answer(stream, 2))
    with pytest.raises(ModelUnavailable, match="The engine stopped while it had the request") as caught:
        lone_client.call(make_call(rows(1), seconds=SECONDS))
    assert caught.value.retry_after_seconds == 2
    assert lone_client.call(make_call(rows(1), seconds=SECONDS))["y"].tolist() == [2]
    peer.close()


@pytest.mark.parametrize("most", [0, 10, 16, 30])
def test_half_an_answer_ends_with_the_deadline_and_its_rest_is_nobodys(folder, lone_client, most):
    told = threading.Event()

    def stall(stream):
        answer(stream, 1, most=most)
        assert told.wait(SECONDS)

    peer = Peer(folder, stall, lambda stream: answer(stream, 2))
    with pytest.raises(DeadlineExceeded):
        lone_client.call(make_call(rows(1), seconds=0.05))
    told.set()
    assert lone_client.call(make_call(rows(1), seconds=SECONDS))["y"].tolist() == [2]
    peer.close()


def test_an_answer_that_breaks_off_in_the_reader_is_not_taken_for_the_next_one(folder, lone_client, monkeypatch):
    def fail(*_arguments):
        raise MemoryError

    peer = Peer(folder, lambda stream: answer(stream, 1), lambda stream: answer(stream, 2))
    with monkeypatch.context() as patch:
        patch.setattr(client_module, "receive", fail)
        with pytest.raises(MemoryError):
            lone_client.call(make_call(rows(1), seconds=SECONDS))
    assert lone_client.call(make_call(rows(1), seconds=SECONDS))["y"].tolist() == [2]
    peer.close()


def test_an_answer_to_another_request_is_nobodys(folder, lone_client):
    def answer_another(stream):
        asked = receive(stream, None).number
        stream.sendall(as_bytes(encode(ANSWER, None, {"y": np.array([1])}, asked - 1)))

    peer = Peer(folder, answer_another, lambda stream: answer(stream, 2))
    with pytest.raises(EngineFailed, match="The engine answered request"):
        lone_client.call(make_call(rows(1), seconds=SECONDS))
    assert lone_client.call(make_call(rows(1), seconds=SECONDS))["y"].tolist() == [2]
    peer.close()


def test_administration_ends_in_time(folder, lone_client, monkeypatch):
    monkeypatch.setattr(client_module, "LOOK_UP_SECONDS", 0.1)
    given_up = threading.Event()
    peer = Peer(folder, lambda _: given_up.wait(SECONDS))
    with pytest.raises(DeadlineExceeded, match="has not finished 'statistics' within 0.1 s"):
        lone_client.statistics()
    given_up.set()
    peer.close()


def test_an_engine_that_hangs_is_unavailable(folder, lone_client, monkeypatch):
    monkeypatch.setattr(client_module, "SEND_SECONDS", 1)
    given_up = threading.Event()
    peer = Peer(folder, lambda _: given_up.wait(SECONDS))
    with pytest.raises(ModelUnavailable):
        lone_client.call(make_call(np.zeros(1_000_000)))
    given_up.set()
    peer.close()


def test_a_failure_of_an_unknown_kind_is_the_engines(folder, lone_client):
    def fail(stream):
        asked = receive(stream, None).number
        send(stream, encode(FAILURE, ["KeyboardInterrupt", "", None], None, asked))

    peer = Peer(folder, fail)
    with pytest.raises(EngineFailed):
        lone_client.call(make_call(rows(1), seconds=SECONDS))
    peer.close()


MESSAGE = as_bytes(call_message(rows(1, 2)))
GARBAGE = st.one_of(
    st.binary(max_size=300),
    st.integers(0, len(MESSAGE)).map(lambda length: MESSAGE[:length]),
    st.tuples(st.integers(0, len(MESSAGE) - 1), st.integers(0, 255)).map(
        lambda change: MESSAGE[: change[0]] + bytes([change[1]]) + MESSAGE[change[0] + 1 :]
    ),
    st.tuples(st.integers(0, 9), st.recursive(st.none() | st.integers(-9, 9) | st.text(max_size=3), st.lists)).map(
        lambda message: as_bytes(encode(*message))
    ),
    st.binary(max_size=30).map(lambda rest: MESSAGE + rest),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(GARBAGE, min_size=1, max_size=3))
def test_garbage_ends_its_connection_at_most(engine, pieces):
    with pytest.MonkeyPatch.context() as patch, contextlib.closing(engine.connect()) as stream:
        patch.setattr(connection_module, "MOST_BYTES", 2**20)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for piece in pieces:
                stream.sendall(piece)
        # What could not be understood was closed; what lacks its end is given up here.
        stream.close()
        assert engine.call(rows(7))["first"].tolist() == [7]
    assert all(thread.is_alive() for thread in engine.server._threads)


def test_a_message_that_cannot_be_understood_is_not_waited_for(engine, caplog):
    for message in (b"\xff" * 40, as_bytes(encode(ANSWER, None)), as_bytes(encode(CALL, [1])), MESSAGE + MESSAGE):
        with contextlib.closing(engine.connect()) as stream:
            stream.sendall(message)
            assert stream.recv(1) == b""
    assert len(caplog.records) == 4


def test_what_was_taken_is_answered_before_the_engine_stops(folder):
    engine = Engine(folder, BenchHost())
    engine.host.model.go_on.clear()
    streams = [engine.connect() for _ in range(3)]
    send(streams[0], call_message(rows(0)))
    assert engine.host.model.is_running.wait(SECONDS)
    for number in (1, 2):
        send(streams[number], call_message(rows(number)))
        while engine.host.queued["m", 1, "rows"] != number:
            time.sleep(0)
    stopping = threading.Thread(target=engine.server.stop)
    stopping.start()
    while not engine.server._stopping:
        time.sleep(0)
    engine.host.model.go_on.set()
    stopping.join(SECONDS)
    assert [receive(stream, None).arrays["first"].tolist() for stream in streams] == [[0], [1], [2]]
    engine.server.close()
    assert [stream.recv(1) for stream in streams] == [b""] * 3
    for stream in streams:
        stream.close()
