"""The page that shows the training benchmark's figures: benchmarks/TRAINING.md."""

import datetime
import os
import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import mean, median

import keras

from benchmarks.training_results import Result, later
from benchmarks.training_sides import NETWORKS, Training, has_gpu

PACKAGES = ("keras", "tensorflow-cpu", "tensorflow", "jax", "numpy")

TEMPLATE = """\
# Training: seconds per epoch

`python -m benchmarks.training` writes this file anew.

- **Machine**: {machine}
- **Devices**: {devices}
- **Versions**: {versions}
- **Date**: {date}
- **Command**: `{command}`
- **Not run**: {missing}

Both sides train the same network with Adam on the 60,000 images of MNIST in one process, in turns, with a new seed in
each round. **Plain** is `model.fit(x, y, batch_size=128)` with float32 rows and Keras's defaults. **Kiln** is the loop
of the train stage with its defaults: deterministic, and compiled with XLA where it chooses to. A figure is the median
of the rounds; a ratio is taken within a round and followed by the least and the greatest in brackets.

## Everything counted

From before the file is read until the last epoch has ended, divided by the epochs: reading, preparing, building the
network, tracing and compiling it are in it. The CPU time is that of all threads; it hardly changes with what else runs
on the machine.

{whole}

## Epochs behind the first

{later}

## Accuracy on the 10,000 test images

{accuracy}
"""


def write_page(path: Path, results: Sequence[Result], command: str) -> str:
    """Writes the page.

    Args:
        path: of the file.
        results: what was measured.
        command: what measured it.

    Returns:
        The page.
    """
    missing = [network.title for network in NETWORKS.values() if network not in [result.network for result in results]]
    if not has_gpu():
        missing.append("a GPU: there is none in this machine")
    page = TEMPLATE.format(
        machine=describe_machine(),
        devices=f"{keras.backend.backend()} on {', '.join(keras.distribution.list_devices())}",
        versions=", ".join([f"Python {platform.python_version()}", *installed(PACKAGES)]),
        date=datetime.date.today().isoformat(),
        command=command,
        missing=", ".join(missing) or "nothing was left out",
        whole=_whole_table(results),
        later=_later_table(results),
        accuracy=_accuracy_table(results),
    )
    path.write_text(page, encoding="utf-8")
    return page


def describe_machine() -> str:
    """Processor, CPUs and kernel."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    kernel = platform.release().partition("-")[0]
    return f"{names[0] if names else platform.machine()}, {len(os.sched_getaffinity(0))} CPUs, Linux {kernel}"


def installed(packages: Iterable[str]) -> list[str]:
    """Those that are there, with their versions."""
    found = []
    for package in packages:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return found


def _whole_table(results: Sequence[Result]) -> str:
    rows = []
    for result in results:
        target = result.target
        verdict = "" if target is None else "met" if result.is_met else "MISSED"
        each = [median(training.seconds / result.epochs for training in side) for side in (result.plain, result.kiln)]
        wanted = "" if target is None else f"{target:.2f}"
        rows.append([result.network.title, result.epochs, *_seconds(each), _ratio(result.ratios()), wanted, verdict])
        rows[-1].append(_ratio(result.cpu_ratios()))
    header = [
        "network",
        "epochs",
        "plain, s",
        "Kiln, s",
        "Kiln / plain",
        "at most",
        "verdict",
        "CPU time, Kiln / plain",
    ]
    return _table(header, rows)


def _later_table(results: Sequence[Result]) -> str:
    rows = []
    for result in results:
        each = [median(later(training) for training in side) for side in (result.plain, result.kiln)]
        rows.append([result.network.title, *_seconds(each), _ratio(result.later_ratios())])
    return _table(["network", "plain, s", "Kiln, s", "Kiln / plain"], rows)


def _accuracy_table(results: Sequence[Result]) -> str:
    rows = [
        [result.network.title, result.epochs, len(result.plain), _spread(result.plain), _spread(result.kiln)]
        for result in results
    ]
    return _table(["network", "epochs", "seeds", "plain: mean (least..greatest)", "Kiln"], rows)


def _seconds(values: Iterable[float]) -> list[str]:
    return [f"{value:.3f}" for value in values]


def _ratio(ratios: Sequence[float]) -> str:
    return f"{median(ratios):.2f} ({min(ratios):.2f}..{max(ratios):.2f})"


def _spread(trainings: Sequence[Training]) -> str:
    values = [training.accuracy for training in trainings]
    return f"{mean(values):.4f} ({min(values):.4f}..{max(values):.4f})"


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [header, ["---", *("---:" for _ in header[1:])], *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)
