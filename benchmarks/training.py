"""Seconds per epoch of Kiln's training loop beside plain `model.fit(x, y, batch_size=128)`, in one process.

    python -m benchmarks.training --rounds 3

Trains five networks on the 60,000 images of MNIST, from reading the file to the last step, each side in turn, and
writes benchmarks/TRAINING.md. Needs `mnist.npz` in the folder KILN_DATA_MIRROR, or fetched to data/raw/mnist.

Runs on any backend of Keras: `KERAS_BACKEND=jax python -m benchmarks.training --epochs 200 --output gpu.md` needs
numpy, keras with optree and namex, and jax; neither TensorFlow nor Kiln's other requirements. On a GPU, compiling takes
as long as many epochs do, and everything is counted.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.backend import start_keras

PAGE = Path(__file__).with_name("TRAINING.md")
NAMES = ("softmax", "mlp", "cnn", "rnn", "lstm")
FETCHED = Path("data/raw/mnist/mnist.npz")


def main(argv: Sequence[str] | None = None) -> int:
    """Measures and writes the page; returns 1 if a target was missed."""
    arguments = _parse(argv)
    file = find_data()
    if file is None:
        print(
            "No mnist.npz. Set KILN_DATA_MIRROR to a folder that holds it, or fetch it: dvc repro fetch@mnist",
            file=sys.stderr,
        )
        return 2
    start_keras()
    from benchmarks.training_page import write_page
    from benchmarks.training_results import measure

    results = measure(arguments.networks, file, arguments.rounds, arguments.epochs)
    command = f"python -m benchmarks.training {' '.join(sys.argv[1:] if argv is None else argv)}".strip()
    print(write_page(arguments.output, results, command))
    return 0 if all(result.is_met for result in results) else 1


def find_data() -> Path | None:
    """The file with MNIST, where there is one."""
    mirror = os.environ.get("KILN_DATA_MIRROR", "")
    places = ([Path(mirror) / "mnist.npz"] if mirror and "://" not in mirror else []) + [FETCHED]
    return next((place for place in places if place.is_file()), None)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compares seconds per epoch with plain model.fit.")
    parser.add_argument("--networks", nargs="+", choices=NAMES, default=NAMES, help="which ones (all)")
    parser.add_argument("--epochs", type=int, help="of each training (each network has its own number)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each side has its turn (3)")
    parser.add_argument("--output", type=Path, default=PAGE, help="the page to write (benchmarks/TRAINING.md)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
