"""Publishing with folders that look like SavedModels; no TensorFlow."""

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from pipeline import publish
from pipeline.errors import PublishRefused
from pipeline.prepared import About
from pipeline.releases import Release, add_release, latest_release, load_candidate

ROOT = Path(__file__).parent.parent.parent
MANIFEST = Path("assets.extra") / "model.json"


@pytest.fixture
def project(tmp_path):
    """A folder with a parameter file and an export of the digits model with a test accuracy of 0.97."""
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    write_export(tmp_path, 0.97)
    return tmp_path


def manifest(accuracy, name="digits", checksum="c" * 64, baseline=0.1):
    figures = {"accuracy": accuracy, "mae": 1 - accuracy}
    trivial = {"accuracy": baseline, "mae": 1 - baseline}
    return {
        "name": name,
        "task": "multiclass",
        "labels": ["0", "1"],
        "target": {"name": "digit", "unit": ""},
        "input": {"kind": "image", "name": "image", "shape": [8, 8], "range": [0, 16]},
        "features": [],
        "operating_point": None,
        "metrics": {"test": figures, "validation": figures, "train": figures, "baseline": {"trivial": trivial}},
        "slices": [{"slice": "0", "rows": 359, "f1": 0.5}],
        "training": {"parameters": 10, "epochs": 3, "best_epoch": 2, "seconds": 4.5, "keras": "3", "backend": "jax",
                     "devices": ["cpu:0"], "network": "mlp", "settings": "loss hinge"},
        "params": {"seed": 1, "network": {"architecture": "mlp"}, "train": {"checkpoint": "val_loss", "epochs": 3}},
        "data": {"name": name, "split": "row", "checksum": checksum, "counts": {"test": 359}, "source": "made up",
                 "partial": "", "dealt": {}, "about": asdict(About())},
    }  # fmt: skip


def write_export(root, accuracy, graph="graph", **about):
    folder = root / "exports" / "digits"
    (folder / "assets.extra").mkdir(parents=True, exist_ok=True)
    (folder / "saved_model.pb").write_text(graph)
    (folder / "fingerprint.pb").write_bytes(os.urandom(8))
    (folder / MANIFEST).write_text(json.dumps(manifest(accuracy, **about)))
    (folder / "assets.extra" / "profile.json").write_text('{"features": []}')
    return folder


def run(root, capsys, model="digits"):
    status = publish.main(["--model", model, "--params", str(root / "params.yaml"), "--root", str(root)])
    captured = capsys.readouterr()
    return status, captured.out + captured.err


def versions(root):
    folder = root / "models" / "digits"
    return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []


def set_floor(root, floor):
    path = root / "params.yaml"
    path.write_text(path.read_text().replace("floor: {metric: accuracy, value: 0.95}", f"floor: {floor}", 1))


def test_the_first_version_is_1_and_says_what_it_reached(project, capsys):
    status, output = run(project, capsys)
    assert status == 0
    assert output == f"Published {project}/models/digits/1: accuracy 0.97 (baseline 0.1, floor 0.95)\n"
    published = json.loads((project / "models" / "digits" / "1" / MANIFEST).read_text())
    assert published["created"].endswith("+00:00")
    assert published["git_commit"] is None
    assert published["metrics"] == manifest(0.97)["metrics"]
    card = (project / "models" / "digits" / "1" / "assets.extra" / "model_card.md").read_text()
    assert f"- Published {published['created']} from commit unknown." in card


def test_an_export_made_again_publishes_nothing(project, capsys):
    run(project, capsys)
    write_export(project, 0.97)
    status, output = run(project, capsys)
    assert (status, versions(project)) == (0, ["1"])
    assert "is this export already" in output


def test_a_changed_export_is_the_next_version(project, capsys):
    run(project, capsys)
    before = {path: path.stat().st_mtime_ns for path in (project / "models" / "digits" / "1").rglob("*")}
    write_export(project, 0.98, graph="other graph")
    assert run(project, capsys)[0] == 0
    assert versions(project) == ["1", "2"]
    assert before == {path: path.stat().st_mtime_ns for path in (project / "models" / "digits" / "1").rglob("*")}


