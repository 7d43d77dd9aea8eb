"""A model's report in words: one page with its figures, and the list of its curves for `dvc plots`."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline.figures import ERRORS, WORDS
from pipeline.prepared import PARTS, Description

PICTURES = {
    "confusion_matrix.png": "confusion matrix",
    "roc.png": "ROC curve",
    "precision_recall.png": "precision-recall curve",
    "calibration.png": "calibration",
    "predicted_against_actual.png": "predicted against actual",
    "histograms.png": "histograms of actual and predicted",
    "worst_mistakes.png": "worst mistakes",
}


def compose_page(name: str, metrics: dict[str, Any], description: Description, split: str, folder: Path) -> str:
    """One page of Markdown: every figure with its baselines beside it, and the pictures.

    Args:
        name: of the model.
        metrics: what `metrics.json` holds.
        description: of the data.
        split: the split's name.
        folder: `evaluation`, whose pictures are shown.

    Returns:
        The page's text.
    """
    counts = description.splits.get(split, {}).get("counts", {})
    rows = ", ".join(f"{counts[part]:,} {part}" for part in PARTS if part in counts)
    lines = [
        f"# {name}",
        "",
        f"Data: `{description.name}`, split `{split}`" + (f" ({rows} rows)." if rows else "."),
        "",
    ]
    if description.partial:
        lines += [f"**Partial data: {description.partial}. Every figure and picture below is made from it.**", ""]
    lines += [*_figures(metrics, description), "", _explain(metrics, description), ""]
    lines += [f"![{text}](evaluation/{picture})" for picture, text in PICTURES.items() if (folder / picture).is_file()]
    return "\n".join(lines) + "\n"


def _figures(metrics: dict[str, Any], description: Description) -> list[str]:
    baselines = metrics["baseline"]
    columns = {"test": metrics["test"], "trivial baseline": baselines["trivial"]}
    if "gradient_boosting" in baselines:
        columns["gradient boosting"] = baselines["gradient_boosting"]
    columns |= {"validation": metrics["validation"], "training": metrics["train"]}
    lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    for key in metrics["test"]:
        unit = f" [{description.target_unit}]" if key in ("mae", "rmse") and description.target_unit else ""
        arrow = "↓" if key in ERRORS else "↑"
        values = " | ".join(f"{column[key]:.4g}" for column in columns.values())
        lines.append(f"| {WORDS[key]}{unit} {arrow} | {values} |")
    return lines


def _explain(metrics: dict[str, Any], description: Description) -> str:
    if description.task == "regression":
        return (
            "The trivial baseline answers the training mean (MAE: the training median). Standardized: in standard "
            "deviations of the training rows' target. Baselines are measured on the test rows."
        )
    words = (
        "The trivial baseline answers the training rows' shares of the classes. "
        "Baselines are measured on the test rows."
    )
    if description.task == "binary":
        threshold, positive = metrics["operating_point"]["threshold"], description.labels[1]
        return (
            f"{words} Precision, recall and F1 are those of `{positive}`, at the operating point chosen on "
            f"validation: a row is called `{positive}` from a probability of {threshold:.4g} on."
        )
    return f"{words} Precision, recall, F1 and ROC AUC are unweighted means over the classes."


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
