"""One network on one deal of its rows among several: what is to be done, what came out, and where it is kept."""

import functools
import hashlib
import json
import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.backend import start_keras
from pipeline.errors import DataError
from pipeline.params import ComparisonParams, DatasetParams, Params
from pipeline.prepare import describe
from pipeline.prepared import PARTS, Part, Prepared
from pipeline.profile import describe_rows
from pipeline.raw import RawDataset
from pipeline.sources import find_source
from pipeline.splits import count_twins, duplicate_groups, split_rows


@dataclass(frozen=True)
class Deal:
    """What one run trains and how its rows are dealt.

    Attributes:
        model: name of the model or the comparison.
        split: name of a split of its data set.
        seed: of the dealing and of the network.
    """

    model: str
    split: str
    seed: int

    def block(self, params: Params) -> ComparisonParams:
        """The model's block with this split and this seed."""
        return params.trained(self.model).model_copy(update={"split": self.split, "seed": self.seed})


@dataclass(frozen=True)
class Outcome:
    """What a deal's test rows say.

    Attributes:
        split, seed: of the deal.
        rows: by part, how many.
        identical_inputs_on_two_sides: validation and test rows whose input stands in another part, too.
        best_epoch: whose weights were kept.
        parameters: numbers in the network.
        seconds: of the training.
        figures: by `network`, `trivial` and, for columns, `gradient_boosting`: the figures on the test rows.
    """

    split: str
    seed: int
    rows: dict[str, int]
    identical_inputs_on_two_sides: int
    best_epoch: int
    parameters: int
    seconds: float
    figures: dict[str, dict[str, float]]


def list_deals(name: str, params: Params) -> list[Deal]:
    """All deals of `repeats.<name>`, split by split."""
    repeats = params.repeats[name]
    return [Deal(name, split, seed) for split in repeats.splits for seed in repeats.seeds]


def measure_and_save(deal: Deal, params: Params, root: Path, path: Path) -> Outcome:
    """Trains and measures in this process and writes the outcome, before anybody is told.

    Args:
        deal: what to do.
        params: the checked parameters.
        root: the project's folder; `data/raw` is read.
        path: of the outcome's file.

    Returns:
        The outcome.

    Raises:
        DataError: the raw rows are missing or broken, or too few.
        ParamsError: the parameters do not fit the data.
        TrainingError: the loss became infinite or not a number.
    """
    outcome = _measure(deal, params, root)
    path.parent.mkdir(parents=True, exist_ok=True)
    building = path.with_name(f".{path.name}.{os.getpid()}.building")
    building.write_text(json.dumps({"key": outcome_key(deal, params, root)} | asdict(outcome)), encoding="utf-8")
    os.replace(building, path)
    return outcome


def load_outcome(deal: Deal, params: Params, root: Path, path: Path) -> Outcome | None:
    """Reads an outcome; None where there is none of these parameters and rows."""
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        return Outcome(**fields) if fields.pop("key") == outcome_key(deal, params, root) else None
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None


def outcome_key(deal: Deal, params: Params, root: Path) -> str:
    """A digest of the rows and the parameters that decide an outcome; changed code is not seen."""
    block = deal.block(params)
    read = block.model_dump(mode="json", include={"dataset", "split", "seed", "network", "train", "evaluate"})
    read["shares"] = params.dataset(block.dataset).prepare.splits[deal.split].model_dump(mode="json")
    read["rows"] = _load_rows(block.dataset, params, root).checksum()
    return hashlib.sha256(json.dumps(read, sort_keys=True).encode()).hexdigest()[:16]


def _measure(deal: Deal, params: Params, root: Path) -> Outcome:
    start_keras()
    # Each training is a new network with functions of its own; TensorFlow takes that for a mistake and warns.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    from pipeline.answers import measure
    from pipeline.fitting import fit_network

    block = deal.block(params)
    raw = _load_rows(block.dataset, params, root)
    rows = split_rows(raw, params.dataset(block.dataset).prepare.splits[deal.split], deal.seed)
    parts = {part: Part(raw.x[rows[part]], raw.y[rows[part]]) for part in PARTS}
    profile = describe_rows(raw, parts["train"])
    prepared = Prepared(describe(block.dataset, raw, {}), deal.split, profile=profile, **parts)
    fit = fit_network(block, prepared)
    _, metrics = measure(fit.model, prepared, deal.seed, block.evaluate.operating_point)
    return Outcome(
        split=deal.split,
        seed=deal.seed,
        rows={part: len(numbers) for part, numbers in rows.items()},
        identical_inputs_on_two_sides=count_twins(rows, duplicate_groups(raw.x)),
        best_epoch=fit.best_epoch,
        parameters=fit.parameters,
        seconds=round(fit.seconds, 1),
        figures={"network": metrics["test"], **metrics["baseline"]},
    )


def _load_rows(name: str, params: Params, root: Path) -> RawDataset:
    return _load_source(name, params.dataset(name).model_dump_json(), root)


@functools.lru_cache(maxsize=2)
def _load_source(name: str, block: str, root: Path) -> RawDataset:
    folder = root / "data" / "raw" / name
    if not folder.is_dir():
        raise DataError(f"No raw rows in {folder}. Run `dvc repro fetch@{name}` first.")
    return find_source(name, DatasetParams.model_validate_json(block), root).load(folder)
