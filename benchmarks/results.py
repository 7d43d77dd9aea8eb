"""The figures of a benchmark: medians over the rounds, ratios within a round, and how they compare with the targets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from benchmarks.processes import Memory
from benchmarks.scenarios import CNN_ONE, FLOOR, KILN, MLP_MANY, MLP_MANY_BINARY, MLP_ONE, PLAIN, Request, Scenario
from benchmarks.wrk import Refusals, Run

GIGABYTE = 1e9


@dataclass(frozen=True)
class Spread:
    """A figure over the rounds: the median, and the least and greatest."""

    middle: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """The spread of some figures."""
        return cls(median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{self.middle:.2f} ({self.least:.2f}..{self.greatest:.2f})"


@dataclass
class Results:
    """What was measured.

    Attributes:
        runs: one per round, by scenario and server.
        refusals: of Kiln at 256 connections, or None.
        memory: by server and number of HTTP workers.
    """

    runs: dict[tuple[Scenario, str], list[Run]] = field(default_factory=dict)
    refusals: Refusals | None = None
    memory: dict[tuple[str, int], Memory] = field(default_factory=dict)

    def middle(self, scenario: Scenario, server: str, figure: Callable[[Run], float]) -> float | None:
        """The median of a figure over the rounds, or None where the server was not asked."""
        runs = self.runs.get((scenario, server))
        return median(figure(run) for run in runs) if runs else None

    def ratio(
        self, over: tuple[Scenario, str], under: tuple[Scenario, str], figure: Callable[[Run], float]
    ) -> Spread | None:
        """The ratio of a figure of two servers or scenarios, round by round."""
        pairs = list(zip(self.runs.get(over, ()), self.runs.get(under, ()), strict=False))
        return Spread.of([figure(one) / figure(other) for one, other in pairs]) if pairs else None

    def scenario(self, request: Request, connections: int) -> Scenario | None:
        """The scenario of a request, where it was measured."""
        found = (scenario for scenario, _ in self.runs)
        return next((item for item in found if (item.request, item.connections) == (request, connections)), None)


@dataclass(frozen=True)
class Verdict:
    """A target and what was measured.

    Attributes:
        target: what is wanted, in words.
        measured: what there is.
        is_met: whether that is enough.
    """

    target: str
    measured: str
    is_met: bool


def rate(run: Run) -> float:
    """Good answers per second."""
    return run.rate


def p50(run: Run) -> float:
    """Median latency in milliseconds."""
    return run.p50


def p99(run: Run) -> float:
    """The latency in milliseconds that one request in a hundred exceeds."""
    return run.p99


def cpu(run: Run) -> float:
    """CPU milliseconds of the server per answer."""
    return 1000 * run.cpu_seconds / max(run.answers, 1)


def judge(results: Results) -> list[Verdict]:
    """Compares what was measured with the targets; targets whose scenario did not run are left out."""
    verdicts = [
        judge_share(results, MLP_ONE, 32, FLOOR, 0.60),
        judge_share(results, MLP_ONE, 32, PLAIN, 2.0),
        judge_share(results, MLP_MANY, 8, FLOOR, 0.30),
        judge_share(results, MLP_MANY_BINARY, 8, FLOOR, 0.55),
        judge_share(results, CNN_ONE, 32, FLOOR, 0.50),
        judge_latency(results),
        judge_crowd(results),
        judge_refusals(results.refusals),
        *(judge_memory(results.memory, workers, limit) for workers, limit in ((2, 1.0), (4, 1.15))),
    ]
    return [verdict for verdict in verdicts if verdict]


def judge_share(results: Results, request: Request, connections: int, other: str, least: float) -> Verdict | None:
    """Requests per second as a share of another server's."""
    scenario = results.scenario(request, connections)
    share = scenario and results.ratio((scenario, KILN), (scenario, other), rate)
    if not share:
        return None
    whose = {FLOOR: "the floor's", PLAIN: "the plain handler's"}[other]
    words = f"{scenario.title}, {connections} connections: at least {least:.2f} times {whose} requests per second"
    return Verdict(words, str(share), share.middle >= least)


def judge_latency(results: Results) -> Verdict | None:
    """The median latency of a single connection."""
    scenario = results.scenario(MLP_ONE, 1)
    ratio = scenario and results.ratio((scenario, KILN), (scenario, FLOOR), p50)
    if not ratio:
        return None
    words = f"{scenario.title}, 1 connection: median latency at most 2.20 times the floor's"
    return Verdict(words, str(ratio), ratio.middle <= 2.2)


def judge_crowd(results: Results) -> Verdict | None:
    """Good answers with many connections against those with few."""
    many, few = results.scenario(MLP_ONE, 256), results.scenario(MLP_ONE, 32)
    ratio = many and few and results.ratio((many, KILN), (few, KILN), rate)
    if not ratio:
        return None
    words = f"{many.title}: good answers per second at 256 connections at least 0.90 times those at 32"
    return Verdict(words, str(ratio), ratio.middle >= 0.9)


def judge_refusals(refusals: Refusals | None) -> Verdict | None:
    """What Kiln answered when it was crowded."""
    if refusals is None:
        return None
    run = refusals.run
    counts = ", ".join(f"{number} x {status}" for status, number in sorted(refusals.statuses.items()))
    measured = f"{counts}; other answers {refusals.bare}, timeouts {run.timeouts}, broken connections {run.broken}"
    words = "256 connections: every refusal is a 503 or 429 with Retry-After; nothing times out or breaks"
    return Verdict(words, measured, not (refusals.bare or run.timeouts or run.broken))


def judge_memory(memory: Mapping[tuple[str, int], Memory], workers: int, most: float) -> Verdict | None:
    """Resident memory of the whole service."""
    used = memory.get((KILN, workers))
    if used is None:
        return None
    words = f"{workers} HTTP workers: resident memory at most {most:.2f} GB"
    measured = f"RSS {used.rss_bytes / GIGABYTE:.2f} GB, PSS {used.pss_bytes / GIGABYTE:.2f} GB"
    return Verdict(words, measured, used.rss_bytes <= most * GIGABYTE)
