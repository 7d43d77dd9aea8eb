"""The plots of the texts, from results; one that has nothing to show yet is left out."""

from collections.abc import Sequence

import numpy as np

from studies.document import Picture
from studies.drawings import Line, Panel, draw_distances, draw_panels, draw_ridges
from studies.evidence import Evidence
from studies.results import Result
from studies.verdicts import judged_part, measured, metric_of, reported_figure

WIDE_RANGE = 10
"""Values of a sweep that span more are drawn over a logarithm."""
SHOWN_LAYERS = ("hidden_1", "hidden_3", "hidden_5")


def draw_overview(evidence: Evidence) -> list[Picture]:
    """How far each measured accuracy is from the reported one."""
    names, stated, settings = [], ([], []), ([], [])
    for name, judgement in evidence.judgements.items():
        row = evidence.row(name)
        if reported_figure(row) is None or metric_of(evidence.studies, row) != "accuracy":
            continue
        for results, (x, y) in ((judgement.stated, stated), (judgement.with_setting, settings)):
            figures = measured(results, judged_part(row))
            if figures:
                x.append(100 * (figures.mean - reported_figure(row)))
                y.append(len(names))
        names.append(name)
    if not stated[0]:
        return []
    lines = [Line("as stated", *stated, "o", 0), Line("with another setting", *settings, "D", 1)]
    band = 100 * evidence.studies.tolerance["accuracy"]
    caption = "Measured minus reported accuracy of each row; within the band a row counts as replicated."
    return [Picture(draw_distances(names, lines, band), caption)]


def draw_first_curves(evidence: Evidence) -> list[Picture]:
    """The curves of the first text: softmax, hidden layers, dropout, RMSprop and Adam."""
    short = [("A1", "softmax"), ("A2", "hidden layers"), ("A3", "dropout"), ("A5", "RMSprop"), ("A6", "Adam")]
    long = [("A1", "softmax"), ("A4", "dropout, SGD"), ("A7", "dropout, Adam")]
    panels = [
        Panel(_curves(evidence, short, "accuracy", 20), {"xlabel": "epoch", "ylabel": "accuracy", "ylim": (0.8, 1.0)}),
        Panel(_curves(evidence, long, "accuracy"), {"xlabel": "epoch", "ylim": (0.88, 1.0)}),
    ]
    caption = "Accuracy against epochs: on validation (solid) and while training (dashed), the first 20 and all."
    return _picture(panels, caption)


def draw_wine_curves(evidence: Evidence) -> list[Picture]:
    """The error of the wine networks and the ROC AUC of the seizure network, against epochs."""
    wine = [("B1", "MLP 32"), ("B2", "deep"), ("B3", "broken")]
    panels = [
        Panel(_curves(evidence, wine, "mae_standardized"), {"xlabel": "epoch", "ylabel": "MAE, standardized"}),
        Panel(_curves(evidence, [("B4", "seizure")], "roc_auc"), {"xlabel": "epoch", "ylabel": "ROC AUC"}),
    ]
    return _picture(
        panels, "Error of the wine networks (left) and ROC AUC of the seizure network (right) against epochs."
    )


def draw_overfitting(evidence: Evidence) -> list[Picture]:
    """Loss and accuracy of B5, B6 and B7."""
    rows = [("B5", "plain"), ("B6", "dropout 0.5"), ("B7", "L2 0.01")]
    panels = [
        Panel(_curves(evidence, rows, "loss"), {"xlabel": "epoch", "ylabel": "loss", "yscale": "log"}),
        Panel(_curves(evidence, rows, "accuracy"), {"xlabel": "epoch", "ylabel": "accuracy", "ylim": (0.9, 1.002)}),
    ]
    lowest = [
        f"{words} in epoch {result.curves['epoch'][int(np.argmin(result.curves['val_loss']))]}"
        for name, words in rows
        if (result := evidence.first(name))
    ]
    caption = (
        "Overfitting: on validation (solid) and while training (dashed). L2's loss has its penalty in it. The "
        f"validation loss is lowest for {', '.join(lowest)}."
    )
    return _picture(panels, caption)


