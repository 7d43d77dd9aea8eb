"""A published model's answers to many rows: one of its signatures, called in batches of one size.

The SavedModel runs in one of TensorFlow's sessions, as in the service's engine. Called as a function
(`tf.saved_model.load`) its graph is optimized in another way, and a quarter of the answers differ in their last digits.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.backend import start_tensorflow
from pipeline.errors import DataError
from pipeline.prediction_rows import ModelInput
from pipeline.releases import Release

BATCH_ROWS = {"features": 1024, "image": 256}
"""Larger ones were no faster; the convolutions of 256 images of 28 x 28 take 50 MB a layer."""
LEAST_BATCH_ROWS = 2
"""A single row is multiplied by other code than several are, which gives another last digit."""
PREAMBLE = re.compile(r"Graph execution error:|Detected at node|<stack traces|\s|\[\[|$")
PROBABILITIES, PREDICTION, UNIT = "probabilities", "prediction", "unit"


@dataclass(frozen=True)
class Answers:
    """What a model answers to rows.

    Attributes:
        table: one row per row that was answered.
        answered: `(n,)` bool, which of the rows these are.
        problems: of the others, by their place.
    """

    table: pa.Table
    answered: np.ndarray
    problems: dict[int, str]


def model_input(release: Release) -> ModelInput:
    """What rows a published model takes.

    Raises:
        DataError: its manifest does not say.
    """
    try:
        described = release.manifest["input"]
        features = tuple(feature["name"] for feature in release.manifest["features"])
        return ModelInput(described["kind"], described["name"], tuple(described["shape"]), features)
    except (KeyError, TypeError) as error:
        raise DataError(f"{release.folder}: model.json does not describe the input ({error}).") from None


def default_signature(release: Release, *, pictures: bool) -> str:
    """The signature that says most: label and probabilities of a class, or the prediction."""
    if pictures:
        return "image_bytes"
    return "serving_default" if release.manifest.get("task") == "regression" else "classify"


class Scorer:
    """One signature of a published model.

    Attributes:
        schema: of the answers' columns.
    """

    def __init__(self, release: Release, signature: str, batch_size: int) -> None:
        """Loads the SavedModel: some seconds.

        Args:
            release: the published version.
            signature: its name.
            batch_size: rows in each call; the last one is filled up by repeating a row.

        Raises:
            DataError: there is no such signature, or it cannot be loaded.
        """
        start_tensorflow()
        import tensorflow as tf

        # Sessions are what a server runs, whatever the warning says of them.
        tf.get_logger().setLevel("ERROR")
        graph = tf.Graph()
        with graph.as_default():
            self._session = tf.compat.v1.Session(graph=graph)
            try:
                loaded = tf.compat.v1.saved_model.load(self._session, ["serve"], str(release.folder))
            except (OSError, ValueError, RuntimeError, tf.errors.OpError) as error:
                raise DataError(f"{release.folder} cannot be loaded: {error}.") from None
        definitions = {name: entry for name, entry in loaded.signature_def.items() if not name.startswith("__")}
        if signature not in definitions:
            available = ", ".join(repr(name) for name in sorted(definitions))
            raise DataError(f"{release.folder} has no signature {signature!r}. Available: {available}.")
        self._inputs = {name: entry.name for name, entry in definitions[signature].inputs.items()}
        self._outputs = {name: entry.name for name, entry in definitions[signature].outputs.items()}
        self._nothing = {name: _no_rows(entry) for name, entry in definitions[signature].outputs.items()}
        self._features = model_input(release).features
        self._batch_size = batch_size
        self._columns = AnswerColumns(release.manifest)
        self.schema = self._columns.tabulate(self._nothing).schema

    def score(self, values: np.ndarray) -> Answers:
        """Answers rows.

        Args:
            values: float32 `(n, *shape)` raw, or `(n,)` objects, the bytes of picture files.

        Returns:
            The answers. Only picture files can have problems.
        """
        outputs, problems = [self._nothing], {}
        for start in range(0, len(values), self._batch_size):
            batch = values[start : start + self._batch_size]
            answered, wrong = self._score_batch(batch)
            outputs.append(answered)
            problems |= {start + place: problem for place, problem in wrong.items()}
        columns = {name: np.concatenate([part[name] for part in outputs]) for name in outputs[0]}
        answered = np.ones(len(values), bool)
        answered[list(problems)] = False
        return Answers(self._columns.tabulate(columns), answered, problems)

    def _score_batch(self, batch: np.ndarray) -> tuple[dict[str, np.ndarray], dict[int, str]]:
        import tensorflow as tf

        try:
            return self._run(batch), {}
        except tf.errors.InvalidArgumentError:
            problems = dict(self._find_problems(batch))
        good = np.delete(batch, list(problems))
        return (self._run(good) if len(good) else self._nothing), problems

    def _find_problems(self, batch: np.ndarray) -> Iterator[tuple[int, str]]:
        import tensorflow as tf

        for place in range(len(batch)):
            try:
                self._call(batch[place : place + 1])
            except tf.errors.InvalidArgumentError as error:
                yield place, _first_sentence(error.message)

    def _run(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        count = len(batch)
        if count < self._batch_size:
            batch = np.concatenate([batch, np.repeat(batch[-1:], self._batch_size - count, axis=0)])
        return {name: values[:count] for name, values in self._call(batch).items()}

    def _call(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        if len(self._inputs) == 1:
            [tensor] = self._inputs.values()
            return self._session.run(self._outputs, {tensor: batch})
        columns = np.ascontiguousarray(batch.T)
        fed = {self._inputs[name]: columns[place] for place, name in enumerate(self._features)}
        return self._session.run(self._outputs, fed)


class AnswerColumns:
    """How a signature's outputs become columns of a table."""

    def __init__(self, manifest: Mapping[str, Any]) -> None:
        """Takes names and units from the model's manifest."""
        self._labels = manifest.get("labels", [])
        self._unit = manifest.get("target", {}).get("unit", "")

    def tabulate(self, outputs: Mapping[str, np.ndarray]) -> pa.Table:
        """The columns.

        Args:
            outputs: by name; arrays whose first axis counts the rows.

        Returns:
            `label`, `class_id`, `score` and one `probability_LABEL` per class, or `prediction` and its `unit`.
        """
        order = ["label", "class_id", "score", PROBABILITIES, PREDICTION]
        columns: dict[str, pa.Array] = {}
        for name in sorted(outputs, key=lambda name: (order.index(name) if name in order else len(order), name)):
            columns |= self._split(name, outputs[name])
        return pa.table(columns)

    def _split(self, name: str, values: np.ndarray) -> dict[str, pa.Array]:
        if values.dtype == object:
            return {name: pa.array(values.tolist(), pa.binary()).cast(pa.string())}
        if name == PROBABILITIES:
            parts = {f"probability_{label}": values[:, place] for place, label in enumerate(self._labels)}
            return {key: pa.array(np.ascontiguousarray(part)) for key, part in parts.items()}
        if name == PREDICTION:
            unit = {UNIT: pa.array([self._unit] * len(values), pa.string())} if self._unit else {}
            return {name: pa.array(values.reshape(-1)), **unit}
        return {name: pa.array(values)}


def _no_rows(output: Any) -> np.ndarray:
    """The value of an output for no rows, from its `TensorInfo`."""
    import tensorflow as tf

    sides = [dimension.size for dimension in output.tensor_shape.dim[1:]]
    kind = tf.dtypes.as_dtype(output.dtype)
    return np.zeros((0, *sides), object if kind == tf.string else kind.as_numpy_dtype)


def _first_sentence(message: str) -> str:
    """What TensorFlow says of an input, without where in the graph."""
    lines = [line for line in message.splitlines() if not PREAMBLE.match(line)]
    return re.sub(r"assertion failed: |[\[\]]", "", lines[0]) if lines else "TensorFlow cannot decode it"
