"""One trial, in a worker process: sampled, trained on the training rows, judged on the validation rows."""

import functools
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import optuna

from pipeline.backend import start_keras
from pipeline.errors import ParamsError, TrainingError
from pipeline.prepared import Part, Prepared, load_description, load_part
from pipeline.search_space import Space
from pipeline.search_study import Memory, build_pruner

if TYPE_CHECKING:
    import keras

PROBLEM, VALUES = "problem", "values"


@dataclass(frozen=True)
class Task:
    """What a worker is asked to do.

    Attributes:
        space: what is searched.
        memory: the study.
        data: the data set's prepared folder.
        seed: of the sampler: another one for each trial, or workers would try the same.
    """

    space: Space
    memory: Memory
    data: Path
    seed: int


def carry_out(task: Task) -> None:
    """Samples, trains and judges one network, and writes into the study how good it was.

    A trial whose training fails, or whose values do not go together, counts as given up.

    Args:
        task: what to do.

    Raises:
        PipelineError: the prepared rows are missing or broken, or the metric is not measured on them.
    """
    prepared = load_without_test(task.data, task.space.params.split)
    study = _load_study(task)
    trial = study.ask()
    values = task.space.suggest(trial)
    trial.set_user_attr(VALUES, json.dumps(values))
    try:
        value = _train(task.space, values, prepared, trial)
    except optuna.TrialPruned:
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    except (ParamsError, TrainingError) as error:
        trial.set_user_attr(PROBLEM, str(error))
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    else:
        study.tell(trial, value)


@functools.lru_cache(maxsize=1)
def load_without_test(folder: Path, split: str) -> Prepared:
    """Reads one split of a prepared data set, without the rows that a search must not see.

    Args:
        folder: `data/prepared/<dataset>`.
        split: its name.

    Returns:
        The rows; the test part has none.

    Raises:
        DataError: a file is missing or broken.
    """
    description = load_description(folder)
    train, validation = (load_part(folder / split / f"{part}.npz") for part in ("train", "validation"))
    profile = json.loads((folder / split / "profile.json").read_text(encoding="utf-8"))
    nothing = Part(train.x[:0], np.zeros(0, train.y.dtype))
    return Prepared(description, split, train=train, validation=validation, test=nothing, profile=profile)


def _load_study(task: Task) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return task.memory.load(optuna.samplers.TPESampler(seed=task.seed), build_pruner(task.space))


def _train(space: Space, values: dict[str, object], prepared: Prepared, trial: optuna.Trial) -> float:
    start_keras()
    # Each trial is a new network with functions of its own; TensorFlow takes that for a mistake and warns.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    from pipeline.fitting import fit_network

    metric = space.settings.metric
    fit = fit_network(space.change(values), prepared, [_follow(trial, metric)])
    trial.set_user_attr("parameters", fit.parameters)
    trial.set_user_attr("best epoch", fit.best_epoch)
    trial.set_user_attr("seconds", round(fit.seconds, 1))
    return fit.history[fit.best_epoch - 1][metric]


def _follow(trial: optuna.Trial, metric: str) -> "keras.callbacks.Callback":
    """Tells the study each epoch's figure, and gives the trial up when the study says so."""
    import keras

    def follow(epoch: int, logs: dict[str, float]) -> None:
        if metric not in logs:
            raise ParamsError(f"{metric} is not measured on this data. Available: {', '.join(sorted(logs))}.")
        trial.report(logs[metric], epoch + 1)
        if trial.should_prune():
            raise optuna.TrialPruned

    return keras.callbacks.LambdaCallback(on_epoch_end=follow)
