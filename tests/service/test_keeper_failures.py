"""Whatever happens to workers, the keeper goes on listening: workers wait for one that does not."""

import contextlib
import resource
import socket
import tempfile
from pathlib import Path

import pytest

from service.custody.counts import is_supported
from service.custody.keeper import Keeper
from service.custody.ward import GIVE, Ward
from service.processes import allow_many_files

pytestmark = pytest.mark.skipif(not is_supported(), reason="the system does not count a connection's bytes")
SECONDS = 20


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(prefix="kiln-") as name:
        yield Path(name)


@pytest.fixture(autouse=True)
def keeper(folder):
    Keeper(folder).start()


@contextlib.contextmanager
def connection():
    """Both ends of a connection over TCP."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with socket.create_connection(listener.getsockname(), timeout=SECONDS) as client:
            server, _ = listener.accept()
            with server:
                yield server, client


def die(ward):
    """Ends a worker as the kernel does: everything of it is closed at once."""
    ward._keeper.close()
    ward._notes.close()


def receive(ward):
    ward._keeper.settimeout(SECONDS)
    message, [descriptor], _, _ = socket.recv_fds(ward._keeper, 16, 1)
    assert message[:1] == GIVE
    return socket.socket(fileno=descriptor)


def assert_inherits(folder):
    """A connection of a worker that dies goes to another."""
    first, second = Ward(folder), Ward(folder)
    with connection() as (server, client):
        assert first.take(server)
        server.close()
        die(first)
        with receive(second) as given:
            client.sendall(b"request")
            assert given.recv(7) == b"request"
    die(second)


def test_a_worker_that_dies_before_it_takes_what_it_was_given_takes_nobody_along(folder):
    first, second = Ward(folder), Ward(folder)
    with connection() as (server, _):
        first.take(server)
        server.close()
        die(first)
        # `second` is given the connection and never reads the message.
        second._keeper.settimeout(SECONDS)
        assert second._keeper.recv(1, socket.MSG_PEEK) == GIVE
        die(second)
    assert_inherits(folder)


def test_a_message_without_its_descriptor_is_passed_over(folder):
    """The kernel drops it where the keeper may open no more files."""
    ward = Ward(folder)
    ward._tell(b"T", 5)
    ward._tell(b"F", 5)
    die(ward)
    assert_inherits(folder)


def test_nonsense_does_not_end_the_keeper(folder):
    ward = Ward(folder)
    ward._keeper.send(b"T")
    die(ward)
    assert_inherits(folder)


def test_the_service_may_open_as_many_files_as_it_is_granted():
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(before, 512), most))
    try:
        allow_many_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (most, most)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))