def test_a_number_is_never_used_twice_even_where_the_folder_holds_nothing(project, capsys):
    (project / "models" / "digits" / "7").mkdir(parents=True)
    (project / "models" / "digits" / "notes").mkdir()
    assert run(project, capsys)[0] == 0
    assert "8" in versions(project)


@pytest.mark.parametrize(
    ("accuracy", "baseline", "sentence"),
    [
        (0.9, 0.1, "digits is not published: its test accuracy 0.9 is below the floor 0.95 of params.yaml."),
        (0.97, 0.97, "digits is not published: its test accuracy 0.97 does not beat the trivial baseline's 0.97."),
    ],
)
def test_a_poor_candidate_is_refused_with_both_numbers(project, capsys, accuracy, baseline, sentence):
    write_export(project, accuracy, baseline=baseline)
    assert run(project, capsys) == (1, sentence + "\n")
    assert versions(project) == []


def test_a_candidate_that_loses_is_refused_and_the_published_version_stays(project, capsys):
    write_export(project, 0.99)
    run(project, capsys)
    write_export(project, 0.97)
    status, output = run(project, capsys)
    assert (status, versions(project)) == (1, ["1"])
    assert "its test accuracy 0.97 loses to the 0.99 of" in output
    assert "by more than the tolerance 0.01" in output


def test_a_loss_within_the_tolerance_is_published(project, capsys):
    write_export(project, 0.975)
    run(project, capsys)
    write_export(project, 0.97)
    assert run(project, capsys)[0] == 0
    assert versions(project) == ["1", "2"]


def test_a_version_tested_on_other_rows_is_not_compared_and_this_is_said(project, capsys):
    write_export(project, 0.99, checksum="d" * 64)
    run(project, capsys)
    write_export(project, 0.96)
    status, output = run(project, capsys)
    assert (status, versions(project)) == (0, ["1", "2"])
    assert "was tested on other rows (data checksum 'dddd" in output
    assert "baseline and floor alone decided" in output


def test_a_smaller_error_is_better(project, capsys):
    set_floor(project, "{metric: mae, value: 0.05}")
    folder = write_export(project, 0.97)
    document = manifest(0.97)
    figures = {"accuracy": 0.5}
    document["metrics"]["baseline"] = {
        "trivial": figures | {"mae": 0.9}, "gradient_boosting": figures | {"mae": 0.02},
    }  # fmt: skip
    (folder / MANIFEST).write_text(json.dumps(document))
    status, output = run(project, capsys)
    assert status == 0
    assert "mae 0.03 (baseline 0.9, gradient boosting 0.02, floor 0.05)" in output
    document["metrics"]["test"]["mae"] = 0.06
    (folder / MANIFEST).write_text(json.dumps(document))
    status, output = run(project, capsys)
    assert (status, versions(project)) == (1, ["1"])
    assert "0.06 is above the floor 0.05" in output


def test_a_raised_floor_is_enforced_for_what_is_published_already(project, capsys):
    run(project, capsys)
    set_floor(project, "{metric: accuracy, value: 0.98}")
    status, output = run(project, capsys)
    assert (status, versions(project)) == (1, ["1"])
    assert "0.97 is below the floor 0.98" in output


def test_a_floor_of_a_figure_that_the_model_lacks_lists_the_figures(project, capsys):
    set_floor(project, "{metric: r2, value: 0.5}")
    status, output = run(project, capsys)
    assert status == 1
    assert output == "models.digits.publish.floor.metric: digits has no figure 'r2'. Available: 'accuracy', 'mae'.\n"


def test_a_missing_export_is_a_sentence(project, capsys):
    status, output = run(project, capsys, model="diabetes")
    assert status == 1
    assert "Run the export stage first." in output


def test_an_unreadable_manifest_is_a_sentence(project, capsys):
    (project / "exports" / "digits" / MANIFEST).write_text("{")
    assert run(project, capsys) == (1, f"{project}/exports/digits/{MANIFEST} is missing or is not JSON. Run the export stage again.\n")  # fmt: skip  # noqa: E501


