"""Studies small enough for a test, and results that nobody has to train for."""

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.raw import RawDataset
from studies.params import StudiesParams
from studies.results import Figures, Result, save_result
from studies.runs import Run

ROW = {
    "source": "text",
    "title": "a network",
    "split": "whole",
    "network": {"architecture": "mlp", "units": (8,)},
    "train": {
        "loss": "categorical_crossentropy",
        "optimizer": {"name": "sgd", "learning_rate": 0.01},
        "batch_size": 32,
        "epochs": 2,
    },
    "seeds": 2,
    "search": "rates",
    "reported": {"test": 0.9},
}

CURVES = {
    "epoch": [1, 2],
    "loss": [1.0, 0.5],
    "accuracy": [0.4, 0.5],
    "val_loss": [1.1, 0.7],
    "val_accuracy": [0.4, 0.5],
}


def small_studies(**rows: dict[str, Any]) -> StudiesParams:
    """Studies with some rows, each given by what differs from `ROW`."""
    return StudiesParams.model_validate(
        {
            "sources": {"text": "A text"},
            "tolerance": {"accuracy": 0.004, "mae_standardized": 0.01},
            "splits": {
                "whole": {"dataset": "digits", "validation": 0, "test": "published", "held_out": 4, "remark": "whole"},
                "wine": {"dataset": "wine_alcohol", "validation": 0.2, "test": 0.2, "remark": "dealt"},
            },
            "searches": {
                "rates": {
                    "rate 0.1": {"train.optimizer.learning_rate": 0.1},
                    "rate 0.3": {"train.optimizer.learning_rate": 0.3},
                }
            },
            "rows": {name: ROW | row for name, row in rows.items()},
        }
    )


def save_figures(folder: Path, run: Run, test: float | None, validation: float | None = None, **facts: Any) -> None:
    """A result with the figures that a test needs."""
    result = Result(
        row=run.row,
        run=run.name,
        digest=run.digest(),
        data="0" * 64,
        seconds=10.0,
        cpu_seconds=8.0,
        finished="2026-01-01T00:00:10+00:00",
        made_by="a test",
        figures=Figures(train=0.5, validation=validation, test=test),
        parameters=100,
        best_epoch=2,
        epoch_seconds=4.0,
        **({"curves": CURVES} | facts),
    )
    save_result(result, folder / run.file)


def numbered_rows(count: int = 20, published_test: int = 5) -> RawDataset:
    """Rows whose features are their own numbers, of two classes."""
    numbers = np.arange(count, dtype=np.float32)
    return RawDataset(
        task="multiclass",
        input_kind="features",
        x=np.stack([numbers, numbers], axis=1),
        y=np.arange(count) % 2,
        source="numbers",
        labels=("even", "odd"),
        published_test=np.arange(count) >= count - published_test,
    )
