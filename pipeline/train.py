"""The train stage: one network on one split, its best epoch kept."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.backend import start_keras
from pipeline.command import run_stage
from pipeline.distribution_cluster import check_distribution, read_cluster
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
        TrainingError: the loss became infinite or not a number, or another worker is gone or trains something else.
    """
    block = params.trained(name)
    cluster = read_cluster(os.environ)
    check_distribution(block.train.distribute, cluster)
    prepared = load_prepared(root / "data" / "prepared" / block.dataset, block.split)
    start_keras()
    from pipeline.distribution import start_distribution
    from pipeline.training import Places, train_model

    places = Places(root / "runs" / name, root / "reports" / name / "training", root / ".kiln" / "resume" / name)
    try:
        distribution = start_distribution(block.train.distribute, cluster)
        with distribution.report_losses():
            sentence = train_model(block, prepared, places, distribution)
    except (ParamsError, TrainingError) as error:
        raise type(error)(f"{name}: {error}") from None
    if distribution.is_chief:
        print(f"Trained {name}, {sentence}{prepared.description.caveat}.")  # noqa: T201


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    return run_stage("model", train, argv)


if __name__ == "__main__":
    sys.exit(main())
