"""A drawing of a network: its layers from top to bottom, each with the shape that it gives and its parameters."""

import re
from dataclasses import dataclass
from pathlib import Path

import keras
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BOX_HEIGHT, STEP, WIDTH = 0.62, 0.95, 5.2
COLOURS = {
    "InputLayer": "#dde6ef",
    "Dense": "#f6d9b8",
    "Conv2D": "#cfe3cb",
    "Conv1D": "#cfe3cb",
    "SimpleRNN": "#e3d3ea",
    "LSTM": "#e3d3ea",
    "GRU": "#e3d3ea",
    "Bidirectional": "#e3d3ea",
}
OTHER_COLOUR = "#efefef"
_REPEATED = re.compile(r"(member|output)_(?!1$)\d+")


@dataclass(frozen=True)
class Box:
    """One layer as it is drawn.

    Attributes:
        kind: the layer's class.
        title, subtitle: two lines of text.
    """

    kind: str
    title: str
    subtitle: str


def draw_model(model: keras.Model, path: Path) -> None:
    """Writes the drawing as a PNG file; the same model gives the same bytes.

    Args:
        model: a built functional model.
        path: of the file.
    """
    boxes = describe_layers(model)
    height = STEP * len(boxes) + 0.3
    figure = Figure(figsize=(WIDTH + 0.6, height), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(-0.3, WIDTH + 0.3)
    axes.set_ylim(-height, 0)
    axes.axis("off")
    for index, box in enumerate(boxes):
        _draw_box(axes, box, top=-0.3 - index * STEP, is_last=index == len(boxes) - 1)
    figure.savefig(path, metadata={"Software": None})


def describe_layers(model: keras.Model) -> list[Box]:
    """Says in words what each layer is.

    Args:
        model: a built functional model.

    Returns:
        One box per layer, from input to output; of several members the first one's.
    """
    boxes = []
    for layer in model.layers:
        if _REPEATED.fullmatch(layer.name):
            continue
        kind = type(layer).__name__
        shape = " x ".join("n" if size is None else str(size) for size in layer.output.shape)
        parameters = f"{layer.count_params():,} parameters" if layer.count_params() else "no parameters"
        details = [detail for detail in (_activation(layer), shape, parameters) if detail]
        boxes.append(Box(kind, f"{layer.name}  ({kind})", "   ".join(details)))
    return boxes


def _activation(layer: keras.Layer) -> str:
    activation = getattr(layer, "activation", None)
    return activation.__name__ if activation else ""


def _draw_box(axes: Axes, box: Box, top: float, is_last: bool) -> None:
    middle = WIDTH / 2
    colour = COLOURS.get(box.kind, OTHER_COLOUR)
    axes.fill_between([0, WIDTH], top - BOX_HEIGHT, top, facecolor=colour, edgecolor="#444444", linewidth=0.8)
    axes.text(middle, top - BOX_HEIGHT * 0.3, box.title, ha="center", va="center", fontsize=10, weight="bold")
    axes.text(middle, top - BOX_HEIGHT * 0.72, box.subtitle, ha="center", va="center", fontsize=9)
    if not is_last:
        arrow = {"arrowstyle": "-|>", "color": "#444444", "linewidth": 0.8}
        axes.annotate("", xy=(middle, top - STEP), xytext=(middle, top - BOX_HEIGHT), arrowprops=arrow)
