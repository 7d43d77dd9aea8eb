import hashlib

import pytest
import yaml

from pipeline import fetch as stage
from pipeline.datasets import wine_alcohol
from pipeline.download import Retries, part_of
from pipeline.errors import DataError
from pipeline.params import parse_params
from pipeline.raw import FileSet, RemoteFile, file_digest
from tests.pipeline.file_server import serving

CONTENT = b"ten;thousand;grapes\n" * 500
SMALL = b"partial\n"
PARAMS = {
    "datasets": {
        "wine": {
            "source": "pipeline/datasets/wine_alcohol.py",
            "options": {},
            "prepare": {"seed": 1, "splits": {"row": {"validation": 0.1, "test": 0.1}}},
        }
    },
    "models": {},
}
NO_RETRY = Retries(attempts=1)


def remote(name, content, address):
    digest = {name: f"sha256:{hashlib.sha256(content).hexdigest()}"}
    return RemoteFile(name, (address,), f"wines/{name}", len(content), digest, lambda path: {name: file_digest(path)})


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as running:
        running.files = {"/home/a.csv": CONTENT, "/mirror/wines/a.csv": CONTENT}
        yield running


@pytest.fixture
def fetch(server, monkeypatch, tmp_path):
    whole = FileSet((remote("a.csv", CONTENT, f"{server.address}/home/a.csv"),))
    partial = FileSet((remote("b.csv", SMALL, f"{server.address}/home/b.csv"),), partial="only a sip")
    monkeypatch.setattr(wine_alcohol, "remote_files", lambda _: (whole, partial))

    def run(mirror=""):
        root = tmp_path / "project"
        stage.fetch("wine", parse_params(PARAMS, "test"), root, mirror=mirror, retries=NO_RETRY)
        return {path.name: path.read_bytes() for path in (root / "data/raw/wine").iterdir()}

    return run


@pytest.fixture
def mirror(tmp_path):
    folder = tmp_path / "mirror"
    (folder / "wines").mkdir(parents=True)
    return folder


def raw_folders(tmp_path):
    return [path.name for path in (tmp_path / "project/data/raw").iterdir() if not path.name.startswith(".")]


def test_files_come_from_their_public_home(fetch):
    assert fetch() == {"a.csv": CONTENT}


def test_files_come_from_a_mirror_folder(fetch, mirror, server):
    (mirror / "wines/a.csv").write_bytes(CONTENT)
    assert fetch(str(mirror)) == {"a.csv": CONTENT}
    assert server.ranges == []


def test_files_come_from_a_mirror_address(fetch, server):
    assert fetch(f"{server.address}/mirror/") == {"a.csv": CONTENT}


def test_a_second_run_replaces_the_folder(fetch, tmp_path):
    fetch()
    (tmp_path / "project/data/raw/wine/stale").write_text("")
    assert fetch() == {"a.csv": CONTENT}


def test_a_killed_run_is_resumed(fetch, server, tmp_path):
    part = part_of(tmp_path / "project/data/raw/.wine.incomplete/a.csv")
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT[:700])
    assert fetch() == {"a.csv": CONTENT}
    assert server.ranges == ["bytes=700-"]


def test_a_beginning_of_another_file_is_dropped(fetch, server, tmp_path):
    part = part_of(tmp_path / "project/data/raw/.wine.incomplete/a.csv")
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 700)
    assert fetch() == {"a.csv": CONTENT}
    assert server.ranges == ["bytes=700-", None]


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT.upper(), b"<html>"], ids=["truncated", "altered", "page"])
def test_a_wrong_file_names_itself_and_both_checksums(fetch, mirror, tmp_path, content):
    (mirror / "wines/a.csv").write_bytes(content)
    with pytest.raises(DataError) as raised:
        fetch(str(mirror))
    sentence = str(raised.value)
    for part in (
        str(mirror / "wines/a.csv"),
        f"sha256:{hashlib.sha256(CONTENT).hexdigest()} (about 10,000 bytes)",
        f"received sha256:{hashlib.sha256(content).hexdigest()} ({len(content):,} bytes)",
        "KILN_DATA_MIRROR",
    ):
        assert part in sentence
    assert raw_folders(tmp_path) == []


def test_a_wrong_file_at_its_public_home_is_an_error(fetch, server, tmp_path):
    server.files["/home/a.csv"] = CONTENT[:-5]
    with pytest.raises(DataError, match="altered or incomplete"):
        fetch()
    assert raw_folders(tmp_path) == []


def test_a_missing_file_says_how_to_supply_it(fetch, mirror):
    with pytest.raises(DataError, match=r"wines/a.csv is missing in the mirror .* set KILN_DATA_MIRROR"):
        fetch(str(mirror))


def test_the_next_set_of_files_is_taken_where_the_first_is_missing(fetch, mirror, capsys):
    (mirror / "wines/b.csv").write_bytes(SMALL)
    assert fetch(str(mirror)) == {"b.csv": SMALL}
    assert capsys.readouterr().err == "wine: only a sip.\n"


def test_a_mirror_of_another_kind_is_refused(fetch):
    with pytest.raises(DataError, match="KILN_DATA_MIRROR is a folder or an http"):
        fetch("s3://bucket")


@pytest.mark.usefixtures("fetch")
def test_the_command_takes_the_mirror_from_the_environment(mirror, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("KILN_DATA_MIRROR", str(mirror))
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    arguments = ["--dataset", "wine", "--params", str(tmp_path / "params.yaml"), "--root", str(tmp_path / "project")]
    assert stage.main(arguments) == 1
    assert "a.csv is missing in the mirror" in capsys.readouterr().err
    (mirror / "wines/a.csv").write_bytes(CONTENT)
    assert stage.main(arguments) == 0


def test_an_unknown_data_set_is_a_sentence(tmp_path, capsys):
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    assert stage.main(["--dataset", "beer", "--params", str(tmp_path / "params.yaml")]) == 1
    assert capsys.readouterr().err == "dataset: unknown name 'beer'. Available: 'wine'.\n"
