"""`search.yaml`, the changes that a search makes of `params.yaml`, and the study that it keeps; nothing is trained."""

import json
from pathlib import Path

import optuna
import pytest
import yaml
from optuna.trial import TrialState

from pipeline.errors import ParamsError
from pipeline.params import load_params, parse_params
from pipeline.search_changes import change_params, replace_text, show_difference
from pipeline.search_report import summarize, write_search_report
from pipeline.search_space import load_space
from pipeline.search_study import PRESENT, best_trial, build_pruner, open_study, study_memory
from pipeline.search_trial import VALUES

ROOT = Path(__file__).parent.parent.parent
PARAMS = """
# What stands here stays.
datasets:
  digits: &data
    source: pipeline/datasets/digits.py
    options: {}
    prepare: {seed: 1, splits: {row: {validation: 0.15, test: 0.2}}}
models:
  digits:
    dataset: digits
    split: row
    seed: 1
    network: &network {architecture: mlp, units: [64, 32], dropout: 0.2}   # two layers
    train: &train
      loss: categorical_crossentropy
      optimizer: {name: adam, learning_rate: 2e-3}  # as in the paper
      batch_size: 32
      epochs: 60
    publish: {floor: {metric: accuracy, value: 0.95}, tolerance: 0.01}
comparisons:
  other: {dataset: digits, split: row, seed: 2, network: *network, train: *train}
"""


def write_space(folder, space, metric="val_accuracy", **settings):
    document = {"digits": {"metric": metric, "space": space, **settings}}
    (folder / "search.yaml").write_text(yaml.safe_dump(document))
    (folder / "params.yaml").write_text(PARAMS)
    return load_space(folder / "search.yaml", "digits", load_params(folder / "params.yaml"))


def example_space(folder):
    return write_space(folder, {
        "network.units": {"choice": [[64, 32], [128]]},
        "network.activation": {"choice": ["relu", "tanh"]},
        "network.dropout": {"uniform": [0.0, 0.5]},
        "train.optimizer.learning_rate": {"loguniform": [0.0001, 0.1]},
        "train.epochs": {"integer": [10, 80]},
        "train.schedule.name": {"choice": ["constant", "cosine"]},
    })  # fmt: skip


def ask(study, space):
    trial = study.ask()
    values = space.suggest(trial)
    for name, value in {VALUES: json.dumps(values), "parameters": 1, "best epoch": 1, "seconds": 1.0}.items():
        trial.set_user_attr(name, value)
    return trial, values


@pytest.mark.parametrize("model", yaml.safe_load((ROOT / "search.yaml").read_text()))
def test_every_point_of_a_shipped_space_can_be_trained(model):
    space = load_space(ROOT / "search.yaml", model, load_params(ROOT / "params.yaml"))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(20):
        space.change(space.suggest(study.ask()))


def test_values_reach_their_places_and_are_short_enough_to_read(tmp_path):
    space = example_space(tmp_path)
    values = space.suggest(optuna.trial.FixedTrial({
        "network.units": "[128]", "network.activation": "tanh", "network.dropout": 0.123456,
        "train.optimizer.learning_rate": 0.00123456, "train.epochs": 12, "train.schedule.name": "cosine",
    }))  # fmt: skip
    changed = space.change(values)
    assert changed.network.units == (128,)
    assert (changed.network.activation, changed.network.dropout) == ("tanh", 0.123)
    assert (changed.train.optimizer.learning_rate, changed.train.epochs) == (0.00123, 12)
    assert changed.train.schedule.name == "cosine"
    assert changed.train.batch_size == 32


