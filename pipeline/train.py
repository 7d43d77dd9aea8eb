"""The train stage: one network on one split, its best epoch kept."""

import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.backend import start_keras
from pipeline.command import run_stage
from pipeline.errors import ParamsError, TrainingError
from pipeline.params import Params
from pipeline.prepared import load_prepared


def train(name: str, params: Params, root: Path) -> None:
    """Trains one network and keeps its best epoch.

    Args:
        name: of a model or a comparison.
        params: of the whole pipeline.
        root: the project's folder: reads `data/prepared/`, writes `runs/<name>` and `reports/<name>/training`, and
            keeps `.kiln/resume/<name>` until the training has ended.

    Raises:
        ParamsError: the parameters do not fit the data or each other.
        DataError: the prepared rows are missing or broken.
        TrainingError: the loss became infinite or not a number.
    """
    block = params.trained(name)
    prepared = load_prepared(root / "data" / "prepared" / block.dataset, block.split)
    start_keras()
    from pipeline.training import Places, train_model

    places = Places(root / "runs" / name, root / "reports" / name / "training", root / ".kiln" / "resume" / name)
    try:
        sentence = train_model(block, prepared, places)
    except (ParamsError, TrainingError) as error:
        raise type(error)(f"{name}: {error}") from None
    print(f"Trained {name}, {sentence}{prepared.description.caveat}.")  # noqa: T201


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    return run_stage("model", train, argv)


if __name__ == "__main__":
    sys.exit(main())
