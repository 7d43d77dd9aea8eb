"""Whether a candidate may be published: baseline, floor, and the version that is published now."""

from dataclasses import dataclass
from typing import Any

from pipeline.errors import ParamsError, PublishRefused
from pipeline.figures import ERRORS
from pipeline.params import PublishParams
from pipeline.releases import Release


@dataclass(frozen=True)
class Verdict:
    """Why a candidate may be published.

    Attributes:
        figures: its figure beside what it was compared with, for people.
        note: what could not be compared, or "".
    """

    figures: str
    note: str


def judge(candidate: Release, published: Release | None, params: PublishParams) -> Verdict:
    """Compares a candidate's test figure with what it must reach.

    Args:
        candidate: the export.
        published: the version that is published now, or None.
        params: the floor, its metric and the tolerance.

    Returns:
        The reasons, where the candidate may be published.

    Raises:
        PublishRefused: it misses the floor, does not beat the trivial baseline or loses to the published version by
            more than the tolerance. The message gives the two numbers.
        ParamsError: the floor's metric is not one of the model's figures.
    """
    metric, name = params.floor.metric, candidate.manifest["name"]
    metrics = candidate.manifest["metrics"]
    if metric not in metrics["test"]:
        available = ", ".join(repr(key) for key in metrics["test"])
        raise ParamsError(
            f"models.{name}.publish.floor.metric: {name} has no figure {metric!r}. Available: {available}."
        )
    figure, baseline = metrics["test"][metric], metrics["baseline"]["trivial"][metric]
    who = f"{name} is not published: its test {metric} {figure:.4g}"
    if not _advantage(metric, figure, baseline) > 0:
        raise PublishRefused(f"{who} does not beat the trivial baseline's {baseline:.4g}.")
    if _advantage(metric, figure, params.floor.value) < 0:
        side = "above" if metric in ERRORS else "below"
        raise PublishRefused(f"{who} is {side} the floor {params.floor.value:.4g} of params.yaml.")
    note = _compare(candidate, published, params, who) if published else ""
    others = {"baseline": baseline}
    if "gradient_boosting" in metrics["baseline"]:
        others["gradient boosting"] = metrics["baseline"]["gradient_boosting"][metric]
    others["floor"] = params.floor.value
    beside = ", ".join(f"{key} {value:.4g}" for key, value in others.items())
    return Verdict(f"{metric} {figure:.4g} ({beside})", note)


def _compare(candidate: Release, published: Release, params: PublishParams, who: str) -> str:
    metric = params.floor.metric
    reason = _incomparable(candidate.manifest, published.manifest, metric)
    if reason:
        return f"{published.folder} {reason}, so the two are not compared: baseline and floor alone decided."
    figure, theirs = candidate.manifest["metrics"]["test"][metric], published.manifest["metrics"]["test"][metric]
    if _advantage(metric, figure, theirs) < -params.tolerance:
        raise PublishRefused(
            f"{who} loses to the {theirs:.4g} of {published.folder} by more than the tolerance {params.tolerance:.4g}. "
            "The published version stays."
        )
    return ""


def _incomparable(mine: dict[str, Any], theirs: dict[str, Any], metric: str) -> str:
    """Figures compare only where they were measured on the same test rows."""
    if metric not in theirs.get("metrics", {}).get("test", {}):
        return f"has no figure {metric!r}"
    data = theirs.get("data", {})
    for key in ("name", "split", "checksum", "counts"):
        if data.get(key) != mine["data"][key]:
            return f"was tested on other rows (data {key} {data.get(key)!r}, now {mine['data'][key]!r})"
    return ""


def _advantage(metric: str, figure: float, other: float) -> float:
    """How much better the first is, in the metric's unit."""
    return other - figure if metric in ERRORS else figure - other
