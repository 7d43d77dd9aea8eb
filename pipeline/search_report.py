"""What a search has found: the best trials, which parameters mattered, and how the values lie together."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from pipeline.folders import whole_folder
from pipeline.search_space import Space
from pipeline.search_study import PRESENT, best_trial, ended_trials
from pipeline.search_trial import PROBLEM, VALUES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LISTED_TRIALS = 10
LEAST_TRIALS_FOR_PLOTS = 4
"""Complete ones: with fewer the importance of a parameter means nothing."""
PLOTS = {
    "history": "The metric of each trial, in the order in which they ended, and the best so far.",
    "importances": "How much of the differences between trials each parameter explains.",
    "parallel_coordinates": "Each line is a trial: its metric on the left, its values to the right. Dark is better.",
}


def write_search_report(folder: Path, study: optuna.Study, space: Space) -> None:
    """Writes `README.md` and, once enough trials are complete, the plots.

    Args:
        folder: replaced as a whole.
        study: with at least one complete trial.
        space: what was searched.
    """
    with whole_folder(folder) as building:
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        plots = _draw(building, study, space) if len(complete) >= LEAST_TRIALS_FOR_PLOTS else []
        (building / "README.md").write_text(_describe(study, space, plots), encoding="utf-8")


def summarize(study: optuna.Study, metric: str) -> str:
    """One sentence: how many trials, the best one and what the present parameters reached."""
    trials, best = ended_trials(study), best_trial(study)
    pruned = sum(trial.state == TrialState.PRUNED for trial in trials)
    given_up = f", {pruned} of them given up early" if pruned else ""
    sentence = f"{len(trials)} trials{given_up}. Best {metric} {best.value:.5g}, of trial {best.number}"
    present = [trial.value for trial in trials if trial.user_attrs.get(PRESENT) and trial.value is not None]
    return f"{sentence}; the parameters that the search began with: {present[0]:.5g}." if present else f"{sentence}."


def trial_values(trial: FrozenTrial) -> dict[str, Any]:
    """What a trial was trained with, by key."""
    return json.loads(trial.user_attrs[VALUES])


def _describe(study: optuna.Study, space: Space, plots: list[str]) -> str:
    keys = list(space.settings.space)
    complete = [trial for trial in ended_trials(study) if trial.state == TrialState.COMPLETE]
    complete.sort(key=lambda trial: trial.value, reverse=space.direction == "maximize")
    metric = space.settings.metric
    lines = [
        f"# Search for `{space.model}`",
        "",
        f"Made by `python -m pipeline.search --model {space.model}` over the space in `search.yaml`.",
        f"{summarize(study, metric)} Trials are judged on the validation rows; the test rows are not read.",
        "",
        f"| trial | {metric} | {' | '.join(f'`{key}`' for key in keys)} | best epoch | parameters | seconds |",
        f"|---|---|{'---|' * len(keys)}---|---|---|",
        *(_row(trial, keys) for trial in complete[:LISTED_TRIALS]),
    ]
    problems = [trial for trial in study.trials if PROBLEM in trial.user_attrs]
    if problems:
        lines += ["", f"{len(problems)} trials failed; the last one: {problems[-1].user_attrs[PROBLEM]}"]
    for name in plots:
        lines += ["", PLOTS[name], "", f"![{PLOTS[name]}]({name}.png)"]
    return "\n".join([*lines, ""])


def _row(trial: FrozenTrial, keys: list[str]) -> str:
    values = trial_values(trial)
    about = trial.user_attrs
    cells = [trial.number, f"{trial.value:.5g}", *(values[key] for key in keys)]
    cells += [about["best epoch"], f"{about['parameters']:,}", about["seconds"]]
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def _draw(folder: Path, study: optuna.Study, space: Space) -> list[str]:
    """Writes the plots and returns the names of those that could be drawn."""
    import matplotlib as mpl
    from optuna.visualization import matplotlib as plots

    mpl.use("Agg")
    draw: dict[str, Callable[..., Axes]] = {
        "history": plots.plot_optimization_history,
        "importances": plots.plot_param_importances,
        "parallel_coordinates": plots.plot_parallel_coordinate,
    }
    for name, plot in draw.items():
        with warnings.catch_warnings():
            # Optuna calls its own plots experimental, and says where importances mean little.
            warnings.simplefilter("ignore")
            axes = plot(study, target_name=space.settings.metric)
        if name == "parallel_coordinates":
            # Optuna cuts names to a length at which they are all alike.
            axes.set_xticklabels(
                [space.settings.metric, *(key.rpartition(".")[2] for key in sorted(space.settings.space))]
            )
        figure = axes.figure
        figure.set_size_inches(10, 5)
        figure.savefig(folder / f"{name}.png", dpi=80, bbox_inches="tight", metadata={"Software": None})
        mpl.pyplot.close(figure)
    return list(draw)
