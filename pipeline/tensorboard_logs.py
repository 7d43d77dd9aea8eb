"""TensorBoard logs of a training: scalars of train and validation, the graph, histograms of the weights.

Keras's own callback writes no graph of the computation, and a killed run loses what it had not flushed.
"""

from pathlib import Path
from typing import Any

import keras

from pipeline.callbacks import Logs

HISTOGRAMS = 20
"""About so many sets of histograms per training: more than anyone looks at, and little to write."""


class TensorBoardLogs(keras.callbacks.Callback):
    """Writes after each epoch; needs the TensorFlow backend, whose summary writers it uses."""

    def __init__(self, folder: Path, epochs: int) -> None:
        """Prepares the writers.

        Args:
            folder: gets `train/` and `validation/`; what is there already stays, so a resumed training adds to it.
            epochs: of the whole training.
        """
        super().__init__()
        self._folder = folder
        self._every = max(1, epochs // HISTOGRAMS)
        self._last = epochs - 1
        self._writers: dict[str, Any] = {}

    def on_train_begin(self, logs: Logs | None = None) -> None:  # noqa: ARG002
        """Opens the files and writes the graph of the network."""
        import tensorflow as tf

        self._writers = {name: tf.summary.create_file_writer(str(self._folder / name)) for name in _WRITERS}
        signature = [tf.TensorSpec(tensor.shape, tensor.dtype, tensor.name) for tensor in self.model.inputs]
        concrete = tf.function(self.model).get_concrete_function(*signature)
        with self._writers["train"].as_default():
            tf.summary.graph(concrete.graph)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Writes the epoch's figures and, in some epochs, the weights."""
        import tensorflow as tf

        for name, writer in self._writers.items():
            with writer.as_default(step=epoch + 1):
                for figure, value in logs.items():
                    if figure.startswith("val_") == (name == "validation"):
                        tf.summary.scalar(f"epoch_{figure.removeprefix('val_')}", value)
                if name == "train" and (epoch % self._every == 0 or epoch == self._last):
                    for weight in self.model.weights:
                        tf.summary.histogram(weight.path, weight.value)
            writer.flush()

    def on_train_end(self, logs: Logs | None = None) -> None:  # noqa: ARG002
        """Closes the files."""
        for writer in self._writers.values():
            writer.close()


_WRITERS = ("train", "validation")
