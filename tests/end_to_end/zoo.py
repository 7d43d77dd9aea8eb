"""The zoo: what a SavedModel of it is, and where tests find it. The builders are in `build_zoo` and beside it.

TensorFlow builds the models once per session, in a process of its own, and answers there what the service must answer.
"""

import fcntl
import os
import pickle
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.end_to_end.service import ROOT

Arrays = dict[str, np.ndarray]

ANSWERS = "answers.pickle"
BUILD_SECONDS = 300


@dataclass(frozen=True)
class Case:
    """A request and TensorFlow's answer to it.

    Attributes:
        signature: what to call.
        inputs: one array per input that is sent; strings are arrays of `bytes`, bfloat16 of its two bytes.
        outputs: TensorFlow's own, in the same form.
    """

    signature: str
    inputs: Arrays
    outputs: Arrays


@dataclass(frozen=True)
class Animal:
    """A model of the zoo.

    Attributes:
        name: the model's; its folder is `zoo/NAME/VERSION`.
        kind: "pure" (the same answer each time), "stateful" (the cases hold in their order, from the load on) or
            "random" (each value lies in the interval [answer, answer + 1)).
        cases: requests of different sizes.
    """

    name: str
    kind: str = "pure"
    cases: list[Case] = field(default_factory=list)


def build(folder: Path) -> Path:
    """Builds the zoo, or waits until another process of this session has.

    Returns:
        The folder with `zoo/`, `faults/` and `pages/`, each a model repository, and the answers.
    """
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / ANSWERS).exists():
            environment = os.environ | {
                "TF_CPP_MIN_LOG_LEVEL": "2",
                "PYTHONWARNINGS": "ignore",
                "KERAS_BACKEND": "tensorflow",
            }
            finished = subprocess.run(
                [sys.executable, "-m", "tests.end_to_end.build_zoo", str(folder)],
                cwd=ROOT, env=environment, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False,
            )  # fmt: skip
            assert finished.returncode == 0, finished.stderr[-5000:]
    return folder


def read_answers(folder: Path) -> dict[str, Animal]:
    """The models by name."""
    return {animal.name: animal for animal in pickle.loads((folder / ANSWERS).read_bytes())}
