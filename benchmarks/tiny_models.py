"""SavedModels for the soak: versions that answer what they were asked and tell which they are, and models with a fault.

`python -m benchmarks.tiny_models FOLDER FIRST LAST` writes `FOLDER/<version>/` for each and `FOLDER/abort` and
`FOLDER/hang`, with TensorFlow, in a process of its own.
"""

import sys
from pathlib import Path
from typing import Any

MODEL = "soak"
FAULTS = ("abort", "hang")


def save(folder: Path, version: int) -> None:
    """Writes one version: `y` is `x`, and `version` says for each row which version it was.

    Args:
        folder: where to; its name is the version's.
        version: what its answers tell.
    """
    import tensorflow as tf

    class Echo(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.version = tf.Variable(float(version))

        @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32, name="x")])
        def call(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"y": tf.identity(x), "version": tf.fill([tf.shape(x)[0]], self.version)}

    module = Echo()
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.call})


def save_fault(folder: Path, fault: str) -> None:
    """Writes a model that ends the process, or never answers, where its input is above 0."""
    import tensorflow as tf

    def fail(x: tf.Tensor) -> Any:
        if fault == "abort":
            # Nothing depends on the operation's outputs, of which it has none.
            with tf.control_dependencies([tf.raw_ops.Abort(error_msg="the model aborts", exit_without_error=False)]):
                return tf.identity(x)
        return tf.while_loop(lambda value: tf.reduce_max(value) > 0, lambda value: (value + 1,), (x,))[0]

    class Faulty(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def call(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"y": tf.cond(tf.reduce_max(x) > 0, lambda: fail(x), lambda: tf.identity(x))}

    module = Faulty()
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.call})


def main() -> None:
    """Writes the models that the command line names."""
    folder, first, last = sys.argv[1:]
    for fault in FAULTS:
        save_fault(Path(folder) / fault, fault)
    for version in range(int(first), int(last) + 1):
        save(Path(folder) / str(version), version)


if __name__ == "__main__":
    main()
