"""The stage `prepare`: checks, splits, describes and pictures one data set."""

import csv
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.checks import check_rows, check_split
from pipeline.command import run_stage
from pipeline.errors import DataError
from pipeline.folders import whole_folder
from pipeline.params import Params, PrepareParams, SplitParams
from pipeline.pictures import draw_samples
from pipeline.prepared import PARTS, Description, Part, save_description, save_part, write_json
from pipeline.profile import describe_rows
from pipeline.raw import RawDataset
from pipeline.sources import find_source
from pipeline.splits import count_twins, duplicate_groups, split_rows

HISTOGRAM_BINS = 20


@dataclass(frozen=True)
class _Split:
    """One split: how it was asked for, and the row numbers of each part."""

    params: SplitParams
    parts: Mapping[str, np.ndarray]


def prepare(name: str, params: Params, root: Path) -> None:
    """Prepares one data set.

    Args:
        name: of the data set.
        params: the parameter file.
        root: the project's folder; `data/raw/<name>` is read, `data/prepared/<name>` and `reports/data/<name>` are
            written, each whole or not at all.

    Raises:
        DataError: the raw data are missing, or a check fails.
        ParamsError: there is no such data set, or an option of it is wrong.
    """
    block = params.dataset(name)
    raw = find_source(name, block, root).load(root / "data" / "raw" / name)
    try:
        check_rows(raw)
        splits = {key: _split(raw, key, split, block.prepare.seed) for key, split in block.prepare.splits.items()}
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    description = describe(name, raw, _summaries(raw, splits, block.prepare.seed))
    with whole_folder(root / "data" / "prepared" / name) as folder:
        save_description(description, folder)
        for key, split in splits.items():
            _save_split(raw, split, folder / key)
    with whole_folder(root / "reports" / "data" / name) as folder:
        _report(raw, splits, description, block.prepare, folder)


def describe(name: str, raw: RawDataset, splits: dict[str, dict[str, Any]]) -> Description:
    """What is known of a data set, without its rows.

    Args:
        name: of the data set.
        raw: its rows.
        splits: by split name, how it was made and what it counts.

    Returns:
        The description for the stages behind this one.
    """
    return Description(
        name=name,
        task=raw.task,
        input_kind=raw.input_kind,
        input_shape=raw.x.shape[1:],
        input_range=raw.input_range,
        labels=raw.labels,
        features=raw.features,
        target_name=raw.target_name,
        target_unit=raw.target_unit,
        source=raw.source,
        checksum=raw.checksum(),
        partial=raw.partial,
        splits=splits,
        is_signal=raw.is_signal,
        about=raw.about,
    )


def _split(raw: RawDataset, name: str, params: SplitParams, seed: int) -> _Split:
    try:
        parts = split_rows(raw, params, seed)
        check_split(raw, parts, params)
    except DataError as error:
        raise DataError(f"split {name!r}: {error}") from None
    return _Split(params, parts)


def _summaries(raw: RawDataset, splits: Mapping[str, _Split], seed: int) -> dict[str, dict[str, Any]]:
    twins = duplicate_groups(raw.x)
    return {
        name: {
            "seed": seed,
            **split.params.model_dump(),
            "counts": {part: len(rows) for part, rows in split.parts.items()},
            "labels": {part: _count_labels(raw, rows) for part, rows in split.parts.items()},
            "identical_inputs_on_two_sides": count_twins(split.parts, twins),
        }
        for name, split in splits.items()
    }


def _count_labels(raw: RawDataset, rows: np.ndarray) -> dict[str, int]:
    if raw.task == "regression":
        return {}
    return dict(zip(raw.labels, np.bincount(raw.y[rows], minlength=len(raw.labels)).tolist(), strict=True))


def _part(raw: RawDataset, rows: np.ndarray) -> Part:
    return Part(x=raw.x[rows], y=raw.y[rows])


def _save_split(raw: RawDataset, split: _Split, folder: Path) -> None:
    for part, rows in split.parts.items():
        save_part(_part(raw, rows), folder / f"{part}.npz")
    write_json(describe_rows(raw, _part(raw, split.parts["train"])), folder / "profile.json")
    part_of_row = sorted((int(row), part) for part in PARTS for row in split.parts[part])
    _write_csv(folder / "rows.csv", ("row", "part"), part_of_row)


def _report(
    raw: RawDataset, splits: Mapping[str, _Split], description: Description, params: PrepareParams, folder: Path
) -> None:
    summary = {"data": description.name, "checksum": description.checksum, "splits": description.splits}
    write_json(summary | ({"partial": raw.partial} if raw.partial else {}), folder / "splits.json")
    if raw.task == "regression":
        header = ("split", "part", "from", "to", "rows")
        _write_csv(folder / "target_histogram.csv", header, _target_bins(raw, splits))
    else:
        _write_csv(folder / "label_counts.csv", ("split", "part", "label", "rows"), _label_rows(raw, splits))
    first = next(iter(splits.values()))
    draw_samples(raw, _part(raw, first.parts["train"]), params.seed, folder / "samples.png")


def _label_rows(raw: RawDataset, splits: Mapping[str, _Split]) -> Iterator[tuple[str, str, str, int]]:
    for name, split in splits.items():
        for part, rows in split.parts.items():
            for label, count in _count_labels(raw, rows).items():
                yield name, part, label, count


def _target_bins(raw: RawDataset, splits: Mapping[str, _Split]) -> Iterator[tuple[str, str, float, float, int]]:
    edges = np.histogram_bin_edges(raw.y.astype(np.float64), HISTOGRAM_BINS)
    for name, split in splits.items():
        for part, rows in split.parts.items():
            counts = np.histogram(raw.y[rows], edges)[0].tolist()
            for low, high, count in zip(edges[:-1].tolist(), edges[1:].tolist(), counts, strict=True):
                yield name, part, round(low, 6), round(high, 6), count


def _write_csv(path: Path, header: Sequence[str], rows: Iterator[tuple] | Sequence[tuple]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Checks, describes and splits one data set."""
    return run_stage("dataset", prepare, argv)


if __name__ == "__main__":
    sys.exit(main())
