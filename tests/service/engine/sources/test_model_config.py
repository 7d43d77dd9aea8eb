"""The TOML file of single models."""

import logging

import pytest

from service.engine.interface import Choice
from service.engine.sources.config_file import ConfigFile
from service.engine.sources.model_config import BatchingConfig, ModelConfig, load_model_config
from service.errors import InvalidSettings

COMPLETE = """
[mnist_cnn]
versions = "latest:2"
labels = { stable = 1, canary = 2 }
[mnist_cnn.batching]
enabled = true
largest_batch = 64
queue_rows = 2048
timeout_seconds = 5
[digits]
versions = [3, 1, 3]
[wine]
versions = "all"
[wine.batching]
enabled = false
["a model"]
"""


def load(tmp_path, text):
    path = tmp_path / "models.toml"
    path.write_text(text)
    return load_model_config(path)


def test_everything_that_can_be_said_is_read(tmp_path):
    assert load(tmp_path, COMPLETE) == {
        "mnist_cnn": ModelConfig(Choice(2), {"stable": 1, "canary": 2}, BatchingConfig(True, 64, 2048, 5)),
        "digits": ModelConfig(Choice(specific=(3, 1))),
        "wine": ModelConfig(Choice(0), {}, BatchingConfig(enabled=False)),
        "a model": ModelConfig(),
    }
    assert load(tmp_path, "") == {}
    assert load(tmp_path, '[m]\nversions = "latest"')["m"].choice == Choice(1)


VERSIONS = 'expected "latest", "latest:N" (the N newest), "all" or a list of version numbers'
WRONG = {
    "no TOML": ("[m", "is not valid TOML: "),
    "no table": ("m = 3", "m is 3: expected a table [m]"),
    "unknown key": ("[m]\nversion = 1", "[m] has the unknown key 'version'. Allowed: versions, labels, batching"),
    "word": ('[m]\nversions = "newest"', f"[m] versions is 'newest': {VERSIONS}"),
    "none": ('[m]\nversions = "latest:0"', f"[m] versions is 'latest:0': {VERSIONS}"),
    "empty list": ("[m]\nversions = []", f"[m] versions is []: {VERSIONS}"),
    "negative": ("[m]\nversions = [-1]", f"[m] versions is [-1]: {VERSIONS}"),
    "truth": ("[m]\nversions = [true]", f"[m] versions is [True]: {VERSIONS}"),
    "too large": (f"[m]\nversions = [{2**63}]", VERSIONS),
    "labels": ("[m]\nlabels = 1", "m.labels is 1: expected a table [m.labels]"),
    "label": ('[m.labels]\nstable = "1"', "[m.labels] stable is '1': expected a version number"),
    "label name": ('[m.labels]\n"a/b" = 1', "[m.labels] has the label 'a/b': expected one without blanks, '/' and ':'"),
    "label elsewhere": (
        "[m]\nversions = [3, 2]\nlabels = { stable = 1 }",
        "[m.labels] stable is 1: expected one of the versions [3, 2]",
    ),
    "batching": ("[m]\nbatching = true", "m.batching is True: expected a table [m.batching]"),
    "unknown batching": (
        "[m.batching]\nrows = 1",
        "[m.batching] has the unknown key 'rows'. Allowed: enabled, largest_batch, queue_rows, timeout_seconds",
    ),
    "switch": ("[m.batching]\nenabled = 1", "[m.batching] enabled is 1: expected true or false"),
    "rows": (
        "[m.batching]\nlargest_batch = 0",
        "[m.batching] largest_batch is 0: expected a whole number from 1 to 65536",
    ),
    "queue": ("[m.batching]\nqueue_rows = 1.5", "[m.batching] queue_rows is 1.5: expected a whole number from 1 to "),
    "time": ("[m.batching]\ntimeout_seconds = true", "[m.batching] timeout_seconds is True: expected a whole number"),
}


@pytest.mark.parametrize(("text", "sentence"), WRONG.values(), ids=WRONG)
def test_a_wrong_file_is_refused_with_a_sentence_that_names_it(tmp_path, text, sentence):
    with pytest.raises(InvalidSettings) as caught:
        load(tmp_path, text)
    assert sentence in str(caught.value)
    assert str(tmp_path / "models.toml") in str(caught.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(InvalidSettings, match="cannot be read: No such file or directory."):
        ConfigFile(tmp_path / "absent.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff")
    with pytest.raises(InvalidSettings, match="is not valid TOML"):
        ConfigFile(tmp_path / "bytes.toml")


def test_a_file_is_read_again_when_it_changes_and_a_wrong_one_is_reported_once(tmp_path, caplog):
    path = tmp_path / "models.toml"
    path.write_text("[m]")
    config = ConfigFile(path)
    assert not config.poll()
    path.write_text('[m]\nversions = "all"')
    assert config.poll()
    assert config.models["m"].choice == Choice(0)
    path.write_text("[m]\nversions = 'none of them'")
    caplog.set_level(logging.WARNING)
    assert [config.poll(), config.poll()] == [False, False]
    path.unlink()
    assert [config.poll(), config.poll()] == [False, False]
    assert config.models["m"].choice == Choice(0)
    first, second = caplog.messages
    assert "versions is 'none of them'" in first
    assert first.endswith("What it said before stays in force.")
    assert "cannot be read" in second


def test_without_a_file_nothing_is_said_of_any_model():
    config = ConfigFile(None)
    assert (config.models, config.poll()) == ({}, False)
