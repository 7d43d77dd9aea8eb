"""Where an interrupted training goes on: one file with everything that the next epoch depends on.

The file lies outside the outputs of the stage, since DVC deletes those before a run. Its name holds a key made of the
parameters, the rows and the code, so that a training never goes on from another one's state.
"""

import dataclasses
import hashlib
import io
import json
import os
import shutil
from pathlib import Path

import keras
import numpy as np

from pipeline.callbacks import Logs, Progress
from pipeline.params import ComparisonParams
from pipeline.prepared import Prepared

CODE = (
    "augmentation",
    "batches",
    "callbacks",
    "distribution_steps",
    "fitting",
    "hidden_layers",
    "members",
    "models",
    "objectives",
    "optimizers",
    "ranking",
    "resume",
    "scaling",
    "steps",
    "training",
)
"""Modules whose change makes a saved state worthless."""


def training_key(params: ComparisonParams, prepared: Prepared) -> str:
    """A digest of all that decides a training's result.

    Args:
        params: the model's block; only what the training reads counts.
        prepared: the rows.

    Returns:
        16 hexadecimal digits.
    """
    read = params.model_dump(include={"dataset", "split", "seed", "network", "train"})
    digest = hashlib.sha256(json.dumps(read, sort_keys=True).encode())
    for part in (prepared.train, prepared.validation):
        digest.update(np.ascontiguousarray(part.x))
        digest.update(np.ascontiguousarray(part.y))
    for module in CODE:
        digest.update(Path(__file__).with_name(f"{module}.py").read_bytes())
    digest.update(f"{keras.version()} {keras.backend.backend()}".encode())
    return digest.hexdigest()[:16]


class ResumePoint:
    """The saved state of one training.

    Attributes:
        folder: holds everything of this training that is not finished, and nothing else.
    """

    def __init__(self, parent: Path, key: str) -> None:
        """Opens the folder and removes what other trainings of this model left.

        Args:
            parent: `.kiln/resume/<model>`.
            key: what `training_key` gave.
        """
        self.folder = parent / key
        self._file = self.folder / "state.npz"
        for other in parent.iterdir() if parent.is_dir() else ():
            if other != self.folder:
                shutil.rmtree(other)
        self.folder.mkdir(parents=True, exist_ok=True)

    def save(self, model: keras.Model, progress: Progress) -> None:
        """Writes the state after an epoch; a kill leaves the state before it or this one."""
        arrays = {f"model_{index}": value for index, value in enumerate(_values(model.variables))}
        arrays |= {f"optimizer_{index}": value for index, value in enumerate(_values(model.optimizer.variables))}
        arrays |= {f"best_{index}": value for index, value in enumerate(progress.best_weights)}
        fields = dataclasses.asdict(dataclasses.replace(progress, best_weights=[]))
        building = self.folder / "state.building"
        with building.open("wb") as stream:
            np.savez(stream, progress=np.array(json.dumps(fields)), **arrays)
        os.replace(building, self._file)

    def read(self) -> bytes:
        """The saved state, or nothing."""
        return self._file.read_bytes() if self._file.is_file() else b""

    def close(self) -> None:
        """Removes the state of a training that has ended."""
        shutil.rmtree(self.folder.parent)


def restore(model: keras.Model, state: bytes) -> Progress:
    """Takes up a saved state.

    Args:
        model: freshly built and compiled; its variables and its optimizer's are set. Seed generators are among them, so
            dropout goes on with the numbers that it would have drawn.
        state: what `ResumePoint.read` gave.

    Returns:
        How far the training had come; a new `Progress` where nothing was saved.
    """
    if not state:
        return Progress()
    with np.load(io.BytesIO(state), allow_pickle=False) as arrays:
        for prefix, variables in (("model", model.variables), ("optimizer", model.optimizer.variables)):
            for index, variable in enumerate(variables):
                variable.assign(arrays[f"{prefix}_{index}"])
        best = [arrays[f"best_{index}"] for index in range(len(model.weights))]
        return Progress(**json.loads(str(arrays["progress"])) | {"best_weights": best})


class SaveProgress(keras.callbacks.Callback):
    """Saves the state after each epoch; the last callback, so that it sees what the others did."""

    def __init__(self, point: ResumePoint, progress: Progress) -> None:
        super().__init__()
        self._point = point
        self._progress = progress

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:  # noqa: ARG002
        """Saves."""
        self._point.save(self.model, self._progress)


def _values(variables: list[keras.Variable]) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(variable.value) for variable in variables]
