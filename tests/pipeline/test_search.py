"""A search with real trainings in worker processes: killed, taken up again, applied."""

import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from pipeline import search
from pipeline.errors import DataError, TrainingError
from pipeline.params import load_params
from pipeline.prepared import Description, Part, save_description, save_part, write_json
from pipeline.search_space import load_space
from pipeline.search_study import ended_trials, open_study, study_memory
from pipeline.search_trial import PROBLEM, Task, carry_out, load_without_test

ROOT = Path(__file__).parent.parent.parent
PARAMS = """
datasets:
  digits:
    source: pipeline/datasets/digits.py
    options: {}
    prepare: {seed: 1, splits: {row: {validation: 0.15, test: 0.2}}}
models:
  digits:
    dataset: digits
    split: row
    seed: 1
    network: {architecture: mlp, units: [8]}
    train: {loss: categorical_crossentropy, optimizer: {name: adam, learning_rate: 0.0001}, batch_size: 32, epochs: 3}
    publish: {floor: {metric: accuracy, value: 0.5}, tolerance: 0.1}
"""
SPACE = """
digits:
  metric: val_accuracy
  space:
    network.units: {choice: [[8], [32], [32, 16]]}
    train.optimizer.learning_rate: {loguniform: [0.0001, 0.05]}
"""


@pytest.fixture
def project(tmp_path):
    """A project with prepared digits, whose test rows are not there: a search must not need them."""
    digits = load_digits()
    labels = tuple(str(label) for label in range(10))
    description = Description(
        "digits", "multiclass", "image", (8, 8), (0.0, 16.0), labels, (), "class", "", "test", "0" * 64, "", {"row": {}}
    )
    folder = tmp_path / "data" / "prepared" / "digits"
    for part, rows in (("train", slice(0, 600)), ("validation", slice(600, 900))):
        save_part(
            Part(digits.images[rows].astype(np.uint8), digits.target[rows].astype(np.int64)),
            folder / "row" / f"{part}.npz",
        )
    write_json({}, folder / "row" / "profile.json")
    save_description(description, folder)
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "search.yaml").write_text(SPACE)
    return tmp_path


def command(project, *arguments):
    return [sys.executable, "-m", "pipeline.search", "--root", str(project), "--model", "digits", *arguments]


def count_trials(project, *states):
    """The trials in the study's file in any of the states."""
    try:
        connection = sqlite3.connect(f"file:{project}/.kiln/search/digits/study.db?mode=rw", uri=True)
    except sqlite3.OperationalError:
        return 0
    try:
        return sum(state in states for (state,) in connection.execute("SELECT state FROM trials"))
    except sqlite3.OperationalError:
        return 0
    finally:
        connection.close()


def children(pid):
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_for(condition):
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_killed_search_goes_on_and_its_best_trial_becomes_a_change_of_the_parameters(project, capsys):
    process = subprocess.Popen(
        command(project, "--trials", "50", "--workers", "1"), cwd=ROOT, stderr=subprocess.DEVNULL
    )
    wait_for(lambda: count_trials(project, "COMPLETE") or process.poll() is not None)
    workers = children(process.pid)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    # A worker must not wait for ever for a parent that is gone.
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    done = count_trials(project, "COMPLETE", "PRUNED")
    assert 0 < done < 50
    resumed = subprocess.run(
        command(project, "--trials", str(done + 3), "--workers", "1", "--apply"),
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert resumed.returncode == 0, resumed.stderr
    assert f"Going on after {done} trials." in resumed.stderr
    assert count_trials(project, "COMPLETE", "PRUNED") == done + 3
    assert count_trials(project, "RUNNING") == 0
    assert f"{done + 3} trials" in resumed.stdout
    assert "dvc repro publish@digits" in resumed.stdout
    changed = load_params(project / "params.yaml").models["digits"]
    assert changed.train.optimizer.learning_rate != 0.0001
    report = (project / "reports" / "digits" / "search" / "README.md").read_text()
    assert "Best val_accuracy" in report
    # Nothing is left to do or to change.
    search.search(search.parse(["--root", str(project), "--model", "digits", "--trials", "1"]))
    assert "has the parameters that are in params.yaml already" in capsys.readouterr().out


def test_no_test_rows_reach_a_trial(project):
    prepared = load_without_test(project / "data" / "prepared" / "digits", "row")
    assert (len(prepared.train.x), len(prepared.validation.x), len(prepared.test.x)) == (600, 300, 0)


def make_task(project):
    space = load_space(project / "search.yaml", "digits", load_params(project / "params.yaml"))
    return Task(space, study_memory(project, space, "data"), project / "data" / "prepared" / "digits", seed=1)


def test_a_training_that_fails_is_given_up_and_the_search_goes_on(project, monkeypatch):
    task = make_task(project)

    def fail(*_arguments):
        raise TrainingError("loss became nan")

    monkeypatch.setattr("pipeline.search_trial._train", fail)
    with open_study(task.memory, task.space) as study:
        carry_out(task)
        [trial] = ended_trials(study)
    assert trial.user_attrs[PROBLEM] == "loss became nan"


def test_a_search_without_data_says_what_to_run(project):
    task = make_task(project)
    (project / "data" / "prepared" / "digits" / "description.json").unlink()
    load_without_test.cache_clear()
    with open_study(task.memory, task.space), pytest.raises(DataError, match="Run the prepare stage first"):
        carry_out(task)
