"""The tables of the report: reported beside measured figures, sweeps, kernels, candidates."""

import itertools
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from studies.document import Table
from studies.evidence import Evidence
from studies.params import RowParams
from studies.results import Result
from studies.schedule import count_runs, describe_seconds
from studies.verdicts import WORDS, Judgement, judged_part, measured, metric_of, reported_figure, shortfall

NOTHING = ""
ROW_HEADER = (
    "row",
    "what",
    "reported train / val. / test",
    "measured train / val. / test",
    "runs",
    "difference",
    "time",
    "verdict",
)


def rows_table(evidence: Evidence, names: Sequence[str]) -> Table:
    """Rows with what is reported, what was measured as stated and, below, with the setting that was found.

    Args:
        evidence: all results.
        names: of the rows; sweeps are left out.

    Returns:
        The table.
    """
    rows, marks = [], []
    for name in names:
        row, judgement = evidence.row(name), evidence.judgements[name]
        if row.sweep:
            continue
        rows.append(_stated_cells(evidence, name, row, judgement))
        marks.append("" if judgement.setting else judgement.kind)
        if judgement.setting:
            rows.append(_setting_cells(evidence, row, judgement))
            marks.append(judgement.kind)
    return Table(ROW_HEADER, tuple(rows), frozenset({2, 3, 4, 5, 6}), tuple(marks))


def search_table(evidence: Evidence) -> Table:
    """The candidates that were tried for each row, with their validation figures; without rows if there were none."""
    rows, marks = [], []
    for name, judgement in evidence.judgements.items():
        if judgement.tried:
            tried = ", ".join(f"{one.label} {format_figure(one.validation)}" for one in judgement.tried)
            reported = format_figure(reported_figure(evidence.row(name)))
            rows.append((name, reported, tried, judgement.setting or "none"))
            marks.append(judgement.kind)
    header = ("row", "reported", "tried, with its validation figure", "chosen")
    return Table(header, tuple(rows), frozenset({1}), tuple(marks))


def variants_table(evidence: Evidence, name: str) -> Table:
    """A row as stated, its variants and its sweep, one per line."""
    rows = []
    for label, results in evidence.settings(name):
        if results and results[0].failure:
            rows.append((label, "training failed", *[NOTHING] * 4))
        elif results:
            seconds = statistics.fmean(result.epoch_seconds for result in results)
            parts = [_mean(results, part) for part in ("train", "validation", "test")]
            rows.append((label, f"{results[0].parameters:,}", *parts, f"{seconds:.2f}"))
        else:
            rows.append((label, "missing", *[NOTHING] * 4))
    header = ("setting", "parameters", "train", "validation", "test", "seconds per epoch")
    return Table(header, tuple(rows), frozenset(range(1, 6)))


def distinct_table(looks: Sequence[tuple[str, Result]]) -> Table:
    """How many units of each hidden layer have weights of their own, by network.

    Args:
        looks: names of rows with a result that has histograms.

    Returns:
        The table.
    """
    rows = []
    for name, result in looks:
        for layer in dict.fromkeys(record["layer"] for record in result.weights):
            records = [record for record in result.weights if record["layer"] == layer]
            distinct = [record["distinct"] for record in records]
            units = (str(records[0]["units"]), str(min(distinct)), str(max(distinct)))
            span = f"{records[-1]['low']:.4f} to {records[-1]['high']:.4f}"
            rows.append((name, layer, *units, str(changed_until(records)), span))
    header = (
        "network",
        "layer",
        "units",
        "distinct, least",
        "most",
        "weights change until epoch",
        "weights at the end",
    )
    return Table(header, tuple(rows), frozenset({2, 3, 4, 5}))


def changed_until(records: Sequence[Mapping[str, Any]]) -> int:
    """The last epoch that was looked at in which a kernel's histogram differs from the look before.

    Args:
        records: of one layer, in the order of epochs.

    Returns:
        An epoch; 0 where the kernel never changed.
    """
    for before, after in reversed(list(itertools.pairwise(records))):
        if any(before[key] != after[key] for key in ("low", "high", "counts")):
            return after["epoch"]
    return 0


def format_figure(value: float | None) -> str:
    """Four decimals, as the texts have them; a dash for nothing."""
    return "-" if value is None else f"{value:.4f}"


def _stated_cells(evidence: Evidence, name: str, row: RowParams, judgement: Judgement) -> tuple[str, ...]:
    verdict = WORDS[judgement.kind] if not judgement.setting else NOTHING
    if judgement.kind == "unfinished":
        verdict = f"unfinished, {count_runs(len(judgement.missing))} missing"
    return (
        name,
        row.title,
        _reported_cell(row),
        _measured_cell(judgement.stated),
        f"{len(judgement.stated)}",
        _difference(evidence, row, judgement.stated),
        _time(judgement.stated),
        verdict,
    )


def _reported_cell(row: RowParams) -> str:
    figures = (row.reported.train, row.reported.validation, row.reported.test)
    return " / ".join(format_figure(value) for value in figures) if any(figures) else NOTHING


def _setting_cells(evidence: Evidence, row: RowParams, judgement: Judgement) -> tuple[str, ...]:
    results = judgement.with_setting
    words = {"another setting": f"replicated with {judgement.setting}"}
    return (
        NOTHING,
        f"with {judgement.setting}",
        NOTHING,
        _measured_cell(results),
        f"{len(results)}",
        _difference(evidence, row, results),
        _time(results),
        words.get(judgement.kind, WORDS[judgement.kind]),
    )


def _measured_cell(results: Sequence[Result]) -> str:
    if not results:
        return NOTHING
    if any(result.failure for result in results):
        return "training failed"
    return " / ".join(_mean(results, part) for part in ("train", "validation", "test"))


def _mean(results: Sequence[Result], part: str) -> str:
    figures = measured(results, part)
    if figures is None:
        return "-"
    spread = f" ± {figures.spread:.4f}" if figures.spread is not None and part == "test" else ""
    return format_figure(figures.mean) + spread


def _difference(evidence: Evidence, row: RowParams, results: Sequence[Result]) -> str:
    figures = measured(results, judged_part(row))
    if figures is None or reported_figure(row) is None:
        return NOTHING
    sign = 1 if metric_of(evidence.studies, row) == "mae_standardized" else -1
    return f"{sign * shortfall(evidence.studies, row, figures.mean):+.4f}"


def _time(results: Sequence[Result]) -> str:
    return describe_seconds(statistics.fmean(result.cpu_seconds for result in results)) if results else NOTHING
