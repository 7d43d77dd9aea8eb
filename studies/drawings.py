"""Drawings as SVG elements that take the colour of the text around them, for a light page and a dark one."""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

INK = "#010203"
"""Stands for `currentColor`, which matplotlib does not know."""
COLOURS = ("#3f86c9", "#dd7a2f", "#3a9e6e", "#c1548f", "#8b70cf", "#a58a2a", "#5aa5b8")
SETTINGS = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.titlesize": 10,
    "axes.formatter.useoffset": False,
    "axes.prop_cycle": matplotlib.cycler(color=COLOURS),
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.4,
    "lines.markersize": 4,
    "grid.color": INK,
    "grid.alpha": 0.12,
    "grid.linewidth": 0.6,
    "axes.grid": True,
}


@dataclass(frozen=True)
class Line:
    """One line of a drawing.

    Attributes:
        label: for the legend; "" for none.
        x, y: its points.
        style: matplotlib's, e.g. `-`, `--`, `o-`.
        colour: index into `COLOURS`.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    style: str = "-"
    colour: int = 0


@dataclass(frozen=True)
class Panel:
    """One cell of a drawing: lines over common axes.

    Attributes:
        lines: what is drawn.
        axes: matplotlib's properties of the axes: `xlabel`, `ylabel`, `xscale`, `ylim` ...
        ticks: labels by place on the horizontal axis; None for round numbers that fit.
    """

    lines: Sequence[Line]
    axes: Mapping[str, object]
    ticks: Mapping[float, str] | None = None


def draw_panels(panels: Sequence[Panel], height: float = 3.0) -> str:
    """Draws panels side by side.

    Args:
        panels: from left to right.
        height: in inches; the width is 9.

    Returns:
        An `<svg>` element.
    """
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(9, height), layout="constrained")
        cells = figure.subplots(1, len(panels), squeeze=False)[0]
        for cell, panel in zip(cells, panels, strict=True):
            _draw_panel(cell, panel)
        return to_svg(figure)


def draw_ridges(rows: Sequence[Sequence[tuple[str, Sequence[tuple[Sequence[float], Sequence[float]]]]]]) -> str:
    """Draws histograms one above the other, the earliest at the bottom.

    Args:
        rows: rows of cells; a cell is a title and, from the earliest to the latest, pairs of bin middles and counts.

    Returns:
        An `<svg>` element.
    """
    with matplotlib.rc_context(SETTINGS | {"axes.grid": False}):
        figure = Figure(figsize=(9, 2.6 * len(rows)), layout="constrained")
        cells = figure.subplots(len(rows), max(len(row) for row in rows), squeeze=False, sharex="col")
        for axes, (title, ridges) in zip(cells.ravel(), [cell for row in rows for cell in row], strict=True):
            _draw_cell_of_ridges(axes, title, ridges)
        return to_svg(figure)


def draw_distances(names: Sequence[str], series: Sequence[Line], band: float) -> str:
    """Draws distances from zero, a line per name, with the tolerated band.

    Args:
        names: from top to bottom.
        series: `x` distances and `y` positions in `names`; drawn as points.
        band: the distance below zero that is tolerated.

    Returns:
        An `<svg>` element.
    """
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(9, 0.6 + 0.2 * len(names)), layout="constrained")
        axes = figure.subplots()
        axes.axvspan(-band, 0, color=COLOURS[2], alpha=0.15, linewidth=0)
        axes.axvline(0, color=INK, linewidth=0.8)
        for line in series:
            axes.plot(line.x, line.y, line.style, color=COLOURS[line.colour], label=line.label)
        axes.set_yticks(range(len(names)), names)
        axes.set(ylim=(len(names) - 0.4, -0.6), xlabel="measured minus reported, percentage points")
        axes.legend(loc="upper left")
        return to_svg(figure)


def to_svg(figure: Figure) -> str:
    """A figure as an `<svg>` element; the same figure gives the same text.

    Returns:
        The element, without a size of its own in pixels, with `currentColor` for `INK`, and with names that no other
        drawing on the page has.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "kiln"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].strip()
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # Within tags, which leaves labels alone: two decimals of a point are finer than a screen.
    text = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(-?\d+\.\d{2})\d+", r"\1", tag[0]), text)
    text = re.sub(r' id="(?:figure|axes|patch|line2d|text|matplotlib\.axis|xtick|ytick|legend)_\d+"', "", text)
    return text.replace(INK, "currentColor").replace("\n", " ").replace("  ", "")


def _draw_panel(axes: Axes, panel: Panel) -> None:
    for line in panel.lines:
        axes.plot(line.x, line.y, line.style, color=COLOURS[line.colour % len(COLOURS)], label=line.label or None)
    axes.set(**panel.axes)
    if panel.ticks:
        axes.set_xticks(list(panel.ticks), list(panel.ticks.values()), minor=False)
        axes.set_xticks([], minor=True)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if any(line.label for line in panel.lines):
        axes.legend()


def _draw_cell_of_ridges(axes: Axes, title: str, ridges: Sequence[tuple[Sequence[float], Sequence[float]]]) -> None:
    for index, (middles, counts) in enumerate(ridges):
        heights = [index + 1.6 * count / max(counts) for count in counts]
        colour = COLOURS[0] if index < len(ridges) - 1 else COLOURS[1]
        axes.fill_between(middles, index, heights, color=colour, alpha=0.35, linewidth=0, zorder=-index)
        axes.plot(middles, heights, color=colour, linewidth=0.8, zorder=-index)
    axes.set_title(title)
    axes.set_yticks([])
