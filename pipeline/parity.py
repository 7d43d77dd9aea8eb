"""Whether a reloaded SavedModel answers what the Keras model answers, signature by signature."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from pipeline.errors import ExportError
from pipeline.inputs import pixels_of, signature_inputs
from pipeline.operating_point import decide
from pipeline.prepared import Description
from pipeline.warmup import load_requests

TOLERANCE = 1e-5
"""Absolute for probabilities, and relative beyond 1, since float32 has seven digits."""


@dataclass(frozen=True)
class Reference:
    """The Keras model that a SavedModel must agree with.

    Attributes:
        model: raw rows in, probabilities or predictions in the target's unit out.
        description: of the data.
        threshold: the operating point of a binary task, else None.
    """

    model: keras.Model
    description: Description
    threshold: float | None

    def outputs(self, rows: np.ndarray) -> np.ndarray:
        """The Keras model's answers: float32 `(n, classes)` or `(n, 1)`."""
        if not len(rows):  # layers need not answer an empty batch; signatures must
            return self.outputs(np.zeros((1, *self.description.input_shape)))[:0]
        return np.asarray(self.model(rows.astype(np.float32), training=False))


def check_signatures(signatures: Mapping[str, Callable], reference: Reference, rows: np.ndarray) -> None:
    """Compares every signature with the Keras model.

    Args:
        signatures: of the reloaded SavedModel.
        reference: the Keras model.
        rows: `(n, *input_shape)` raw rows; none is a batch too.

    Raises:
        ExportError: a signature is missing, or answers something else. The message gives the two numbers.
    """
    inputs = signature_inputs(reference.description, rows)
    if set(signatures) != set(inputs):
        raise ExportError(f"The SavedModel has the signatures {sorted(signatures)}; expected {sorted(inputs)}.")
    expected = reference.outputs(rows)
    for name, arrays in inputs.items():
        answers = call_signature(signatures[name], arrays)
        if name == "image_bytes":
            _check_answers(name, answers, reference, reference.outputs(pixels_of(reference.description, rows)))
        else:
            _check_answers(name, answers, reference, expected)


def check_warmup(signatures: Mapping[str, Callable], path: Path) -> None:
    """Replays a warm-up file.

    Args:
        signatures: of the reloaded SavedModel.
        path: of the file.

    Raises:
        ExportError: it holds no request for a signature, or one that a signature refuses.
    """
    replayed = set()
    for request in load_requests(path):
        if request.signature_name not in signatures:
            raise ExportError(f"{path.name} calls {request.signature_name!r}; there is {sorted(signatures)}.")
        try:
            call_signature(signatures[request.signature_name], request.inputs)
        except (tf.errors.OpError, TypeError, ValueError) as error:
            raise ExportError(f"{path.name}: {request.signature_name!r} refuses its request: {error}") from None
        replayed.add(request.signature_name)
    if replayed != set(signatures):
        raise ExportError(f"{path.name} warms {sorted(replayed)}; expected {sorted(signatures)}.")


def call_signature(signature: Callable, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Calls one signature.

    Args:
        signature: of a SavedModel.
        arrays: its inputs by name; those of dtype object are bytes.

    Returns:
        Its outputs by name.
    """
    # By name: TensorFlow looks positional inputs up anew, which takes ten times as long.
    tensors = {
        name: tf.constant(values, tf.string if values.dtype == object else None) for name, values in arrays.items()
    }
    return {name: tensor.numpy() for name, tensor in signature(**tensors).items()}


def _check_answers(name: str, answers: dict[str, np.ndarray], reference: Reference, expected: np.ndarray) -> None:
    output = "prediction" if reference.description.task == "regression" else "probabilities"
    answers = dict(answers)
    values = answers.pop(output, None)
    if values is None:
        raise ExportError(f"Signature {name!r} has no output {output!r}; it has {sorted(answers)}.")
    _check_numbers(name, values, expected)
    if name == "serving_default" or reference.description.task == "regression":
        wanted = {}
    else:
        class_id = decide(values, reference.threshold)
        label = np.array(reference.description.labels, dtype=object)[class_id]
        wanted = {"class_id": class_id, "score": values[np.arange(len(values)), class_id], "label": label}
    if answers.keys() != wanted.keys():
        raise ExportError(f"Signature {name!r} has the outputs {sorted(answers)}; expected {sorted(wanted)}.")
    for key, column in wanted.items():
        _check_equal(f"{name}: {key}", answers[key], column)


def _check_numbers(name: str, values: np.ndarray, expected: np.ndarray) -> None:
    if values.shape != expected.shape:
        raise ExportError(f"Signature {name!r} answers the shape {values.shape}; the Keras model {expected.shape}.")
    excess = np.abs(values - expected) - TOLERANCE * np.maximum(1.0, np.abs(expected))
    # Written so that a NaN, which compares false with all, is not let through.
    if not (excess <= 0).all():
        worst = np.unravel_index(np.argmax(np.nan_to_num(excess, nan=np.inf)), excess.shape)
        raise ExportError(
            f"Signature {name!r} answers {values[worst]!r} where the Keras model answers {expected[worst]!r} "
            f"(row {worst[0]} of {len(values)}); they may differ by {TOLERANCE}. The model was not exported."
        )


def _check_equal(where: str, values: np.ndarray, expected: np.ndarray) -> None:
    given = [value.decode("utf-8") if isinstance(value, bytes) else value for value in values.tolist()]
    for row, (value, wanted) in enumerate(zip(given, expected.tolist(), strict=True)):
        if value != wanted:
            raise ExportError(f"{where} of row {row} is {value!r}; the probabilities say {wanted!r}.")
