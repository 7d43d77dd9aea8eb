"""Results of runs, one small JSON file each, written whole or not at all."""

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import DataError
from studies.runs import Run

POINTS = 60
"""Most points of a stored curve."""
CURVES = ("loss", "accuracy", "mae_standardized", "roc_auc")
"""Figures of an epoch whose curves are stored, and with `val_` in front."""


@dataclass(frozen=True)
class Figures:
    """What a run measured, in the metric of its row; None for a part that it did not see."""

    train: float | None = None
    validation: float | None = None
    test: float | None = None


@dataclass(frozen=True)
class Result:
    """A finished run.

    Attributes:
        row, run: its row and its name in words.
        digest: of the run; a result with another digest is out of date.
        data: checksum of the rows; likewise.
        seconds: from the first row to the last figure, by the clock.
        cpu_seconds: the same, of processor time: other work on the machine does not count.
        finished: when, in UTC.
        made_by: Keras and its backend.
        partial: why the data are not the whole data set, or "".
        figures: what was measured.
        parameters: numbers in the network.
        best_epoch: the epoch that was measured.
        epoch_seconds: of processor time, median over the epochs, validation included.
        curves: `epoch` and, by name, a figure for each.
        weights: what `WeightWatch` kept, or empty.
        failure: why there are no figures, or "".
    """

    row: str
    run: str
    digest: str
    data: str
    seconds: float
    cpu_seconds: float
    finished: str
    made_by: str
    partial: str = ""
    figures: Figures = Figures()
    parameters: int = 0
    best_epoch: int = 0
    epoch_seconds: float = 0.0
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)
    weights: tuple[Mapping[str, Any], ...] = ()
    failure: str = ""


class Results:
    """The results in a folder.

    A result counts for a run only if both the run and the data are the same as when it was made.
    """

    def __init__(self, folder: Path, checksums: Mapping[str, str] | None = None) -> None:
        """Reads nothing yet.

        Args:
            folder: `studies/results`.
            checksums: of the rows by data set; a data set that is not named is taken to be unchanged.
        """
        self.folder = folder
        self._checksums = dict(checksums or {})
        self._read: dict[str, Result | None] = {}

    def get(self, run: Run) -> Result | None:
        """The result of a run, or None where there is none or it is out of date."""
        if run.file not in self._read:
            self._read[run.file] = load_result(self.folder / run.file)
        result = self._read[run.file]
        if result is None or result.digest != run.digest():
            return None
        checksum = self._checksums.get(run.params.dataset)
        return None if checksum and checksum != result.data else result

    def forget(self, run: Run) -> None:
        """Reads the result from its file again when it is asked for next."""
        self._read.pop(run.file, None)


def load_result(path: Path) -> Result | None:
    """Reads a result, or gives None where there is none.

    Raises:
        DataError: the file is not one that `save_result` wrote.
    """
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        figures, weights = Figures(**fields.pop("figures")), tuple(fields.pop("weights"))
        return Result(**fields, figures=figures, weights=weights)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{path} holds no result of a run: {error}. Remove it; its run is then made again.") from None


def save_result(result: Result, path: Path) -> None:
    """Writes a result beside its place and then renames it, so that it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    building = path.with_name(f".{path.name}.{os.getpid()}.building")
    # A line per field: short enough to read, and a change in git shows what changed.
    lines = [
        f" {json.dumps(key)}: {json.dumps(value, allow_nan=False)}" for key, value in dataclasses.asdict(result).items()
    ]
    try:
        building.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
        os.replace(building, path)
    finally:
        building.unlink(missing_ok=True)


def thin_curves(history: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """The curves of a training with at most `POINTS` points, the first and the last epoch among them.

    Args:
        history: one entry per epoch.

    Returns:
        `epoch` and one list for each figure of `CURVES` that was measured.
    """
    step = max(1, -(-len(history) // POINTS))
    chosen = [entry for entry in history if entry["epoch"] % step == 0 or entry["epoch"] in (1, len(history))]
    names = [name for name in (*CURVES, *(f"val_{name}" for name in CURVES)) if name in history[0]]
    curves: dict[str, list[float]] = {"epoch": [int(entry["epoch"]) for entry in chosen]}
    return curves | {name: [float(f"{entry[name]:.4g}") for entry in chosen] for name in names}
