"""Batch prediction of a million rows: memory, speed, a kill in the middle, and the service's answers to ten of them.

`make bench-predict`, or `python -m benchmarks.batch_prediction`. Needs a published model of a table; `make run`
publishes one. The rows are those of its data set, each drawn many times and varied by a tenth.
"""

import argparse
import csv
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from benchmarks.processes import ROOT, BenchmarkFailed, stop_on_signals
from benchmarks.servers import Server, ask, start_kiln

BLOCK_ROWS = 100_000
ASKED_ROWS = 10
MEMORY_TOLERANCE = 1.1
"""Ten times the rows may take this much more memory: allocators do not give the same twice."""
TOLERANCE = 1e-5
"""Absolute, and relative beyond 1: float32 is summed in another order in a call of another size."""


@dataclass(frozen=True)
class Ended:
    """A run that has ended.

    Attributes:
        status: what it exited with.
        seconds: from start to end, TensorFlow's import included.
        peak_bytes: its greatest resident memory.
        said: its own rows per second.
    """

    status: int
    seconds: float
    peak_bytes: int
    said: str


def main() -> int:
    """Runs everything; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batch_prediction", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="breast_cancer", help="a published model of a table (breast_cancer)")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows in the large file (1000000)")
    parser.add_argument("--root", type=Path, default=ROOT, help="project with models/ and data/prepared/ (this one)")
    arguments = parser.parse_args()
    stop_on_signals()
    try:
        with tempfile.TemporaryDirectory(prefix="kiln-batch-prediction-") as folder:
            return measure(arguments.root.resolve(), arguments.model, arguments.rows, Path(folder))
    except (BenchmarkFailed, KeyboardInterrupt) as error:
        print(error or "Interrupted.", file=sys.stderr)
        return 1


def measure(root: Path, model: str, rows: int, folder: Path) -> int:
    """Writes the files, scores them, and prints what came of it; returns the exit status."""
    manifest = read_manifest(root, model)
    for name, count in (("small", rows // 10), ("large", rows)):
        write_rows(root, manifest, folder / f"{name}.csv", count)
    small = run_to_end(predict(root, model, folder, "small", "small_out.csv"))
    whole = run_to_end(predict(root, model, folder, "large", "whole.csv"))
    killed_row = kill_in_the_middle(predict(root, model, folder, "large", "killed.csv"), folder, rows)
    resumed = run_to_end(predict(root, model, folder, "large", "killed.csv"))
    is_same = (folder / "killed.csv").read_bytes() == (folder / "whole.csv").read_bytes()
    chosen = sorted(random.Random(1).sample(range(rows), ASKED_ROWS))
    with start_kiln(root / "models", folder / "service.log", 1, KILN_MODELS=model) as server:
        together, alone = compare(server, manifest, folder, chosen)
    size = (folder / "large.csv").stat().st_size
    print(f"{model}, {rows:,} rows, {size / 1e6:,.0f} MB of CSV")
    for name, run in ((f"{rows // 10:,} rows", small), (f"{rows:,} rows", whole), ("resumed", resumed)):
        print(f"  {name}: {run.seconds:.1f} s, peak memory {run.peak_bytes / 1e6:,.0f} MB; {run.said}")
    checks = {
        f"peak memory of ten times the rows at most {MEMORY_TOLERANCE} times": (
            whole.peak_bytes <= MEMORY_TOLERANCE * small.peak_bytes, f"{whole.peak_bytes / small.peak_bytes:.2f}"
        ),
        f"killed after {killed_row:,} rows and resumed, the same bytes": (is_same, "yes" if is_same else "no"),
        f"rows {chosen} in one request, within {TOLERANCE}": (together <= TOLERANCE, f"difference {together:.1e}"),
        f"each alone, within {TOLERANCE}": (alone <= TOLERANCE, f"difference {alone:.1e}"),
    }  # fmt: skip
    for target, (is_met, measured) in checks.items():
        print(f"  {'met   ' if is_met else 'MISSED'} {target}: {measured}")
    return 0 if all(is_met for is_met, _ in checks.values()) else 1


def read_manifest(root: Path, model: str) -> dict[str, Any]:
    """What the newest version says of itself.

    Raises:
        BenchmarkFailed: there is none, or it takes no table.
    """
    found = sorted((root / "models" / model).glob("*/assets.extra/model.json"), key=lambda path: int(path.parts[-3]))
    if not found:
        raise BenchmarkFailed(f"No version of {model!r} in {root / 'models'}. Run `make run` first.")
    manifest = json.loads(found[-1].read_text(encoding="utf-8"))
    if not manifest["features"]:
        raise BenchmarkFailed(f"{model!r} takes images. Name a model of a table, such as breast_cancer.")
    return manifest


def write_rows(root: Path, manifest: dict[str, Any], path: Path, count: int) -> None:
    """Writes a CSV with an `id` and the features."""
    data = manifest["data"]
    with np.load(root / "data" / "prepared" / data["name"] / data["split"] / "train.npz") as arrays:
        rows = arrays["x"]
    draw = np.random.default_rng(1)
    names = [feature["name"] for feature in manifest["features"]]
    schema = pa.schema([("id", pa.int64()), *((name, pa.float32()) for name in names)])
    with pyarrow.csv.CSVWriter(path, schema) as writer:
        for start in range(0, count, BLOCK_ROWS):
            stop = min(start + BLOCK_ROWS, count)
            varied = rows[draw.integers(0, len(rows), stop - start)] * draw.uniform(
                0.9, 1.1, (stop - start, len(names))
            )
            columns = [pa.array(column) for column in varied.T.astype(np.float32)]
            writer.write_table(pa.Table.from_arrays([pa.array(np.arange(start, stop)), *columns], schema=schema))


def predict(root: Path, model: str, folder: Path, name: str, output: str) -> subprocess.Popen[str]:
    """Starts a batch prediction."""
    command = [sys.executable, "-m", "pipeline.predict", "--model", model, "--repository", str(root / "models"),
               "--input", str(folder / f"{name}.csv"), "--output", str(folder / output)]  # fmt: skip
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def run_to_end(process: subprocess.Popen[str]) -> Ended:
    """Waits for a run.

    Raises:
        BenchmarkFailed: it did not succeed.
    """
    started = time.monotonic()
    with process.stdout as stream:
        said = stream.read().strip()
    _, status, usage = os.wait4(process.pid, 0)
    # `Popen` was not told by `wait4`, and would wait for a process that is gone.
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise BenchmarkFailed(f"The batch prediction exited with {process.returncode}. Run it by hand to see why.")
    return Ended(0, time.monotonic() - started, usage.ru_maxrss * 1024, said.rpartition("; ")[2])


def kill_in_the_middle(process: subprocess.Popen[str], folder: Path, rows: int) -> int:
    """Sends SIGKILL once two fifths of the rows are scored; returns how many were.

    Raises:
        BenchmarkFailed: the run ended before that.
    """
    state = folder / ".killed.csv.progress.json"
    with process, process.stdout:
        while not state.exists() or json.loads(state.read_text())["position"]["row"] < rows * 2 // 5:
            if process.poll() is not None:
                raise BenchmarkFailed("The run ended before it could be killed; take more --rows.")
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    return json.loads(state.read_text())["position"]["row"]


def compare(server: Server, manifest: dict[str, Any], folder: Path, chosen: list[int]) -> tuple[float, float]:
    """How far the service's answers are from the file's.

    Args:
        server: the running service.
        manifest: of the model.
        folder: with `large.csv` and `whole.csv`.
        chosen: numbers of rows, ascending.

    Returns:
        The greatest difference of a number, all rows asked for in one request, and each in its own.
    """
    names = [feature["name"] for feature in manifest["features"]]
    instances = [{name: float(row[name]) for name in names} for row in pick(folder / "large.csv", chosen)]
    scored = pick(folder / "whole.csv", chosen)
    together = ask_for(server, manifest["name"], instances)
    alone = [ask_for(server, manifest["name"], [instance])[0] for instance in instances]
    return tuple(
        max(difference(answer, row, manifest["labels"]) for answer, row in zip(answers, scored, strict=True))
        for answers in (together, alone)
    )


def pick(path: Path, chosen: list[int]) -> list[dict[str, str]]:
    """Some rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as stream:
        rows = csv.DictReader(stream)
        steps = [number - before - 1 for before, number in itertools.pairwise([-1, *chosen])]
        return [next(itertools.islice(rows, step, None)) for step in steps]


def ask_for(server: Server, model: str, instances: list[dict[str, float]]) -> list[Any]:
    """The service's predictions."""
    body = json.dumps({"signature_name": "named_features", "instances": instances}).encode()
    answer = ask(f"{server.address}/v1/models/{model}:predict", body)
    if answer.status != 200:
        raise BenchmarkFailed(f"The service answered {answer.status}: {answer.body[:300]!r}")
    return json.loads(answer.body)["predictions"]


def difference(answer: Any, row: dict[str, str], labels: list[str]) -> float:
    """The greatest difference of an answer's float32 numbers from those of a row; infinite if labels differ."""
    if not labels:
        given, expected = np.float32(answer), np.float32([row["prediction"]])
    elif answer["label"] != row["label"] or answer["class_id"] != int(row["class_id"]):
        return np.inf
    else:
        given = np.float32([answer["score"], *answer["probabilities"]])
        expected = np.float32([row["score"], *(row[f"probability_{label}"] for label in labels)])
    return float(np.max(np.abs(given - expected) / np.maximum(np.abs(expected), 1)))


if __name__ == "__main__":
    sys.exit(main())
