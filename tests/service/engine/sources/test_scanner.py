"""A model repository as people leave it: entries that are no models, cannot be read, or never answer."""

import multiprocessing
import os
import tempfile
import threading
import time
from pathlib import Path

import pytest

from service.engine.sources.files import (
    check_version,
    is_model_name,
    read_description,
    read_entry,
    read_regular,
    take_identity,
)
from service.engine.sources.scanner import Scanner

SECONDS = 20


@pytest.fixture
def models(tmp_path):
    """A repository with one good model."""
    make_version(tmp_path / "models" / "good" / "1")
    return tmp_path / "models"


def make_version(folder, graph="saved_model.pb"):
    folder.mkdir(parents=True)
    (folder / graph).touch()


def scan(models):
    return Scanner(models).scan()


def problems(models):
    found = scan(models)
    assert "good" in found.models()
    return dict(found.problems)


def test_versions_are_named_by_numbers_with_zeros_or_without(models):
    for name in ("00000123", "7", "007", "08", "0"):
        make_version(models / "m" / name)
    found = scan(models)
    assert {number: folder.name for number, folder in found.versions["m"].items()} == {
        123: "00000123", 8: "08", 7: "7", 0: "0",
    }  # fmt: skip
    assert list(found.versions["m"]) == [123, 8, 7, 0]
    assert found.problems == {"m/007": "is version 7 too, as is the folder 7, which counts"}


def test_a_graph_as_text_is_a_version(models):
    make_version(models / "m" / "1", "saved_model.pbtxt")
    assert list(scan(models).versions["m"]) == [1]
    check_version(models / "m" / "1")


def test_a_version_is_told_from_another_that_takes_its_place(models):
    version = models / "good" / "1"
    first = take_identity(version)
    (version / "notes").touch()
    assert take_identity(version) == first
    (version / "saved_model.pb").unlink()
    assert take_identity(version) is None
    (version / "saved_model.pb").write_text("other")
    assert take_identity(version) not in (None, first)


WRONG = {
    "flat": ("flat/saved_model.pb", "flat", "move the files to {models}/flat/1"),
    "name": ("m/v1/saved_model.pb", "m/v1", "rename it, to 1 for example"),
    "too large": (
        f"m/{2**63}/saved_model.pb",
        f"m/{2**63}",
        "a version's folder is a number up to 9223372036854775807",
    ),
    "Triton": ("m/1/model.savedmodel/saved_model.pb", "m/1", "move the contents of {models}/m/1/model.savedmodel to"),
    "Keras": ("m/model.keras", "m/model.keras", "keras.saving.load_model('model.keras').export('MODEL/1')"),
    "Keras in a version": ("m/1/model.h5", "m/1", "export it"),
    "Keras in the repository": ("model.keras", "model.keras", "is not a SavedModel; export it"),
    "empty version": ("m/1/variables/variables.index", "m/1", "holds no saved_model.pb; it is looked at again"),
    "no version": ("m/logs/events", "m", "holds no version; expected {models}/m/1/saved_model.pb"),
    "file as a version": ("m/7", "m/7", "is not a folder"),
    "foreign file": ("weights.bin", "weights.bin", "is not a folder; expected one with a version"),
    "colon": ("a:b/1/saved_model.pb", "a:b", "cannot be reached by any path; rename it"),
    "new line": ("a\nb/1/saved_model.pb", "a\\nb", "cannot be reached by any path; rename it"),
    "escape": ("a\x1b[31m/1/saved_model.pb", "a\\x1b[31m", "cannot be reached by any path; rename it"),
    "files in the repository": ("saved_model.pb", "saved_model.pb", "move the files to {models}/MODEL/1"),
}


@pytest.mark.parametrize(("path", "entry", "sentence"), WRONG.values(), ids=WRONG)
def test_what_lies_in_the_wrong_place_says_what_to_move_where(models, path, entry, sentence):
    (models / path).parent.mkdir(parents=True, exist_ok=True)
    (models / path).touch()
    found = problems(models)
    assert list(found) == [entry]
    assert sentence.format(models=models) in found[entry]


def test_a_repository_that_is_a_models_own_folder_says_so(models):
    found = scan(models / "good")
    assert found.models() == []
    assert found.problems == {
        "1": f"{models}/good is the folder of one model; set KILN_MODEL_REPOSITORY to {models}",
    }


def test_a_repository_that_is_a_versions_own_folder_says_so(models):
    found = scan(models / "good" / "1").problems
    sentence = f"{models}/good/1 is the folder of one version; set KILN_MODEL_REPOSITORY to {models}"
    assert found["saved_model.pb"] == sentence


@pytest.mark.parametrize("name", [".staging/1", "lost+found", "notes.txt", "README.md", ".gitignore", "#m#", "m.swp"])
def test_what_is_nobodys_model_is_no_problem(models, name):
    (models / name).mkdir(parents=True)
    assert problems(models) == {}


