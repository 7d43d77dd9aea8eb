"""What was decided while the service ran, in a file, so that an engine that is started again serves the same."""

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from service.engine.interface import Choice
from service.engine.versions.labels import LabelByHand, Labels, LabelsByHand

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Configured:
    """What `configure` was last told.

    Attributes:
        choices: the models that are served, and no others, with their policies.
        labels: their labels, which stand in place of those of the file.
    """

    choices: Mapping[str, Choice]
    labels: Mapping[str, Labels]


@dataclass(frozen=True)
class RuntimeOverrides:
    """Everything that was decided at run time.

    Attributes:
        unloaded: models that are not served until they are loaded again.
        labels: labels by hand, by model.
        configured: what `configure` was told, or None if it never was.
    """

    unloaded: frozenset[str] = frozenset()
    labels: Mapping[str, LabelsByHand] = field(default_factory=dict)
    configured: Configured | None = None


def load_overrides(path: Path | None) -> RuntimeOverrides:
    """Reads the file; nothing was decided where there is none, or one that cannot be read, which is logged."""
    if path is None:
        return RuntimeOverrides()
    try:
        return parse(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return RuntimeOverrides()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        logger.warning("Ignored what was decided before: %s cannot be read: %r", path, error)
        return RuntimeOverrides()


def save_overrides(path: Path | None, overrides: RuntimeOverrides) -> None:
    """Writes the file, whole or not at all; a full disk is logged and does not undo the decision."""
    if path is None:
        return
    draft = path.with_name(f"{path.name}.new")
    try:
        draft.write_text(json.dumps(serialize(overrides), indent=1), encoding="utf-8")
        os.replace(draft, path)
    except OSError as error:
        logger.warning("%s cannot be written; a restart of the engine will forget this: %s", path, error)


def serialize(overrides: RuntimeOverrides) -> dict[str, Any]:
    """The overrides as JSON holds them."""
    configured = overrides.configured
    return {
        "unloaded": sorted(overrides.unloaded),
        "labels": {
            name: {label: [decision.version, decision.over] for label, decision in labels.items()}
            for name, labels in overrides.labels.items()
        },
        "configured": configured
        and {
            "choices": {name: [choice.latest, list(choice.specific)] for name, choice in configured.choices.items()},
            "labels": {name: dict(labels) for name, labels in configured.labels.items()},
        },
    }


def parse(document: Any) -> RuntimeOverrides:
    """The opposite of `serialize`."""
    configured = document["configured"]
    return RuntimeOverrides(
        frozenset(document["unloaded"]),
        {
            name: {label: LabelByHand(version, over) for label, (version, over) in labels.items()}
            for name, labels in document["labels"].items()
        },
        configured
        and Configured(
            {name: Choice(latest, tuple(specific)) for name, (latest, specific) in configured["choices"].items()},
            configured["labels"],
        ),
    )
