import numpy as np
import pytest

from pipeline.download import Retries, download, part_of
from pipeline.errors import DataError
from tests.pipeline.file_server import serving

CONTENT = np.random.default_rng(0).bytes(300_000)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as running:
        running.files["/file.bin"] = CONTENT
        yield running


@pytest.fixture
def pauses():
    return []


@pytest.fixture
def fetch(server, pauses, tmp_path):
    target = tmp_path / "file.bin"

    def run(path="/file.bin"):
        download(server.address + path, target, Retries(attempts=3, pause=pauses.append))
        return target

    return run


def test_a_file_arrives_whole_and_leaves_nothing_beside(fetch):
    target = fetch()
    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == ["file.bin"]


def test_a_cut_connection_is_resumed_where_it_ended(fetch, server, pauses):
    server.faults = ["cut"]
    assert fetch().read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=150000-"]
    assert pauses == [1.0]


def test_what_a_killed_run_left_is_resumed(fetch, server, tmp_path):
    part_of(tmp_path / "file.bin").write_bytes(CONTENT[:1000])
    assert fetch().read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-"]


def test_a_server_that_ignores_ranges_is_read_from_the_start(fetch, server, tmp_path):
    part_of(tmp_path / "file.bin").write_bytes(CONTENT[:1000])
    server.faults = ["no range"]
    assert fetch().read_bytes() == CONTENT


@pytest.mark.parametrize("fault", ["wrong range", 416])
def test_a_part_that_does_not_fit_is_dropped(fetch, server, tmp_path, fault):
    part_of(tmp_path / "file.bin").write_bytes(CONTENT[:1000])
    server.faults = [fault]
    assert fetch().read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-", None]


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_passing_error_is_tried_again_after_growing_pauses(fetch, server, pauses, status):
    server.faults = [status, status]
    assert fetch().read_bytes() == CONTENT
    assert pauses == [1.0, 2.0]


def test_a_missing_file_is_not_tried_again(fetch, pauses):
    with pytest.raises(DataError, match=r"/absent.bin cannot be had: the server answers 404"):
        fetch("/absent.bin")
    assert pauses == []


def test_attempts_end_with_the_reason_and_keep_what_arrived(fetch, server, tmp_path):
    server.faults = ["cut", "cut", "cut"]
    with pytest.raises(DataError, match="could not be downloaded in 3 attempts"):
        fetch()
    assert not (tmp_path / "file.bin").exists()
    assert CONTENT.startswith(part_of(tmp_path / "file.bin").read_bytes())


def test_an_address_that_is_none_is_not_tried_again(tmp_path, pauses):
    with pytest.raises(DataError, match="not an http or https address"):
        download("ftp://example.org/file", tmp_path / "file", Retries(pause=pauses.append))
    assert pauses == []