def test_files_beside_the_versions_are_no_problem(models):
    (models / "good" / "training.log").touch()
    (models / "good" / "model.keras").touch()
    (models / "good" / "plots").mkdir()
    assert problems(models) == {}


def test_fifos_and_links_in_a_loop_are_left_out(models):
    os.mkfifo(models / "fifo")
    (models / "loop").symlink_to("loop")
    (models / "dangling").symlink_to("nowhere")
    (models / "m" / "1").mkdir(parents=True)
    os.mkfifo(models / "m" / "1" / "saved_model.pb")
    (models / "m" / "2").symlink_to("2")
    os.mkfifo(models / "m" / "3")
    found = scan(models)
    assert found.models() == ["good", "m"]
    # They are versions, and loading them fails.
    assert list(found.versions["m"]) == [2, 1]
    for number in (1, 2):
        with pytest.raises(OSError, match=r"regular file|symbolic links"):
            check_version(models / "m" / str(number))
    assert found.problems == {
        "fifo": "is not a folder; expected one with a version, such as MODEL/1/saved_model.pb",
        "loop": "cannot be read: Too many levels of symbolic links",
        "dangling": "cannot be read: No such file or directory",
        "m/3": "is not a folder; expected one with a version, such as MODEL/1/saved_model.pb",
    }


def test_only_regular_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="expected a regular file"):
        read_regular(tmp_path / "fifo")
    (tmp_path / "assets.extra").mkdir()
    os.mkfifo(tmp_path / "assets.extra" / "model.json")
    assert read_description(tmp_path) == {}


def test_problems_are_logged_once(models, caplog):
    (models / "flat").mkdir()
    scanner = Scanner(models)
    scanner.scan()
    scanner.scan()
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("'flat' in the model repository is not served: holds no version")


def test_a_repository_that_is_not_there_is_said_once(tmp_path, caplog):
    scanner = Scanner(tmp_path / "absent")
    assert scanner.scan() is None
    assert scanner.scan() is None
    [message] = caplog.messages
    assert message.startswith(f"The model repository {tmp_path}/absent cannot be read: No such file")


def scan_as_nobody(models, answers):
    os.seteuid(65534)
    found = scan(models)
    failures = []
    for number in found.versions["m"]:
        try:
            check_version(models / "m" / found.versions["m"][number].name)
        except OSError as error:
            failures.append((number, str(error)))
    answers.send((found.models(), list(found.versions["m"]), dict(found.problems), failures))


def test_what_belongs_to_somebody_else_is_left_out():
    """In a process of another user, since root may read everything."""
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder) / "models"
        Path(folder).chmod(0o755)
        for path in ("m/1", "m/2", "good/1", "secret/1"):
            make_version(models / path)
        (models / "m" / "2").chmod(0o700)
        (models / "secret").chmod(0o700)
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("fork").Process(target=scan_as_nobody, args=(models, theirs))
        process.start()
        assert ours.poll(SECONDS)
        names, numbers, found, failures = ours.recv()
        process.join(SECONDS)
    assert names == ["good", "m"]
    assert found == {"secret": "cannot be read: Permission denied"}
    # Version 2 is there, and loading it fails, so version 1 is served.
    assert numbers == [2, 1]
    [(number, sentence)] = failures
    assert number == 2
    assert "Permission denied" in sentence


class HangingFileSystem:
    """Answers for some entries only when it is told to; no real one that hangs can be had in a test."""

    def __init__(self, *names):
        self.names = names
        self.go_on = threading.Event()
        self.looks = []

    def __call__(self, repository, name):
        self.looks.append(name)
        if name in self.names:
            assert self.go_on.wait(SECONDS)
        return read_entry(repository, name)


def test_an_entry_that_hangs_is_left_out_until_it_answers(models):
    for name in ("a", "hung", "stuck", "z"):
        make_version(models / name / "1")
    file_system = HangingFileSystem("hung", "stuck")
    scanner = Scanner(models, patience_seconds=0.05, read=file_system)
    found = scanner.scan()
    assert found.models() == ["a", "good", "z"]
    assert list(found.problems) == ["hung", "stuck"]
    assert "does not answer" in found.problems["hung"]
    # It is not looked at a second time, so no threads pile up.
    started = time.monotonic()
    assert scanner.scan() == found
    assert time.monotonic() - started < SECONDS / 4
    assert file_system.looks.count("hung") == 1
    file_system.go_on.set()
    deadline = time.monotonic() + SECONDS
    while scanner.scan().problems:
        assert time.monotonic() < deadline
    assert scanner.scan().models() == ["a", "good", "hung", "stuck", "z"]


def test_names_that_a_path_can_carry():
    assert all(is_model_name(name) for name in ("m", "a b", "grün 模型", "a?#%", "m-1.5_x"))
    assert not any(is_model_name(name) for name in ("", ".m", "..", "a/b", "a:b", "a\nb", "a\0", "\u202ea", " a"))
