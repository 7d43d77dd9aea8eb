"""One run from its rows to its result. Imports Keras: only worker processes import this module."""

import datetime
import time

import keras
import numpy as np

from pipeline.answers import predict
from pipeline.errors import TrainingError
from pipeline.fitting import Fit, fit_network
from pipeline.prepared import Prepared
from pipeline.scaling import measure_standardization
from studies.material import Dataset, SealedTest, deal
from studies.results import Figures, Result, thin_curves
from studies.runs import Run
from studies.weights import WeightWatch


class EpochClock(keras.callbacks.Callback):
    """Takes the processor time of each epoch, validation included.

    Attributes:
        seconds: one entry per epoch.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []
        self._start = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        """Starts the clock."""
        self._start = time.process_time()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        """Stops it."""
        self.seconds.append(time.process_time() - self._start)


def carry_out(run: Run, dataset: Dataset) -> Result:
    """Trains the network of a run and measures it.

    The test rows are opened here, once, when training has ended and nothing is left to choose.

    Args:
        run: what to do.
        dataset: all rows of its data set.

    Returns:
        The result; one without figures where the training failed.
    """
    prepared, sealed_test = deal(dataset, run)
    watch, clock = WeightWatch(), EpochClock()
    start, start_cpu = time.perf_counter(), time.process_time()
    try:
        fit = fit_network(run.params, prepared, [clock, watch] if run.watch_weights else [clock], keep=run.keep)
    except TrainingError as error:
        return _result(run, dataset, (start, start_cpu), failure=str(error))
    test = _measure(fit, prepared, sealed_test) if sealed_test else None
    return _result(
        run,
        dataset,
        (start, start_cpu),
        figures=_figures(fit, prepared, test),
        parameters=fit.parameters,
        best_epoch=fit.best_epoch,
        epoch_seconds=round(float(np.median(clock.seconds)), 3),
        curves=thin_curves(fit.history),
        weights=tuple(watch.records),
    )


def _result(run: Run, dataset: Dataset, starts: tuple[float, float], **facts: object) -> Result:
    seconds, cpu_seconds = time.perf_counter() - starts[0], time.process_time() - starts[1]
    return Result(
        row=run.row,
        run=run.name,
        digest=run.digest(),
        data=dataset.description.checksum,
        seconds=round(seconds, 1),
        cpu_seconds=round(cpu_seconds, 1),
        finished=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        made_by=f"Keras {keras.version()} on {keras.backend.backend()}",
        partial=dataset.description.partial,
        **facts,
    )


def _figures(fit: Fit, prepared: Prepared, test: float | None) -> Figures:
    """Training figures are those that Keras gives while it trains: with dropout, averaged over the epoch's batches."""
    name = _metric(prepared)
    kept = fit.history[fit.best_epoch - 1]
    return Figures(train=_rounded(kept[name]), validation=_rounded(kept.get(f"val_{name}")), test=_rounded(test))


def _measure(fit: Fit, prepared: Prepared, sealed_test: SealedTest) -> float:
    """Accuracy, or the mean absolute error in deviations of the training rows' target."""
    part = sealed_test.open()
    outputs = predict(fit.model, part, prepared.description)
    if prepared.description.task == "regression":
        deviation = measure_standardization(prepared.train, prepared.description).target_deviation
        return float(np.abs(outputs - part.y).mean() / deviation)
    return float((outputs.argmax(axis=1) == part.y).mean())


def _metric(prepared: Prepared) -> str:
    return "mae_standardized" if prepared.description.task == "regression" else "accuracy"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 5)
