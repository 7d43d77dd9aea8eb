"""`make bench`: Kiln against the floor and against a plain Flask handler, in one run on one machine."""

import argparse
import contextlib
import dataclasses
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks import wrk
from benchmarks.processes import ROOT, BenchmarkFailed, stop_on_signals
from benchmarks.report import sections, write_readme
from benchmarks.results import Results, judge
from benchmarks.scenarios import FLOOR, KILN, MLP_ONE, MODELS, PLAIN, REQUESTS, SCENARIOS, Scenario, encode_request
from benchmarks.servers import Answer, Server, predict, save_answers, start_floor, start_kiln, start_plain

REPOSITORY = ROOT / "models"
TOLERANCE = 1e-5
WORKERS, MORE_WORKERS = 2, 4
CHOSEN = {"KILN_MODELS": ",".join(MODELS)}


def main() -> int:
    """Runs the benchmark.

    Returns:
        0 once everything was measured, whatever the verdicts; 1 where that was impossible.
    """
    arguments = parse_arguments()
    stop_on_signals()
    try:
        wrk.find_wrk()
        check_models()
        warn_if_busy()
        with tempfile.TemporaryDirectory(prefix="kiln-benchmark-") as folder:
            results = measure(Path(folder), arguments)
    except BenchmarkFailed as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped; every process that was started has been ended.", file=sys.stderr)
        return 1
    verdicts = judge(results)
    print(f"\n{sections(results, verdicts)}")
    if is_full(arguments):
        write_readme(ROOT / "benchmarks" / "README.md", results, verdicts, describe_command(arguments))
        print("Written to benchmarks/README.md.")
    return 0


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a minute and a half; leaves benchmarks/README.md alone")
    parser.add_argument("--rounds", type=int, help="how often each server is asked (default 5; quick: 2)")
    parser.add_argument("--seconds", type=int, help="length of one run of wrk (default 3; quick: 1)")
    parser.add_argument(
        "--scenario", action="append", choices=[scenario.name for scenario in SCENARIOS], metavar="NAME",
        help=f"only this one; may be given again: {', '.join(scenario.name for scenario in SCENARIOS)}",
    )  # fmt: skip
    parser.add_argument(
        "--server", action="append", choices=[FLOOR, PLAIN, KILN], metavar="NAME",
        help="only this one; may be given again: floor, plain, kiln",
    )  # fmt: skip
    arguments = parser.parse_args()
    arguments.rounds = arguments.rounds or (2 if arguments.quick else 5)
    arguments.seconds = arguments.seconds or (1 if arguments.quick else 3)
    arguments.server = arguments.server or [FLOOR, PLAIN, KILN]
    return arguments


def is_full(arguments: argparse.Namespace) -> bool:
    """Whether the run is worth keeping."""
    return not (arguments.quick or arguments.scenario or len(arguments.server) < 3)


def describe_command(arguments: argparse.Namespace) -> str:
    """What to type for the same again."""
    return f"python -m benchmarks.serving --rounds {arguments.rounds} --seconds {arguments.seconds}"


def check_models() -> None:
    """Checks that there is something to serve.

    Raises:
        BenchmarkFailed: a model is missing.
    """
    for name in MODELS:
        if not (REPOSITORY / name).is_dir():
            raise BenchmarkFailed(f"{REPOSITORY / name} is missing. Train and publish it: dvc repro publish@{name}")


def warn_if_busy() -> None:
    """Says so where something else runs on the machine: two cores are shared by all that runs."""
    load, cpus = os.getloadavg()[0], len(os.sched_getaffinity(0))
    if load > 0.25 * cpus:
        print(f"Something else runs here (load average {load:.1f} on {cpus} CPUs); the ratios will scatter.")


