"""`python -m pipeline.repeat`: trains a network on several splits of its rows and reports mean and spread."""

import argparse
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from pipeline.errors import ParamsError, PipelineError, TrainingError
from pipeline.params import Params, load_params
from pipeline.repeated_report import write_report
from pipeline.repeated_splits import Deal, Outcome, list_deals, load_outcome, measure_and_save
from pipeline.worker_processes import worker_processes

FINISHED = Path(".kiln") / "repeats"
"""Outcomes of deals, so that an interrupted run goes on and a changed parameter redoes what it touches only."""


@dataclass(frozen=True)
class Work:
    """What is to be carried out.

    Attributes:
        params: the checked parameters.
        root: the project's folder.
        workers: processes at a time.
    """

    params: Params
    root: Path
    workers: int

    def path(self, deal: Deal) -> Path:
        """Of a deal's outcome."""
        return self.root / FINISHED / deal.model / f"{deal.split}-{deal.seed}.json"

    def outcome(self, deal: Deal) -> Outcome | None:
        """Of a deal that is finished."""
        return load_outcome(deal, self.params, self.root, self.path(deal))


def repeat(names: Sequence[str], work: Work) -> None:
    """Carries out the deals that are missing and writes the reports.

    Args:
        names: of entries of `repeats`.
        work: with what and where.

    Raises:
        PipelineError: a deal cannot be carried out; finished ones are kept.
    """
    deals = [deal for name in names for deal in list_deals(name, work.params)]
    missing = [deal for deal in deals if work.outcome(deal) is None]
    print(f"{len(deals)} trainings, {len(deals) - len(missing)} of them finished before.")  # noqa: T201
    if missing:
        _carry_out(missing, work)
    for name in names:
        outcomes = [work.outcome(deal) for deal in list_deals(name, work.params)]
        folder = work.root / "reports" / name
        write_report(name, work.params.trained(name), outcomes, folder)
        print(f"{folder / 'repeated_splits.md'} written.")  # noqa: T201


def _carry_out(missing: Sequence[Deal], work: Work) -> None:
    with (
        worker_processes(min(work.workers, len(missing))) as executor,
        tqdm(total=len(missing), unit="training", dynamic_ncols=True, disable=None) as bar,
    ):
        running = {
            executor.submit(measure_and_save, deal, work.params, work.root, work.path(deal)): deal for deal in missing
        }
        for future in as_completed(running):
            deal = running[future]
            try:
                outcome = future.result()
            except BrokenProcessPool:
                raise TrainingError(
                    f"A worker process was killed, perhaps for want of memory, during {deal.model} or beside it. "
                    "Finished trainings are kept; start again, with --workers 1 if it happens again."
                ) from None
            bar.write(_describe(deal, outcome), file=sys.stdout)
            bar.update()


def _describe(deal: Deal, outcome: Outcome) -> str:
    shown = [key for key in ("accuracy", "roc_auc", "mae_standardized") if key in outcome.figures["network"]]
    answers = [
        f"{key} " + ", ".join(f"{figures[name]:.4f}" for name in shown) for key, figures in outcome.figures.items()
    ]
    return f"{deal.model}, split {deal.split}, seed {deal.seed}: {' and '.join(shown)} of {'; '.join(answers)}"


def _names(asked: Sequence[str], params: Params) -> tuple[str, ...]:
    for name in asked:
        if name not in params.repeats:
            available = ", ".join(repr(key) for key in params.repeats) or "none"
            raise ParamsError(f"repeats: unknown name {name!r}. Available: {available}. Add it to params.yaml.")
    return tuple(asked) or tuple(params.repeats)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.repeat",
        description="Trains networks on several splits of their rows, as `repeats` in params.yaml says, and writes "
        "reports/<model>/repeated_splits.md. Goes on where it was interrupted.",
    )
    parser.add_argument("--model", nargs="+", default=[], metavar="NAME", help="only these entries of `repeats` (all)")
    parser.add_argument("--fresh", action="store_true", help="forget what is finished, after a change of code")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes at a time (one per core)")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="parameter file (params.yaml)")
    parser.add_argument("--root", type=Path, default=Path(), help="folder that holds data/ and reports/ (.)")
    arguments = parser.parse_args(argv)
    if arguments.workers < 1:
        parser.error(f"--workers: expected 1 or more, received {arguments.workers}.")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    arguments = _parse(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        params = load_params(arguments.params)
        names = _names(arguments.model, params)
        if arguments.fresh:
            for name in names:
                shutil.rmtree(arguments.root / FINISHED / name, ignore_errors=True)
        repeat(names, Work(params, arguments.root, arguments.workers))
    except PipelineError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        print("\nStopped. Finished trainings are kept: run the same command again.", file=sys.stderr)  # noqa: T201
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
