"""What the soak's records say: every answer against its request, and against the versions that there were."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks import hammer
from benchmarks.disturbances import Passed
from benchmarks.report import table
from benchmarks.versions import Publisher

NAMES = {
    hammer.WRONG: "wrong", hammer.TWICE: "twice", hammer.RESET_KEPT: "reset (kept)", hammer.RESET_NEW: "reset (new)",
    hammer.CUT: "cut", hammer.SILENT: "silent", hammer.UNASKED: "unasked", 200: "good",
}  # fmt: skip
BROKEN = (hammer.RESET_KEPT, hammer.RESET_NEW, hammer.CUT)
NEVER = (hammer.WRONG, hammer.TWICE, hammer.UNASKED, hammer.SILENT)
# Longest time without an answer of a model that has done nothing: 2 s on an idle machine, more under this load.
MOST_GAP_SECONDS = 6.0
# What a killed worker did not answer may be found out a while later.
RESET_SECONDS = 10.0


@dataclass(frozen=True)
class Result:
    """What became of the requests.

    Attributes:
        counts: how many by way and outcome.
        resets: how many connections broke while no worker had been killed.
        stale: answers of a version that had not appeared yet, or had been replaced before.
        gaps: the longest seconds without an answer of the innocent client, by phase.
    """

    counts: dict[tuple[str, int], int]
    resets: int
    stale: int
    gaps: dict[str, float]

    def complaints(self) -> list[str]:
        """What must not be, a sentence each."""
        by_outcome = Counter()
        for (_, outcome), number in self.counts.items():
            by_outcome[outcome] += number
        found = [f"{by_outcome[outcome]} answers: {NAMES[outcome]}" for outcome in NEVER if by_outcome[outcome]]
        found += [
            f"{number} answers of status {describe(outcome)}"
            for outcome, number in sorted(by_outcome.items())
            if outcome not in NAMES and outcome not in hammer.EXPECTED
        ]
        found += [f"{self.stale} answers of a version that was not current"] if self.stale else []
        found += [f"{self.resets} connections broke though no worker had been killed"] if self.resets else []
        found += [
            f"{gap:.1f} s without an answer of the innocent client in phase '{name}'"
            for name, gap in self.gaps.items()
            if gap > MOST_GAP_SECONDS
        ]
        return found if by_outcome[200] else [*found, "no good answer"]


def judge(records: np.ndarray, innocent: np.ndarray, phases: Sequence[Passed], publisher: Publisher) -> Result:
    """Counts and checks the records.

    Args:
        records: of all clients, see `hammer.COLUMNS`.
        innocent: of the innocent one.
        phases: when each was.
        publisher: when each version appeared and was served.
    """
    outcomes = records[:, 4].astype(int)
    pairs = Counter(zip(records[:, 0].astype(int).tolist(), outcomes.tolist(), strict=True))
    broken = records[np.isin(outcomes, BROKEN), 3]
    excused = np.zeros(len(broken), bool)
    for passed in phases:
        if passed.phase.may_reset:
            excused |= (broken >= passed.start) & (broken <= passed.end + RESET_SECONDS)
    return Result(
        counts={(hammer.WAYS[way], outcome): number for (way, outcome), number in pairs.items()},
        resets=int((~excused).sum()),
        stale=int((~are_current(records[outcomes == 200], publisher)).sum()),
        gaps=find_gaps(innocent, phases),
    )


def are_current(records: np.ndarray, publisher: Publisher) -> np.ndarray:
    """Which answers came from a version that was current when they were asked or answered.

    A version may answer once it has appeared, until a newer one was known to be served before the request was sent.
    """
    sent, received, versions = records[:, 2], records[:, 3], records[:, 5].astype(int)
    appeared = np.full(max([*publisher.published, *versions, 0]) + 1, np.inf)
    for version, moment in publisher.published.items():
        appeared[version] = moment
    served = sorted(publisher.served)
    moments = [publisher.served[version] for version in served]
    # The newest that was known to be served when the request was sent; versions are served one after another.
    newest = np.array([0, *served])[np.searchsorted(moments, sent, side="right")]
    return (appeared[versions] <= received) & (versions >= newest)


def find_gaps(innocent: np.ndarray, phases: Sequence[Passed]) -> dict[str, float]:
    """The longest time between two good answers, by the phase in which it ended."""
    good = np.sort(innocent[innocent[:, 4] == 200, 3])
    gaps: dict[str, float] = {}
    for passed in phases:
        inside = good[(good >= passed.start) & (good <= passed.end)]
        moments = np.concatenate([[passed.start], inside, [passed.end]])
        longest = float(np.diff(moments).max())
        gaps[passed.phase.name] = max(gaps.get(passed.phase.name, 0.0), longest)
    return gaps


def describe(outcome: int) -> str:
    """An outcome for people."""
    if outcome in NAMES:
        return NAMES[outcome]
    return f"{outcome - hammer.BARE} without Retry-After" if outcome >= hammer.BARE else str(outcome)


def counts_table(result: Result) -> str:
    """Answers by way to ask and by what they were."""
    outcomes = sorted({outcome for _, outcome in result.counts}, key=lambda outcome: (outcome != 200, outcome))
    rows = [
        [way, *(f"{result.counts.get((way, outcome), 0):,}" for outcome in outcomes)]
        for way in hammer.WAYS
    ]  # fmt: skip
    return table(["asked by", *map(describe, outcomes)], rows)


def gaps_table(result: Result) -> str:
    """The longest time without an answer of the innocent client, by phase."""
    return table(["phase", "longest s without an answer"], [[name, f"{gap:.2f}"] for name, gap in result.gaps.items()])
