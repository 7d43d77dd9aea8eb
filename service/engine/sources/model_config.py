"""The TOML file with versions, labels and batching of single models (`KILN_MODEL_CONFIG`)."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from service.engine.interface import LARGEST_VERSION, Choice
from service.engine.sources.files import read_regular
from service.errors import InvalidSettings

VERSIONS = 'expected "latest", "latest:N" (the N newest), "all" or a list of version numbers'
LABEL = re.compile(r"[^/:\s]+")


@dataclass(frozen=True)
class BatchingConfig:
    """How a model's requests are batched; None means what the settings say.

    Attributes:
        enabled: whether rows of concurrent requests run as one call, whatever is known of the model; None: where it is
            known to treat rows independently.
        largest_batch: most rows in one call.
        queue_rows: rows that may wait for one signature.
        timeout_seconds: how long a request may take.
    """

    enabled: bool | None = None
    largest_batch: int | None = None
    queue_rows: int | None = None
    timeout_seconds: int | None = None


@dataclass(frozen=True)
class ModelConfig:
    """What the file says of one model.

    Attributes:
        choice: which versions to serve, or None for what the settings say.
        labels: version numbers by label.
        batching: how its requests are batched.
    """

    choice: Choice | None = None
    labels: Mapping[str, int] = field(default_factory=dict)
    batching: BatchingConfig = BatchingConfig()


# The least and the most of the whole numbers, as the settings have them.
LIMITS = {"largest_batch": (1, 65536), "queue_rows": (1, 2**31), "timeout_seconds": (1, 86400)}


def load_model_config(path: Path) -> dict[str, ModelConfig]:
    """Reads the file.

    Args:
        path: where it is.

    Returns:
        What it says, by model.

    Raises:
        InvalidSettings: it cannot be read, or says something impossible; the sentence names the place.
    """
    try:
        document = tomllib.loads(read_regular(path).decode())
    except OSError as error:
        raise InvalidSettings(f"The model configuration {path} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise InvalidSettings(f"The model configuration {path} is not valid TOML: {error}.") from None
    try:
        return {name: parse_model(name, table) for name, table in document.items()}
    except ValueError as error:
        raise InvalidSettings(f"The model configuration {path} is wrong: {error}.") from None


def parse_model(name: str, table: Any) -> ModelConfig:
    """One model's table.

    Raises:
        ValueError: naming the table, the key, what was expected and what came.
    """
    entries = parse_table(name, table, ("versions", "labels", "batching"))
    choice = parse_choice(f"[{name}] versions", entries["versions"]) if "versions" in entries else None
    labels = parse_labels(f"{name}.labels", entries.get("labels", {}))
    if choice and choice.specific:
        for label, number in labels.items():
            if number not in choice.specific:
                raise ValueError(
                    f"[{name}.labels] {label} is {number}: expected one of the versions {list(choice.specific)}"
                )
    return ModelConfig(choice, labels, parse_batching(f"{name}.batching", entries.get("batching", {})))


def parse_table(place: str, table: Any, allowed: tuple[str, ...] = ()) -> dict[str, Any]:
    """A table with none but the allowed keys; with any where none are named."""
    if not isinstance(table, dict):
        raise ValueError(f"{place} is {table!r}: expected a table [{place}]")
    for key in table:
        if allowed and key not in allowed:
            raise ValueError(f"[{place}] has the unknown key '{key}'. Allowed: {', '.join(allowed)}")
    return table


def parse_choice(place: str, value: Any) -> Choice:
    """Which versions to serve."""
    if isinstance(value, list) and value and all(is_version_number(number) for number in value):
        return Choice(specific=tuple(sorted(set(value), reverse=True)))
    match = re.fullmatch(r"all|latest(?::([1-9][0-9]{0,5}))?", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{place} is {value!r}: {VERSIONS}")
    return Choice(latest=0 if value == "all" else int(match[1] or 1))


def parse_labels(place: str, table: Any) -> dict[str, int]:
    """Version numbers by label."""
    for label, number in parse_table(place, table).items():
        if not LABEL.fullmatch(label):
            raise ValueError(f"[{place}] has the label {label!r}: expected one without blanks, '/' and ':'")
        if not is_version_number(number):
            raise ValueError(f"[{place}] {label} is {number!r}: expected a version number")
    return dict(table)


def parse_batching(place: str, table: Any) -> BatchingConfig:
    """How a model's requests are batched."""
    entries = parse_table(place, table, ("enabled", *LIMITS))
    if "enabled" in entries and not isinstance(entries["enabled"], bool):
        raise ValueError(f"[{place}] enabled is {entries['enabled']!r}: expected true or false")
    for key, (least, most) in LIMITS.items():
        if key in entries and not (type(entries[key]) is int and least <= entries[key] <= most):
            raise ValueError(f"[{place}] {key} is {entries[key]!r}: expected a whole number from {least} to {most}")
    return BatchingConfig(**entries)


def is_version_number(value: Any) -> bool:
    """Whether this can be the number of a version; `true`, an integer to Python, cannot."""
    return type(value) is int and 0 <= value <= LARGEST_VERSION
