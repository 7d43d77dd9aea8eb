"""The list of a model's curves and pictures for `dvc plots`."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from ruamel.yaml import YAML

from pipeline.figures import WORDS
from pipeline.prepared import Description


def compose_plots(name: str, description: Description, tables: Mapping[str, Sequence[str]]) -> str:
    """A `dvc.yaml` with nothing but plots, which `dvc plots` finds by itself.

    The project's own `dvc.yaml` makes its stages from `params.yaml`, but DVC has no such template for plots.

    Args:
        name: of the model.
        description: of the data.
        tables: the columns of each CSV file in `evaluation`.

    Returns:
        The file's text.
    """
    note = description.caveat
    plots: list[Any] = [_learning_curve(name, metric, note) for metric in _LEARNED[description.task]]
    for file, title in _CURVES.items():
        if file in tables:
            x, *columns = tables[file]
            plots.append(_curve(f"{name}: {title}{note}", file, x, columns))
    plots += [f"../data/{description.name}/samples.png", "training/network.png", "evaluation/worst_mistakes.png"]
    if "confusion_matrix.csv" in tables:
        plots.append("evaluation/confusion_matrix.png")
    stream = io.StringIO()
    stream.write("# Written by the evaluate stage: the curves and pictures that `dvc plots show` draws.\n")
    YAML().dump({"plots": plots}, stream)
    return stream.getvalue()


_LEARNED = {
    "binary": ("loss", "accuracy", "roc_auc"),
    "multiclass": ("loss", "accuracy"),
    "regression": ("loss", "mae_standardized"),
}
_CURVES = {
    "roc.csv": "ROC curve",
    "precision_recall.csv": "precision-recall curve",
    "calibration.csv": "calibration",
    "predicted_against_actual.csv": "predicted against actual",
    "histograms.csv": "histograms of actual and predicted",
}


def _learning_curve(name: str, metric: str, note: str) -> dict[str, Any]:
    file = "training/history.csv"
    title = f"{name}: {WORDS.get(metric, metric)} while training{note}"
    return {title: {"x": {file: "epoch"}, "y": {file: [metric, f"val_{metric}"]}, "title": title, "x_label": "epoch"}}


def _curve(title: str, file: str, x: str, columns: Sequence[str]) -> dict[str, Any]:
    path = f"evaluation/{file}"
    template = "scatter" if file == "predicted_against_actual.csv" else "linear"
    # Rows of a calibration bin are a count, not a height of the curve.
    drawn = [column for column in columns if column != "rows"]
    return {
        title: {
            "x": {path: x},
            "y": {path: drawn},
            "title": title,
            "x_label": x.replace("_", " "),
            "template": template,
        }
    }
