"""`params.yaml` as frozen, checked objects: one class per stage, one error that says what to change."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, TypeAdapter, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.augmentation_params import AugmentationParams
from pipeline.errors import ParamsError
from pipeline.network_params import NetworkParams
from pipeline.params_errors import describe
from pipeline.sections import Count, Fraction, Name, Positive, Section, Seed

Loss = Literal["mean_squared_error", "mean_absolute_error", "categorical_crossentropy", "binary_crossentropy", "hinge"]
SectionType = TypeVar("SectionType", bound=Section)


class SplitParams(Section):
    """How rows are dealt to training, validation and test."""

    validation: Annotated[float, Field(gt=0, lt=1)]
    """Share of all rows; of the published training rows where `test` is `published`."""
    test: Annotated[float, Field(gt=0, lt=1)] | Literal["published"]
    """Share of all rows, or `published` for a data set that comes with its own test set."""
    keep_together: Name | None = None
    """A grouping that the data set offers (`duplicates`, `recording`): no group stands on two sides."""


class PrepareParams(Section):
    """The `prepare` stage of one data set."""

    seed: Seed
    splits: Annotated[dict[Name, SplitParams], Field(min_length=1)]
    """By name; a model says which one it uses."""


class DatasetParams(Section):
    """One data set: the file that gives it, that file's own options, and how it is split."""

    source: Annotated[str, Field(pattern=r"^pipeline/datasets/[a-z][a-z0-9_]*\.py$|\.csv$")]
    """A module of `pipeline/datasets`, or a CSV file of the user's own. DVC watches it either way."""
    options: dict[str, Any]
    """What the source needs to know; the module, or `datasets/table.py` for a CSV, checks it."""
    prepare: PrepareParams


class SgdParams(Section):
    """Stochastic gradient descent."""

    name: Literal["sgd"]
    learning_rate: Positive = 0.01
    momentum: Fraction = 0.0
    nesterov: bool = False


class AdaptiveParams(Section):
    """RMSprop or Adam."""

    name: Literal["rmsprop", "adam"]
    learning_rate: Positive = 0.001


OptimizerParams = Annotated[SgdParams | AdaptiveParams, Field(discriminator="name")]


class ScheduleParams(Section):
    """How the learning rate changes while training runs."""

    name: Literal["constant", "cosine", "exponential", "reduce_on_plateau"] = "constant"
    decay_rate: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """`exponential`: factor per epoch; `reduce_on_plateau`: factor per reduction. Unused by the others."""
    patience: Count = 5
    """Epochs without a better validation loss before `reduce_on_plateau` acts. Unused by the others."""
    warmup_epochs: Annotated[int, Field(ge=0)] = 0
    """Epochs in which `cosine` rises from zero. Unused by the others."""


class EarlyStoppingParams(Section):
    """Stop when the checkpoint metric has not improved for `patience` epochs."""

    patience: Count


class TrainParams(Section):
    """The `train` stage of one model."""

    loss: Loss
    optimizer: OptimizerParams
    schedule: ScheduleParams = ScheduleParams()
    batch_size: Count
    epochs: Count
    checkpoint: Literal["val_loss", "val_accuracy", "val_roc_auc"] = "val_loss"
    """The validation metric whose best epoch is kept."""
    early_stopping: EarlyStoppingParams | None = None
    calibration: Literal["temperature", "none"] = "temperature"
    """Divide a classifier's scores by what makes its probabilities come true most often on validation."""
    augmentation: AugmentationParams | None = None
    """How training rows are changed, anew in each epoch. Not part of the finished model."""
    average_momentum: Fraction = 0.0
    """Of the moving average of the weights that is validated and kept, per batch; 0 keeps the weights themselves."""
    mixed_precision: bool = False
    """Hidden layers compute in bfloat16; weights and the output stay float32."""
    jit_compile: bool | None = None
    """Compile the training steps with XLA. Unless said, a dense network is compiled when it is trained for many steps.
    JAX always compiles."""
    deterministic: bool = True
    """The same result, bit for bit, on each run on one machine; ARCHITECTURE.md says what a GPU needs for it."""
    distribute: Literal["none", "mirrored", "multi_worker"] = "none"
    """`mirrored`: on all GPUs of this machine; `multi_worker`: with all workers that TF_CONFIG lists."""


class EvaluateParams(Section):
    """The `evaluate` stage of one model."""

    operating_point: Literal["f1", "accuracy", "youden", "more_probable"] = "f1"
    """What the decision threshold of a binary classifier maximizes on validation. `more_probable` takes 0.5 instead,
    the most accurate answer as far as probabilities are right; a few validation rows cannot mislead it."""


class FloorParams(Section):
    """The least (or, for an error, the most) that a published model may reach on the test set."""

    metric: Literal["accuracy", "f1", "roc_auc", "mae", "rmse", "r2", "mae_standardized"]
    value: float