@pytest.mark.parametrize(
    ("space", "metric", "message"),
    [
        (
            {"network.dropot": {"uniform": [0, 0.5]}},
            "val_accuracy",
            "network: unknown key 'dropot'. Allowed: .*'dropout'",
        ),
        ({"network.dropout": {"uniform": [0, 1.5]}}, "val_accuracy", "network.dropout: .*less than 1. Received: 1.5"),
        ({"network.activation": {"choice": ["relu", "rela"]}}, "val_accuracy", "unknown value 'rela'. Allowed: 'relu'"),
        ({"evaluate.operating_point": {"choice": ["f1", "youden"]}}, "val_accuracy", "cannot be searched"),
        (
            {"network.dropout": {"uniform": [0.5, 0.1]}},
            "val_accuracy",
            "network.dropout: .*expected the lower number first",
        ),
        (
            {"network.dropout": {"normal": [0, 1]}},
            "val_accuracy",
            "dropout: unknown key 'normal'. Allowed: 'choice', 'uni",
        ),
        ({"network.dropout": {}}, "val_accuracy", "expected one of 'choice', 'uniform', .*received none"),
        ({"network.l2": {"uniform": [0, 1]}}, "val_loss", "val_loss means something else for each 'network.l2'"),
        ({"network.dropout": {"uniform": [0, 0.1]}}, "val_mae_standardized", "measured for a regression only"),
        ({"network.dropout": {"uniform": [0, 0.1]}}, "accuracy", "unknown value 'accuracy'. Allowed: 'val_accuracy'"),
    ],
)
def test_what_a_space_gets_wrong_is_said_before_anything_is_trained(tmp_path, space, metric, message):
    with pytest.raises(ParamsError, match=f"search.yaml.*{message}"):
        write_space(tmp_path, space, metric)


def test_a_model_without_a_space_is_an_error_that_lists_those_with_one(tmp_path):
    write_space(tmp_path, {"network.dropout": {"uniform": [0, 0.1]}})
    text = PARAMS.replace("\nmodels:\n  digits:", "\nmodels:\n  numbers:")
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ParamsError, match="has no block for the model 'numbers'. Available: 'digits'"):
        load_space(tmp_path / "search.yaml", "numbers", load_params(tmp_path / "params.yaml"))


def test_a_change_of_the_parameter_file_leaves_the_rest_as_it_is(tmp_path):
    space = example_space(tmp_path)
    path = tmp_path / "params.yaml"
    values = {
        "network.units": (128,), "network.activation": "relu", "network.dropout": 0.2, "train.epochs": 60,
        "train.optimizer.learning_rate": 0.005, "train.schedule.name": "cosine",
    }  # fmt: skip
    changed = space.differences(values)
    assert set(changed) == {"network.units", "train.optimizer.learning_rate", "train.schedule.name"}
    text = change_params(path, "digits", changed)
    # Comments stay in their columns.
    expected = PARAMS
    for old, new in (
        ("[64, 32], dropout: 0.2}   #", "[128], dropout: 0.2}      #"),
        ("2e-3}  #", "0.005} #"),
        ("      epochs: 60\n", "      epochs: 60\n      schedule:\n        name: cosine\n"),
    ):
        expected = expected.replace(old, new)
    assert text == expected
    assert "-      optimizer: {name: adam, learning_rate: 2e-3}  # as in the paper\n" in show_difference(path, text)
    replace_text(path, text)
    params = parse_params(yaml.safe_load(path.read_text()), "params.yaml")
    assert params.comparisons["other"].network.units == (128,)


def test_the_committed_parameter_file_is_changed_in_the_lines_that_differ_only():
    text = change_params(ROOT / "params.yaml", "seizure", {"network.dropout": 0.25})
    changed = [line for line in show_difference(ROOT / "params.yaml", text).splitlines() if line[0] in "+-"]
    assert [line[0] for line in changed[2:]] == ["-", "+"]
    assert changed[3].strip("+ ") == "dropout: 0.25"


def test_a_wrong_change_is_refused(tmp_path):
    example_space(tmp_path)
    with pytest.raises(ParamsError, match="models.digits.train.epochs"):
        change_params(tmp_path / "params.yaml", "digits", {"train.epochs": 0})


