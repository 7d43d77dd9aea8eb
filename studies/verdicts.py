"""Verdicts on the rows, and which runs are missing for one: the runner and the report ask the same function."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from studies.params import RowParams, StudiesParams
from studies.results import Result, Results
from studies.runs import Run, candidates, fixed_runs, search_runs, setting_runs

Kind = Literal["as stated", "another setting", "not replicated", "nothing reported", "unfinished"]
WORDS: dict[Kind, str] = {
    "as stated": "replicated as stated",
    "another setting": "replicated with another setting",
    "not replicated": "not replicated",
    "nothing reported": "nothing reported",
    "unfinished": "unfinished",
}
METRICS = {"wine_alcohol": "mae_standardized"}
"""The metric of a data set's rows, where it is not accuracy."""


@dataclass(frozen=True)
class Measured:
    """Figures of one setting over its seeds.

    Attributes:
        values: one per seed, as far as they are there.
    """

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Of the values."""
        return statistics.fmean(self.values)

    @property
    def spread(self) -> float | None:
        """The standard deviation over the seeds; None for a single one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None


@dataclass(frozen=True)
class Candidate:
    """A setting that was tried on validation.

    Attributes:
        label: the setting.
        validation: its figure; None where the training failed.
        accepted: whether it reaches what is reported.
    """

    label: str
    validation: float | None
    accepted: bool


@dataclass(frozen=True)
class Judgement:
    """What is known of a row.

    Attributes:
        kind: the verdict.
        stated: results of the row as stated, one per finished seed.
        setting: the setting that validation chose, or "".
        with_setting: its results.
        tried: the candidates that were seen on validation.
        missing: runs that are needed next; more may follow from their results.
    """

    kind: Kind
    stated: tuple[Result, ...] = ()
    setting: str = ""
    with_setting: tuple[Result, ...] = ()
    tried: tuple[Candidate, ...] = ()
    missing: tuple[Run, ...] = ()


def judge(studies: StudiesParams, name: str, results: Results) -> Judgement:
    """The verdict on a row, as far as its results go.

    A candidate is judged by validation alone: it must reach the reported figure there, and be better than the row as
    stated where that has validation rows. The first that does is trained as the row is and then judged by the test
    rows. If it misses them, the row is not replicated: trying the next one would be choosing by the test rows.

    Args:
        studies: all parameters.
        name: of the row.
        results: what has been run.

    Returns:
        The verdict, and the runs that are missing for it.
    """
    row = studies.row(name)
    fixed = fixed_runs(studies, name)
    missing = _missing(fixed, results)
    stated_runs = [run for run in fixed if run.purpose == "stated"]
    stated = _found(stated_runs, results)
    if len(stated) < len(stated_runs):
        return Judgement("unfinished", stated, missing=missing)
    if reported_figure(row) is None:
        return Judgement("unfinished" if missing else "nothing reported", stated, missing=missing)
    if _reaches(studies, row, measured(stated, judged_part(row))):
        return Judgement("as stated", stated, missing=missing)
    return _judge_candidates(studies, name, results, Judgement("not replicated", stated, missing=missing))


def measured(results: Sequence[Result], part: str) -> Measured | None:
    """A part's figures over seeds; None where there are none, or where a training failed."""
    values = [getattr(result.figures, part) for result in results]
    return Measured(tuple(values)) if values and None not in values else None


def judged_part(row: RowParams) -> Literal["test", "validation"]:
    """The part whose figure is judged: test, or validation where the text reports no other."""
    return "validation" if row.reported.test is None and row.reported.validation is not None else "test"


def reported_figure(row: RowParams) -> float | None:
    """The figure that the verdict is about, or None."""
    return getattr(row.reported, judged_part(row))


def metric_of(studies: StudiesParams, row: RowParams) -> Literal["accuracy", "mae_standardized"]:
    """What the row's figures are."""
    return METRICS.get(studies.splits[row.split].dataset, "accuracy")


def shortfall(studies: StudiesParams, row: RowParams, value: float) -> float:
    """How much worse than reported a figure is; negative where it is better."""
    difference = value - reported_figure(row)
    return difference if metric_of(studies, row) == "mae_standardized" else -difference


def _judge_candidates(studies: StudiesParams, name: str, results: Results, so_far: Judgement) -> Judgement:
    row, tried = studies.row(name), []
    stated = measured(so_far.stated, "validation")
    for label, patch in candidates(studies, row):
        searches = search_runs(studies, name, label, patch)
        lacking = (*so_far.missing, *_missing(searches, results))
        if len(lacking) > len(so_far.missing):
            return Judgement("unfinished", so_far.stated, "", (), tuple(tried), lacking)
        seen = measured(_found(searches, results), "validation")
        # The row as stated may reach the figure on validation too; a setting has to be better there.
        accepted = _reaches(studies, row, seen) and (stated is None or _is_better(studies, row, seen, stated))
        tried.append(Candidate(label, seen.mean if seen else None, accepted))
        if accepted:
            runs = setting_runs(studies, name, label, patch)
            found, missing = _found(runs, results), (*so_far.missing, *_missing(runs, results))
            kind: Kind = "another setting" if _reaches(studies, row, measured(found, judged_part(row))) else so_far.kind
            if len(found) < len(runs):
                kind = "unfinished"
            return Judgement(kind, so_far.stated, label, found, tuple(tried), missing)
    return Judgement(so_far.kind, so_far.stated, "", (), tuple(tried), so_far.missing)


def _reaches(studies: StudiesParams, row: RowParams, figures: Measured | None) -> bool:
    # Nine digits: a mean that is the bound exactly must not fail by its last bit.
    tolerance = studies.tolerance[metric_of(studies, row)]
    return figures is not None and round(shortfall(studies, row, figures.mean) - tolerance, 9) <= 0


def _is_better(studies: StudiesParams, row: RowParams, figures: Measured, others: Measured) -> bool:
    return shortfall(studies, row, figures.mean) < shortfall(studies, row, others.mean)


def _found(runs: Sequence[Run], results: Results) -> tuple[Result, ...]:
    return tuple(result for run in runs if (result := results.get(run)) is not None)


def _missing(runs: Sequence[Run], results: Results) -> tuple[Run, ...]:
    return tuple(run for run in runs if results.get(run) is None)
