"""The folder `evaluation`: an evaluation's curves as tables and as pictures."""

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import classification_report

from pipeline import curves, mistakes, plots
from pipeline.answers import Answers
from pipeline.prepared import Description

BEFORE = "calibration_before.csv"
"""Drawn into the picture of `calibration.csv`."""


def write_gallery(test: Answers, description: Description, name: str, folder: Path) -> dict[str, list[str]]:
    """Writes every table as CSV, all but one with a picture of its own, and the classification report as text and CSV.

    Args:
        test: the model's answers for the test rows.
        description: of the data.
        name: of the model.
        folder: to write to.

    Returns:
        The columns of each curve's CSV file, by file name.
    """
    tables = _tables(test, description)
    for file, table in tables.items():
        table.to_csv(folder / file, index=table.index.name is not None)
    _draw(tables, test, description, name, folder)
    if description.task != "regression":
        _write_classification_report(test, description, folder)
    return {file: list(table.columns) for file, table in tables.items()}


def _tables(test: Answers, description: Description) -> dict[str, pd.DataFrame]:
    """By file name."""
    truth, outputs = test.part.y, test.outputs
    if description.task == "regression":
        return {
            "predicted_against_actual.csv": curves.prediction_table(truth, outputs),
            "histograms.csv": curves.histogram_table(truth, outputs),
            "worst_mistakes.csv": mistakes.largest_errors(test.part, outputs, description),
        }
    labels = description.labels
    before = {} if test.uncalibrated is None else {BEFORE: curves.calibration_table(truth, test.uncalibrated)}
    return before | {
        "confusion_matrix.csv": curves.confusion_table(truth, test.guesses, labels),
        "roc.csv": curves.roc_table(truth, outputs, labels),
        "precision_recall.csv": curves.precision_recall_table(truth, outputs, labels),
        "calibration.csv": curves.calibration_table(truth, outputs),
        "worst_mistakes.csv": mistakes.worst_guesses(test.part, outputs, test.guesses, description),
    }


def _draw(tables: dict[str, pd.DataFrame], test: Answers, description: Description, name: str, folder: Path) -> None:
    unit = f" [{description.target_unit}]" if description.target_unit else ""
    target = f"{description.target_name}{unit}"
    title = f"{name}, {len(test.part.y)} test rows: "
    draw = {
        "confusion_matrix.csv": lambda table: plots.draw_confusion(table, title + "confusion matrix"),
        "roc.csv": lambda table: plots.draw_roc(table, title + "ROC curve"),
        "precision_recall.csv": lambda table: plots.draw_precision_recall(table, title + "precision and recall"),
        "calibration.csv": lambda table: plots.draw_calibration(table, title + "calibration", tables.get(BEFORE)),
        "predicted_against_actual.csv": lambda table: plots.draw_predicted_against_actual(table, title[:-2], target),
        "histograms.csv": lambda table: plots.draw_histograms(table, title + "histograms", target),
        "worst_mistakes.csv": lambda table: mistakes.draw_mistakes(
            table, test.part, description, title + "worst mistakes"
        ),
    }
    for file in draw.keys() & tables.keys():
        draw[file](tables[file]).save(folder / Path(file).with_suffix(".png"), description.partial)


def _write_classification_report(test: Answers, description: Description, folder: Path) -> None:
    options = {"labels": np.arange(len(description.labels)), "target_names": description.labels, "zero_division": 0}
    text = classification_report(test.part.y, test.guesses, digits=4, **options)
    note = f"Partial data: {description.partial}\n\n" if description.partial else ""
    (folder / "classification_report.txt").write_text(note + text, encoding="utf-8")
    figures = classification_report(test.part.y, test.guesses, output_dict=True, **options)
    figures.pop("accuracy", None)  # one number, which metrics.json has; the other entries are one per class
    table = pd.DataFrame(figures).T.rename_axis("class").astype({"support": int}).round(6)
    table.to_csv(folder / "classification_report.csv")