class PublishParams(Section):
    """The `publish` stage of one model."""

    floor: FloorParams
    tolerance: Annotated[float, Field(ge=0)]
    """How far the floor's metric may fall behind the published version, in the metric's own unit."""


class ComparisonParams(Section):
    """A network that is trained and evaluated for its figures only, on another split for example."""

    dataset: Name
    split: Name
    seed: Seed
    network: NetworkParams
    train: TrainParams
    evaluate: EvaluateParams = EvaluateParams()


class ModelParams(ComparisonParams):
    """A network that is also exported and published."""

    publish: PublishParams


class RepeatParams(Section):
    """One network on several deals of its rows: how much its figures depend on which rows are held out."""

    splits: Annotated[tuple[Name, ...], Field(min_length=1)]
    """Splits of the network's data set; each is dealt once per seed."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=2)]
    """Of the dealing and of the network."""


class Params(Section):
    """The whole of `params.yaml`."""

    datasets: dict[Name, DatasetParams]
    models: dict[Name, ModelParams]
    comparisons: dict[Name, ComparisonParams] = Field(default_factory=dict)
    repeats: dict[Name, RepeatParams] = Field(default_factory=dict)
    """By the name of a model or a comparison."""

    @model_validator(mode="after")
    def _check_references(self) -> "Params":
        for kind, blocks in (("models", self.models), ("comparisons", self.comparisons)):
            for name, block in blocks.items():
                where = f"{kind}.{name}"
                _check_known(f"{where}.dataset", block.dataset, self.datasets)
                _check_known(f"{where}.split", block.split, self.datasets[block.dataset].prepare.splits)
        both = sorted(self.models.keys() & self.comparisons.keys())
        if both:
            raise ParamsError(f"comparisons: {both[0]!r} is also the name of a model. Names must differ.")
        for name, repeats in self.repeats.items():
            _check_known("repeats", name, {**self.models, **self.comparisons})
            for split in repeats.splits:
                known = self.datasets[self.trained(name).dataset].prepare.splits
                _check_known(f"repeats.{name}.splits", split, known)
        return self

    def trained(self, name: str) -> ComparisonParams:
        """The block of a model or of a comparison.

        Raises:
            ParamsError: neither has this name.
        """
        blocks = {**self.models, **self.comparisons}
        _check_known("model", name, blocks)
        return blocks[name]

    def published(self, name: str) -> ModelParams:
        """The block of a model that is exported and published.

        Raises:
            ParamsError: there is no such model.
        """
        _check_known("model", name, self.models)
        return self.models[name]

    def dataset(self, name: str) -> DatasetParams:
        """The block of a data set.

        Raises:
            ParamsError: there is no such data set.
        """
        _check_known("dataset", name, self.datasets)
        return self.datasets[name]


def load_params(path: Path) -> Params:
    """Reads and checks a parameter file.

    Args:
        path: a YAML file with the sections `datasets`, `models` and, where wanted, `comparisons`.

    Returns:
        The checked parameters.

    Raises:
        ParamsError: the file is missing, is not YAML, or holds an unknown key or a value out of range. The message
            names the place in dots (`models.digits.train.epochs`), what was expected and what was received.
    """
    return parse_params(read_yaml(path), str(path))


def read_yaml(path: Path) -> Any:
    """Reads a parameter file without checking what it says.

    Args:
        path: a YAML file.

    Returns:
        Nested mappings, lists and scalars.

    Raises:
        ParamsError: the file is missing or is not YAML.
    """
    try:
        # The reader that DVC uses: YAML 1.2, in which 1e-3 is a number.
        return YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParamsError(f"No parameter file at {path}. Run from the project's folder or pass --params.") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path} is not valid YAML: {error}") from None


def parse_params(document: Any, origin: str) -> Params:
    """Checks parameters that were read already.

    Args:
        document: nested mappings, lists and scalars, as YAML gives them.
        origin: where they came from, for the message.

    Returns:
        The checked parameters.

    Raises:
        ParamsError: see `load_params`.
    """
    return parse_sections(Params, document, origin)


def parse_sections(kind: type[SectionType], document: Any, origin: str) -> SectionType:
    """Checks a document, or a part of one, that one class describes.

    Args:
        kind: the class.
        document: nested mappings, lists and scalars, as YAML gives them.
        origin: where they came from, for the message.

    Returns:
        The checked object.

    Raises:
        ParamsError: see `load_params`.
    """
    try:
        # In JSON mode a list is a tuple, while strict types still keep "3" from passing for 3.
        return TypeAdapter(kind).validate_json(json.dumps(document, default=str))
    except ValidationError as error:
        raise ParamsError(f"{origin}: {describe(error, kind)}") from None
    except ParamsError as error:
        raise ParamsError(f"{origin}: {error}") from None


def _check_known(where: str, name: str, known: dict[str, Any]) -> None:
    if name not in known:
        available = ", ".join(repr(key) for key in known)
        raise ParamsError(f"{where}: unknown name {name!r}. Available: {available}.")
