"""Which versions to load and which to keep, given what is on disk and what is loaded. Arithmetic on numbers only."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from service.engine.interface import Choice


@dataclass(frozen=True)
class Plan:
    """What should happen to a model's versions.

    Attributes:
        load: versions to load, newest first.
        keep: loaded versions that stay; the other loaded ones go.
    """

    load: tuple[int, ...] = ()
    keep: frozenset[int] = frozenset()


def plan(
    on_disk: Sequence[int],
    choice: Choice,
    labelled: Collection[int],
    loaded: Collection[int],
    failed: Collection[int],
) -> Plan:
    """Says what to load and what to keep.

    A version that failed counts as if it were not there, so the next older one takes its place. A version that a label
    points to is loaded and kept beside those that the policy chooses. The last loaded version is always kept: as long
    as nothing replaces it, an old answer is better than none. Loaded versions whose folder has vanished stay until
    everything is loaded that should be, so that their successor and they are exchanged in one step.

    Args:
        on_disk: versions in the model's folder, newest first.
        choice: the policy.
        labelled: versions that labels point to.
        loaded: versions that can be called.
        failed: versions that could not be loaded and are not to be tried again now.
    """
    sound = [number for number in on_disk if number not in failed]
    wanted = set(choose(sound, choice)) | set(labelled)
    load = tuple(number for number in sound if number in wanted and number not in loaded)
    candidates = [number for number in sorted(loaded, reverse=True) if load or number in on_disk]
    keep = set(choose(candidates, choice)) | set(labelled).intersection(loaded)
    if loaded and not keep:
        keep = {max(loaded)}
    return Plan(load, frozenset(keep))


def choose(numbers: Sequence[int], choice: Choice) -> list[int]:
    """Those of the versions, given newest first, that a policy takes."""
    if choice.specific:
        return [number for number in numbers if number in choice.specific]
    return list(numbers[: choice.latest or len(numbers)])
