"""The rows that a run may see: training and validation openly, the test rows under a seal that opens once."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import DataError
from pipeline.params import Params
from pipeline.params import SplitParams as PipelineSplitParams
from pipeline.prepare import describe
from pipeline.prepared import Description, Part, Prepared
from pipeline.raw import RawDataset
from pipeline.sources import find_source
from pipeline.splits import split_rows
from studies.params import SplitParams
from studies.runs import Run


class SealedTest:
    """The test rows of one run."""

    def __init__(self, part: Part) -> None:
        self._part: Part | None = part

    def open(self) -> Part:
        """Gives the rows, once.

        Raises:
            DataError: they were read before.
        """
        if self._part is None:
            raise DataError("The test rows of this run were read before; a run reads them once, at its end.")
        part, self._part = self._part, None
        return part


@dataclass(frozen=True)
class Dataset:
    """All rows of a data set, before they are dealt.

    Attributes:
        raw: the rows.
        description: of them; its checksum is that of the rows.
    """

    raw: RawDataset
    description: Description


def load_dataset(name: str, params: Params, root: Path) -> Dataset:
    """Reads a data set from `data/raw`.

    Args:
        name: of the data set.
        params: the pipeline's parameters.
        root: the project's folder.

    Returns:
        The rows with their description.

    Raises:
        DataError: the raw files are missing or broken.
        ParamsError: there is no such data set.
    """
    raw = find_source(name, params.dataset(name), root).load(root / "data" / "raw" / name)
    return Dataset(raw, describe(name, raw, {}))


def deal(dataset: Dataset, run: Run) -> tuple[Prepared, SealedTest | None]:
    """Deals the rows to one run.

    Args:
        dataset: all rows.
        run: says how, and whether it is a search.

    Returns:
        Training and validation rows, with no test rows among them; and the sealed test rows, or None for a search,
        which is to choose without them.

    Raises:
        DataError: there are too few rows.
    """
    raw, split = dataset.raw, run.split
    train, validation, test = _row_numbers(raw, split, run.seed)
    if run.is_search and not len(validation):
        train, validation = _cut_off(train, split.held_out or 0)
    if run.is_search and not len(validation):
        raise DataError(f"{run.name}: a search needs validation rows; give the split `held_out`.")
    nothing = np.arange(0)
    parts = [Part(raw.x[rows], raw.y[rows]) for rows in (train, validation, nothing)]
    prepared = Prepared(dataset.description, run.params.split, *parts, profile={})
    return prepared, None if run.is_search else SealedTest(Part(raw.x[test], raw.y[test]))


def _row_numbers(raw: RawDataset, split: SplitParams, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if split.test == "published":
        train, validation = _cut_off(np.flatnonzero(~raw.published_test), split.validation)
        return train, validation, np.flatnonzero(raw.published_test)
    shares = PipelineSplitParams(validation=split.validation, test=split.test)
    parts = split_rows(raw, shares, seed)
    return parts["train"], parts["validation"], parts["test"]


def _cut_off(rows: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows without the last `count`, and those."""
    if count >= len(rows):
        raise DataError(f"{count} of {len(rows)} training rows cannot be taken away.")
    return rows[: len(rows) - count], rows[len(rows) - count :]
