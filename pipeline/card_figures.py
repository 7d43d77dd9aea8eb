"""The tables of a model card: figures beside baselines, slices, and what the inputs range over."""

from collections.abc import Mapping
from typing import Any

from pipeline.figures import ERRORS, WORDS

LISTED_COLUMNS = 32
"""Of more columns, signals for example, only the range over all of them is told."""


def figure_table(manifest: Mapping[str, Any]) -> list[str]:
    """Every figure with the baselines beside it, as a table, line by line."""
    metrics = manifest["metrics"]
    columns = {"test": metrics["test"], "trivial baseline": metrics["baseline"]["trivial"]}
    if "gradient_boosting" in metrics["baseline"]:
        columns["gradient boosting"] = metrics["baseline"]["gradient_boosting"]
    columns |= {"validation": metrics["validation"], "training": metrics["train"]}
    lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    unit = manifest["target"]["unit"]
    for key in metrics["test"]:
        shown = f" [{unit}]" if key in ("mae", "rmse") and unit else ""
        arrow = "↓" if key in ERRORS else "↑"
        values = " | ".join(f"{column[key]:.4g}" for column in columns.values())
        lines.append(f"| {WORDS[key]}{shown} {arrow} | {values} |")
    return lines


def slice_table(manifest: Mapping[str, Any]) -> list[str]:
    """The test figures of each class, or of each fifth of the target, as a table."""
    slices = manifest["slices"]
    head = "class" if manifest["labels"] else f"actual {manifest['target']['name']}"
    keys = [key for key in slices[0] if key not in ("slice", "rows")]
    lines = [
        f"| {head} | rows | {' | '.join(WORDS.get(key, key) for key in keys)} |",
        "|---|" + "---:|" * (len(keys) + 1),
    ]
    for entry in slices:
        values = " | ".join(f"{entry[key]:.4g}" for key in keys)
        lines.append(f"| {entry['slice']} | {entry['rows']:,} | {values} |")
    return lines


def describe_inputs(manifest: Mapping[str, Any], profile: Mapping[str, Any]) -> list[str]:
    """What the training rows range over: a table of narrow columns, a sentence of images and signals."""
    features = profile["features"]
    if manifest["input"]["kind"] == "image":
        rows, columns = manifest["input"]["shape"]
        low, high = manifest["input"]["range"] or (None, None)
        return [f"Images of {rows} x {columns} pixels, raw values {low:g} to {high:g}."]
    if len(features) > LISTED_COLUMNS:
        low, high = min(each["min"] for each in features), max(each["max"] for each in features)
        return [f"{len(features)} columns, {low:g} to {high:g} {features[0]['unit']}".rstrip() + "."]
    rows = [
        f"| `{each['name']}` | {each['unit']} | {each['min']:g} | {each['quantiles']['0.5']:g} | {each['max']:g} |"
        for each in features
    ]
    return ["| input | unit | least | median | greatest |", "|---|---|---:|---:|---:|", *rows]
