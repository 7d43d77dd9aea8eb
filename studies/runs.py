"""From the rows of the parameter file to single runs: one network, trained once."""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.params import ComparisonParams
from studies.params import Patch, RowParams, SplitParams, StudiesParams, trained_params

Purpose = Literal["stated", "variant", "search", "setting"]
"""`stated`: the row as the text has it; `variant`: a reading or a sweep's value; `search`: a candidate, seen on
validation only; `setting`: the candidate that validation chose, trained as stated."""

DIGEST_LENGTH = 16
OTHER_READING = "three hidden layers"
"""The words for `other_reading`."""


@dataclass(frozen=True)
class Run:
    """One training with all that decides its result.

    Attributes:
        row: its name in the parameter file.
        purpose: why it is run.
        label: the variant or setting in words; `stated` for the row as it is.
        seed: of the weights, of shuffling, and of dealing where rows are dealt by chance.
        params: of the network and its training.
        split: of the data.
        keep: the weights that are measured.
        watch_weights: whether histograms of the kernels are kept.
    """

    row: str
    purpose: Purpose
    label: str
    seed: int
    params: ComparisonParams
    split: SplitParams
    keep: Literal["best", "last"]
    watch_weights: bool

    @property
    def name(self) -> str:
        """The run in words, e.g. `D4 learning rate 0.1, seed 2`."""
        prefix = "search: " if self.purpose == "search" else ""
        return f"{self.row} {prefix}{self.label}, seed {self.seed}"

    @property
    def file(self) -> str:
        """Where its result is kept below the folder of results."""
        prefix = "" if self.purpose in ("stated", "variant") else f"{self.purpose}-"
        label = re.sub(r"[^a-z0-9.]+", "-", self.label.lower()).strip("-")
        return f"{self.row}/{prefix}{label}-seed{self.seed}.json"

    @property
    def is_search(self) -> bool:
        """Whether it is seen on held-out training rows only, and no test rows exist for it."""
        return self.purpose == "search"

    def digest(self) -> str:
        """What decides the result, in 16 hexadecimal digits; the code and the data's contents are not part of it."""
        content: dict[str, Any] = {
            "params": self.params.model_dump(mode="json", exclude_unset=True),
            "split": self.split.model_dump(mode="json", exclude={"remark"}),
            "keep": self.keep,
            "search": self.is_search,
            "weights": self.watch_weights,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:DIGEST_LENGTH]


def fixed_runs(studies: StudiesParams, name: str) -> list[Run]:
    """The runs of a row that do not depend on any result: as stated, its variants and its sweep.

    Args:
        studies: all parameters.
        name: of the row.

    Returns:
        The runs, those as stated first.

    Raises:
        ParamsError: a variant names a place that does not exist.
    """
    row = studies.row(name)
    stated = [] if row.sweep else _repeated(studies, name, "stated", "stated", {})
    return stated + [run for label, patch in variants(row) for run in _repeated(studies, name, "variant", label, patch)]


def search_runs(studies: StudiesParams, name: str, label: str, patch: Patch) -> list[Run]:
    """The runs that show a candidate on validation; the test rows stay out of reach.

    One run does, or `search_seeds` of the row, where all seeds have the same validation rows; where each seed deals its
    own, all seeds of the row run, since the figure differs more from deal to deal than from candidate to candidate.
    """
    runs = _repeated(studies, name, "search", label, patch)
    return runs[: studies.row(name).search_seeds] if runs[0].split.test == "published" else runs


def setting_runs(studies: StudiesParams, name: str, label: str, patch: Patch) -> list[Run]:
    """The runs of the candidate that validation chose, on all training rows."""
    return _repeated(studies, name, "setting", label, patch)


def variants(row: RowParams) -> list[tuple[str, Patch]]:
    """The row's variants and its sweep's values as label and patch, in the order of the file."""
    found = list(row.variants.items())
    if row.sweep:
        found += [(_value_label(value), {row.sweep.key: value}) for value in row.sweep.values]
    return found


def candidates(studies: StudiesParams, row: RowParams) -> Iterator[tuple[str, Patch]]:
    """The settings to try when a row does not replicate, from nearest to farthest."""
    if row.other_reading:
        yield OTHER_READING, {"network.units": list(row.other_reading)}
    if row.search:
        yield from studies.searches[row.search].items()


def _repeated(studies: StudiesParams, name: str, purpose: Purpose, label: str, patch: Patch) -> list[Run]:
    return [_run(studies, name, (purpose, label), seed, patch) for seed in range(1, studies.row(name).seeds + 1)]


def _run(studies: StudiesParams, name: str, kind: tuple[Purpose, str], seed: int, patch: Patch) -> Run:
    row = studies.row(name)
    split, (purpose, label) = studies.splits[row.split], kind
    params = trained_params(row, split.dataset, seed, patch, f"rows.{name}, {label}")
    return Run(
        name, purpose, label, seed, params, split, row.keep, row.watch_weights and purpose == "stated" and seed == 1
    )


def _value_label(value: Any) -> str:
    return "-".join(str(item) for item in value) if isinstance(value, list | tuple) else str(value)
