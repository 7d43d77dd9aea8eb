"""The command with real worker processes, on scikit-learn's digits."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.fetch import main as fetch
from studies.results import load_result
from studies.run import main

PROJECT = Path(__file__).parent.parent.parent
STUDIES = """
sources: {text: A text}
tolerance: {accuracy: 0.004, mae_standardized: 0.01}
splits:
  digits: {dataset: digits, validation: 0.1, test: 0.2, remark: dealt}
searches:
  rates: {learning rate 0.1: {train.optimizer.learning_rate: 0.1}}
rows:
  X:
    source: text
    title: a network
    split: digits
    network: {architecture: mlp, units: [16]}
    train: {loss: categorical_crossentropy, optimizer: {name: sgd, learning_rate: 0.001}, batch_size: 32, epochs: 5}
    reported: {test: 0.7}
    search: rates
    seeds: 1
"""


@pytest.fixture
def root(tmp_path):
    (tmp_path / "params.yaml").write_text((PROJECT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "params.yaml").write_text(STUDIES, encoding="utf-8")
    options = ["--params", str(tmp_path / "params.yaml"), "--root", str(tmp_path)]
    assert fetch(["--dataset", "digits", *options]) == 0
    return tmp_path


def arguments(root, *more):
    return ["--root", str(root), "--params", str(root / "studies" / "params.yaml"), "--workers", "1", *more]


def test_a_row_is_searched_and_settled_and_then_left_alone_and_gives_the_same_again(root, capsys, monkeypatch):
    monkeypatch.chdir(PROJECT)
    assert main(arguments(root)) == 0
    assert "3 runs carried out; nothing is missing." in capsys.readouterr().out
    folder = root / "studies" / "results" / "X"
    results = {path.name: load_result(path) for path in folder.iterdir()}
    stated, search, setting = (
        results[f"{name}-seed1.json"] for name in ("stated", "search-learning-rate-0.1", "setting-learning-rate-0.1")
    )
    assert stated.figures.test < 0.6 < setting.figures.test
    assert search.figures.test is None
    # The same rows and seed: a search differs by what it does not read.
    assert search.figures.validation == setting.figures.validation
    assert setting.curves["epoch"] == [1, 2, 3, 4, 5]

    assert main(arguments(root)) == 0
    assert capsys.readouterr().out == "Nothing is missing.\n"

    # As after a clone, which brings the results but no data.
    (root / "data").rename(root / "elsewhere")
    assert main(arguments(root)) == 0
    assert capsys.readouterr().out == "Nothing is missing.\n"

    (root / "elsewhere").rename(root / "data")
    assert main(arguments(root, "--rows", "X", "--fresh")) == 0
    again = "X: again replicated with another setting (learning rate 0.1); 1 figures are the same."
    assert again in capsys.readouterr().out
    assert not (root / ".kiln" / "studies").exists()


def test_an_interruption_keeps_what_is_finished_and_leaves_nobody_behind(root):
    text = STUDIES + "    variants: {long: {train.epochs: 100000}}\n"
    (root / "studies" / "params.yaml").write_text(text.replace("test: 0.7", "test: 0.0"), encoding="utf-8")
    command = [sys.executable, "-m", "studies.run", *arguments(root, "--workers", "2")]
    with subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.PIPE, text=True) as process:
        finished = root / "studies" / "results" / "X" / "stated-seed1.json"
        deadline = time.monotonic() + 240
        while not finished.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        # Taken for Ctrl-C, which a shell tells the commands that it runs in the background to ignore.
        process.terminate()
        try:
            errors = process.communicate(timeout=60)[1]
        finally:
            process.kill()
    assert process.returncode == 130
    assert re.search("Interrupted. Finished runs are kept; the same command goes on.\n$", errors)
    assert "Traceback" not in errors
    assert children
    # Workers are gone by now; multiprocessing's own helper ends when it sees that nobody holds its pipe any more.
    while any(_is_alive(int(child)) for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert load_result(finished).figures.test is not None


def test_missing_data_are_answered_with_the_command_that_brings_them(root, capsys):
    (root / "data" / "raw" / "digits").rename(root / "elsewhere")
    assert main(arguments(root)) == 1
    assert "Run the fetch stage first: dvc repro fetch@digits." in capsys.readouterr().err


def _is_alive(process_id):
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{process_id}/status").read_text()
