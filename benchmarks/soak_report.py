"""What the soak's records say: every answer against the versions that were there when it was asked and answered."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks import load
from benchmarks.disturbances import Passed
from benchmarks.report import table
from benchmarks.versions import Publisher

CAUSES = {
    load.REFUSED: "refused",
    load.RESET_FRESH: "reset on a new connection",
    load.RESET_REUSED: "reset on a kept connection",
    load.CUT: "cut in the answer",
    load.SILENT: "no answer in 40 s",
}
# Share of good answers below which the service cannot be said to have stood a phase.
LEAST_GOOD = 0.95
MAY_REFUSE = "engine"


@dataclass(frozen=True)
class PhaseResult:
    """What a phase did to the requests that were sent in it.

    Attributes:
        passed: the phase.
        requests: how many.
        good: right answers of a version that may have answered.
        wrong: answers with wrong numbers, or of a version that had not appeared yet or been replaced before.
        statuses: other answers, by status; those of 503 and 429 have Retry-After.
        bad: how many answers of other statuses, or without Retry-After.
        causes: requests without an answer, by cause.
        delays: of those and of bad answers, least and greatest seconds from the last action to their end.
        slowest, p99: milliseconds from when a request was due.
        gap: longest time, in milliseconds, in which no good answer came.
    """

    passed: Passed
    requests: int
    good: int
    wrong: int
    statuses: dict[str, int]
    bad: int
    causes: dict[str, int]
    delays: tuple[float, float] | None
    slowest: float
    p99: float
    gap: float

    def complaints(self) -> list[str]:
        """What must not be, a sentence each."""
        found = []
        if self.wrong:
            found.append(f"{self.wrong} wrong answers")
        if self.bad:
            found.append(f"{self.bad} answers that are neither good nor a 503 or 429 with Retry-After")
        if self.causes and not self.passed.phase.may_reset:
            found += [f"{number} requests {cause}" for cause, number in self.causes.items()]
        answered = self.requests - sum(self.causes.values())
        if self.good < LEAST_GOOD * answered and MAY_REFUSE not in self.passed.phase.name:
            found.append(f"only {self.good} of {answered} answers are good")
        if found and self.delays:
            found[-1] += f" ({self.delays[0]:.3f} to {self.delays[1]:.3f} s after the last action)"
        return [f"{self.passed.phase.name}: {sentence}" for sentence in found]


def judge_phases(records: np.ndarray, phases: Sequence[Passed], publisher: Publisher) -> list[PhaseResult]:
    """Sorts the records by phase and checks them.

    Args:
        records: see `Load.records`.
        phases: when each was.
        publisher: when each version appeared and was served.
    """
    bounds = [passed.start for passed in phases[1:]]
    # What went wrong belongs to the phase in which it did, even if the request had waited since the phase before.
    moments = np.where(records[:, 3] > 0, records[:, 1], records[:, 2])
    places = np.searchsorted(bounds, moments, side="right")
    right = are_right(records, publisher)
    return [judge_phase(passed, records[places == at], right[places == at]) for at, passed in enumerate(phases)]


def are_right(records: np.ndarray, publisher: Publisher) -> np.ndarray:
    """Which answers came from a version that was current when they were asked or answered.

    A version may answer once it has appeared, until a newer one was known to be served before the request was sent.
    """
    sent, received, outcomes = records[:, 1], records[:, 2], records[:, 3].astype(int)
    right = outcomes > 0
    appeared = np.full(max([*publisher.published, *outcomes, 0]) + 1, np.inf)
    for version, moment in publisher.published.items():
        appeared[version] = moment
    right &= appeared[np.maximum(outcomes, 0)] <= received
    served = sorted(publisher.served)
    moments = [publisher.served[version] for version in served]
    # The newest that was known to be served when the request was sent; versions are served one after another.
    newest = np.array([0, *served])[np.searchsorted(moments, sent, side="right")]
    return right & (outcomes >= newest)


def judge_phase(passed: Passed, records: np.ndarray, right: np.ndarray) -> PhaseResult:
    """Counts what became of a phase's requests."""
    outcomes = records[:, 3].astype(int)
    values, numbers = np.unique(outcomes, return_counts=True)
    counts = dict(zip(values.tolist(), numbers.tolist(), strict=True))
    statuses, bad = {}, 0
    for outcome, number in counts.items():
        if outcome <= -100:
            is_bare = outcome < -load.BARE
            status = -outcome - load.BARE * is_bare
            statuses[f"{status}{' bare' if is_bare else ''}"] = number
            bad += number if is_bare or status not in (503, 429) else 0
    milliseconds = (records[:, 2] - records[:, 0]) * 1000
    return PhaseResult(
        passed=passed,
        requests=len(records),
        good=int(right.sum()),
        wrong=int((outcomes >= 0).sum() - right.sum()),
        statuses=statuses,
        bad=bad,
        causes={cause: counts[outcome] for outcome, cause in CAUSES.items() if outcome in counts},
        delays=find_delays(passed, records[(outcomes < 0) & ~np.isin(outcomes, (-503, -429))]),
        slowest=float(milliseconds.max(initial=0)),
        p99=float(np.percentile(milliseconds, 99)) if len(records) else 0.0,
        gap=float(np.diff(np.sort(records[right, 2])).max(initial=0) * 1000),
    )


def find_delays(passed: Passed, records: np.ndarray) -> tuple[float, float] | None:
    """How long after the last action some requests ended: the least and the greatest seconds."""
    places = np.searchsorted(passed.actions, records[:, 2]) - 1
    if not len(records) or not passed.actions or places.min() < 0:
        return None
    delays = records[:, 2] - np.array(passed.actions)[places]
    return float(delays.min()), float(delays.max())


def phases_table(results: Sequence[PhaseResult]) -> str:
    """The phases as a table."""
    rows = []
    for result in results:
        other = [f"{number} x {status}" for status, number in result.statuses.items()]
        broken = [f"{number} {cause}" for cause, number in result.causes.items()]
        rows.append(
            [
                result.passed.phase.name,
                str(len(result.passed.actions) or ""),
                f"{result.requests:,}",
                f"{result.good:,}",
                str(result.wrong),
                ", ".join(other) or "-",
                ", ".join(broken) or "-",
                f"{result.p99:.0f}",
                f"{result.slowest:.0f}",
                f"{result.gap:.0f}",
            ]
        )
    header = [
        "phase",
        "times",
        "requests",
        "good",
        "wrong",
        "other answers",
        "no answer",
        "p99 ms",
        "slowest ms",
        "gap ms",
    ]
    return table(header, rows)
