import copy
from pathlib import Path

import pytest
import yaml

from pipeline.errors import ParamsError
from pipeline.params import load_params, parse_params

DOCUMENT = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())
TRAIN = ("models", "digits", "train")
NETWORK = ("models", "digits", "network")

WRONG = [
    ((*TRAIN, "epoch"), 3, "models.digits.train: unknown key 'epoch'. Allowed: 'loss', 'optimizer', 'schedule',"),
    ((*TRAIN, "loss"), "mse", "models.digits.train.loss: unknown value 'mse'. Allowed: 'mean_squared_error', 'mean_"),
    ((*TRAIN, "epochs"), "60", "models.digits.train.epochs: input should be a valid integer. Received: '60'."),
    ((*TRAIN, "epochs"), 0, "models.digits.train.epochs: input should be greater than or equal to 1. Received: 0."),
    ((*TRAIN, "epochs"), True, "models.digits.train.epochs: input should be a valid integer. Received: True."),
    ((*TRAIN, "batch_size"), 12.5, "models.digits.train.batch_size: input should be a valid integer"),
    ((*TRAIN, "jit_compile"), "yes", "models.digits.train.jit_compile: input should be a valid boolean"),
    ((*TRAIN, "checkpoint"), "loss", "models.digits.train.checkpoint: unknown value 'loss'. Allowed: 'val_loss', "),
    ((*TRAIN, "optimizer", "name"), "adamw", "models.digits.train.optimizer.name: unknown value 'adamw'. Allowed: '"),
    ((*TRAIN, "optimizer", "lr"), 0.1, "models.digits.train.optimizer: unknown key 'lr'. Allowed: 'name', 'learning"),
    ((*TRAIN, "optimizer", "learning_rate"), -1, "models.digits.train.optimizer.learning_rate: input should be gr"),
    ((*TRAIN, "optimizer"), {"learning_rate": 0.1}, "models.digits.train.optimizer: the key 'name' is missing."),
    ((*TRAIN, "schedule"), {"name": "step"}, "models.digits.train.schedule.name: unknown value 'step'. Allowed:"),
    ((*TRAIN, "early_stopping", "epochs"), 3, "models.digits.train.early_stopping: unknown key 'epochs'. Allowed: "),
    ((*NETWORK, "architecture"), "gan", "models.digits.network.architecture: unknown value 'gan'. Allowed: 'mlp', "),
    ((*NETWORK, "activation"), "swish", "models.digits.network.activation: unknown value 'swish'. Allowed: 'relu',"),
    ((*NETWORK, "kernel_initializer"), "ones", "models.digits.network.kernel_initializer: unknown value 'ones'. A"),
    ((*NETWORK, "dropout"), 1.0, "models.digits.network.dropout: input should be less than 1. Received: 1.0."),
    ((*NETWORK, "filters"), [3], "models.digits.network: unknown key 'filters'. Allowed: 'activation', 'kernel_init"),
    ((*NETWORK, "units"), [0], "models.digits.network.units.0: input should be greater than or equal to 1. Received"),
    (("models", "digits", "dataset"), "digitz", "models.digits.dataset: unknown name 'digitz'. Available: 'digits', "),
    (("models", "digits", "split"), "column", "models.digits.split: unknown name 'column'. Available: 'row'."),
    (("models", "digits", "evaluate", "operating_point"), "f2", "models.digits.evaluate.operating_point: unknown va"),
    (("models", "digits", "publish", "floor", "metric"), "auc", "models.digits.publish.floor.metric: unknown value"),
    (("models", "digits", "publish", "tolerance"), -0.1, "models.digits.publish.tolerance: input should be greater"),
    (("models", "Digits"), {}, "models.Digits"),
    (("datasets", "digits", "source"), "digits.txt", "datasets.digits.source: string should match pattern"),
    (("datasets", "digits", "prepare", "splits"), {}, "datasets.digits.prepare.splits: dictionary should have at l"),
    (("datasets", "digits", "prepare", "splits", "row", "test"), 1.5, "datasets.digits.prepare.splits.row.test: inp"),
    (("datasets", "digits", "prepare", "splits", "row", "train"), 0.7, "datasets.digits.prepare.splits.row: unknown"),
    (("model",), {}, "the top level: unknown key 'model'. Allowed: 'datasets', 'models', 'comparisons', 'repeats'."),
    (
        ("repeats", "digit"),
        {"splits": ["row"], "seeds": [1, 2]},
        "repeats: unknown name 'digit'. Available: 'digits', ",
    ),
    (("repeats", "digits"), {"splits": ["rows"], "seeds": [1, 2]}, "repeats.digits.splits: unknown name 'rows'. Avai"),
    (("repeats", "digits"), {"splits": ["row"], "seeds": [1]}, "repeats.digits.seeds: tuple should have at least 2"),
    (("comparisons", "digits"), DOCUMENT["comparisons"]["seizure_by_recording"], "comparisons: 'digits' is also the"),
]


@pytest.mark.parametrize(("path", "value", "sentence"), WRONG, ids=[".".join(case[0]) for case in WRONG])
def test_a_wrong_parameter_is_named_with_what_is_allowed(path, value, sentence):
    document = copy.deepcopy(DOCUMENT)
    block = document
    for key in path[:-1]:
        block = block[key]
    block[path[-1]] = value
    with pytest.raises(ParamsError) as caught:
        parse_params(document, "params.yaml")
    assert str(caught.value).startswith(f"params.yaml: {sentence}")


def test_a_missing_file_says_where_to_run_from(tmp_path):
    with pytest.raises(ParamsError, match=r"No parameter file at .*Run from the project's folder or pass --params"):
        load_params(tmp_path / "params.yaml")


def test_broken_yaml_is_named(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("models: [")
    with pytest.raises(ParamsError, match="is not valid YAML"):
        load_params(path)


def test_an_unknown_model_lists_the_known_ones():
    params = parse_params(DOCUMENT, "params.yaml")
    with pytest.raises(ParamsError, match="model: unknown name 'mnits'. Available: 'digits', 'breast_cancer'"):
        params.trained("mnits")


def test_scientific_notation_without_a_point_is_a_number(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text((Path(__file__).parents[2] / "params.yaml").read_text().replace("0.00243", "2e-3"))
    assert load_params(path).models["digits"].train.optimizer.learning_rate == 0.002
