"""White wine: the alcohol content of 4,898 wines from the rest of their chemistry (Cortez et al. 2009)."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.datasets import table
from pipeline.prepared import About
from pipeline.raw import FileSet, RawDataset, RemoteFile, file_digest, parse_options
from pipeline.sections import Section

FILE = "winequality-white.csv"
ADDRESS = f"https://archive.ics.uci.edu/ml/machine-learning-databases/wine-quality/{FILE}"
CONTENTS = {FILE: "sha256:76c3f809815c17c07212622f776311faeb31e87610d52c26d87d6e361b169836"}
# The ten chemical columns besides the target. `quality` is left out: it is a taster's mark, not chemistry.
UNITS = {
    "fixed acidity": "g(tartaric acid)/dm³",
    "volatile acidity": "g(acetic acid)/dm³",
    "citric acid": "g/dm³",
    "residual sugar": "g/dm³",
    "chlorides": "g(sodium chloride)/dm³",
    "free sulfur dioxide": "mg/dm³",
    "total sulfur dioxide": "mg/dm³",
    "density": "g/cm³",
    "pH": "",
    "sulphates": "g(potassium sulphate)/dm³",
}

ABOUT = About(
    intended_use="Estimating the alcohol of a white vinho verde from the other measures of its analysis.",
    out_of_scope="Other wines; a figure that the law asks to be measured.",
    caveats=(
        "Of 4,898 rows, 947 repeat the ten inputs of another: split `row` lets a model know their answers, split "
        "`distinct` does not.",
    ),
)


class Options(Section):
    """The wine data have no options."""


def remote_files(options: Mapping[str, Any]) -> tuple[FileSet, ...]:
    """The one file of the UCI repository."""
    parse_options(Options, options)
    return (FileSet((RemoteFile(FILE, (ADDRESS,), FILE, 264_426, CONTENTS, _measure),)),)


def load(folder: Path, options: Mapping[str, Any]) -> RawDataset:
    """Reads the wines.

    Of the 4,898 rows, 947 repeat the ten features of an earlier one, and 937 of these its alcohol too: wines that were
    entered more than once. A split that is to measure anything keeps rows with the same features together
    (`keep_together: duplicates`), whatever their target.

    Args:
        folder: holds `winequality-white.csv`.
        options: none are known.

    Returns:
        4,898 rows: `x` float32 `(n, 10)`, `y` float32 `(n,)`, alcohol in % vol. (8 to 14.2).

    Raises:
        DataError: the file is missing or broken.

    Source:
        P. Cortez, A. Cerdeira, F. Almeida, T. Matos, J. Reis (2009), Modeling wine preferences by data mining from
        physicochemical properties, Decision Support Systems 47; units from its table 1.
    """
    parse_options(Options, options)
    wanted = {"target": "alcohol", "target_unit": "% vol.", "task": "regression", "features": UNITS, "delimiter": ";"}
    rows = table.read_table(folder / FILE, parse_options(table.Options, wanted))
    return dataclasses.replace(
        rows,
        source="Wine Quality, white (Cortez et al. 2009), UCI Machine Learning Repository",
        about=ABOUT,
    )


def _measure(path: Path) -> dict[str, str]:
    return {FILE: file_digest(path)}
