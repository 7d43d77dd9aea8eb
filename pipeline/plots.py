"""Pictures of an evaluation, drawn from the tables of `pipeline/curves.py`."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

DOTS_PER_INCH = 80


class Sketch:
    """A figure that carries the warning that its data are partial, where they are.

    Attributes:
        axes: its only cell, or the first of several.
        cells: all cells, row by row.
    """

    def __init__(self, title: str, size: tuple[float, float] = (5.0, 4.2), cells: tuple[int, int] = (1, 1)) -> None:
        """Starts an empty figure.

        Args:
            title: what it shows.
            size: width and height in inches.
            cells: how many rows and columns of axes.
        """
        self._figure = Figure(figsize=size, dpi=DOTS_PER_INCH, layout="constrained")
        self._figure.suptitle(title, fontsize=11, wrap=True)
        self.cells: list[Axes] = self._figure.subplots(*cells, squeeze=False).ravel().tolist()
        self.axes = self.cells[0]

    def save(self, path: Path, partial: str = "") -> None:
        """Writes a PNG file.

        Args:
            path: of the file.
            partial: why the data are not the whole data set; written below the picture.
        """
        if partial:
            self._figure.supxlabel(f"Partial data: {partial}", fontsize=8, color="firebrick", wrap=True)
        # Without the software's name and date, equal pictures are equal files.
        FigureCanvasAgg(self._figure).print_png(path, metadata={"Software": None})


def draw_roc(table: pd.DataFrame, title: str) -> Sketch:
    """ROC curves, one per class, with the diagonal of guessing."""
    sketch = _draw_lines(table, title)
    sketch.axes.plot([0, 1], [0, 1], "--", color="grey", linewidth=0.8)
    sketch.axes.set(xlabel="false positive rate", ylabel="true positive rate")
    return sketch


def draw_precision_recall(table: pd.DataFrame, title: str) -> Sketch:
    """Precision-recall curves, one per class."""
    sketch = _draw_lines(table, title)
    sketch.axes.set(xlabel="recall", ylabel="precision", ylim=(0, 1.02))
    return sketch


def draw_calibration(table: pd.DataFrame, title: str, before: pd.DataFrame | None = None) -> Sketch:
    """A reliability diagram over a histogram of how many rows each bin has; with what was before its calibration."""
    sketch = Sketch(title)
    sketch.axes.plot([0, 1], [0, 1], "--", color="grey", linewidth=0.8, label="perfect")
    if before is not None:
        columns = before["mean_probability"], before["observed_share"]
        sketch.axes.plot(*columns, "o:", color="tab:orange", linewidth=1, label="before calibration")
    sketch.axes.plot(table["mean_probability"], table["observed_share"], "o-", label="observed")
    sketch.axes.set(xlabel="probability that was said", ylabel="share that was so", xlim=(0, 1), ylim=(0, 1.02))
    shares = table["rows"] / table["rows"].sum()
    sketch.axes.bar(table["mean_probability"], shares, width=0.05, alpha=0.25, label="share of rows")
    sketch.axes.legend(fontsize=8)
    return sketch


def draw_confusion(table: pd.DataFrame, title: str) -> Sketch:
    """The confusion matrix: counts, shaded by their share of the expected class."""
    side = 2.2 + 0.42 * max(len(table), 4)
    sketch = Sketch(title, (side + 0.4, side))
    counts = table.to_numpy()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    sketch.axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        color = "white" if shares[row, column] > 0.5 else "black"
        sketch.axes.text(column, row, str(count), ha="center", va="center", fontsize=8, color=color)
    ticks = range(len(table))
    sketch.axes.set_xticks(ticks, table.columns, rotation=45, ha="right", fontsize=8)
    sketch.axes.set_yticks(ticks, table.index, fontsize=8)
    sketch.axes.set(xlabel="guessed", ylabel="expected")
    return sketch


def draw_predicted_against_actual(table: pd.DataFrame, title: str, target: str) -> Sketch:
    """One dot per row; on the diagonal the prediction is right. `target` is the target's name with its unit."""
    sketch = Sketch(title)
    ends = [table.to_numpy().min(), table.to_numpy().max()]
    sketch.axes.plot(ends, ends, "--", color="grey", linewidth=0.8)
    sketch.axes.plot(table["actual"], table["predicted"], ".", alpha=0.5, markersize=4)
    sketch.axes.set(xlabel=f"actual {target}", ylabel=f"predicted {target}")
    return sketch


def draw_histograms(table: pd.DataFrame, title: str, target: str) -> Sketch:
    """How often actual and predicted values occur, and how often errors of a size."""
    sketch = Sketch(title)
    for column in ("actual", "predicted"):
        sketch.axes.step(table["value"], table[column], where="mid", label=column)
        sketch.axes.fill_between(table["value"], table[column], step="mid", alpha=0.25)
    sketch.axes.set(xlabel=target, ylabel="rows")
    sketch.axes.legend(fontsize=8)
    return sketch


def _draw_lines(table: pd.DataFrame, title: str) -> Sketch:
    sketch = Sketch(title)
    horizontal, *columns = table.columns
    for column in columns:
        sketch.axes.plot(table[horizontal], table[column], linewidth=1, label=column)
    _add_legend(sketch.axes, columns)
    return sketch


def _add_legend(axes: Axes, names: Iterable[str]) -> None:
    if any(names):
        axes.legend(fontsize=7, loc="lower center")
