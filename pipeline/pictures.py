"""Pictures of a data set: 25 of its training rows, as what they are."""

import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pipeline.prepared import Part
from pipeline.raw import RawDataset

SAMPLES = 25
COLUMNS_SHOWN = 36
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999", "#000000")


def draw_samples(raw: RawDataset, part: Part, seed: int, path: Path) -> None:
    """Draws 25 rows: images as images, signals as curves, other rows as marks on the distributions of their columns.

    Args:
        raw: the data set, for names and units.
        part: its training rows.
        seed: of the choice of rows.
        path: the PNG file to write.
    """
    count = min(SAMPLES, len(part.y))
    rows = np.sort(np.random.default_rng(seed).choice(len(part.y), count, replace=False))
    if raw.input_kind == "image":
        figure = _draw_images(raw, part, rows)
    elif raw.is_signal:
        figure = _draw_signals(raw, part, rows)
    else:
        figure = _draw_columns(raw, part, rows)
    if raw.partial:
        figure.text(0.5, 0.002, f"Partial data: {raw.partial}", ha="center", va="bottom", fontsize=8, color="#a00000")
    FigureCanvasAgg(figure).print_png(path, metadata={"Software": None})


def _grid(count: int, size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    """A figure of about as many columns as rows; `size` is one cell's width and height in inches."""
    across = math.ceil(math.sqrt(count))
    down = math.ceil(count / across)
    figure = Figure(figsize=(across * size[0], down * size[1] + 0.4), layout="constrained")
    figure.get_layout_engine().set(rect=(0, 0.02, 1, 0.98))
    cells = figure.subplots(down, across, squeeze=False).ravel().tolist()
    for unused in cells[count:]:
        unused.set_axis_off()
    return figure, cells[:count]


def _name(raw: RawDataset, target: np.generic) -> str:
    return f"{target:.4g} {raw.target_unit}" if raw.task == "regression" else raw.labels[int(target)]


def _draw_images(raw: RawDataset, part: Part, rows: np.ndarray) -> Figure:
    figure, cells = _grid(len(rows), (1.3, 1.45))
    low, high = raw.input_range or (0, 255)
    for row, axes in zip(rows, cells, strict=True):
        axes.imshow(part.x[row], cmap="gray_r", vmin=low, vmax=high)
        axes.set_title(_name(raw, part.y[row]), fontsize=9)
        axes.set_axis_off()
    return figure


def _draw_signals(raw: RawDataset, part: Part, rows: np.ndarray) -> Figure:
    figure, cells = _grid(len(rows), (2.3, 1.4))
    for row, axes in zip(rows, cells, strict=True):
        color = "black" if raw.task == "regression" else COLORS[int(part.y[row]) % len(COLORS)]
        axes.plot(part.x[row], linewidth=0.8, color=color)
        axes.set_title(_name(raw, part.y[row]), fontsize=9)
        axes.tick_params(labelsize=6)
    figure.supxlabel("sample", fontsize=9)
    figure.supylabel(raw.features[0].unit, fontsize=9)
    return figure


def _draw_columns(raw: RawDataset, part: Part, rows: np.ndarray) -> Figure:
    shown = raw.features[:COLUMNS_SHOWN]
    figure, cells = _grid(len(shown), (2.5, 1.8))
    draw = _draw_scatter if raw.task == "regression" else _draw_histogram
    for index, (feature, axes) in enumerate(zip(shown, cells, strict=True)):
        draw(raw, axes, part.x[:, index], part.y, rows)
        axes.set_xlabel(f"{feature.name}\n[{feature.unit}]" if feature.unit else feature.name, fontsize=8)
        axes.tick_params(labelsize=6)
    handles, labels = cells[0].get_legend_handles_labels()
    unit = f" [{raw.target_unit}]" if raw.target_unit else ""
    figure.supylabel(f"{raw.target_name}{unit}" if raw.task == "regression" else "share of the class", fontsize=9)
    figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 6), fontsize=9)
    return figure


def _draw_scatter(_: RawDataset, axes: Axes, column: np.ndarray, y: np.ndarray, rows: np.ndarray) -> None:
    axes.plot(column, y, ".", markersize=2, color="#b0c4d8", label="training rows")
    axes.plot(column[rows], y[rows], "o", markersize=3, color=COLORS[1], label=f"{len(rows)} of them")


def _draw_histogram(raw: RawDataset, axes: Axes, column: np.ndarray, y: np.ndarray, rows: np.ndarray) -> None:
    """Shares per class, with the sampled rows as strokes below the axis."""
    edges = np.histogram_bin_edges(column, 25)
    for class_id, label in enumerate(raw.labels):
        color, values = COLORS[class_id % len(COLORS)], column[y == class_id]
        weights = np.full(len(values), 1 / len(values))
        axes.hist(values, edges, weights=weights, color=color, alpha=0.5, label=label)
        sampled = column[rows][y[rows] == class_id]
        axes.plot(sampled, np.full(len(sampled), -0.02), "|", color=color, markersize=6)