def test_a_search_begins_with_the_present_parameters_and_takes_up_what_was_killed(tmp_path):
    space = example_space(tmp_path)
    memory = study_memory(tmp_path / "store", space, "data")
    with open_study(memory, space) as study:
        trial, values = ask(study, space)
        assert trial.user_attrs[PRESENT]
        assert space.differences(values) == {}
        study.tell(trial, 0.5)
        killed, _ = ask(study, space)
    with open_study(memory, space) as study:
        assert [trial.state for trial in study.trials] == [TrialState.COMPLETE, TrialState.FAIL, TrialState.WAITING]
        again, _ = ask(study, space)
        assert again.params == killed.params
        study.tell(again, 0.75)
        assert best_trial(study).number == again.number
        assert summarize(study, "val_accuracy") == (
            "2 trials. Best val_accuracy 0.75, of trial 2; the parameters that the search began with: 0.5."
        )


def test_present_parameters_outside_the_space_are_not_tried(tmp_path):
    space = write_space(tmp_path, {"network.dropout": {"uniform": [0.3, 0.5]}})
    assert space.present() is None
    with open_study(study_memory(tmp_path / "store", space, "data"), space) as study:
        assert study.trials == []


def test_a_second_search_of_a_model_is_refused_while_the_first_runs(tmp_path):
    space = example_space(tmp_path)
    memory = study_memory(tmp_path / "store", space, "data")
    with (
        open_study(memory, space),
        pytest.raises(ParamsError, match="Another search for 'digits' is running"),
        open_study(memory, space),
    ):
        pass


def test_trials_of_another_space_data_or_other_parameters_are_not_mixed(tmp_path, capsys):
    space = {"network.dropout": {"uniform": [0.0, 0.5]}}
    first = study_memory(tmp_path, write_space(tmp_path, space), "data")
    assert study_memory(tmp_path, write_space(tmp_path, space), "data") == first
    assert study_memory(tmp_path, write_space(tmp_path, space), "other data") != first
    wider = write_space(tmp_path, {"network.dropout": {"uniform": [0.0, 0.6]}})
    assert study_memory(tmp_path, wider, "data") != first
    loaded = write_space(tmp_path, space)
    for old, same in (("dropout: 0.2", True), ("batch_size: 32", False)):
        text = PARAMS.replace(old, old[:-1] + "3", 1)
        (tmp_path / "params.yaml").write_text(text)
        loaded = load_space(tmp_path / "search.yaml", "digits", load_params(tmp_path / "params.yaml"))
        assert (study_memory(tmp_path, loaded, "data") == first) is same
    for memory in (first, study_memory(tmp_path, wider, "data")):
        with open_study(memory, wider):
            pass
    assert "a new search begins" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("pruner", "kind"), [("median", "MedianPruner"), ("hyperband", "HyperbandPruner"), ("none", "NopPruner")]
)
def test_pruners_are_chosen_by_name(tmp_path, pruner, kind):
    space = write_space(tmp_path, {"network.dropout": {"uniform": [0.0, 0.5]}}, pruner=pruner)
    assert type(build_pruner(space)).__name__ == kind


def test_a_report_lists_the_best_trials_and_draws_what_mattered(tmp_path):
    space = example_space(tmp_path)
    with open_study(study_memory(tmp_path / "store", space, "data"), space) as study:
        for _ in range(6):
            trial, values = ask(study, space)
            study.tell(trial, 1 - abs(values["network.dropout"] - 0.3))
        pruned, _ = ask(study, space)
        study.tell(pruned, state=TrialState.PRUNED)
        write_search_report(tmp_path / "report", study, space)
        best = best_trial(study)
    text = (tmp_path / "report" / "README.md").read_text()
    assert "7 trials, 1 of them given up early. Best val_accuracy" in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert rows[1].startswith(f"| {best.number} | {best.value:.5g} | ")
    assert len(rows) == 1 + 6
    for name in ("history", "importances", "parallel_coordinates"):
        assert f"({name}.png)" in text
        assert (tmp_path / "report" / f"{name}.png").stat().st_size > 5000
