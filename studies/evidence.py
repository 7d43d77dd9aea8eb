"""All rows with their results and verdicts: what the report's chapters are made from."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from studies.params import RowParams, StudiesParams
from studies.results import Result, Results
from studies.runs import Run, candidates, fixed_runs, search_runs, setting_runs
from studies.verdicts import Judgement, judge


@dataclass(frozen=True)
class Evidence:
    """The studies as far as they have been carried out.

    Attributes:
        studies: all parameters.
        results: what has been run.
    """

    studies: StudiesParams
    results: Results

    def row(self, name: str) -> RowParams:
        """One row's parameters."""
        return self.studies.row(name)

    @cached_property
    def judgements(self) -> dict[str, Judgement]:
        """The verdict on each row."""
        return {name: judge(self.studies, name, self.results) for name in self.studies.rows}

    @cached_property
    def missing(self) -> list[Run]:
        """Runs that are needed next."""
        return [run for judgement in self.judgements.values() for run in judgement.missing]

    @cached_property
    def used(self) -> list[Result]:
        """Results that the report rests on; those of abandoned settings are not among them."""
        found = []
        for name in self.studies.rows:
            runs = [*fixed_runs(self.studies, name), *self._search_runs(name)]
            found += [result for run in runs if (result := self.results.get(run))]
        return found

    def settings(self, name: str) -> list[tuple[str, list[Result]]]:
        """A row's own runs: `stated`, its variants and its sweep, each with the results that are there."""
        by_label: dict[str, list[Result]] = {}
        for run in fixed_runs(self.studies, name):
            found = by_label.setdefault(run.label, [])
            if result := self.results.get(run):
                found.append(result)
        return list(by_label.items())

    def first(self, name: str, label: str = "stated") -> Result | None:
        """The result of a setting with the lowest seed that has figures, for a curve."""
        results = dict(self.settings(name)).get(label, [])
        return next((result for result in results if not result.failure), None)

    def _search_runs(self, name: str) -> list[Run]:
        judgement = self.judgements[name]
        tried = {candidate.label for candidate in judgement.tried}
        found = []
        for label, patch in candidates(self.studies, self.row(name)):
            if label in tried:
                found += search_runs(self.studies, name, label, patch)
            if label == judgement.setting:
                found += setting_runs(self.studies, name, label, patch)
        return found


def busy_seconds(results: Sequence[Result]) -> float:
    """How long at least one run was being made, by the clock: the union of the runs' times.

    Args:
        results: finished runs.

    Returns:
        Seconds; pauses between calls of the runner do not count.
    """
    spans = []
    for result in results:
        end = datetime.datetime.fromisoformat(result.finished).timestamp()
        spans.append((end - result.seconds, end))
    total, covered = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, covered))
        covered = max(covered, end)
    return total
