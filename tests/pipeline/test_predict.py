"""Batch prediction from the command line, on small published networks."""

import csv
import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
import tensorflow as tf
from PIL import Image

from pipeline import predict, prediction_rows
from pipeline.prediction_formats import FORMATS
from pipeline.prediction_journal import Journal
from pipeline.prepared import write_json
from pipeline.signatures import Signatures, save_signatures
from tests.pipeline.small_releases import FEATURES, LABELS, build, describe, publish

ROOT = Path(__file__).parent.parent.parent
ROWS = 2500
TOLERANCE = 1e-5
"""Absolute, and relative beyond 1: float32 is summed in another order in a call of another size."""


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A model repository with the three small networks, the rents in two versions."""
    folder = tmp_path_factory.mktemp("models")
    for name in LABELS:
        publish(folder, name)
    publish(folder, "rents", version=2)
    return folder


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Several chunks in a small file."""
    monkeypatch.setattr(prediction_rows, "CHUNK_ROWS", 1000)


def make_rows(count=ROWS):
    return np.random.default_rng(1).normal(60, 30, (count, 3)).astype(np.float32)


def write_csv(path, rows):
    table = pd.DataFrame(rows.astype(float), columns=["Floor area", "Rooms", "distance"])
    table.insert(1, "note", [f'say "{index}",\nplease' for index in range(len(rows))])
    table.to_csv(path, index=False)
    return path


def run(repository, *arguments, **options):
    command = ["--repository", str(repository), *(str(argument) for argument in arguments)]
    for name, value in options.items():
        command += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return predict.main(command)