def draw_sweep(evidence: Evidence, name: str, words: str, *, with_seconds: bool = False) -> list[Picture]:
    """Accuracy against the value that a sweep changes, and the seconds of an epoch where they are asked for.

    Args:
        evidence: all results.
        name: of the row.
        words: what is swept.
        with_seconds: whether to draw the time of an epoch too.

    Returns:
        One picture, or none.
    """
    settings = zip(evidence.row(name).sweep.values, evidence.settings(name), strict=True)
    found = {_number(value): results for value, (_, results) in settings if measured(results, "test")}
    if len(found) < 2:
        return []
    x, results = list(found), list(found.values())
    scale = {"xscale": "log"} if min(x) > 0 and max(x) / min(x) >= WIDE_RANGE else {}
    ticks = {value: f"{value:g}" for value in x}
    lines = [
        Line(part, x, [measured(each, part).mean for each in results], "o--" if part == "train" else "o-", index)
        for index, part in enumerate(("validation", "test", "train"))
    ]
    panels = [Panel(lines, {"xlabel": words, "ylabel": "accuracy", **scale}, ticks)]
    if with_seconds:
        seconds = Line("", x, [each[0].epoch_seconds for each in results], "o-", 4)
        panels.append(Panel([seconds], {"xlabel": words, "ylabel": "seconds per epoch", **scale}, ticks))
    return _picture(panels, f"{name}: accuracy{' and seconds per epoch' if with_seconds else ''} against {words}.")


def draw_broken_weights(evidence: Evidence) -> list[Picture]:
    """Histograms of the kernels of B2 and B3 against epochs, and how many of their units differ."""
    healthy, broken = evidence.first("B2"), evidence.first("B3")
    if not healthy or not broken:
        return []
    rows = [
        [(f"{words}, {layer}", _ridges(result, layer)) for layer in SHOWN_LAYERS]
        for words, result in (("B2 healthy", healthy), ("B3 broken", broken))
    ]
    caption = (
        "Histograms of kernels, from before the first epoch (bottom) to the last (top, orange). The healthy network's "
        "weights spread; all of a broken layer's are one value, or in the first layer one value per feature."
    )
    return [Picture(draw_ridges(rows), caption)]


def draw_recurrent(evidence: Evidence) -> list[Picture]:
    """Training accuracy of the recurrent networks against epochs."""
    lines = [
        Line(_cell_name(label), results[0].curves["epoch"], results[0].curves["accuracy"], "o-", index)
        for index, (label, results) in enumerate(evidence.settings("R1"))
        if results and not results[0].failure
    ]
    panels = [Panel(lines, {"xlabel": "epoch", "ylabel": "accuracy while training"})]
    return _picture(panels, "R1: recurrent networks against epochs.")


def _curves(evidence: Evidence, rows: Sequence[tuple[str, str]], figure: str, epochs: int | None = None) -> list[Line]:
    """Two lines per row: on validation, and dashed while training."""
    lines = []
    for index, (name, words) in enumerate(rows):
        result = evidence.first(name)
        if result is None:
            continue
        x = result.curves["epoch"]
        end = sum(epoch <= epochs for epoch in x) if epochs else len(x)
        for key, style in ((f"val_{figure}", "-"), (figure, "--")):
            if key in result.curves:
                lines.append(
                    Line(f"{words} ({name})" if style == "-" else "", x[:end], result.curves[key][:end], style, index)
                )
    return lines


def _picture(panels: Sequence[Panel], caption: str) -> list[Picture]:
    filled = [panel for panel in panels if panel.lines]
    return [Picture(draw_panels(filled), caption)] if filled else []


def _ridges(result: Result, layer: str) -> list[tuple[list[float], list[int]]]:
    ridges = []
    for record in result.weights:
        if record["layer"] == layer:
            width = max((record["high"] - record["low"]) / len(record["counts"]), 1e-3)
            middles = record["low"] + width * (np.arange(len(record["counts"])) + 0.5)
            # Closed at both ends, so that a histogram of one value is a needle.
            ridges.append(([middles[0] - width, *middles, middles[-1] + width], [0, *record["counts"], 0]))
    return ridges


def _number(value: object) -> float:
    """A sweep's value as a number; of several equal units the first."""
    return float(value[0]) if isinstance(value, list | tuple) else float(value)


def _cell_name(label: str) -> str:
    return "SimpleRNN 256" if label == "stated" else label
