"""Seeded, stratified splits into training, validation and test rows, whole groups on one side."""

from collections.abc import Mapping

import numpy as np
from sklearn.model_selection import train_test_split

from pipeline.errors import DataError
from pipeline.params import SplitParams
from pipeline.prepared import PARTS
from pipeline.raw import RawDataset

TARGET_BINS = 10


def split_rows(raw: RawDataset, params: SplitParams, seed: int) -> dict[str, np.ndarray]:
    """Deals the rows to the three parts.

    What is dealt are groups (single rows where nothing is kept together), stratified by class, by `raw.strata` where
    the data set has them, or by tenths of the target for a regression. Test groups are drawn first, so a change of
    `validation` leaves the test rows as they are.

    Args:
        raw: the data set.
        params: the shares, and what is kept together.
        seed: of the drawing.

    Returns:
        By part, int64 row numbers in ascending order; each row is in one part.

    Raises:
        DataError: the grouping or the published test set does not exist, or there are too few rows or groups.
    """
    groups = grouping(raw, params.keep_together)
    strata = _strata(raw)
    if params.test == "published":
        if raw.published_test is None:
            raise DataError("`test: published` needs a data set with its own test set; write a share, such as 0.2.")
        test = np.flatnonzero(raw.published_test)
        rest = np.flatnonzero(~raw.published_test)
        validation_share = params.validation
    else:
        if params.test + params.validation >= 1:
            raise DataError(f"test {params.test} and validation {params.validation} leave no rows to train on.")
        rest, test = _draw(np.arange(len(raw.y)), groups, strata, params.test, seed)
        validation_share = params.validation / (1 - params.test)
    train, validation = _draw(rest, groups, strata, validation_share, seed)
    return dict(zip(PARTS, (train, validation, test), strict=True))


def grouping(raw: RawDataset, name: str | None) -> np.ndarray:
    """The group of each row.

    Args:
        raw: the data set.
        name: one of `raw.groups`; `duplicates` for rows with the same input; None for every row by itself.

    Returns:
        int64 `(n,)` group ids from 0.

    Raises:
        DataError: there is no such grouping.
    """
    if name is None:
        return np.arange(len(raw.y))
    if name in raw.groups:
        return np.unique(raw.groups[name], return_inverse=True)[1].reshape(-1)
    if name == "duplicates":
        return duplicate_groups(raw.x)
    available = ", ".join(repr(key) for key in (*raw.groups, "duplicates"))
    raise DataError(f"keep_together: there is no grouping {name!r}. Available: {available}.")


def duplicate_groups(x: np.ndarray) -> np.ndarray:
    """Rows with the same values in one group: int64 `(n,)` ids from 0, for inputs `(n, ...)`."""
    # Adding zero turns -0.0 into 0.0, which is equal but has other bytes.
    rows = np.ascontiguousarray(x.reshape(len(x), -1) + np.zeros((), x.dtype))
    ids: dict[bytes, int] = {}
    return np.array([ids.setdefault(row.tobytes(), len(ids)) for row in rows], dtype=np.int64)


def count_twins(parts: Mapping[str, np.ndarray], groups: np.ndarray) -> int:
    """How many validation and test rows have a row of the same group in another part.

    Args:
        parts: row numbers by part.
        groups: int64 `(n,)` group ids from 0.

    Returns:
        The number of such rows; 0 where no group stands on two sides.
    """
    seen_in = {part: np.isin(np.arange(groups.max() + 1), groups[rows]) for part, rows in parts.items()}
    sides = np.sum(list(seen_in.values()), axis=0)
    return int(sum((sides[groups[parts[part]]] > 1).sum() for part in ("validation", "test")))


def _strata(raw: RawDataset) -> np.ndarray:
    if raw.strata is not None:
        return raw.strata
    if raw.task != "regression":
        return raw.y
    inner = np.quantile(raw.y, np.linspace(0, 1, TARGET_BINS + 1)[1:-1])
    return np.digitize(raw.y, np.unique(inner))


def _draw(
    rows: np.ndarray, groups: np.ndarray, strata: np.ndarray, share: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The rows that stay, and about `share` of them that are drawn."""
    units, unit_of_row = np.unique(groups[rows], return_inverse=True)
    stratum_of_unit = _most_frequent(unit_of_row, strata[rows])
    count = round(share * len(units))
    smallest, strata_count = np.bincount(stratum_of_unit).min(), stratum_of_unit.max() + 1
    if smallest < 2 or min(count, len(units) - count) < strata_count:
        raise DataError(
            f"Too few rows to split: {count} of {len(units)} independent rows or groups are to be drawn from "
            f"{strata_count} classes or ranges of the target, the smallest of which has {smallest}. "
            "Each needs 2 at least, and each part one of each; use more data or larger shares."
        )
    _, drawn = train_test_split(
        np.arange(len(units)), test_size=count, stratify=stratum_of_unit, random_state=seed, shuffle=True
    )
    is_drawn = np.isin(unit_of_row, drawn)
    return rows[~is_drawn], rows[is_drawn]


def _most_frequent(unit_of_row: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """The stratum that most rows of each unit are in, as ids from 0 without gaps."""
    values, stratum_of_row = np.unique(strata, return_inverse=True)
    counts = np.zeros((unit_of_row.max() + 1, len(values)), dtype=np.int64)
    np.add.at(counts, (unit_of_row, stratum_of_row), 1)
    return np.unique(counts.argmax(axis=1), return_inverse=True)[1]
