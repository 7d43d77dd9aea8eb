"""`search.yaml`: what a search may change in a model's block of `params.yaml`, and which values it may try."""

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from optuna.trial import BaseTrial
from pydantic import Field, model_validator

from pipeline.errors import ParamsError
from pipeline.params import ComparisonParams, Params, parse_sections, read_yaml
from pipeline.sections import Positive, Section

Metric = Literal["val_accuracy", "val_roc_auc", "val_loss", "val_mae_standardized"]
LESS_IS_BETTER = ("val_loss", "val_mae_standardized")
SEARCHED = ("network.", "train.")
SHIFTS_LOSS = ("train.loss", "network.l1", "network.l2")
SIGNIFICANT_DIGITS = 3


class Values(Section):
    """What a parameter may be: exactly one of these."""

    choice: Annotated[tuple[Any, ...], Field(min_length=2)] | None = None
    """One of several values of any kind."""
    uniform: tuple[float, float] | None = None
    """Any number between two."""
    loguniform: tuple[Positive, Positive] | None = None
    """Any number between two; each power of ten gets as many trials."""
    integer: tuple[int, int] | None = None
    """Any whole number between two, both included."""

    @model_validator(mode="after")
    def _check(self) -> "Values":
        given = [name for name in Values.model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"expected one of {_quoted(tuple(Values.model_fields))}, received {given or 'none'}")
        if self.range and not self.range[0] < self.range[1]:
            raise ValueError("expected the lower number first")
        return self

    @property
    def range(self) -> tuple[float, float] | None:
        """The least and the greatest number; None for a choice."""
        return self.uniform or self.loguniform or self.integer

    @property
    def extremes(self) -> tuple[Any, ...]:
        """If these are allowed, so are all."""
        return self.range or self.choice

    def suggest(self, trial: BaseTrial, key: str) -> Any:
        """The value that a trial tries."""
        if self.choice:
            encoded = [_encode(value) for value in self.choice]
            return self.choice[encoded.index(trial.suggest_categorical(key, encoded))]
        if self.integer:
            return trial.suggest_int(key, *self.integer)
        return _readable(trial.suggest_float(key, *self.range, log=self.loguniform is not None))

    def place(self, value: Any) -> Any:
        """A value as a trial holds it; None where it is not among those to try."""
        if self.choice:
            return _encode(value) if value in [_plain(entry) for entry in self.choice] else None
        low, high = self.range
        return value if isinstance(value, float | int) and low <= value <= high else None


class SpaceParams(Section):
    """The block of one model."""

    metric: Metric
    pruner: Literal["median", "hyperband", "none"] = "median"
    """Which trials are given up early: those behind the median of the others at the same epoch, those that lose a
    bracket of Hyperband, or none."""
    space: Annotated[dict[str, Values], Field(min_length=1)]


@dataclass(frozen=True)
class Space:
    """A checked search space.

    Attributes:
        model: its name.
        params: its block, as it stands.
        settings: what `search.yaml` says.
    """

    model: str
    params: ComparisonParams
    settings: SpaceParams

    @property
    def direction(self) -> Literal["minimize", "maximize"]:
        """What is done with the metric."""
        return "minimize" if self.settings.metric in LESS_IS_BETTER else "maximize"

    def suggest(self, trial: BaseTrial) -> dict[str, Any]:
        """The values that a trial tries, by key."""
        return {key: values.suggest(trial, key) for key, values in self.settings.space.items()}

    def present(self) -> dict[str, Any] | None:
        """The block's own values as a trial would hold them; None where one of them is not in the space."""
        block = self.params.model_dump(mode="json")
        found = {key: values.place(_look_up(block, key)) for key, values in self.settings.space.items()}
        return None if None in found.values() else found

    def differences(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Those of a trial's values that are not the block's own, defaults included."""
        block = self.params.model_dump(mode="json")
        return {key: value for key, value in values.items() if _plain(value) != _look_up(block, key)}

    def change(self, values: Mapping[str, Any]) -> ComparisonParams:
        """The block with other values.

        Raises:
            ParamsError: there is no such key, or the values do not go together.
        """
        block = self.params.model_dump(mode="json", exclude_unset=True)
        for key, value in values.items():
            set_key(block, key, copy.deepcopy(value))
        return parse_sections(ComparisonParams, block, f"models.{self.model}")


def load_space(path: Path, model: str, params: Params) -> Space:
    """Reads and checks the block of one model.

    Args:
        path: of `search.yaml`.
        model: its name.
        params: of the pipeline.

    Returns:
        The space.

    Raises:
        ParamsError: the file or the block is missing, a key does not exist in the model's block, or a value of the
            space is not allowed there.
    """
    published = params.published(model)
    document = read_yaml(path) or {}
    if model not in document:
        available = ", ".join(repr(name) for name in document) or "none"
        raise ParamsError(f"{path} has no block for the model {model!r}. Available: {available}.")
    settings = parse_sections(SpaceParams, document[model], f"{path}, {model}")
    block = parse_sections(
        ComparisonParams, published.model_dump(mode="json", exclude={"publish"}, exclude_unset=True), f"models.{model}"
    )
    space = Space(model, block, settings)
    try:
        _check_space(space)
    except ParamsError as error:
        raise ParamsError(f"{path}, {model}: {error}") from None
    return space


def set_key(block: dict[str, Any], key: str, value: Any) -> None:
    """Sets a dotted key, with the blocks above it where they are missing."""
    *path, last = key.split(".")
    for step in path:
        block = block.setdefault(step, {})
    block[last] = value


def _check_space(space: Space) -> None:
    for key, values in space.settings.space.items():
        if not key.startswith(SEARCHED):
            raise ParamsError(f"{key!r} cannot be searched. Expected a key below 'network' or 'train'.")
        for value in values.extremes:
            space.change({key: value})
    shifting = [key for key in space.settings.space if key in SHIFTS_LOSS]
    if space.settings.metric == "val_loss" and shifting:
        raise ParamsError(f"val_loss means something else for each {shifting[0]!r}. Choose another metric.")
    is_regression = space.params.train.loss in ("mean_squared_error", "mean_absolute_error")
    if is_regression and space.settings.metric not in LESS_IS_BETTER:
        raise ParamsError(
            f"{space.settings.metric!r} is measured for classes only. Allowed: {_quoted(LESS_IS_BETTER)}."
        )
    if not is_regression and space.settings.metric == "val_mae_standardized":
        raise ParamsError("'val_mae_standardized' is measured for a regression only.")


def _look_up(block: Any, key: str) -> Any:
    for step in key.split("."):
        if not isinstance(block, dict) or step not in block:
            return None
        block = block[step]
    return block


def _encode(value: Any) -> Any:
    """Optuna keeps plain values only, so a list is kept as its JSON."""
    return value if isinstance(value, str | int | float | bool | None) else json.dumps(_plain(value))


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _readable(number: float) -> float:
    """A number as one would write it by hand; the trial is trained with exactly this one."""
    return float(f"{number:.{SIGNIFICANT_DIGITS}g}")


def _quoted(names: tuple[str, ...]) -> str:
    return ", ".join(repr(name) for name in names)
