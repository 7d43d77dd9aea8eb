"""The two sides of the training benchmark: plain `model.fit`, and Kiln's loop, each from the file to the last step.

Needs keras and numpy, and the backend that Keras runs on; nothing else of Kiln's pipeline than its loop.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from pipeline.batches import Deal
from pipeline.steps import fit_in_steps

BATCH_SIZE = 128
LEARNING_RATE = 0.001
EVALUATION_BATCH = 1000


@dataclass(frozen=True)
class Network:
    """One network of the comparison.

    Attributes:
        title: what the page calls it.
        build: its hidden layers, from images with one grey value per pixel, 0 to 1.
        epochs: of a training, unless the command line says otherwise.
        target: the most that Kiln's seconds per epoch may be of plain `fit`'s on a CPU; None where nothing is promised.
        gpu_target: the same on a GPU.
    """

    title: str
    build: Callable[[keras.KerasTensor], keras.KerasTensor]
    epochs: int
    target: float | None
    gpu_target: float | None = None


@dataclass(frozen=True)
class Training:
    """What one training took and gave.

    Attributes:
        seconds: from before the file was read until the last epoch had ended.
        cpu_seconds: of all threads in that time.
        epoch_seconds: of each epoch; the first one contains what is traced and compiled in it.
        accuracy: on the test rows, which are read and predicted outside of the time.
    """

    seconds: float
    cpu_seconds: float
    epoch_seconds: list[float]
    accuracy: float


def has_gpu() -> bool:
    """Whether Keras computes on a GPU."""
    return any("gpu" in device for device in keras.distribution.list_devices())


def train_plainly(network: Network, file: Path, epochs: int, seed: int) -> Training:
    """What a notebook does: all rows as float32, and `fit` with its defaults."""
    clock = _Clock()
    x, y = _read(file, "train")
    model = build_model(network, seed)
    model.fit(x.astype(np.float32), y, batch_size=BATCH_SIZE, epochs=epochs, verbose=0, callbacks=[clock])
    return clock.stop(model, file)


def train_with_kiln(network: Network, file: Path, epochs: int, seed: int) -> Training:
    """What the train stage does, without its files."""
    clock = _Clock()
    x, y = _read(file, "train")
    with _deterministic():
        model = build_model(network, seed)
        deal = Deal(len(x), BATCH_SIZE, seed)
        fit_in_steps(model, (x, y), deal, epochs=epochs, verbose=0, callbacks=[clock])
        return clock.stop(model, file)


def build_model(network: Network, seed: int) -> keras.Model:
    """The compiled network, with its seed set; the same on both sides."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((28, 28), name="image")
    hidden = network.build(keras.layers.Rescaling(1 / 255)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(hidden))
    model.compile(keras.optimizers.Adam(LEARNING_RATE), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def build_mlp(*units: int) -> Callable[[keras.KerasTensor], keras.KerasTensor]:
    """Dense layers; none at all for softmax regression."""

    def build(images: keras.KerasTensor) -> keras.KerasTensor:
        hidden = keras.layers.Flatten()(images)
        for count in units:
            hidden = keras.layers.Dense(count, activation="relu")(hidden)
        return hidden

    return build


def build_cnn(*filters: int) -> Callable[[keras.KerasTensor], keras.KerasTensor]:
    """Convolutions of 3 x 3, with max pooling in between."""

    def build(images: keras.KerasTensor) -> keras.KerasTensor:
        hidden = keras.layers.Reshape((28, 28, 1))(images)
        for number, count in enumerate(filters):
            hidden = keras.layers.MaxPooling2D()(hidden) if number else hidden
            hidden = keras.layers.Conv2D(count, 3, activation="relu")(hidden)
        return keras.layers.Flatten()(hidden)

    return build


NETWORKS = {
    "softmax": Network("softmax net", build_mlp(), 30, 0.25, 0.1),
    "mlp": Network("MLP 256-256", build_mlp(256, 256), 12, 0.65, 0.1),
    "cnn": Network("CNN 64-64-64", build_cnn(64, 64, 64), 2, 1.0),
    # Unrolled, as Kiln builds it; on both sides.
    "rnn": Network("SimpleRNN 256", keras.layers.SimpleRNN(256, unroll=True), 2, 1.0),
    "lstm": Network("LSTM 128", keras.layers.LSTM(128), 2, None),
}


class _Clock(keras.callbacks.Callback):
    def __init__(self) -> None:
        super().__init__()
        self._start, self._cpu_start = time.perf_counter(), time.process_time()
        self._ends: list[float] = []
        self._cpu_end = 0.0

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        self._ends.append(time.perf_counter())

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        self._ends.append(time.perf_counter())

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        self._cpu_end = time.process_time()

    def stop(self, model: keras.Model, file: Path) -> Training:
        """Everything measured; the accuracy is computed now."""
        seconds, cpu_seconds = self._ends[-1] - self._start, self._cpu_end - self._cpu_start
        x, y = _read(file, "test")
        parts = np.split(x.astype(np.float32), range(EVALUATION_BATCH, len(x), EVALUATION_BATCH))
        guesses = np.concatenate([model.predict_on_batch(part).argmax(axis=1) for part in parts])
        return Training(seconds, cpu_seconds, np.diff(self._ends).tolist(), float(np.mean(guesses == y)))


def _read(file: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 `(n, 28, 28)`, 0 to 255, and their digits, int32 `(n,)`."""
    with np.load(file) as arrays:
        return arrays[f"x_{part}"], arrays[f"y_{part}"].astype(np.int32)


@contextmanager
def _deterministic() -> Iterator[None]:
    """Kiln trains deterministically and a notebook does not, so this must not outlast Kiln's side."""
    if keras.backend.backend() != "tensorflow":
        yield
        return
    # TensorFlow's public names cannot switch it off again.
    from tensorflow.python.framework import config

    config.enable_op_determinism()
    try:
        yield
    finally:
        config.disable_op_determinism()
