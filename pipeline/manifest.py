"""`assets.extra/model.json`: what a signature cannot say about a model."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipeline.params import ComparisonParams
from pipeline.prepared import Description, Part

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Findings:
    """What the stages before the export found out.

    Attributes:
        training: what `training.json` holds.
        metrics: what `metrics.json` holds.
        slices: what `evaluation/slices.json` holds.
    """

    training: dict[str, Any]
    metrics: dict[str, Any]
    slices: list[dict[str, Any]]


def compose_manifest(
    name: str, block: ComparisonParams, description: Description, findings: Findings, example: dict[str, Any]
) -> dict[str, Any]:
    """The manifest, without what only the moment of publishing can tell.

    Args:
        name: of the model.
        block: its parameters.
        description: of its data.
        findings: about it.
        example: see `choose_example`.

    Returns:
        What `model.json` holds, ready for JSON.
    """
    split = description.splits.get(block.split, {})
    return {
        "format_version": FORMAT_VERSION,
        "name": name,
        "task": description.task,
        "labels": list(description.labels),
        "target": {"name": description.target_name, "unit": description.target_unit},
        "input": {
            "kind": description.input_kind,
            "name": description.input_name,
            "shape": list(description.input_shape),
            "range": list(description.input_range) if description.input_range else None,
        },
        "features": [{"name": feature.name, "unit": feature.unit} for feature in description.features],
        "operating_point": _operating_point(block, description, findings.metrics),
        "metrics": findings.metrics,
        "slices": findings.slices,
        "training": {**findings.training, **_describe_settings(block)},
        # What decides over publishing is no property of the model: a new floor does not make a new version.
        "params": block.model_dump(mode="json", exclude={"publish"}),
        "data": {
            "name": description.name,
            "split": block.split,
            "checksum": description.checksum,
            "partial": description.partial,
            "source": description.source,
            "counts": split.get("counts", {}),
            "dealt": {key: value for key, value in split.items() if key not in ("counts", "labels")},
            "about": asdict(description.about),
        },
        "example": example,
    }


def choose_example(test: Part, guesses: np.ndarray | None, description: Description) -> dict[str, Any]:
    """A request that can be sent as it is, with the true answer.

    Args:
        test: the test rows.
        guesses: `(n,)` class ids that the model answers, or None for a regression.
        description: of the data.

    Returns:
        The first test row; of a classifier, the first that it gets right, since the example shows what an answer looks
        like and `metrics` how often it is wrong.
    """
    right = np.arange(len(test.y)) if guesses is None else np.flatnonzero(guesses == test.y)
    row = int(right[0]) if len(right) else 0
    truth = test.y[row]
    expected = _shortest(truth) if guesses is None else description.labels[int(truth)]
    return {"signature_name": "serving_default", "instances": [_nested(test.x[row])], "expected": expected}


def _describe_settings(block: ComparisonParams) -> dict[str, str]:
    """Network and training in words, for people; defaults are left out."""
    settings = block.model_dump(mode="json", include={"network", "train"}, exclude_defaults=True)
    return {"network": _spell(settings["network"]), "settings": _spell(settings["train"])}


def _spell(settings: Mapping[str, Any]) -> str:
    parts = []
    for key, value in settings.items():
        words = key.replace("_", " ")
        if isinstance(value, Mapping):
            parts.append(f"{words} ({_spell(value)})")
        else:
            parts.append(f"{words} {'-'.join(map(str, value)) if isinstance(value, list) else value}")
    return ", ".join(parts)


def _operating_point(
    block: ComparisonParams, description: Description, metrics: dict[str, Any]
) -> dict[str, Any] | None:
    if description.task != "binary":
        return None
    threshold = metrics["operating_point"]["threshold"]
    aim = block.evaluate.operating_point
    if aim == "more_probable":
        return {"threshold": threshold, "maximizes": "expected accuracy", "chosen_on": "the probabilities"}
    return {"threshold": threshold, "maximizes": aim, "chosen_on": "validation"}


def _nested(values: np.ndarray) -> list[Any]:
    return [_nested(value) if value.ndim else _shortest(value) for value in values]


def _shortest(value: np.generic) -> int | float:
    """The number with the fewest digits that is this value in its own type: 0.1, not 0.10000000149011612."""
    return int(value) if np.issubdtype(value.dtype, np.integer) else float(str(value))
