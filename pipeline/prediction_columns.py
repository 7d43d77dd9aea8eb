"""Which columns of a table a model reads, and which only pass through."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.errors import DataError
from pipeline.prediction_rows import ModelInput
from pipeline.raw import identifier

ROW = "row"
LISTED = 12


@dataclass(frozen=True)
class Columns:
    """The columns of one table.

    Attributes:
        read: as the table names them, in the order in which the model takes them.
        others: the rest.
    """

    read: list[str]
    others: list[str]


def choose_columns(where: str, names: Sequence[str], wanted: ModelInput) -> Columns:
    """Finds a model's columns in a table.

    Args:
        where: the file's name, for messages.
        names: of the table's columns.
        wanted: what the model takes.

    Returns:
        The columns. One that the model calls `floor_area` may be called `Floor area` in the table; the pixels of an
        image are named by one of `pixel_namings`.

    Raises:
        DataError: a column is missing, or there twice.
    """
    _check_names(where, names)
    if wanted.kind == "image":
        read = _find_pixels(where, names, wanted.shape)
    else:
        read = _find_features(where, names, wanted.features)
    taken = set(read)
    return Columns(read, [name for name in names if name not in taken])


def pixel_namings(shape: tuple[int, ...]) -> list[list[str]]:
    """The names that an image's columns may have, row by row: `pixel0`, `pixel1` (first of all) or `pixel_0_0`."""
    count = int(np.prod(shape))
    places = ["_".join(str(index) for index in place) for place in np.ndindex(*shape)]
    return [
        [f"pixel{index}" for index in range(count)],
        [f"pixel{index}" for index in range(1, count + 1)],
        [f"pixel_{place}" for place in places],
    ]


def name_kept(names: Sequence[str], taken: set[str]) -> dict[str, str]:
    """New names for columns that are copied, so that none is called like one of the output.

    Args:
        names: of the input's columns.
        taken: names of the output's own columns.

    Returns:
        The new name of each: its own, or `input_` before it where that is taken.
    """
    renamed, used = {}, taken | {name for name in names if name not in taken}
    for name in names:
        new = name
        if name in taken:
            while new in used:
                new = f"input_{new}"
            used.add(new)
        renamed[name] = new
    return renamed


def _check_names(where: str, names: Sequence[str]) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise DataError(f"{where} has more than one column named {repeated[0]!r}; names must differ.")


def _find_features(where: str, names: Sequence[str], features: Sequence[str]) -> list[str]:
    available = set(names)
    by_identifier: dict[str, list[str]] = {}
    for name in names:
        by_identifier.setdefault(_identifier_or_own(name), []).append(name)
    read, missing = [], []
    for feature in features:
        found = [feature] if feature in available else by_identifier.get(feature, [])
        if len(found) > 1:
            raise DataError(f"{where}: the columns {_listed(found)} are all called {feature!r}; keep one of them.")
        (read if found else missing).extend(found or [feature])
    if missing:
        raise DataError(
            f"{where} lacks {len(missing)} of the model's {len(features)} columns: {_listed(missing)}. Expected: "
            f"{', '.join(features)}. Received: {_listed(names)}. Is --delimiter right?"
        )
    return read


def _identifier_or_own(name: str) -> str:
    try:
        return identifier(name)
    except DataError:  # No letter that an identifier could have.
        return name


def _find_pixels(where: str, names: Sequence[str], shape: tuple[int, ...]) -> list[str]:
    available = set(names)
    for naming in pixel_namings(shape):
        if available.issuperset(naming):
            return naming
    choices = "; ".join(f"{naming[0]!r} to {naming[-1]!r}" for naming in pixel_namings(shape))
    raise DataError(
        f"{where} lacks columns for the {' x '.join(str(side) for side in shape)} pixels, row by row. Expected: "
        f"{choices}. Received: {_listed(names)}."
    )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:LISTED])
    return f"{shown} and {len(names) - LISTED:,} more" if len(names) > LISTED else shown
