"""SavedModels whose answers tell their version: the sum of the row plus a thousand times the version.

`python -m benchmarks.tiny_models FOLDER FIRST LAST` writes `FOLDER/<version>/` for each, with TensorFlow, in a process
of its own.
"""

import sys
from pathlib import Path

MODEL = "soak"
SCALE = 1000


def save(folder: Path, version: int) -> None:
    """Writes one version.

    Args:
        folder: where to; its name is the version's.
        version: what its answers tell.
    """
    import tensorflow as tf

    class Tiny(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias = tf.Variable([float(SCALE * version)])

        @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="features")])
        def predict(self, features: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"prediction": tf.reduce_sum(features, axis=1, keepdims=True) + self.bias}

    module = Tiny()
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.predict})


def main() -> None:
    """Writes the versions that the command line names."""
    folder, first, last = sys.argv[1:]
    for version in range(int(first), int(last) + 1):
        save(Path(folder) / str(version), version)


if __name__ == "__main__":
    main()
