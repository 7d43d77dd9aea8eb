"""scikit-learn's bundled breast cancer data: 569 biopsies, benign or malignant."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer

from pipeline.prepared import About, Feature
from pipeline.raw import RawDataset, identifier, parse_options, read_arrays, write_arrays
from pipeline.sections import Section

# Of each measure there are mean, standard error and worst over the nuclei of one picture, in this order. The source
# gives lengths and areas in no stated unit, and the other measures as ratios.
MEASURES = (
    "radius", "texture", "perimeter", "area", "smoothness", "compactness", "concavity", "concave points", "symmetry",
    "fractal dimension",
)  # fmt: skip
NAMES = (
    *(f"mean {measure}" for measure in MEASURES),
    *(f"{measure} error" for measure in MEASURES),
    *(f"worst {measure}" for measure in MEASURES),
)


class Options(Section):
    """The breast cancer data have no options."""


def write_bundled(folder: Path, options: Mapping[str, Any]) -> None:
    """Writes what scikit-learn brings along, with the classes turned round: see `load`."""
    parse_options(Options, options)
    rows = load_breast_cancer()
    write_arrays(folder, x=rows.data.astype(np.float32), y=1 - rows.target.astype(np.int64))


def load(folder: Path, options: Mapping[str, Any]) -> RawDataset:
    """Reads what `write_bundled` wrote.

    Class 1, the positive one, is `malignant`: recall is then the share of the cancers that are found. scikit-learn
    itself numbers the classes the other way round.

    Args:
        folder: the raw folder.
        options: none are known.

    Returns:
        569 rows: `x` float32 `(n, 30)`, `y` 0 for benign and 1 for malignant.

    Raises:
        DataError: the file is missing or broken.

    Source:
        W. N. Street, W. H. Wolberg, O. L. Mangasarian (1993), Nuclear feature extraction for breast tumor diagnosis.
    """
    parse_options(Options, options)
    x, y = read_arrays(folder)
    return RawDataset(
        task="binary",
        input_kind="features",
        x=x,
        y=y,
        source="Breast Cancer Wisconsin, diagnostic (Street, Wolberg, Mangasarian 1993), bundled with scikit-learn",
        labels=("benign", "malignant"),
        features=tuple(Feature(identifier(name), "grey levels" if "texture" in name else "") for name in NAMES),
        target_name="diagnosis",
        about=About(
            intended_use="Telling benign from malignant by nuclei measured in pictures of biopsies, for study.",
            out_of_scope="Diagnosis of patients.",
            ethical_considerations="A cancer that is missed harms more than a false alarm, and the operating point "
            "does not weigh one against the other. Nothing is recorded of the patients, so figures by group cannot be "
            "given.",
        ),
    )
