"""Labels of a model: those of the configuration, and those that were set by hand over them."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class LabelByHand:
    """A label that was set, or taken away, while the service ran.

    Attributes:
        version: where it points to; None for taken away.
        over: what the configuration said at the time, None for nothing. When the configuration says something else
            later, that is the newer decision.
    """

    version: int | None
    over: int | None


Labels = Mapping[str, int]
LabelsByHand = Mapping[str, LabelByHand]


def merge_labels(configured: Labels, by_hand: LabelsByHand) -> dict[str, int]:
    """The labels that count."""
    merged = dict(configured)
    for label, decision in by_hand.items():
        if configured.get(label) != decision.over:
            continue
        if decision.version is None:
            merged.pop(label, None)
        else:
            merged[label] = decision.version
    return merged


def set_by_hand(configured: Labels, by_hand: LabelsByHand, label: str, version: int | None) -> dict[str, LabelByHand]:
    """The labels by hand after one more decision.

    Args:
        configured: what the configuration says.
        by_hand: the overrides so far.
        label: the label.
        version: where it shall point to; None to take it away.
    """
    overrides = dict(by_hand)
    overrides.pop(label, None)
    if version is not None or label in configured:
        overrides[label] = LabelByHand(version, configured.get(label))
    return overrides