def signature_outputs(repository, name, rows, signature, version=1):
    """What the SavedModel answers to all rows at once in a session, as in the service's engine."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], str(repository / name / str(version)))
        definition = loaded.signature_def[signature]
        [entry] = definition.inputs.values()
        outputs = {key: value.name for key, value in definition.outputs.items()}
        return session.run(outputs, {entry.name: rows})


def assert_close(answered, expected):
    np.testing.assert_array_less(np.abs(answered - expected), TOLERANCE * np.maximum(1, np.abs(expected)))


def test_a_csv_gets_label_and_probabilities_that_are_the_signatures_own_numbers(repository, tmp_path, capsys):
    rows = make_rows()
    path = write_csv(tmp_path / "in.csv", rows)
    assert run(repository, model="tumours", input=path, output=tmp_path / "out.csv") == 0
    answered = pd.read_csv(tmp_path / "out.csv")
    expected = signature_outputs(repository, "tumours", rows, "classify")
    assert answered.columns.tolist() == [
        "row", "label", "class_id", "score", "probability_benign", "probability_malignant",
    ]  # fmt: skip
    assert answered["row"].tolist() == list(range(ROWS))
    assert answered["label"].tolist() == [label.decode() for label in expected["label"]]
    assert answered["class_id"].tolist() == expected["class_id"].tolist()
    for place, label in enumerate(LABELS["tumours"]):
        text = answered[f"probability_{label}"].to_numpy(np.float32)
        assert_close(text, expected["probabilities"][:, place])
    captured = capsys.readouterr()
    assert "Not read: 'note'." in captured.err
    assert f"{tmp_path / 'out.csv'}: 2,500 rows by tumours version 1, classify;" in captured.out
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["in.csv", "out.csv"]


def test_a_regression_says_its_unit_and_defaults_to_the_newest_version(repository, tmp_path, capsys):
    rows = make_rows(30)
    path = write_csv(tmp_path / "in.csv", rows)
    assert run(repository, model="rents", input=path, output=tmp_path / "out.jsonl") == 0
    answers = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    expected = signature_outputs(repository, "rents", rows, "serving_default", 2)["prediction"]
    assert list(answers[3]) == ["row", "prediction", "unit"]
    assert answers[3]["unit"] == "EUR"
    assert_close(np.float32([answer["prediction"] for answer in answers]), expected[:, 0])
    assert "rents version 2, serving_default" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_inputs_are_kept_beside_the_answers(repository, tmp_path, suffix):
    rows = make_rows(50)
    table = pd.DataFrame(rows, columns=FEATURES).assign(label="mine", note="ü, ok")
    if suffix == "csv":
        table.to_csv(tmp_path / "in.csv", index=False)
    else:
        table.to_parquet(tmp_path / "in.parquet", row_group_size=7)
    out = tmp_path / "out.parquet"
    assert run(repository, model="tumours", input=tmp_path / f"in.{suffix}", output=out, keep_inputs=True) == 0
    answered = pyarrow.parquet.read_table(out).to_pandas()
    assert answered.columns[:6].tolist() == ["row", *FEATURES, "input_label", "note"]
    np.testing.assert_array_equal(answered[list(FEATURES)].to_numpy(np.float32), rows)
    assert set(answered["input_label"]) == {"mine"}
    assert set(answered["note"]) == {"ü, ok"}
    assert set(answered["label"]) <= set(LABELS["tumours"])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_and_tables_of_the_same_rows_get_the_same_answers(repository, tmp_path, save):
    rows = make_rows()
    save(tmp_path / "in.npz", x=rows, y=np.zeros(ROWS))
    pa.parquet.write_table(pa.table(dict(zip(FEATURES, rows.T, strict=True))), tmp_path / "in.parquet")
    for suffix in ("npz", "parquet"):
        out = tmp_path / f"{suffix}.csv"
        assert run(repository, model="rents", input=tmp_path / f"in.{suffix}", output=out, batch_size=64) == 0
    assert (tmp_path / "npz.csv").read_bytes() == (tmp_path / "parquet.csv").read_bytes()


def test_every_signature_that_takes_numbers_gives_the_same(repository, tmp_path):
    path = write_csv(tmp_path / "in.csv", make_rows(20))
    answers = {}
    for signature in ("serving_default", "named_features"):
        out = tmp_path / f"{signature}.csv"
        assert run(repository, model="rents", input=path, output=out, signature=signature) == 0
        answers[signature] = out.read_text()
    assert answers["serving_default"] == answers["named_features"]


def test_pixels_in_columns_are_an_image(repository, tmp_path):
    images = np.random.default_rng(1).integers(0, 256, (10, 4, 4))
    columns = [f"pixel{place}" for place in range(16)]
    pd.DataFrame(images.reshape(10, 16), columns=columns).to_csv(tmp_path / "in.csv", index=False)
    assert run(repository, model="pictures", input=tmp_path / "in.csv", output=tmp_path / "out.csv") == 0
    expected = signature_outputs(repository, "pictures", images.astype(np.float32), "classify")
    assert_close(pd.read_csv(tmp_path / "out.csv")["score"].to_numpy(np.float32), expected["score"])


def picture(kind):
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(2).integers(0, 256, (4, 4), dtype=np.uint8)).save(stream, format=kind)
    return stream.getvalue()


def test_a_folder_of_pictures_is_answered_by_file_name_and_broken_ones_are_listed(repository, tmp_path):
    folder = tmp_path / "in"
    (folder / "more").mkdir(parents=True)
    files = {name: picture("JPEG" if name.endswith("JPG") else "PNG") for name in ("a.png", "b.JPG", "more/c.png")}
    files |= {"broken.png": files["a.png"][:40], "empty.png": b""}
    for name, content in (files | {"notes.txt": b""}).items():
        (folder / name).write_bytes(content)
    out = tmp_path / "out.csv"
    assert run(repository, model="pictures", input=folder, output=out, on_error="skip", batch_size=3) == 0
    answered = pd.read_csv(out)
    assert answered["file"].tolist() == ["a.png", "b.JPG", "more/c.png"]
    contents = np.array([files[name] for name in answered["file"]], dtype=object)
    expected = signature_outputs(repository, "pictures", contents, "image_bytes")
    assert_close(answered["score"].to_numpy(np.float32), expected["score"])
    rejected = list(csv.reader((tmp_path / "out.csv.rejected.csv").read_text().splitlines()))
    assert rejected[1] == ["2", "broken.png", "Invalid PNG. Failed to initialize decoder."]
    assert rejected[2][:2] == ["3", "empty.png"]
    assert rejected[2][2].startswith("Expected a PNG or JPEG file of at most")


def test_rows_that_are_wrong_stop_the_run_or_are_listed(repository, tmp_path, capsys):
    path = write_csv(tmp_path / "in.csv", make_rows(5))
    lines = path.read_text().replace("\nplease", "").splitlines()
    lines[2] = "many,x,2,3"
    lines[4] = "1,x,2"
    lines[5] = "1,x,2,1e39"
    path.write_text("\n".join(lines) + "\n")
    out = tmp_path / "out.csv"
    assert run(repository, model="rents", input=path, output=out) == 1
    assert "in.csv, line 3, column 'Floor area': expected a finite number, received 'many'." in capsys.readouterr().err
    assert not out.exists()
    assert run(repository, model="rents", input=path, output=out, on_error="skip") == 0
    assert pd.read_csv(out)["row"].tolist() == [0, 2]
    rejected = list(csv.reader((tmp_path / "out.csv.rejected.csv").read_text().splitlines()))
    assert rejected == [
        ["row", "place", "problem"],
        ["1", "line 3, column 'Floor area'", "expected a finite number, received 'many'"],
        ["3", "line 5", "expected 4 fields, as in the header, received 3"],
        ["4", "line 6, column 'distance'", "expected a finite number, received '1e39'"],
    ]


def test_text_that_a_spreadsheet_would_run_is_written_harmlessly_to_csv_only(repository, tmp_path):
    notes = ["=1+1", "+cmd", "-x", "@SUM(A1)", "\tx", "\rx", "-5", "+1.5e3", "plain", "1=1"]
    table = pd.DataFrame(make_rows(len(notes)), columns=FEATURES).assign(**{"=note": notes})
    table.to_csv(tmp_path / "in.csv", index=False, quoting=csv.QUOTE_NONNUMERIC)
    table.to_parquet(tmp_path / "in.parquet")
    for source in ("in.csv", "in.parquet"):
        options = {"model": "rents", "input": tmp_path / source, "keep_inputs": True, "overwrite": True}
        for suffix in ("csv", "jsonl", "parquet"):
            assert run(repository, output=tmp_path / f"out.{suffix}", **options) == 0
        with (tmp_path / "out.csv").open(newline="") as stream:
            written = list(csv.DictReader(stream))
        assert [row["'=note"] for row in written] == [f"'{note}" for note in notes[:6]] + notes[6:]
        np.testing.assert_allclose([float(row["floor_area"]) for row in written], table["floor_area"])
        answers = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
        assert [answer["=note"] for answer in answers] == notes
        assert pd.read_parquet(tmp_path / "out.parquet")["=note"].tolist() == notes


def test_labels_and_file_names_that_a_spreadsheet_would_run_are_written_harmlessly(repository, tmp_path):
    release = tmp_path / "models" / "pictures" / "1"
    description = dataclasses.replace(describe("pictures"), labels=("=zero", "-one", "-2"))
    save_signatures(Signatures(build(description), description, None), release)
    manifest = json.loads((repository / "pictures" / "1" / "assets.extra" / "model.json").read_text())
    write_json(manifest | {"labels": list(description.labels)}, release / "assets.extra" / "model.json")
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(30):
        grey = np.random.default_rng(number).integers(0, 256, (4, 4), dtype=np.uint8)
        Image.fromarray(grey).save(folder / f"={number}.png")
    (folder / "=wrong.png").write_bytes(b"")
    out = tmp_path / "out.csv"
    arguments = {"model": "pictures", "input": folder, "output": out, "on_error": "skip"}
    assert run(tmp_path / "models", **arguments) == 0
    answered = pd.read_csv(out, dtype=str)
    assert set(answered["label"]) <= {"'=zero", "'-one", "-2"}
    assert {"'=zero", "'-one"} & set(answered["label"])
    assert answered["file"].str.startswith("'=").all()
    [_, [_, place, _]] = csv.reader((tmp_path / "out.csv.rejected.csv").read_text().splitlines())
    assert place == "'=wrong.png"


def command(repository, *arguments):
    return [sys.executable, "-m", "pipeline.predict", "--repository", str(repository), *map(str, arguments)]


def kill_after_a_chunk(arguments, state):
    """Runs the command and kills it as soon as a chunk was committed."""
    process = subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not state.exists() or json.loads(state.read_text())["position"]["row"] == 0:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def test_a_killed_run_goes_on_and_gives_the_same_bytes(repository, tmp_path, monkeypatch, capsys):
    # As many as the killed process takes, in which nothing is patched.
    monkeypatch.setattr(prediction_rows, "CHUNK_ROWS", 8192)
    rows = make_rows(30_000)
    rows[20_000, 1] = np.nan
    path, out, whole = (tmp_path / name for name in ("in.csv", "out.csv", "whole.csv"))
    pd.DataFrame(rows.astype(float), columns=list(FEATURES)).to_csv(path, index=False)
    options = ("--model", "tumours", "--input", path, "--batch-size", 16, "--on-error", "skip")
    state = tmp_path / ".out.csv.progress.json"
    kill_after_a_chunk(command(repository, *options, "--output", out), state)
    assert not out.exists()
    # What a kill in the middle of a write leaves.
    with (tmp_path / ".out.csv.part").open("ab") as stream:
        stream.write(b"half a chu")
    before = json.loads(state.read_text())["position"]["row"]
    assert run(repository, *options, output=out) == 0
    assert f"Going on after {before:,} rows" in capsys.readouterr().err
    assert run(repository, *options, output=whole) == 0
    assert out.read_bytes() == whole.read_bytes()
    rejected = (tmp_path / "out.csv.rejected.csv").read_text()
    assert rejected == (tmp_path / "whole.csv.rejected.csv").read_text()
    assert "20000,\"line 20002, column 'rooms'\"" in rejected


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("step", ["append", "commit", "finish", "clear"])
def test_an_end_between_any_two_steps_costs_no_byte(repository, tmp_path, monkeypatch, suffix, step):
    path = write_csv(tmp_path / "in.csv", make_rows())
    out, whole = tmp_path / f"out.{suffix}", tmp_path / f"whole.{suffix}"
    options = {"model": "rents", "input": path, "keep_inputs": True}
    owner = FORMATS[f".{suffix}"] if step == "finish" else Journal
    with monkeypatch.context() as patch:
        work, calls = getattr(owner, step), []

        def end_after_the_second(*arguments):
            if step in ("append", "commit"):
                work(*arguments)
            calls.append(step)
            if len(calls) == 2 or step in ("finish", "clear"):
                raise KeyboardInterrupt

        patch.setattr(owner, step, end_after_the_second)
        assert run(repository, output=out, **options) == 130
    assert run(repository, output=out, **options) == 0
    assert run(repository, output=whole, **options) == 0
    assert out.read_bytes() == whole.read_bytes()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["in.csv", out.name, whole.name]


def interrupt(repository, tmp_path, monkeypatch, path):
    """A run that ends after its first chunk, as by Ctrl-C."""
    commit = Journal.commit

    def commit_once(journal):
        commit(journal)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "commit", commit_once)
        arguments = {"model": "rents", "version": 1, "input": path, "output": tmp_path / "out.csv", "batch_size": 16}
        assert run(repository, **arguments) == 130


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "its model version was 'rents 1' and is now 'rents 2'"),
        ({"keep_inputs": True}, "its --keep-inputs was False and is now True"),
        ({"batch_size": 8}, "its --batch-size was 16 and is now 8"),
        ({"touch": True}, "its input's time of change was"),
    ],
)
def test_a_run_that_was_begun_with_something_else_is_not_continued(
    repository, tmp_path, monkeypatch, capsys, change, message
):
    path = write_csv(tmp_path / "in.csv", make_rows())
    interrupt(repository, tmp_path, monkeypatch, path)
    assert "The same command goes on" in capsys.readouterr().err
    if change.pop("touch", False):
        os.utime(path, (1, 1))
    options = {"model": "rents", "version": 1, "input": path, "output": tmp_path / "out.csv", "batch_size": 16} | change
    assert run(repository, **options) == 1
    assert message in capsys.readouterr().err
    assert run(repository, **options, overwrite=True) == 0


def test_a_finished_output_is_replaced_only_when_asked(repository, tmp_path, capsys):
    path = write_csv(tmp_path / "in.csv", make_rows(10))
    options = {"model": "rents", "input": path, "output": tmp_path / "out.csv"}
    assert run(repository, **options) == 0
    assert run(repository, **options) == 1
    assert "exists already" in capsys.readouterr().err
    assert run(repository, **options, overwrite=True) == 0


def test_what_the_command_line_gets_wrong_is_said(repository, tmp_path, capsys):
    path = write_csv(tmp_path / "in.csv", make_rows(3))
    good = {"model": "rents", "input": path, "output": tmp_path / "out.csv"}
    for change, message in (
        ({"model": "rent"}, "No version of 'rent' is published in"),
        ({"version": 7}, "has no version 7 of 'rents'. Available: 1, 2."),
        ({"signature": "classify"}, "has no signature 'classify'. Available: 'named_features', 'serving_default'."),
        ({"signature": "image_bytes"}, "The signature 'image_bytes' does not take rows of numbers."),
        ({"output": tmp_path / "out.txt"}, "expected an output that ends in .csv, .jsonl, .ndjson, .parquet."),
        ({"input": tmp_path / "in.txt"}, "No file or folder"),
        ({"delimiter": ";"}, "in.csv lacks 3 of the model's 3 columns: 'floor_area', 'rooms', 'distance'."),
    ):
        assert run(repository, **good | change) == 1
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out.csv").exists()
