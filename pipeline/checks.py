"""What must hold before anything is trained: each check is silent, or stops the run with a sentence."""

from collections.abc import Mapping

import numpy as np

from pipeline.errors import DataError
from pipeline.params import SplitParams
from pipeline.prepared import PARTS
from pipeline.raw import RawDataset
from pipeline.splits import count_twins, grouping


def check_rows(raw: RawDataset) -> None:
    """Checks the schema, the ranges, missing values and the classes.

    Args:
        raw: a data set as its module gave it.

    Raises:
        DataError: something does not hold; the message names the row and the column.
    """
    check_schema(raw)
    check_values(raw)
    check_target(raw)


def check_schema(raw: RawDataset) -> None:
    """Checks dtypes and shapes against what `RawDataset` promises."""
    axes, dtype = (3, np.dtype(np.uint8)) if raw.input_kind == "image" else (2, np.dtype(np.float32))
    if raw.x.ndim != axes or raw.x.dtype != dtype:
        raise DataError(f"Inputs of kind {raw.input_kind!r} are {dtype} with {axes} axes, not {_shape(raw.x)}.")
    target_dtype = np.dtype(np.float32 if raw.task == "regression" else np.int64)
    if raw.y.dtype != target_dtype or raw.y.shape != (len(raw.x),):
        raise DataError(f"Targets of {len(raw.x)} rows for a {raw.task} task are {target_dtype}, not {_shape(raw.y)}.")
    if raw.input_kind == "features" and len(raw.features) != raw.x.shape[1]:
        raise DataError(f"There are {raw.x.shape[1]} columns but {len(raw.features)} feature names.")
    for name, ids in raw.groups.items():
        if ids.shape != raw.y.shape:
            raise DataError(f"The grouping {name!r} should have {len(raw.y)} entries, received {_shape(ids)}.")


def check_values(raw: RawDataset) -> None:
    """Checks that every input is finite and in the possible range."""
    wrong = ~np.isfinite(raw.x)
    if wrong.any():
        raise DataError(
            f"{_place(raw, wrong)}: the value is missing or not finite; {wrong.sum():,} such values in all."
        )
    if raw.input_range is None:
        return
    low, high = raw.input_range
    wrong = (raw.x < low) | (raw.x > high)
    if wrong.any():
        value = raw.x[wrong][0]
        raise DataError(f"{_place(raw, wrong)}: expected a value from {low:g} to {high:g}, received {value}.")


def check_target(raw: RawDataset) -> None:
    """Checks that targets are finite and differ, or that every class has rows."""
    if raw.task == "regression":
        if not np.isfinite(raw.y).all():
            row = int(np.flatnonzero(~np.isfinite(raw.y))[0])
            raise DataError(f"Row {row}: the target is missing or not finite.")
        if len(np.unique(raw.y)) < 2:
            raise DataError(f"Every target is {raw.y[0] if len(raw.y) else 'missing'}; there is nothing to predict.")
        return
    if raw.task == "binary" and len(raw.labels) != 2:
        raise DataError(f"A binary task has two classes, received {len(raw.labels)}: {', '.join(raw.labels)}.")
    outside = (raw.y < 0) | (raw.y >= len(raw.labels))
    if outside.any():
        row = int(np.flatnonzero(outside)[0])
        raise DataError(f"Row {row}: class ids go from 0 to {len(raw.labels) - 1}, received {raw.y[row]}.")
    _require_every_class(raw, raw.y, "the data")


def check_split(raw: RawDataset, parts: Mapping[str, np.ndarray], params: SplitParams) -> None:
    """Checks that the parts cover every row once, hold every class, and share no group that is to stay together.

    Args:
        raw: the data set.
        parts: row numbers by part.
        params: how the split was asked for.

    Raises:
        DataError: something does not hold.
    """
    dealt = np.sort(np.concatenate([parts[part] for part in PARTS]))
    if not np.array_equal(dealt, np.arange(len(raw.y))):
        raise DataError(f"The parts should hold each of {len(raw.y)} rows once, received {len(dealt)} row numbers.")
    for part in PARTS:
        if not len(parts[part]):
            raise DataError(f"The {part} part is empty; use more data or other shares.")
        if raw.task != "regression":
            _require_every_class(raw, raw.y[parts[part]], f"the {part} part")
    if params.keep_together:
        twins = count_twins(parts, grouping(raw, params.keep_together))
        if twins:
            raise DataError(
                f"{twins} validation and test rows share a group of {params.keep_together!r} with another part. "
                "A published test set cannot be kept apart: write a share for `test`, or drop `keep_together`."
            )


def _require_every_class(raw: RawDataset, y: np.ndarray, where: str) -> None:
    counts = np.bincount(y, minlength=len(raw.labels))
    absent = [label for label, count in zip(raw.labels, counts, strict=True) if not count]
    if absent:
        raise DataError(
            f"Class {absent[0]!r} has no row in {where}; {len(absent)} of {len(raw.labels)} classes are absent. "
            "Every class needs rows in every part."
        )


def _place(raw: RawDataset, wrong: np.ndarray) -> str:
    row, *rest = (int(index) for index in np.argwhere(wrong)[0])
    return f"Row {row}, " + (f"column {raw.features[rest[0]].name!r}" if raw.features else f"pixel {tuple(rest)}")


def _shape(array: np.ndarray) -> str:
    return f"{array.dtype} {array.shape}"