def test_files_that_dvc_made_read_only_are_published_writable(project, capsys):
    for path in (project / "exports").rglob("*"):
        if path.is_file():
            path.chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)
    assert run(project, capsys)[0] == 0
    mode = (project / "models" / "digits" / "1" / "saved_model.pb").stat().st_mode
    assert mode & stat.S_IWUSR


def test_what_a_killed_run_left_is_removed_for_this_model_only(project, capsys):
    staging = project / "models" / ".staging"
    (staging / "digits-1-99").mkdir(parents=True)
    (staging / "mnist_mlp-1-99").mkdir()
    run(project, capsys)
    assert sorted(entry.name for entry in staging.iterdir() if entry.is_dir()) == ["mnist_mlp-1-99"]


def test_a_reader_never_sees_half_a_version(project):
    candidate = load_candidate(project / "exports" / "digits")
    (project / "exports" / "digits" / "variables").write_bytes(os.urandom(5_000_000))
    (project / "models" / ".staging").mkdir(parents=True)
    target, seen, done = project / "models" / "digits" / "1", [], threading.Event()

    def watch():
        while not done.is_set():
            if target.is_dir():
                seen.append((target / MANIFEST).is_file() and (target / "variables").stat().st_size == 5_000_000)

    watcher = threading.Thread(target=watch)
    watcher.start()
    add_release(project / "models", "digits", candidate, {}, "card")
    time.sleep(0.05)
    done.set()
    watcher.join()
    assert seen
    assert all(seen)


def test_a_number_taken_meanwhile_is_a_sentence(project, monkeypatch):
    (project / "models" / "digits" / "1" / "full").mkdir(parents=True)
    (project / "models" / ".staging").mkdir()
    monkeypatch.setattr("pipeline.releases._versions", lambda _: [])
    with pytest.raises(PublishRefused, match="appeared while it was being published"):
        add_release(project / "models", "digits", load_candidate(project / "exports" / "digits"), {}, "card")


def test_killed_at_any_moment_and_run_again_one_whole_version_stands(project):
    (project / "exports" / "digits" / "variables").write_bytes(os.urandom(40_000_000))
    command = [sys.executable, "-m", "pipeline.publish", "--model", "digits", "--root", str(project)]
    command += ["--params", str(project / "params.yaml")]
    process = subprocess.Popen(command, cwd=ROOT)
    staging = project / "models" / ".staging"
    while not list(staging.glob("digits-*/variables")) and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert versions(project) in ([], ["1"])
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0
    assert versions(project) == ["1"]
    assert not list(staging.glob("digits-*"))
    latest = latest_release(project / "models", "digits")
    assert isinstance(latest, Release)
    assert latest.content() == latest.manifest["content"]


def test_a_figure_from_partial_data_is_published_as_such(project, capsys):
    path = project / "exports" / "digits" / MANIFEST
    about = json.loads(path.read_text())
    about["metrics"]["partial"] = "only the first rows"
    path.write_text(json.dumps(about))
    status, output = run(project, capsys)
    assert status == 0
    assert output.endswith("(baseline 0.1, floor 0.95) (partial data: only the first rows)\n")


def test_the_commit_is_dirty_where_code_or_parameters_differ_but_not_reports(project, capsys):
    git(project, "init", "-q")
    git(project, "add", "params.yaml")
    git(project, "-c", "user.name=test", "-c", "user.email=test@example.org", "commit", "-qm", "Parameters")
    (project / "reports").mkdir()
    (project / "reports" / "metrics.json").write_text("{}")
    run(project, capsys)
    commit = git(project, "rev-parse", "HEAD")
    assert json.loads((project / "models" / "digits" / "1" / MANIFEST).read_text())["git_commit"] == commit
    with (project / "params.yaml").open("a") as stream:
        stream.write("\n")
    write_export(project, 0.98, graph="another")
    run(project, capsys)
    assert json.loads((project / "models" / "digits" / "2" / MANIFEST).read_text())["git_commit"] == f"{commit}-dirty"


def git(folder, *arguments):
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()
