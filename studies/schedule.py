"""Which run next, and how much time is left."""

import heapq
import time
from collections.abc import Collection, Iterable, Sequence

from studies.costs import estimate_seconds
from studies.params import StudiesParams
from studies.results import Result, Results
from studies.runs import Run
from studies.verdicts import judge


def missing_runs(studies: StudiesParams, names: Iterable[str], results: Results) -> list[Run]:
    """The runs that the verdicts on some rows need next, the most expensive first.

    Args:
        studies: all parameters.
        names: of the rows.
        results: what has been run.

    Returns:
        The runs; when they are done, others may follow: the search for a setting, and the setting that it found.
    """
    missing = {run.file: run for name in names for run in judge(studies, name, results).missing}
    return sorted(missing.values(), key=estimate_seconds, reverse=True)


class Clock:
    """Estimates the time that is left from what finished runs have cost against what was expected of them."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._started: dict[str, float] = {}
        self._expected = 0.0
        self._taken = 0.0

    def start(self, run: Run) -> None:
        """Notes that a run has begun."""
        self._started[run.file] = time.monotonic()

    def finish(self, run: Run) -> None:
        """Notes that a run has ended."""
        self._taken += time.monotonic() - self._started.pop(run.file)
        self._expected += estimate_seconds(run)

    def seconds_left(self, running: Collection[Run], waiting: Sequence[Run]) -> float:
        """How long the runs that are known will take.

        Args:
            running: runs that have begun.
            waiting: runs that have not, in their order.

        Returns:
            Seconds by the clock until the last worker is done.
        """
        pace = self._taken / self._expected if self._expected else 1.0
        now = time.monotonic()
        ends = [max(0.0, pace * estimate_seconds(run) - (now - self._started[run.file])) for run in running]
        ends = [*ends, *[0.0] * (self._workers - len(ends))]
        heapq.heapify(ends)
        for run in waiting:
            heapq.heapreplace(ends, ends[0] + pace * estimate_seconds(run))
        return max(ends)


def describe_result(result: Result) -> str:
    """A finished run as one line, e.g. `D4 stated, seed 1: test 0.9621 in 41 s`."""
    if result.failure:
        return f"{result.run}: failed. {result.failure}"
    figures = {"test": result.figures.test, "validation": result.figures.validation}
    words = ", ".join(f"{part} {value:.4f}" for part, value in figures.items() if value is not None)
    return f"{result.run}: {words} in {describe_seconds(result.seconds)}"


def describe_seconds(seconds: float) -> str:
    """A duration in words, e.g. `41 s`, `12 min`, `1 h 05 min`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02} min"


def count_runs(count: int) -> str:
    """`1 run`, `2 runs`."""
    return f"{count} run" if count == 1 else f"{count} runs"
