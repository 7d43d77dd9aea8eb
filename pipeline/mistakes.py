"""The test rows on which a model is most wrong, as a table and as a picture."""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from pipeline.plots import Sketch
from pipeline.prepared import Description, Part

SHOWN = 25
COLUMNS_LISTED = 32
"""Wider rows, signals for example, are not spelled out in the table."""


def worst_guesses(part: Part, probabilities: np.ndarray, guesses: np.ndarray, description: Description) -> pd.DataFrame:
    """The wrongly classified rows that were given the least probability of being what they are.

    Args:
        part: the test rows.
        probabilities: `(n, classes)` float32.
        guesses: `(n,)` int64 class ids at the operating point.
        description: of the data, for names.

    Returns:
        At most 25 rows, the worst first: `row` (position in the test part), `expected`, `guessed`,
        `probability_of_expected`, `probability_of_guessed`, and the columns of a narrow table.
    """
    rows = np.arange(len(part.y))
    wrong = np.flatnonzero(guesses != part.y)
    of_truth = probabilities[rows, part.y]
    worst = wrong[np.argsort(of_truth[wrong], kind="stable")][:SHOWN]
    names = np.array(description.labels)
    table = pd.DataFrame(
        {
            "row": worst,
            "expected": names[part.y[worst]],
            "guessed": names[guesses[worst]],
            "probability_of_expected": of_truth[worst].round(5),
            "probability_of_guessed": probabilities[worst, guesses[worst]].round(5),
        }
    )
    return pd.concat([table, _listed_columns(part, worst, description)], axis=1)


def largest_errors(part: Part, predictions: np.ndarray, description: Description) -> pd.DataFrame:
    """The rows whose prediction is farthest off.

    Args:
        part: the test rows.
        predictions: `(n,)` float32, in the target's unit.
        description: of the data, for names.

    Returns:
        At most 25 rows, the worst first: `row` (position in the test part), `expected`, `guessed` and `error` in the
        target's unit, and the columns of a narrow table.
    """
    errors = predictions - part.y
    worst = np.argsort(-np.abs(errors), kind="stable")[:SHOWN]
    table = pd.DataFrame(
        {"row": worst, "expected": part.y[worst], "guessed": predictions[worst], "error": errors[worst]}
    )
    return pd.concat([table.round(5), _listed_columns(part, worst, description)], axis=1)


def draw_mistakes(table: pd.DataFrame, part: Part, description: Description, title: str) -> Sketch:
    """The rows of `worst_guesses` or `largest_errors` with their expected and guessed names or values.

    Args:
        table: of one of these functions.
        part: the test rows.
        description: of the data.
        title: what the picture shows.

    Returns:
        Images as images; other rows as a bar each: the probability of the wrong class, or the error.
    """
    if table.empty:
        sketch = Sketch(title, (5, 1.2))
        sketch.axes.set_axis_off()
        sketch.axes.text(0.5, 0.5, f"None: all {len(part.y)} rows are right.", ha="center")
        return sketch
    return (_draw_images if description.input_kind == "image" else _draw_bars)(table, part, description, title)


def _listed_columns(part: Part, rows: np.ndarray, description: Description) -> pd.DataFrame:
    if description.input_kind == "image" or len(description.features) > COLUMNS_LISTED:
        return pd.DataFrame(index=range(len(rows)))
    return pd.DataFrame(part.x[rows], columns=[feature.name for feature in description.features])


def _draw_images(table: pd.DataFrame, part: Part, description: Description, title: str) -> Sketch:
    across = math.ceil(math.sqrt(len(table)))
    down = math.ceil(len(table) / across)
    sketch = Sketch(title, (1.35 * across + 0.5, 1.55 * down + 0.7), (down, across))
    low, high = description.input_range or (0, 255)
    for axes in sketch.cells:
        axes.set_axis_off()
    for axes, (_, mistake) in zip(sketch.cells, table.iterrows(), strict=False):
        axes.imshow(part.x[int(mistake["row"])], cmap="gray_r", vmin=low, vmax=high)
        axes.set_title(_caption(mistake, "\n"), fontsize=7)
    return sketch


def _draw_bars(table: pd.DataFrame, part: Part, description: Description, title: str) -> Sketch:
    del part  # a row of numbers is told by its errors
    sketch = Sketch(title, (7.0, 1.2 + 0.22 * len(table)))
    is_regression = description.task == "regression"
    lengths = table["error"] if is_regression else table["probability_of_guessed"]
    sketch.axes.barh(range(len(table)), lengths, color="tab:red", alpha=0.7)
    captions = [f"row {mistake['row']}: {_caption(mistake, ', ')}" for _, mistake in table.iterrows()]
    sketch.axes.set_yticks(range(len(table)), captions, fontsize=7)
    sketch.axes.set_xlabel(_error_label(description) if is_regression else "probability of the wrong class")
    _mark_zero(sketch.axes)
    return sketch


def _error_label(description: Description) -> str:
    unit = f" [{description.target_unit}]" if description.target_unit else ""
    return f"error of {description.target_name}{unit}"


def _mark_zero(axes: Axes) -> None:
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.8)


def _caption(mistake: pd.Series, separator: str) -> str:
    expected, guessed = (
        value if isinstance(value, str) else f"{value:.4g}" for value in (mistake["expected"], mistake["guessed"])
    )
    return f"expected {expected}{separator}guessed {guessed}"
