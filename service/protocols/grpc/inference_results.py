"""Classes and numbers as messages."""

from typing import Any

import numpy as np

from service.protocols.example_signatures import CLASSES, SCORES, VALUES, check_classes, check_values


def write_classifications(outputs: dict[str, np.ndarray], count: int, result: Any) -> None:
    """Writes classes and scores.

    Args:
        outputs: `classes` (bytes) and `scores` (float32), axes (example, class), or one of them.
        count: how many examples there are.
        result: an empty `ClassificationResult`.

    Raises:
        InvalidPayload: the outputs are not of those types and shapes.
    """
    check_classes(outputs, count)
    classes, scores = outputs.get(CLASSES), outputs.get(SCORES)
    for index in range(count):
        row = result.classifications.add().classes
        for column in range(next(iter(outputs.values())).shape[1]):
            entry = row.add()
            if classes is not None:
                entry.label = classes[index, column].decode("utf-8", "replace")
            if scores is not None:
                entry.score = scores[index, column]


def write_regressions(outputs: dict[str, np.ndarray], count: int, result: Any) -> None:
    """Writes numbers.

    Args:
        outputs: `outputs` (float32), axes (example,) or (example, 1).
        count: how many examples there are.
        result: an empty `RegressionResult`.

    Raises:
        InvalidPayload: the output is not of that type and shape.
    """
    check_values(outputs, count)
    for value in outputs[VALUES].reshape(-1).tolist():
        result.regressions.add().value = value
