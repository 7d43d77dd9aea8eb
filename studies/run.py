"""`python -m studies.run`: carries out the runs that are missing, as many at a time as there are cores."""

import argparse
import os
import shutil
import signal
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from pipeline.errors import PipelineError, TrainingError
from pipeline.params import load_params
from pipeline.worker_processes import worker_processes
from studies.comparison import compare
from studies.params import StudiesParams, load_studies
from studies.results import Result, Results
from studies.runs import Run
from studies.schedule import Clock, count_runs, describe_result, describe_seconds, missing_runs
from studies.workers import carry_out_and_save

BAR = "{n_fmt}/{total_fmt} runs |{bar:20}| {elapsed}{postfix}"
TICK_SECONDS = 5.0
RESULTS = Path("studies") / "results"
FRESH = Path(".kiln") / "studies"
"""Results of `--fresh`, until they have been compared; an interrupted one goes on from there."""


@dataclass(frozen=True)
class Work:
    """What is to be carried out.

    Attributes:
        studies: all parameters.
        names: of the rows.
        root: the project's folder.
        results: gets the results.
        workers: processes at a time.
    """

    studies: StudiesParams
    names: tuple[str, ...]
    root: Path
    results: Results
    workers: int


def carry_out_missing(work: Work) -> int:
    """Carries out all that is missing, and what turns out to be needed on the way.

    Args:
        work: the rows and where their results go.

    Returns:
        How many runs were carried out.

    Raises:
        PipelineError: a run cannot be carried out; finished runs are kept.
    """
    if not missing_runs(work.studies, work.names, work.results):
        return 0
    with worker_processes(work.workers) as executor, tqdm(bar_format=BAR, dynamic_ncols=True, disable=None) as bar:
        return _Loop(work, executor, bar).run()


class _Loop:
    """Hands runs to the workers, one each, and asks after every result what is missing now."""

    def __init__(self, work: Work, executor: Executor, bar: tqdm) -> None:
        self._work = work
        self._executor = executor
        self._bar = bar
        self._clock = Clock(work.workers)
        self._running: dict[Future[Result], Run] = {}
        self._done = 0

    def run(self) -> int:
        waiting = self._hand_out()
        while self._running:
            self._show(waiting)
            finished, _ = wait(self._running, TICK_SECONDS, FIRST_COMPLETED)
            results = [self._take_in(future) for future in finished]
            waiting = self._hand_out()
            for result in results:
                self._tell(result, waiting)
        return self._done

    def _hand_out(self) -> list[Run]:
        """Gives idle workers something to do; returns what has to wait."""
        busy = {run.file for run in self._running.values()}
        missing = missing_runs(self._work.studies, self._work.names, self._work.results)
        waiting = [run for run in missing if run.file not in busy]
        while waiting and len(self._running) < self._work.workers:
            run = waiting.pop(0)
            arguments = (run, self._work.root, self._work.results.folder)
            self._running[self._executor.submit(carry_out_and_save, *arguments)] = run
            self._clock.start(run)
        return waiting

    def _take_in(self, future: Future[Result]) -> Result:
        run = self._running.pop(future)
        try:
            result = future.result()
        except BrokenProcessPool:
            raise TrainingError(
                f"A worker process was killed during {run.name}, perhaps for want of memory. Finished runs are kept; "
                "start again, with --workers 1 if it happens again."
            ) from None
        self._work.results.forget(run)
        self._clock.finish(run)
        self._done += 1
        return result

    def _tell(self, result: Result, waiting: Sequence[Run]) -> None:
        """One line per finished run, above the bar or into a log."""
        left = f" ({self._done} of {self._count(waiting)} runs, about {self._left(waiting)} left)"
        self._bar.write(describe_result(result) + left, file=sys.stdout)
        sys.stdout.flush()

    def _show(self, waiting: Sequence[Run]) -> None:
        self._bar.total, self._bar.n = self._count(waiting), self._done
        names = "; ".join(run.name for run in self._running.values())
        self._bar.set_postfix_str(f"about {self._left(waiting)} left: {names}")

    def _count(self, waiting: Sequence[Run]) -> int:
        return self._done + len(self._running) + len(waiting)

    def _left(self, waiting: Sequence[Run]) -> str:
        return describe_seconds(self._clock.seconds_left(self._running.values(), waiting))


def _rows(studies: StudiesParams, asked: Sequence[str]) -> tuple[str, ...]:
    for name in asked:
        studies.row(name)
    return tuple(asked) or tuple(studies.rows)


def _checksums(names: Iterable[str], root: Path) -> dict[str, str]:
    """Checksums of data sets, read from `data/raw`.

    Raises:
        DataError: one is not there; the message says how to bring it.
    """
    # Imports what reads data, which --help does not need.
    from studies.material import load_dataset

    params = load_params(root / "params.yaml")
    return {name: load_dataset(name, params, root).description.checksum for name in sorted(names)}


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m studies.run",
        description="Carries out the runs of the published tables that are missing or whose configuration has changed.",
    )
    parser.add_argument("--rows", nargs="+", default=[], metavar="ROW", help="only these rows, e.g. D4 A1 (all)")
    parser.add_argument(
        "--fresh", action="store_true", help="carry the rows out again, elsewhere, and compare verdicts and figures"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes at a time (one per core)")
    parser.add_argument("--params", type=Path, default=Path("studies/params.yaml"), help="(studies/params.yaml)")
    parser.add_argument("--root", type=Path, default=Path(), help="folder that holds data/ and studies/ (.)")
    arguments = parser.parse_args(argv)
    if arguments.workers < 1:
        parser.error(f"--workers: expected 1 or more, received {arguments.workers}.")
    return arguments


def _run(arguments: argparse.Namespace) -> int:
    studies, root = load_studies(arguments.params), arguments.root
    names = _rows(studies, arguments.rows)
    used = {studies.splits[studies.row(name).split].dataset for name in names}
    here = {name for name in used if (root / "data" / "raw" / name).is_dir()}
    # Results made from other data are out of date; without the data, as after a clone, there is nothing to compare.
    kept = Results(root / RESULTS, _checksums(here, root))
    results = Results(root / FRESH) if arguments.fresh else kept
    _checksums({run.params.dataset for run in missing_runs(studies, names, results)} - here, root)
    done = carry_out_missing(Work(studies, names, root, results, arguments.workers))
    if not arguments.fresh:
        print(f"{count_runs(done)} carried out; nothing is missing." if done else "Nothing is missing.")  # noqa: T201
        return 0
    sentences, are_equal = compare(studies, names, kept, results)
    print("\n".join(sentences))  # noqa: T201
    shutil.rmtree(root / FRESH)
    return 0 if are_equal else 1


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    arguments = _parse(argv)
    # As Ctrl-C: the workers must not go on without somebody to report to.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _run(arguments)
    except PipelineError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        print("Interrupted. Finished runs are kept; the same command goes on.", file=sys.stderr)  # noqa: T201
        return 130


if __name__ == "__main__":
    sys.exit(main())
