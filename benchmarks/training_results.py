"""The figures of the training benchmark: rounds in which both sides have a turn, and their ratios."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.training_sides import NETWORKS, Network, Training, has_gpu, train_plainly, train_with_kiln


@dataclass(frozen=True)
class Result:
    """All trainings of one network.

    Attributes:
        network: which one.
        epochs: of each training.
        plain, kiln: one entry per round.
    """

    network: Network
    epochs: int
    plain: list[Training]
    kiln: list[Training]

    def ratios(self) -> list[float]:
        """Kiln's time over plain `fit`'s, round by round."""
        return [ours.seconds / theirs.seconds for ours, theirs in zip(self.kiln, self.plain, strict=True)]

    def cpu_ratios(self) -> list[float]:
        """The same of the time of all threads, which hardly changes with what else runs on the machine."""
        return [ours.cpu_seconds / theirs.cpu_seconds for ours, theirs in zip(self.kiln, self.plain, strict=True)]

    def later_ratios(self) -> list[float]:
        """That of the epochs behind the first, in which nothing is read, traced or compiled any more."""
        return [later(ours) / later(theirs) for ours, theirs in zip(self.kiln, self.plain, strict=True)]

    @property
    def target(self) -> float | None:
        """The most that the ratio may be on this device; None where nothing is promised."""
        return self.network.gpu_target if has_gpu() else self.network.target

    @property
    def is_met(self) -> bool:
        """Whether the target is reached; true where there is none."""
        return self.target is None or median(self.ratios()) <= self.target


def later(training: Training) -> float:
    """Seconds of an epoch behind the first; of the only one where there is one."""
    return median(training.epoch_seconds[1:] or training.epoch_seconds)


def measure(names: Sequence[str], file: Path, rounds: int, epochs: int | None) -> list[Result]:
    """Trains each network on both sides, one after the other, with a new seed in each round.

    Args:
        names: of the networks.
        file: `mnist.npz`.
        rounds: how many turns each side has.
        epochs: of each training; None for the network's own number.

    Returns:
        One result per network.
    """
    # What only the first training of a process pays: libraries that are loaded late.
    for train in (train_plainly, train_with_kiln):
        train(NETWORKS[names[0]], file, 1, 0)
    results = []
    for name in names:
        result = Result(NETWORKS[name], epochs or NETWORKS[name].epochs, [], [])
        for seed in range(1, rounds + 1):
            _take_turns(result, file, seed)
            ratio = result.ratios()[-1]
            print(f"{result.network.title}, round {seed} of {rounds}: {ratio:.2f} times plain fit", file=sys.stderr)
        results.append(result)
    return results


def _take_turns(result: Result, file: Path, seed: int) -> None:
    """A training of each side; they begin in turn, so that neither always runs on a machine warmed by the other."""
    sides = [(train_plainly, result.plain), (train_with_kiln, result.kiln)]
    for train, trainings in sides if seed % 2 else reversed(sides):
        trainings.append(train(result.network, file, result.epochs, seed))
