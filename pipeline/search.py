"""A search for better parameters of one model: sampled by Optuna, trained side by side, judged on validation rows."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import optuna
from tqdm import tqdm

from pipeline.errors import PipelineError, TrainingError
from pipeline.params import load_params
from pipeline.prepared import load_description
from pipeline.search_changes import change_params, replace_text, show_difference
from pipeline.search_report import summarize, trial_values, write_search_report
from pipeline.search_space import Space, load_space
from pipeline.search_study import Memory, best_trial, ended_trials, open_study, study_memory
from pipeline.search_trial import Task, carry_out
from pipeline.worker_processes import worker_processes

FOLDER = Path(".kiln") / "search"
TICK_SECONDS = 1.0
INTERRUPTED = 130


@dataclass(frozen=True)
class Search:
    """What is to be searched, and for how long.

    Attributes:
        space: the parameters and their values.
        memory: the study.
        data: the data set's prepared folder.
        trials: how many the study is to have in the end.
        workers: processes at a time.
        seconds: after which no trial is begun; None for any time.
    """

    space: Space
    memory: Memory
    data: Path
    trials: int
    workers: int
    seconds: float | None


def search(arguments: argparse.Namespace) -> None:
    """Carries out the trials that are missing, reports, and shows or makes the change of the parameter file.

    Args:
        arguments: see `parse`.

    Raises:
        PipelineError: parameters, space or data are not what they should be, or no trial succeeded.
    """
    root = arguments.root
    params = load_params(root / "params.yaml")
    space = load_space(root / "search.yaml", arguments.model, params)
    data = root / "data" / "prepared" / space.params.dataset
    memory = study_memory(root / FOLDER, space, load_description(data).checksum)
    seconds = None if arguments.timeout_minutes is None else arguments.timeout_minutes * 60
    with open_study(memory, space) as study:
        carry_out_missing(Search(space, memory, data, arguments.trials, arguments.workers, seconds), study)
        if best_trial(study) is None:
            raise TrainingError(f"No trial of {space.model!r} succeeded. {_last_problem(study)}")
        report = root / "reports" / space.model / "search"
        write_search_report(report, study, space)
        print(f"{summarize(study, space.settings.metric)} See {report}/README.md.")  # noqa: T201
        _change(root / "params.yaml", study, space, is_applied=arguments.apply)


def carry_out_missing(search: Search, study: optuna.Study) -> None:
    """Carries out trials until the study has as many as asked for, or the time is up.

    Args:
        search: what to do.
        study: the search's.

    Raises:
        PipelineError: a worker cannot go on. Finished trials are kept.
    """
    done = len(ended_trials(study))
    left = search.trials - done
    if left <= 0:
        return
    if done:
        print(f"Going on after {done} trials.", file=sys.stderr)  # noqa: T201
    deadline = None if search.seconds is None else time.monotonic() + search.seconds
    running: set[Future[None]] = set()
    bar = tqdm(desc=search.space.model, total=search.trials, initial=done, unit="trial")
    with bar, worker_processes(min(search.workers, left)) as executor:
        while True:
            is_late = deadline is not None and time.monotonic() > deadline
            while left and len(running) < search.workers and not is_late:
                task = Task(search.space, search.memory, search.data, seed=search.trials - left)
                running.add(executor.submit(carry_out, task))
                left -= 1
            if not running:
                return
            finished, running = wait(running, TICK_SECONDS, FIRST_COMPLETED)
            for future in finished:
                _take_in(future)
            _show(bar, study, search.space.settings.metric)


def _take_in(future: Future[None]) -> None:
    try:
        future.result()
    except BrokenProcessPool:
        raise TrainingError(
            "A worker process was killed, perhaps for want of memory. Finished trials are kept; start again, with "
            "--workers 1 if it happens again."
        ) from None


def _show(bar: tqdm, study: optuna.Study, metric: str) -> None:
    best = best_trial(study)
    if best:
        bar.set_postfix_str(f"best {metric} {best.value:.5g}", refresh=False)
    bar.update(len(ended_trials(study)) - bar.n)


def _change(path: Path, study: optuna.Study, space: Space, *, is_applied: bool) -> None:
    changed = space.differences(trial_values(best_trial(study)))
    if not changed:
        print("The best trial has the parameters that are in params.yaml already.")  # noqa: T201
        return
    text = change_params(path, space.model, changed)
    print(show_difference(path, text))  # noqa: T201
    if is_applied:
        replace_text(path, text)
        print(f"Changed {path}. To train, measure and publish it: dvc repro publish@{space.model}")  # noqa: T201
    else:
        print("Nothing is changed yet; the same command with --apply does it.")  # noqa: T201


def _last_problem(study: optuna.Study) -> str:
    problems = [trial.user_attrs["problem"] for trial in study.trials if "problem" in trial.user_attrs]
    return f"The last one: {problems[-1]}" if problems else "Take more --trials."


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.search", description=__doc__)
    parser.add_argument("--model", required=True, help="a model of params.yaml with a block in search.yaml")
    parser.add_argument("--trials", type=_at_least_one, default=40, help="that the search has in the end (40)")
    parser.add_argument("--workers", type=_at_least_one, default=os.cpu_count() or 1, help="processes (one per core)")
    parser.add_argument("--timeout-minutes", type=float, help="begin no trial after so many minutes")
    parser.add_argument("--apply", action="store_true", help="write the best trial's values into params.yaml")
    parser.add_argument("--root", type=Path, default=Path(), help="folder that holds params.yaml and data/ (.)")
    return parser.parse_args(argv)


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, received {number}")
    return number


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    arguments = parse(argv)
    # As Ctrl-C: the workers must not go on without somebody to report to.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        search(arguments)
    except PipelineError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        print("Interrupted. Finished trials are kept; the same command goes on.", file=sys.stderr)  # noqa: T201
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