def measure(folder: Path, arguments: argparse.Namespace) -> Results:
    """Starts the servers, checks their answers, and asks them in turn.

    Args:
        folder: a temporary one.
        arguments: the command line's.

    Raises:
        BenchmarkFailed: a server did not start, or answered something else than the others.
    """
    results = Results()
    chosen = [item for item in SCENARIOS if not arguments.scenario or item.name in arguments.scenario]
    for request in REQUESTS:
        wrk.write_script(folder, request.name, *encode_request(REPOSITORY, request))
    with contextlib.ExitStack() as stack:
        servers = start_servers(stack, folder, arguments.server)
        ask_rounds(results, chosen, servers, folder, arguments)
        for kind, server in servers.items():
            results.memory[kind, WORKERS] = server.memory()
        if KILN in servers and any(scenario.connections == 256 for scenario in chosen):
            print("Counting refusals at 256 connections", flush=True)
            script, url = folder / f"{MLP_ONE.name}-counting.lua", servers[KILN].url(MLP_ONE)
            results.refusals = wrk.count_refusals(script, url, 256, 2 * arguments.seconds)
    if KILN in arguments.server and not arguments.scenario:
        measure_more_workers(results, folder, arguments.seconds)
    return results


def start_servers(stack: contextlib.ExitStack, folder: Path, kinds: list[str]) -> dict[str, Server]:
    """Starts the servers that are to be compared; the floor last, since it repeats an answer of another one.

    Raises:
        BenchmarkFailed: one did not start, or Kiln and the plain handler disagree.
    """
    print(f"Starting {', '.join(kinds)} with {WORKERS} workers each", flush=True)
    servers = {}
    if PLAIN in kinds or KILN not in kinds:
        servers[PLAIN] = stack.enter_context(start_plain(REPOSITORY, folder / "plain.log", WORKERS))
    if KILN in kinds:
        servers[KILN] = stack.enter_context(start_kiln(REPOSITORY, folder / "kiln.log", WORKERS, **CHOSEN))
    save_answers(folder, check_answers(servers))
    if FLOOR in kinds:
        servers[FLOOR] = stack.enter_context(start_floor(folder, folder / "floor.log", WORKERS))
    return {kind: servers[kind] for kind in (FLOOR, PLAIN, KILN) if kind in kinds}


def check_answers(servers: dict[str, Server]) -> dict[str, Answer]:
    """Asks each server each request once.

    Returns:
        The last server's answers, by request.

    Raises:
        BenchmarkFailed: they differ by more than 1e-5, or one is no answer.
    """
    answers: dict[str, Answer] = {}
    for request in REQUESTS:
        expected = None
        for kind, server in servers.items():
            # The plain handler knows JSON only; its numbers must be the same.
            asked = next(r for r in REQUESTS if (r.model, r.rows) == (request.model, request.rows) and not r.binary)
            asked = asked if kind == PLAIN else request
            answers[request.name], given = predict(server, asked, *encode_request(REPOSITORY, asked))
            if expected is not None and not np.allclose(given, expected, rtol=TOLERANCE, atol=TOLERANCE):
                worst = np.abs(given - expected).max()
                raise BenchmarkFailed(f"{kind} answers {request.name} differently, by up to {worst:.2g}")
            expected = given
    return answers


def ask_rounds(
    results: Results, chosen: list[Scenario], servers: dict[str, Server], folder: Path, arguments: argparse.Namespace
) -> None:
    """Asks every server in turn, and all of that again in each round; round 0 is a second of warming up."""
    for round_number in range(arguments.rounds + 1):
        print(f"Round {round_number} of {arguments.rounds}" if round_number else "Warming up", flush=True)
        for scenario in chosen:
            for kind in scenario.servers:
                if kind not in servers:
                    continue
                script, url = folder / f"{scenario.request.name}.lua", servers[kind].url(scenario.request)
                seconds = arguments.seconds if round_number else 1
                before = servers[kind].cpu_seconds()
                run = wrk.run(script, url, scenario.connections, seconds)
                run = dataclasses.replace(run, cpu_seconds=servers[kind].cpu_seconds() - before)
                if round_number:
                    results.runs.setdefault((scenario, kind), []).append(run)
                    print(f"  {scenario.name:16} {kind:6} {run.rate:8,.0f} /s  {run.p50:8.2f} ms", flush=True)


def measure_more_workers(results: Results, folder: Path, seconds: int) -> None:
    """Measures Kiln's memory with more HTTP workers, after a load on both models."""
    print(f"Measuring memory with {MORE_WORKERS} HTTP workers", flush=True)
    with start_kiln(REPOSITORY, folder / "kiln-more.log", MORE_WORKERS, **CHOSEN) as server:
        for request in REQUESTS:
            wrk.run(folder / f"{request.name}.lua", server.url(request), 32, seconds)
        results.memory[KILN, MORE_WORKERS] = server.memory()


if __name__ == "__main__":
    sys.exit(main())
