"""scikit-learn's bundled digits: 1,797 handwritten digits, 8 x 8 grey pixels."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

from pipeline.prepared import About
from pipeline.raw import RawDataset, parse_options, read_arrays, write_arrays
from pipeline.sections import Section


class Options(Section):
    """The digits have no options."""


def write_bundled(folder: Path, options: Mapping[str, Any]) -> None:
    """Writes what scikit-learn brings along."""
    parse_options(Options, options)
    images, labels = load_digits().images, load_digits().target
    write_arrays(folder, x=images.astype(np.uint8), y=labels.astype(np.int64))


def load(folder: Path, options: Mapping[str, Any]) -> RawDataset:
    """Reads what `write_bundled` wrote.

    Args:
        folder: the raw folder.
        options: none are known.

    Returns:
        1,797 rows: `x` uint8 `(n, 8, 8)`, each value the number of set pixels (0-16) in a block of 4 x 4.

    Raises:
        DataError: the file is missing or broken.

    Source:
        E. Alpaydin, C. Kaynak (1998), Optical Recognition of Handwritten Digits, UCI; its test set.
    """
    parse_options(Options, options)
    x, y = read_arrays(folder)
    return RawDataset(
        task="multiclass",
        input_kind="image",
        x=x,
        y=y,
        source="Optical Recognition of Handwritten Digits (Alpaydin, Kaynak 1998), bundled with scikit-learn",
        labels=tuple("0123456789"),
        input_range=(0.0, 16.0),
        target_name="digit",
        about=About(
            intended_use="Reading single handwritten digits that were scanned and reduced to 8 x 8 grey levels.",
            out_of_scope="Photographs, several digits in one picture, other characters.",
            caveats=("Who wrote a digit is not recorded, so one writer may stand on two sides of the split.",),
        ),
    )
