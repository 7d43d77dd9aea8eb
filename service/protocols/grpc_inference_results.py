"""What classification and regression signatures give: which outputs they must have, and their values as messages.

Source:
    TensorFlow Serving, `classifier.cc` and `regressor.cc`.
"""

from typing import Any

import numpy as np

from service.engine.signature import Signature
from service.errors import InvalidPayload
from service.protocols.grpc_exchange import FailedPrecondition
from service.protocols.grpc_inputs import listed

CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"
CLASSES, SCORES, VALUES = "classes", "scores", "outputs"


def choose_classification_outputs(signature: Signature, source: str) -> list[str]:
    """The outputs of a classification signature: classes, scores or both.

    Args:
        signature: with one input.
        source: what the input must be called.

    Raises:
        InvalidPayload: it has too many outputs.
        FailedPrecondition: they, or the input, do not have the names that they must have.
    """
    if len(signature.outputs) not in (1, 2):
        raise InvalidPayload(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    if source not in signature.inputs:
        raise FailedPrecondition(
            f'No classification inputs found in SignatureDef: expected "{source}", found {listed(signature.inputs)}'
        )
    wanted = [name for name in (CLASSES, SCORES) if name in signature.outputs]
    if not wanted:
        raise FailedPrecondition(
            f'Expected classification signature outputs to contain at least one of "{CLASSES}" or "{SCORES}". '
            f"Signature was: {listed(signature.outputs)}"
        )
    return wanted


def choose_regression_outputs(signature: Signature, source: str) -> list[str]:
    """The output of a regression signature.

    Args:
        signature: with one input.
        source: what the input must be called.

    Raises:
        InvalidPayload: it has several outputs.
        FailedPrecondition: it, or the input, does not have the name that it must have.
    """
    if len(signature.outputs) != 1:
        raise InvalidPayload(f"Expected one output Tensor. Outputs: {listed(signature.outputs)}")
    if source not in signature.inputs:
        raise FailedPrecondition(
            f'No regression inputs found in SignatureDef: expected "{source}", found {listed(signature.inputs)}'
        )
    if VALUES not in signature.outputs:
        raise FailedPrecondition(
            f'No regression outputs found in SignatureDef: expected "{VALUES}", found {listed(signature.outputs)}'
        )
    return [VALUES]


def write_classifications(outputs: dict[str, np.ndarray], count: int, result: Any) -> None:
    """Writes classes and scores.

    Args:
        outputs: `classes` (bytes) and `scores` (float32), axes (example, class), or one of them.
        count: how many examples there are.
        result: an empty `ClassificationResult`.

    Raises:
        InvalidPayload: the outputs are not of those types and shapes.
    """
    for name, dtype, words in ((CLASSES, np.object_, "DT_STRING"), (SCORES, np.float32, "DT_FLOAT")):
        if name in outputs:
            check_matrix(outputs[name], name, (np.dtype(dtype), words), count)
    shapes = {array.shape for array in outputs.values()}
    if len(shapes) > 1:
        sizes = [outputs[name].shape[1] for name in (CLASSES, SCORES)]
        raise InvalidPayload(f"Tensors class and score should match in dim_size(1). Got {sizes[0]} vs. {sizes[1]}")
    classes, scores = outputs.get(CLASSES), outputs.get(SCORES)
    for index in range(count):
        row = result.classifications.add().classes
        for column in range(next(iter(shapes))[1]):
            entry = row.add()
            if classes is not None:
                entry.label = classes[index, column].decode("utf-8", "replace")
            if scores is not None:
                entry.score = scores[index, column]


def check_matrix(array: np.ndarray, name: str, expected: tuple[np.dtype, str], count: int) -> None:
    """Whether an output is a matrix of the expected type with a row for each example.

    Raises:
        InvalidPayload: it is not.
    """
    dtype, words = expected
    if array.ndim != 2:
        raise InvalidPayload(f"Expected Tensor shape: [batch_size num_classes] but got {list(array.shape)}")
    if array.dtype != dtype:
        raise InvalidPayload(f"Expected {name} Tensor of {words}. Got: {array.dtype}")
    if len(array) != count:
        raise InvalidPayload(f"Expected {name} output batch size of {count}. Got: {len(array)}")


def write_regressions(outputs: dict[str, np.ndarray], count: int, result: Any) -> None:
    """Writes numbers.

    Args:
        outputs: `outputs` (float32), axes (example,) or (example, 1).
        count: how many examples there are.
        result: an empty `RegressionResult`.

    Raises:
        InvalidPayload: the output is not of that type and shape.
    """
    array = outputs[VALUES]
    if array.shape[1:] not in ((), (1,)) or not array.ndim:
        raise InvalidPayload(
            f"Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got {list(array.shape)}"
        )
    if len(array) != count:
        raise InvalidPayload(f"Input batch size did not match output batch size: {count} vs. {len(array)}")
    if array.dtype != np.float32:
        raise InvalidPayload(f"Expected output Tensor of DT_FLOAT. Got: {array.dtype}")
    for value in array.reshape(-1).tolist():
        result.regressions.add().value = value
