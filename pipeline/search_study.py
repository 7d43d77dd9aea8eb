"""A search's memory: Optuna's study in an SQLite file, which processes share and a kill leaves whole."""

import fcntl
import functools
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from pipeline.errors import ParamsError
from pipeline.search_space import Space

STARTUP_TRIALS = 8
"""Trials before any is given up early: the others need something to be compared with."""
WAIT_FOR_STORE_SECONDS = 60
PRESENT = "present parameters"


@dataclass(frozen=True)
class Memory:
    """Where a study is kept.

    Attributes:
        file: the SQLite file of one model.
        name: of the study in it.
    """

    file: Path
    name: str

    def load(self, sampler: optuna.samplers.BaseSampler | None = None, pruner: Any = None) -> optuna.Study:
        """Opens the study."""
        return optuna.load_study(study_name=self.name, storage=_storage(self.file), sampler=sampler, pruner=pruner)


def study_memory(folder: Path, space: Space, checksum: str) -> Memory:
    """Where the study of a space is kept: trials are comparable only where all else is equal.

    Args:
        folder: `.kiln/search`.
        space: what is searched.
        checksum: of the data.
    """
    fixed = space.params.model_dump(mode="json", exclude_unset=True, exclude={"evaluate"})
    for key in space.settings.space:
        _remove(fixed, key.split("."))
    about = {"fixed": fixed, "search": space.settings.model_dump(mode="json"), "data": checksum}
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:12]
    return Memory(folder / space.model / "study.db", f"{space.model}-{digest}")


@contextmanager
def open_study(memory: Memory, space: Space) -> Iterator[optuna.Study]:
    """Opens a study, or begins it, for the one process that leads its search.

    What a killed search had begun is put first in line again.

    Args:
        memory: where.
        space: what is searched.

    Yields:
        The study.

    Raises:
        ParamsError: another process leads a search of this model.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    memory.file.parent.mkdir(parents=True, exist_ok=True)
    with memory.file.with_name("lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ParamsError(f"Another search for {space.model!r} is running.") from None
        storage = _storage(memory.file)
        known = optuna.get_all_study_names(storage)
        if known and memory.name not in known:
            print("The space, the other parameters or the data have changed: a new search begins.")  # noqa: T201
        study = optuna.create_study(
            study_name=memory.name, storage=storage, direction=space.direction, load_if_exists=True
        )
        present = space.present()
        if not study.trials and present:
            study.enqueue_trial(present, user_attrs={PRESENT: True})
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            study.tell(trial.number, state=TrialState.FAIL)
            if trial.params:
                study.enqueue_trial(trial.params, trial.user_attrs)
        yield study


def build_pruner(space: Space) -> optuna.pruners.BasePruner:
    """What decides which trials are given up early."""
    epochs = space.params.train.epochs
    if space.settings.pruner == "none":
        return optuna.pruners.NopPruner()
    if space.settings.pruner == "hyperband":
        return optuna.pruners.HyperbandPruner(min_resource=max(1, epochs // 9), max_resource=epochs)
    return optuna.pruners.MedianPruner(STARTUP_TRIALS, n_warmup_steps=max(1, epochs // 10))


def ended_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that are complete or were given up, in their order."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


def best_trial(study: optuna.Study) -> FrozenTrial | None:
    """The best complete trial, or None; of equal ones the first."""
    complete = [trial for trial in ended_trials(study) if trial.state == TrialState.COMPLETE]
    sign = -1 if study.direction == optuna.study.StudyDirection.MAXIMIZE else 1
    return min(complete, key=lambda trial: sign * trial.value, default=None)


@functools.lru_cache(maxsize=1)
def _storage(file: Path) -> optuna.storages.RDBStorage:
    return optuna.storages.RDBStorage(
        f"sqlite:///{file.resolve()}", engine_kwargs={"connect_args": {"timeout": WAIT_FOR_STORE_SECONDS}}
    )


def _remove(block: dict[str, Any], path: list[str]) -> None:
    for step in path[:-1]:
        block = block.get(step, {})
    block.pop(path[-1], None)
