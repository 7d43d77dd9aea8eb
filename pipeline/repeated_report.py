"""The report on several deals of the same rows: `repeated_splits.json` and `repeated_splits.md`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.figures import ERRORS, WORDS
from pipeline.params import ComparisonParams
from pipeline.prepared import write_json
from pipeline.repeated_splits import Outcome
from pipeline.scores import rounded

SHOWN = ("accuracy", "roc_auc", "f1", "mae", "mae_standardized")
"""The figures of which the page has a column each; the JSON file has all."""
ANSWERS = {"network": "network", "gradient_boosting": "gradient boosting", "trivial": "trivial baseline"}


def write_report(name: str, block: ComparisonParams, outcomes: Sequence[Outcome], folder: Path) -> None:
    """Writes both files.

    Args:
        name: of the model or the comparison.
        block: its parameters.
        outcomes: of all deals.
        folder: `reports/<name>`.
    """
    by_split: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_split.setdefault(outcome.split, []).append(outcome)
    summaries = {split: summarize(group) for split, group in by_split.items()}
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "model": name,
        "dataset": block.dataset,
        "splits": {
            split: {"summary": summaries[split], "deals": [asdict(outcome) for outcome in group]}
            for split, group in by_split.items()
        },
    }
    write_json(rounded(document), folder / "repeated_splits.json")
    lines = [
        f"# {name}: repeated splits",
        "",
        f"The network of `{name}` on several random splits of `{block.dataset}`: each seed deals the rows anew and "
        "starts the network anew. Epoch, operating point and the settings of gradient boosting are chosen on the "
        "validation rows of the same split; the test rows are read once. Written by `python -m pipeline.repeat`.",
    ]
    for split, group in by_split.items():
        lines += ["", *_table(split, group, summaries[split])]
    (folder / "repeated_splits.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def summarize(outcomes: Sequence[Outcome]) -> dict[str, dict[str, dict[str, float]]]:
    """Mean and spread over deals.

    Args:
        outcomes: of one split.

    Returns:
        By what answers (`network`, `trivial`, `gradient_boosting`) and figure: `mean`, `deviation` (of the sample),
        `least` and `greatest`.
    """
    return {
        answers: {figure: _spread([outcome.figures[answers][figure] for outcome in outcomes]) for figure in figures}
        for answers, figures in outcomes[0].figures.items()
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return {"mean": float(np.mean(values)), "deviation": deviation, "least": min(values), "greatest": max(values)}


def _table(split: str, outcomes: Sequence[Outcome], summary: dict[str, Any]) -> list[str]:
    answers = [key for key in ANSWERS if key in summary]
    figures = [key for key in SHOWN if key in summary["network"]]
    columns = [(key, figure) for figure in figures for key in answers]
    heads = [f"{WORDS[figure]} {'↓' if figure in ERRORS else '↑'}, {ANSWERS[key]}" for key, figure in columns]
    spreads = [summary[key][figure] for key, figure in columns]
    return [
        f"## Split `{split}`",
        "",
        _describe_rows(outcomes),
        "",
        f"| seed | {' | '.join(heads)} | best epoch | seconds |",
        "|---|" + "---:|" * (len(heads) + 2),
        *(_row(outcome, columns) for outcome in outcomes),
        f"| **mean** | {' | '.join(_bold(spread) for spread in spreads)} | | |",
        f"| deviation | {' | '.join(format(spread['deviation'], '.4f') for spread in spreads)} | | |",
    ]


def _bold(spread: Mapping[str, float]) -> str:
    return f"**{spread['mean']:.4f}**"


def _row(outcome: Outcome, columns: Sequence[tuple[str, str]]) -> str:
    values = " | ".join(f"{outcome.figures[key][figure]:.4f}" for key, figure in columns)
    return f"| {outcome.seed} | {values} | {outcome.best_epoch} | {outcome.seconds:.0f} |"


def _describe_rows(outcomes: Sequence[Outcome]) -> str:
    first = outcomes[0]
    counts = ", ".join(f"{count:,} {part}" for part, count in first.rows.items())
    twins = [outcome.identical_inputs_on_two_sides for outcome in outcomes]
    beside = f"{min(twins)}" if min(twins) == max(twins) else f"{min(twins)} to {max(twins)}"
    return (
        f"{counts} rows with the first seed; {beside} of the validation and test rows have an input that stands in "
        "another part, too."
    )
