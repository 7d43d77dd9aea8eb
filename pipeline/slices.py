"""How good a model is on parts of the test rows: by class, or by fifths of the target."""

from typing import Any

import numpy as np
from sklearn.metrics import precision_recall_fscore_support

from pipeline.answers import Answers
from pipeline.prepared import Description

FIFTHS = 5


def measure_slices(test: Answers, description: Description) -> list[dict[str, Any]]:
    """The figures of each slice.

    Args:
        test: the model's answers for the test rows.
        description: of the data.

    Returns:
        One entry per class that has rows (`precision`, `recall`, `f1`), or per fifth of a regression's rows in order of
        their target (`mae`, and `bias`, the mean of predicted minus actual; in the target's unit); each with its name
        as `slice` and how many `rows` it has.
    """
    return _by_target(test, description) if description.task == "regression" else _by_class(test, description)


def _by_class(test: Answers, description: Description) -> list[dict[str, Any]]:
    ids = np.arange(len(description.labels))
    figures = precision_recall_fscore_support(test.part.y, test.guesses, labels=ids, zero_division=0)
    return [
        {
            "slice": label,
            "rows": int(rows),
            **{key: round(float(value), 6) for key, value in zip(_KEYS, each, strict=True)},
        }
        for label, *each, rows in zip(description.labels, *figures, strict=True)
        if rows
    ]


_KEYS = ("precision", "recall", "f1")


def _by_target(test: Answers, description: Description) -> list[dict[str, Any]]:
    truth = test.part.y.astype(np.float64)
    errors = test.outputs - truth
    slices = []
    for rows in np.array_split(np.argsort(truth, kind="stable"), min(FIFTHS, len(truth))):
        ends = f"{truth[rows[0]]:.4g} to {truth[rows[-1]]:.4g} {description.target_unit}".rstrip()
        figures = {"mae": np.abs(errors[rows]).mean(), "bias": errors[rows].mean()}
        slices.append(
            {"slice": ends, "rows": len(rows), **{key: round(float(value), 6) for key, value in figures.items()}}
        )
    return slices
