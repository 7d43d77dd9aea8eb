"""The stage `export`: a trained network as a SavedModel that is checked against the Keras model before it appears."""

import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.backend import start_keras
from pipeline.command import run_stage
from pipeline.params import Params


def export(name: str, params: Params, root: Path) -> None:
    """Writes `exports/<name>/`, whole or not at all.

    Args:
        name: of the model.
        params: the checked parameters.
        root: the project's folder.

    Raises:
        ParamsError: there is no such model.
        DataError: the prepared rows, the trained model or its figures are missing.
        ExportError: the reloaded SavedModel does not give the Keras model's numbers.
    """
    block = params.published(name)
    start_keras()
    from pipeline.saved_model import write_saved_model

    write_saved_model(name, block, root)


def main(argv: Sequence[str] | None = None) -> int:
    """Exports one model."""
    return run_stage("model", export, argv)


if __name__ == "__main__":
    sys.exit(main())
