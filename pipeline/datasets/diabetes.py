"""scikit-learn's bundled diabetes data: 442 patients and the progression of the disease after a year."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_diabetes

from pipeline.prepared import About, Feature
from pipeline.raw import RawDataset, parse_options, read_arrays, write_arrays
from pipeline.sections import Section

# scikit-learn calls the serum measurements s1 to s6. Its description names no units for them; these are the ones in
# which such magnitudes are reported (a total cholesterol of 189, a blood sugar of 91).
FEATURES = (
    Feature("age", "years"),
    Feature("sex", "1 or 2"),
    Feature("body_mass_index", "kg/m²"),
    Feature("blood_pressure", "mm Hg"),
    Feature("total_cholesterol", "mg/dl"),
    Feature("low_density_lipoproteins", "mg/dl"),
    Feature("high_density_lipoproteins", "mg/dl"),
    Feature("cholesterol_ratio", "total / high density"),
    Feature("log_triglycerides", "log(mg/dl)"),
    Feature("blood_sugar", "mg/dl"),
)


class Options(Section):
    """The diabetes data have no options."""


def write_bundled(folder: Path, options: Mapping[str, Any]) -> None:
    """Writes what scikit-learn brings along, in raw units."""
    parse_options(Options, options)
    rows = load_diabetes(scaled=False)
    write_arrays(folder, x=rows.data.astype(np.float32), y=rows.target.astype(np.float32))


def load(folder: Path, options: Mapping[str, Any]) -> RawDataset:
    """Reads what `write_bundled` wrote.

    Args:
        folder: the raw folder.
        options: none are known.

    Returns:
        442 rows: `x` float32 `(n, 10)`, `y` float32 `(n,)`, a score of 25 to 346 points one year after baseline.

    Raises:
        DataError: the file is missing or broken.

    Source:
        B. Efron, T. Hastie, I. Johnstone, R. Tibshirani (2004), Least Angle Regression, Annals of Statistics 32.
    """
    parse_options(Options, options)
    x, y = read_arrays(folder)
    return RawDataset(
        task="regression",
        input_kind="features",
        x=x,
        y=y,
        source="Diabetes (Efron, Hastie, Johnstone, Tibshirani 2004), bundled with scikit-learn",
        features=FEATURES,
        target_name="disease_progression",
        target_unit="points",
        about=About(
            intended_use="A regression on a small table, for study.",
            out_of_scope="Treatment of patients.",
            ethical_considerations="The rows are people; their sex and age are inputs.",
            caveats=("So few test rows leave the figures uncertain.",),
        ),
    )
