"""A CSV file of the user's own: named feature columns, a target, a task."""

import csv
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from pipeline.errors import DataError
from pipeline.prepared import About, Feature, Task
from pipeline.raw import RawDataset, identifier, parse_number, parse_options
from pipeline.sections import Section

FILE = "table.csv"
LARGEST = float(np.finfo(np.float32).max)
MISSING = {"", "?", "na", "n/a", "nan", "null", "none"}


class AboutOptions(Section):
    """What only people can say; see `pipeline.prepared.About`."""

    intended_use: str = ""
    out_of_scope: str = ""
    ethical_considerations: str = ""
    caveats: tuple[str, ...] = ()


class Options(Section):
    """What `datasets.<name>.options` may hold where `source` is a CSV file."""

    target: str
    """The column to predict."""
    task: Task
    features: dict[str, str] | Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Input columns, as a list or with their units; None for all that are neither target nor grouping."""
    labels: Annotated[tuple[str, ...], Field(min_length=2)] | None = None
    """Class names in the order of their ids; None for their sorted order. The second one is a binary task's class 1."""
    target_unit: str = ""
    delimiter: Literal[",", ";", "\t", "|", " "] = ","
    groups: tuple[str, ...] = ()
    """Columns that `keep_together` may name: rows with the same text in one of them belong together."""
    citation: str = ""
    """Where the data comes from."""
    about: AboutOptions = AboutOptions()
    """For the cards of the models."""


@dataclass(frozen=True)
class _Table:
    """The text of a CSV: the places of its columns by name; `lines[i]` is where `rows[i]` stands in the file."""

    columns: dict[str, int]
    rows: list[list[str]]
    lines: list[int]

    def column(self, name: str) -> list[str]:
        position = self.columns[name]
        return [row[position] for row in self.rows]


def load(folder: Path, options: Mapping[str, Any]) -> RawDataset:
    """Reads the copy of the CSV that `fetch` made.

    Args:
        folder: holds `table.csv`.
        options: see `Options`.

    Returns:
        The rows: `x` float32 `(n, k)`, `y` class ids or float32 targets.

    Raises:
        DataError: see `read_table`.
        ParamsError: an option is unknown or wrong.
    """
    return read_table(folder / FILE, parse_options(Options, options))


def read_table(path: Path, options: Options) -> RawDataset:
    """Reads a CSV file with a header line, UTF-8.

    Args:
        path: the file.
        options: what its columns mean.

    Returns:
        The rows: `x` float32 `(n, k)`, `y` class ids or float32 targets.

    Raises:
        DataError: the file is missing or ragged, lacks a column, or has a value that is missing or not a number; the
            message names line and column.
    """
    content = _read(path, options.delimiter)
    names = _feature_names(content.columns, options)
    _require_columns(content.columns, [options.target, *names, *options.groups])
    units = options.features if isinstance(options.features, dict) else {}
    labels, y = _target(content, options)
    return RawDataset(
        task=options.task,
        input_kind="features",
        x=np.stack([_numbers(content, name) for name in names], axis=1),
        y=y,
        source=options.citation or path.name,
        labels=labels,
        features=_features(names, units),
        target_name=identifier(options.target),
        target_unit=options.target_unit if options.task == "regression" else "",
        about=About(**options.about.model_dump()),
        groups={identifier(name): np.unique(content.column(name), return_inverse=True)[1] for name in options.groups},
    )


def _read(path: Path, delimiter: str) -> _Table:
    rows, lines = [], []
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, delimiter=delimiter, skipinitialspace=True, strict=True)
            for row in reader:
                if any(field.strip() for field in row):
                    rows.append([field.strip() for field in row])
                    lines.append(reader.line_num)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path.name} cannot be read as CSV in UTF-8: {error}.") from None
    if len(rows) < 2:
        raise DataError(f"{path.name} should have a header line and rows below it, received {len(rows)} lines.")
    header, *body = rows
    _check_shape(path, header, body, lines[1:])
    return _Table({name: position for position, name in enumerate(header)}, body, lines[1:])


def _check_shape(path: Path, header: list[str], body: list[list[str]], lines: list[int]) -> None:
    repeated = sorted(name for name, count in Counter(header).items() if count > 1)
    if repeated:
        raise DataError(f"{path.name} has more than one column named {repeated[0]!r}; names must differ.")
    for row, line in zip(body, lines, strict=True):
        if len(row) != len(header):
            raise DataError(
                f"{path.name}, line {line}: expected {len(header)} fields, as in the header, received {len(row)}. "
                "Is `delimiter` right?"
            )


def _feature_names(columns: Iterable[str], options: Options) -> list[str]:
    if options.features is not None:
        chosen = list(options.features)
        if options.target in chosen:
            raise DataError(f"The target {options.target!r} is among the features; take it out of one of them.")
        return chosen
    return [name for name in columns if name != options.target and name not in options.groups]


def _require_columns(columns: Mapping[str, int], names: Sequence[str]) -> None:
    for name in names:
        if name not in columns:
            available = ", ".join(repr(column) for column in columns)
            raise DataError(f"There is no column {name!r}. Available: {available}. Is `delimiter` right?")


def _features(names: list[str], units: Mapping[str, str]) -> tuple[Feature, ...]:
    by_identifier: dict[str, str] = {}
    for name in names:
        other = by_identifier.setdefault(identifier(name), name)
        if other != name:
            raise DataError(
                f"The columns {other!r} and {name!r} would both be called {identifier(name)!r}; rename one."
            )
    return tuple(Feature(key, units.get(name, "")) for key, name in by_identifier.items())


def _target(content: _Table, options: Options) -> tuple[tuple[str, ...], np.ndarray]:
    """The labels (none for a regression) and the targets."""
    if options.task == "regression":
        return (), _numbers(content, options.target)
    values = content.column(options.target)
    _reject_missing(content, options.target, values)
    labels = options.labels or tuple(sorted(set(values), key=_label_order))
    if options.task == "binary" and len(labels) != 2:
        listed = ", ".join(repr(label) for label in labels[:10])
        raise DataError(f"A binary task needs two classes in {options.target!r}, received {len(labels)}: {listed}.")
    ids = {label: index for index, label in enumerate(labels)}
    for value, line in zip(values, content.lines, strict=True):
        if value not in ids:
            raise DataError(f"Line {line}: the class {value!r} is not among `labels`: {', '.join(labels)}.")
    return labels, np.array([ids[value] for value in values], dtype=np.int64)


def _label_order(label: str) -> tuple[float, str]:
    """Numbers by size, then words by letter."""
    number = parse_number(label)
    return (math.inf if number is None else number, label)


def _numbers(content: _Table, name: str) -> np.ndarray:
    """A numeric column as float32 `(n,)`."""
    values = content.column(name)
    numbers = [parse_number(value) for value in values]
    for value, number, line in zip(values, numbers, content.lines, strict=True):
        if number is None or not abs(number) <= LARGEST:
            _reject_missing(content, name, values)
            raise DataError(f"Line {line}, column {name!r}: expected a finite number, received {value!r}.")
    return np.array(numbers, dtype=np.float32)


def _reject_missing(content: _Table, name: str, values: list[str]) -> None:
    for value, line in zip(values, content.lines, strict=True):
        if value.lower() in MISSING:
            raise DataError(
                f"Line {line}, column {name!r}: the value is missing (received {value!r}). "
                "Fill it in or remove the row."
            )
