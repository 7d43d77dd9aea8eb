"""Whether a signature answers each row as if it were alone: only then may a server batch rows of several requests."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.inputs import signature_inputs
from pipeline.parity import TOLERANCE, call_signature
from pipeline.prepared import Description

ROWS = 8
BATCHES = (2, 3, 5, 8)
CLASS_OUTPUTS = ("class_id", "label", "score")
"""Outputs that jump from one class to another where two classes are about equally likely."""

Outputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class Independence:
    """What the calls showed.

    Attributes:
        proven: names of the signatures whose rows are independent, sorted.
        problems: of the others, by name: where the first difference was.
    """

    proven: list[str]
    problems: dict[str, str]


def check_rows_independent(
    signatures: Mapping[str, Callable], description: Description, threshold: float | None, rows: np.ndarray
) -> Independence:
    """Calls every signature with the same rows in several batches and compares each row's answers.

    Args:
        signatures: of the reloaded SavedModel.
        description: of the data.
        threshold: the operating point of a binary task, else None.
        rows: `(n, *input_shape)` raw rows, n > 0; `ROWS` of them are taken, evenly spread.

    Returns:
        Which signatures answer a row alone, among other rows, in another order, twice in a batch and twice in a row
        within the tolerance of parity, and the same classes but where the two best are nearer than that.
    """
    chosen = rows[np.linspace(0, len(rows) - 1, ROWS).round().astype(int)]
    problems = {}
    for name, arrays in signature_inputs(description, chosen).items():
        problem = _find_dependence(signatures[name], arrays, threshold)
        if problem:
            problems[name] = problem
    return Independence(sorted(signatures.keys() - problems.keys()), problems)


def _find_dependence(signature: Callable, arrays: Mapping[str, np.ndarray], threshold: float | None) -> str:
    """Where a row's answers are not those that it gets alone, or ""."""

    def call(places: list[int]) -> Outputs:
        return call_signature(signature, {name: values[places] for name, values in arrays.items()})

    alone = [call([place]) for place in range(ROWS)]
    for places in _batches():
        together = call(places)
        for index, place in enumerate(places):
            row = {name: values[index : index + 1] for name, values in together.items()}
            output = _find_difference(alone[place], row, threshold)
            if output:
                return f"{output} of row {place} differs between a call with that row alone and one of rows {places}"
    return ""


def _batches() -> Iterator[list[int]]:
    """Places of the rows of each call."""
    yield from ([place] for place in range(ROWS))  # each alone, for the second time
    for size in BATCHES:
        yield from (list(range(start, start + size)) for start in range(0, ROWS - size + 1, size))
    backwards = list(range(ROWS))[::-1]
    yield backwards
    yield backwards  # the same call twice
    yield [0, 1, 0, 0, 2]


def _find_difference(alone: Outputs, other: Outputs, threshold: float | None) -> str:
    """The first output of one row that differs, or ""."""
    tied = _is_tied(alone, threshold)
    for name, values in alone.items():
        if (name in CLASS_OUTPUTS and tied) or _are_equal(values, other[name]):
            continue
        return name
    return ""


def _is_tied(outputs: Outputs, threshold: float | None) -> bool:
    """Whether the class of a row hangs on the last digits of its probabilities."""
    if "probabilities" not in outputs:
        return False
    [probabilities] = outputs["probabilities"]
    second, first = np.sort(probabilities)[-2:] if threshold is None else (threshold, probabilities[1])
    return bool(abs(first - second) <= TOLERANCE)


def _are_equal(values: np.ndarray, others: np.ndarray) -> bool:
    if not np.issubdtype(values.dtype, np.floating):
        return np.array_equal(values, others)
    # A NaN compares false with all.
    return bool((np.abs(values - others) <= TOLERANCE * np.maximum(1.0, np.abs(values))).all())
