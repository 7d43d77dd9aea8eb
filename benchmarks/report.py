"""The benchmark's figures as Markdown tables, on the terminal and in benchmarks/README.md."""

import datetime
import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.results import GIGABYTE, Results, Verdict, cpu, p50, p99, rate
from benchmarks.scenarios import FLOOR, KILN, PLAIN
from benchmarks.wrk import find_wrk

PACKAGES = ("tensorflow-cpu", "tensorflow", "flask", "gunicorn", "numpy", "orjson")
NAMES = {FLOOR: "floor", PLAIN: "plain handler", KILN: "Kiln"}


def table(header: Sequence[str], rows: Iterable[Sequence[str]], text_columns: int = 1) -> str:
    """A Markdown table; all but the first columns are aligned to the right."""
    cells = [list(header), *(list(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]

    def line(row: Sequence[str]) -> str:
        padded = (
            text.ljust(width) if column < text_columns else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        )  # fmt: skip
        return f"| {' | '.join(padded)} |"

    rule = "|".join(
        "-" * (width + 2) if at < text_columns else "-" * (width + 1) + ":" for at, width in enumerate(widths)
    )
    return "\n".join([line(cells[0]), f"|{rule}|", *(line(row) for row in cells[1:])])


def rates_table(results: Results) -> str:
    """Requests per second and their ratios."""
    rows = []
    for scenario in dict.fromkeys(scenario for scenario, _ in results.runs):
        figures = [results.middle(scenario, server, rate) for server in (FLOOR, PLAIN, KILN)]
        shares = [results.ratio((scenario, KILN), (scenario, other), rate) for other in (FLOOR, PLAIN)]
        rows.append(
            [
                scenario.title,
                str(scenario.connections),
                *("-" if figure is None else f"{figure:,.0f}" for figure in figures),
                *(str(share or "-") for share in shares),
            ]
        )
    return table(["request", "connections", *NAMES.values(), "Kiln / floor", "Kiln / plain"], rows)


def latency_table(results: Results) -> str:
    """Latencies in milliseconds."""
    rows = []
    for scenario in dict.fromkeys(scenario for scenario, _ in results.runs):
        cells = []
        for server in NAMES:
            middle, tail = results.middle(scenario, server, p50), results.middle(scenario, server, p99)
            cells.append("-" if middle is None or tail is None else f"{middle:.2f} / {tail:.2f}")
        rows.append([scenario.title, str(scenario.connections), *cells])
    return table(["request", "connections", *NAMES.values()], rows)


def cpu_table(results: Results) -> str:
    """CPU time per request, which what else runs on the machine hardly changes."""
    rows = []
    for scenario in dict.fromkeys(scenario for scenario, _ in results.runs):
        figures = [results.middle(scenario, server, cpu) for server in NAMES]
        cells = ["-" if figure is None else f"{figure:.2f}" for figure in figures]
        rows.append([scenario.title, str(scenario.connections), *cells])
    return table(["request", "connections", *NAMES.values()], rows)


def memory_table(results: Results) -> str:
    """Resident memory."""
    rows = [
        [NAMES[server], str(workers), f"{used.rss_bytes / GIGABYTE:.2f}", f"{used.pss_bytes / GIGABYTE:.2f}"]
        for (server, workers), used in results.memory.items()
    ]
    return table(["server", "HTTP workers", "RSS, GB", "PSS, GB"], rows)


def verdicts_table(verdicts: Sequence[Verdict]) -> str:
    """The targets."""
    rows = [[verdict.target, verdict.measured, "met" if verdict.is_met else "MISSED"] for verdict in verdicts]
    return table(["target", "measured", "verdict"], rows, text_columns=3)


def troubles(results: Results) -> list[str]:
    """Everything that was no good answer, a sentence each."""
    sentences = []
    for (scenario, server), runs in results.runs.items():
        counts = {
            "answers of status 400 or more": sum(run.not_good for run in runs),
            "broken connections": sum(run.broken for run in runs),
            "timeouts": sum(run.timeouts for run in runs),
        }
        found = [f"{number} {what}" for what, number in counts.items() if number]
        if found:
            total = sum(run.answers for run in runs)
            sentences.append(f"{NAMES[server]}, {scenario.name}: {', '.join(found)} of {total} answers.")
    return sentences


def sections(results: Results, verdicts: Sequence[Verdict]) -> str:
    """All tables."""
    parts = ["## Requests per second\n", rates_table(results), "\n## Latency, ms: median / 99th percentile\n"]
    parts += [latency_table(results), "\n## CPU time of the server per request, ms\n", cpu_table(results)]
    parts += ["\n## Resident memory after the load\n", memory_table(results)]
    parts += ["\n## Targets\n", verdicts_table(verdicts)]
    bad = troubles(results)
    parts += ["\n## Answers that were not 200\n", *(f"- {sentence}" for sentence in bad)] if bad else []
    return "\n".join(parts) + "\n"


def write_readme(path: Path, results: Results, verdicts: Sequence[Verdict], command: str) -> None:
    """Writes benchmarks/README.md anew from `template.md`.

    Args:
        path: the file.
        results: what was measured.
        verdicts: what they are worth.
        command: what measured them.
    """
    template = Path(__file__).with_name("template.md").read_text(encoding="utf-8")
    text = template.format(
        sections=sections(results, verdicts),
        command=command,
        date=datetime.date.today().isoformat(),
        machine=describe_machine(),
        versions=describe_versions(),
    )
    path.write_text(text, encoding="utf-8")


def describe_machine() -> str:
    """Processor, CPUs, memory and kernel."""
    names = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
             if line.startswith("model name")]  # fmt: skip
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIGABYTE
    cpus = len(os.sched_getaffinity(0))
    kernel = platform.release().partition("-")[0]
    return f"{names[0] if names else platform.machine()}, {cpus} CPUs, {memory:.0f} GB, Linux {kernel}"


def describe_versions() -> str:
    """What took part."""
    wrk = subprocess.run([find_wrk(), "-v"], capture_output=True, text=True, check=False).stdout.split()
    found = [f"Python {platform.python_version()}", f"wrk {wrk[1] if len(wrk) > 1 else 'of unknown version'}"]
    installed = [name for name in PACKAGES if is_installed(name)]
    return ", ".join(found + [f"{name} {version(name)}" for name in installed])


def is_installed(package: str) -> bool:
    """Whether a package is there."""
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False
