"""`studies/params.yaml` as frozen, checked objects; the networks and trainings are the pipeline's own sections."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from pipeline.errors import ParamsError
from pipeline.network_params import NetworkParams
from pipeline.params import ComparisonParams, TrainParams, parse_sections, read_yaml
from pipeline.sections import Count, Name, Section, Seed

Patch = dict[str, Any]
"""What differs from the row, by dotted place: `{train.optimizer.learning_rate: 0.1}`."""
Figure = float | None


class SplitParams(Section):
    """How the rows of a data set are dealt, as the text that reports the figures does it."""

    dataset: Name
    """A data set of the pipeline's own `params.yaml`."""
    validation: Annotated[int, Field(ge=0)] | Annotated[float, Field(gt=0, lt=1)]
    """How many of the published training rows, from their end; or a share of all rows, dealt by the run's seed."""
    test: Literal["published"] | Annotated[float, Field(gt=0, lt=1)]
    """`published`, or a share of all rows."""
    held_out: Count | None = None
    """Training rows, from their end, on which settings are searched where the text has no validation rows."""
    remark: str
    """The split in words."""

    @model_validator(mode="after")
    def _check_kinds(self) -> "SplitParams":
        if isinstance(self.validation, int) != (self.test == "published"):
            raise ParamsError("`test: published` goes with a number of validation rows, a share with a share.")
        return self


class ReportedParams(Section):
    """The figures that a text reports, in the row's metric; None where it has a plot or nothing."""

    train: Figure = None
    validation: Figure = None
    test: Figure = None


class SweepParams(Section):
    """One run per value of one parameter."""

    key: str
    values: Annotated[tuple[Any, ...], Field(min_length=1)]


class RowParams(Section):
    """One row of the published tables."""

    source: Name
    """A key of `sources`."""
    title: str
    split: Name
    """A key of `splits`."""
    network: NetworkParams
    train: TrainParams
    keep: Literal["best", "last"] = "last"
    """The weights that are measured: of the best epoch by `train.checkpoint`, or of the last."""
    reported: ReportedParams = ReportedParams()
    seeds: Count = 3
    """Runs per setting, with seeds 1, 2, ...; 1 where a run is dear."""
    other_reading: tuple[Count, ...] | None = None
    """Units, where the text can be read in two ways: the first candidate when the row does not replicate."""
    search: Name | None = None
    """A key of `searches`: the candidates that are tried when the row does not replicate as stated."""
    search_seeds: Count = 1
    """Runs per candidate where all seeds have the same validation rows: more where the figure swings."""
    sweep: SweepParams | None = None
    """Replaces the row as stated by one run per value."""
    variants: dict[str, Patch] = Field(default_factory=dict)
    """Further runs, always carried out."""
    watch_weights: bool = False
    """Keep histograms of the hidden kernels of the row as stated with seed 1."""
    remark: str = ""


class StudiesParams(Section):
    """The whole of `studies/params.yaml`."""

    sources: dict[Name, str]
    """The texts."""
    tolerance: dict[Literal["accuracy", "mae_standardized"], float]
    """How much worse than reported a figure may be and still count as replicated."""
    splits: dict[Name, SplitParams]
    searches: dict[Name, dict[str, Patch]]
    """Candidates from nearest to farthest, by the words that the report uses."""
    shorthand: Any = None
    """A place for YAML anchors; not read."""
    rows: dict[str, RowParams]

    @model_validator(mode="after")
    def _check_references(self) -> "StudiesParams":
        for name, row in self.rows.items():
            for key, known in (("source", self.sources), ("split", self.splits), ("search", self.searches)):
                value = getattr(row, key)
                if value is not None and value not in known:
                    available = ", ".join(repr(other) for other in known)
                    raise ParamsError(f"rows.{name}.{key}: unknown name {value!r}. Available: {available}.")
        return self

    def row(self, name: str) -> RowParams:
        """One row.

        Raises:
            ParamsError: there is none of this name.
        """
        if name not in self.rows:
            raise ParamsError(f"Unknown row {name!r}. Available: {', '.join(self.rows)}.")
        return self.rows[name]


def load_studies(path: Path) -> StudiesParams:
    """Reads and checks the studies' parameter file.

    Args:
        path: of a YAML file.

    Returns:
        The checked parameters.

    Raises:
        ParamsError: the file is missing, is not YAML, or holds an unknown key or a wrong value.
    """
    return parse_sections(StudiesParams, read_yaml(path), str(path))


def trained_params(row: RowParams, dataset: str, seed: Seed, patch: Patch, where: str) -> ComparisonParams:
    """What the pipeline needs to train a row, changed in places.

    Args:
        row: as stated.
        dataset: that it is trained on.
        seed: of the run.
        patch: what differs; empty for nothing.
        where: the run in words, for the message.

    Returns:
        A block as in the pipeline's `params.yaml`.

    Raises:
        ParamsError: a place of the patch does not exist or its value is wrong.
    """
    block = {"dataset": dataset, "split": row.split, "seed": seed}
    for key in ("network", "train"):
        # Only what was said: a parameter that the pipeline learns later does not make these trainings others.
        block[key] = getattr(row, key).model_dump(mode="json", exclude_unset=True)
    for place, value in patch.items():
        *path, last = place.split(".")
        section = block
        for key in path:
            section = section.setdefault(key, {})
        section[last] = value
    return parse_sections(ComparisonParams, block, where)
