"""The report of a training: `history.csv`, `summary.txt`, `network.png` and `training.json`; small, kept in git."""

import csv
from pathlib import Path
from typing import Any

import keras

from pipeline.callbacks import Logs, Progress
from pipeline.drawing import draw_model
from pipeline.prepared import write_json

SUMMARY_WIDTH = 80
"""What a terminal shows at least; the library behind `summary` cuts off what is wider."""

COLUMNS = ("epoch", "loss", "val_loss", "accuracy", "val_accuracy", "mae_standardized", "val_mae_standardized")
"""The first columns of the history; the others follow as they come."""


def write_training_report(folder: Path, model: keras.Model, progress: Progress, facts: dict[str, Any]) -> None:
    """Writes the files.

    Args:
        folder: exists.
        model: the network as it was trained.
        progress: of the training that has ended.
        facts: what `training.json` says beside the counts: backend, seed and the like.
    """
    write_history(progress.history, folder / "history.csv")
    # Without the optimizer, whose own variables the summary of a compiled model counts as parameters.
    network = keras.Model(model.input, model.output, name="network")
    lines: list[str] = []
    network.summary(line_length=SUMMARY_WIDTH, print_fn=lines.append)
    (folder / "summary.txt").write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    draw_model(network, folder / "network.png")
    counts = {
        "parameters": model.count_params(),
        "epochs": len(progress.history),
        "best_epoch": progress.best_epoch,
        "stopped_early": progress.stopped,
        "seconds": round(sum(entry["seconds"] for entry in progress.history), 1),
    }
    write_json(counts | facts, folder / "training.json")


def write_history(history: list[Logs], path: Path) -> None:
    """Writes one line per epoch: `epoch`, the losses and metrics, `learning_rate`, `seconds`."""
    names = [*(name for name in COLUMNS if name in history[0]), *(name for name in history[0] if name not in COLUMNS)]
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=names, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _shorten(value) for name, value in entry.items()} for entry in history)


def describe_best(progress: Progress) -> str:
    """The best epoch and its validation figures as words, e.g. "best epoch 4 of 6: val_loss 0.0312, ..."."""
    best = progress.history[progress.best_epoch - 1]
    figures = ", ".join(f"{name} {value:.4f}" for name, value in best.items() if name.startswith("val_"))
    return f"best epoch {progress.best_epoch} of {len(progress.history)}: {figures}"


def _shorten(value: float) -> float:
    # Seven digits are what float32 holds; more would only change with the machine.
    return value if isinstance(value, int) else float(f"{value:.7g}")
