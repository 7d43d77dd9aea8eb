"""The folder between `prepare` and the stages behind it: a data set, split, described and measured.

data/prepared/<dataset>/
    description.json                    what no array can say: task, labels, features and units, checksum
    <split>/ train.npz validation.npz test.npz      `x` and `y`, raw units
             profile.json               distribution of the training rows, the reference for drift
"""

import dataclasses
import json
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline.errors import DataError

PARTS = ("train", "validation", "test")

Task = Literal["binary", "multiclass", "regression"]
InputKind = Literal["image", "features"]


@dataclass(frozen=True)
class Feature:
    """One input column: its name (a valid identifier, since it names a signature's input) and its unit."""

    name: str
    unit: str = ""


@dataclass(frozen=True)
class About:
    """What only people can say of a data set, for the cards of the models that are made from it; "" where nobody did.

    Attributes:
        intended_use: what a model of these rows may be used for.
        out_of_scope: what it must not be used for.
        ethical_considerations: whom it may harm, and how.
        caveats: what a reader of figures should know, a sentence each.
    """

    intended_use: str = ""
    out_of_scope: str = ""
    ethical_considerations: str = ""
    caveats: tuple[str, ...] = ()


@dataclass(frozen=True)
class Description:
    """What a data set is, in words and names.

    Attributes:
        name: as in `params.yaml`.
        task: `binary` and `multiclass` have integer labels; `regression` a float target.
        input_kind: `image` for `(n, rows, columns)` grey pixels, `features` for `(n, k)` columns.
        input_shape: one row's shape, e.g. `(28, 28)` or `(10,)`.
        input_range: least and largest raw value that is possible (pixels), or None where nothing bounds it.
        labels: class names by class id; empty for a regression. Class 1 is the positive one of a binary task.
        features: one entry per column; empty for images.
        target_name: what is predicted, e.g. `alcohol`.
        target_unit: the regression target's unit, e.g. `% vol.`; empty otherwise.
        source: where the data comes from, a citation or an address.
        checksum: SHA-256 of the raw arrays in a fixed order, in hexadecimal.
        partial: why the data is not the whole data set, or "" where it is. Every figure made from it repeats this.
        splits: by split name: how it was made and how many rows and, per class, labels each part has.
        is_signal: the columns are samples of one signal in order of time.
        about: what people say of it.
    """

    name: str
    task: Task
    input_kind: InputKind
    input_shape: tuple[int, ...]
    input_range: tuple[float, float] | None
    labels: tuple[str, ...]
    features: tuple[Feature, ...]
    target_name: str
    target_unit: str
    source: str
    checksum: str
    partial: str
    splits: dict[str, dict[str, Any]]
    is_signal: bool = False
    about: About = field(default_factory=About)

    @property
    def input_name(self) -> str:
        """The name of the batch tensor in `serving_default`."""
        return "image" if self.input_kind == "image" else "features"

    @property
    def caveat(self) -> str:
        """What stands behind every figure that is made from partial data; "" for a whole data set."""
        return f" (partial data: {self.partial})" if self.partial else ""


@dataclass(frozen=True)
class Part:
    """Rows of one side of a split.

    Attributes:
        x: `(n, *input_shape)`, raw values as the source has them: uint8 pixels or float32 features.
        y: `(n,)`; int64 class ids, or float32 targets in the target's unit.
    """

    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Prepared:
    """One split of a data set, ready for training.

    Attributes:
        description: see `Description`.
        split: the split's name.
        train, validation, test: the rows.
        profile: distribution of the training rows, as `prepare` wrote it.
    """

    description: Description
    split: str
    train: Part
    validation: Part
    test: Part
    profile: dict[str, Any]


def save_description(description: Description, folder: Path) -> None:
    """Writes `description.json` into `folder`."""
    write_json(dataclasses.asdict(description), folder / "description.json")


def load_description(folder: Path) -> Description:
    """Reads `description.json`.

    Raises:
        DataError: it is missing or has other keys than `Description`.
    """
    try:
        fields = json.loads((folder / "description.json").read_text(encoding="utf-8"))
        features = tuple(Feature(**feature) for feature in fields.pop("features"))
        bounds, about = fields.pop("input_range"), fields.pop("about")
        return Description(
            **{key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()},
            features=features,
            input_range=tuple(bounds) if bounds else None,
            about=About(**about | {"caveats": tuple(about["caveats"])}),
        )
    except FileNotFoundError:
        raise DataError(f"No description.json in {folder}. Run the prepare stage first: dvc repro prepare.") from None
    except (TypeError, KeyError, ValueError) as error:
        raise DataError(f"{folder / 'description.json'} does not describe a data set: {error}.") from None


def save_part(part: Part, path: Path) -> None:
    """Writes `x` and `y` as one compressed `.npz` file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, x=part.x, y=part.y)


def load_part(path: Path) -> Part:
    """Reads what `save_part` wrote.

    Raises:
        DataError: the file is missing or is not such a file.
    """
    try:
        # An open stream: numpy does not close a file that it opened and then finds broken.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            return Part(x=arrays["x"], y=arrays["y"])
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} holds no prepared rows ({error}). Run the prepare stage again.") from None


def load_prepared(folder: Path, split: str) -> Prepared:
    """Reads one split of a prepared data set.

    Args:
        folder: `data/prepared/<dataset>`.
        split: a split's name.

    Returns:
        The rows of all three parts with the description and the profile.

    Raises:
        DataError: a file is missing or broken.
    """
    profile_path = folder / split / "profile.json"
    if not profile_path.is_file():
        raise DataError(f"No split {split!r} in {folder}. Run the prepare stage first.")
    parts = {part: load_part(folder / split / f"{part}.npz") for part in PARTS}
    profile = json.loads(profile_path.read_text(encoding="utf-8"))
    return Prepared(load_description(folder), split, profile=profile, **parts)


def load_report(path: Path, stage: str) -> Any:
    """Reads a JSON file that a stage wrote.

    Args:
        path: of the file.
        stage: that writes it.

    Returns:
        What it holds.

    Raises:
        DataError: it is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"There is no {path}. Run the {stage} stage first.") from None
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}). Run the {stage} stage again.") from None


def write_json(value: Any, path: Path) -> None:
    """Writes indented JSON with a final newline; NaN and infinities are refused, since JSON has none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", encoding="utf-8")
