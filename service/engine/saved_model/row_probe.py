"""Whether a row's answer is the same alone and among other rows: a signature is tried when its version is loaded.

A probe can only show that rows depend on one another. What a graph says (`Graph.describe_dependence`) excludes most of
what a probe cannot see; what is left, and shows no difference, counts as independent.
"""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from typing import Any

import numpy as np

from service.engine.attempt import Attempt
from service.engine.interface import Arrays
from service.engine.model import InvalidInput, Model
from service.engine.saved_model.probe_rows import RELATIVE, SIZES, Material, Row, cross, row_shapes
from service.engine.tensorflow.library import TensorFlowError
from service.errors import ServiceError

logger = logging.getLogger(__name__)

MOST_CALLS = 40
# How many times longer than a probe computes it may take, on a machine that does other things too.
PATIENCE = 5
GROUPS = (2, 3, 5, 8)
# More than any graph is likely to compare its number of rows with.
MANY = 130
# Differences that are none: of any numbers, and of types with few digits relative to the row's largest.
ABSOLUTE = 1e-6
COARSE = {"DT_HALF": 1e-2, "DT_BFLOAT16": 5e-2}
# What is said of a probe that never ends.
STUCK = "the probe of its rows did not end"


class Dependent(Exception):
    """The probe ends: rows depend on one another, or may do so; the text says how."""


class Alone:
    """A row, and what is answered to it alone."""

    def __init__(self, row: Row, outputs: Arrays) -> None:
        self.row = row
        self.outputs = outputs


class Probe:
    """Tries one signature.

    Args:
        model: the loaded version.
        key: the signature.
        material: see `Material`.
    """

    def __init__(self, model: Model, key: str, material: Material) -> None:
        self._model = model
        self._key = key
        self._signature = model.signatures[key]
        self._material = material
        self._calls = 0
        self._ends = 0.0

    def run(self, seconds: float) -> str:
        """Tries the signature.

        Args:
            seconds: how long it may compute.

        Returns:
            Why its rows do not count as independent, in a sentence; "" where they do.
        """
        self._ends = time.thread_time() + seconds
        try:
            self._probe()
        except Dependent as error:
            return str(error)
        return ""

    def _probe(self) -> None:
        accepted = self._accept()
        ordinary = [one for one in accepted if not one.row.is_extreme]
        if len(ordinary) < 2:
            raise Dependent("the probe of its rows found too few inputs that it takes")
        for group in arrange(ordinary, [one for one in accepted if one.row.is_extreme]):
            self._compare(group)
        self._check_variety(ordinary)

    def _accept(self) -> list[Alone]:
        """The rows that the signature takes."""
        accepted = [alone for row in self._rows() if (alone := self._try(row)) is not None]
        ordinary = [alone.row for alone in accepted if not alone.row.is_extreme]
        crossed = cross(ordinary[0], ordinary[len(ordinary) // 2]) if ordinary else ()
        return accepted + [alone for row in crossed if (alone := self._try(row)) is not None]

    def _rows(self) -> Iterator[Row]:
        recorded = self._material.recorded(self._key, self._signature)
        yield from recorded
        shapes = {name: array.shape for name, array in recorded[0].inputs.items()} if recorded else self._find_shapes()
        yield from self._material.make(self._signature, shapes)

    def _find_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of rows: where axes of any size are among them, the smallest that the signature takes."""
        known = [row_shapes(self._signature, size) for size in SIZES]
        if known[0] == known[1]:
            return known[0]
        return next(filter(self._fits, known), known[0])

    def _fits(self, shapes: dict[str, tuple[int, ...]]) -> bool:
        return self._try(next(self._material.make(self._signature, shapes))) is not None

    def _try(self, row: Row) -> Alone | None:
        try:
            outputs = self._call([row])
        except (InvalidInput, TensorFlowError, ServiceError):
            return None
        return Alone(row, outputs)

    def _call(self, rows: Sequence[Row]) -> Arrays:
        self._calls += 1
        if self._calls > MOST_CALLS or time.thread_time() > self._ends:
            raise Dependent("the probe of its rows could not be finished in its time")
        inputs = {name: np.stack([row.inputs[name] for row in rows]) for name in self._signature.inputs}
        outputs = self._model.call(self._key, inputs)
        for name, array in outputs.items():
            if not array.ndim or len(array) != len(rows):
                raise Dependent(f"its output '{name}' has another number of rows than its inputs")
        return outputs

    def _check_variety(self, ordinary: Sequence[Alone]) -> None:
        """Refuses to conclude anything from outputs that are always the same; labels may be."""
        first = ordinary[0].outputs
        numeric = [name for name, array in first.items() if array.dtype.kind != "O"]
        for name in numeric or first:
            if all(self._same(name, one.outputs[name][0], first[name][0], RELATIVE) for one in ordinary[1:]):
                raise Dependent(f"the probe of its rows found no two inputs that differ in output '{name}'")

    def _compare(self, group: Sequence[Alone]) -> None:
        try:
            outputs = self._call([one.row for one in group])
        except (InvalidInput, TensorFlowError, ServiceError):
            raise Dependent("rows that it takes one by one are refused together") from None
        for number, one in enumerate(group):
            for name, array in outputs.items():
                if not self._same(name, array[number], one.outputs[name][0], one.row.relative):
                    raise Dependent(f"a row's output '{name}' is another beside other rows")

    def _same(self, name: str, found: Any, alone: Any, relative: float) -> bool:
        coarse = COARSE.get(self._signature.outputs[name].dtype, relative)
        return same(np.asarray(found), np.asarray(alone), max(relative, coarse))


def arrange(ordinary: list[Alone], extremes: list[Alone]) -> Iterator[list[Alone]]:
    """The groups of rows to call together; the largest last."""
    yield ordinary
    yield ordinary[::-1]
    yield ordinary
    for size in GROUPS:
        yield list(islice(cycle(ordinary), size, 2 * size))
    yield [ordinary[0], ordinary[0], ordinary[1], ordinary[0]]
    middle = len(ordinary) // 2
    for extreme in extremes:
        yield [*ordinary[:middle], extreme, *ordinary[middle:]]
    yield ordinary[:1]
    yield list(islice(cycle(ordinary), MANY))
    # Every row but one is rare, as quantiles see it.
    yield [*ordinary, *[ordinary[1]] * (MANY - len(ordinary))]


def same(found: np.ndarray, alone: np.ndarray, relative: float) -> bool:
    """Whether a row's output is what it is alone: numbers as near as kernels compute, all else exactly."""
    if found.shape != alone.shape or relative == np.inf:
        return found.shape == alone.shape
    if found.dtype.kind == "V":
        found, alone = widen(found), widen(alone)
    if found.dtype.kind not in "fc":
        return bool(np.array_equal(found, alone))
    with np.errstate(all="ignore"):
        finite = np.abs(alone[np.isfinite(alone)])
        tolerance = ABSOLUTE + relative * (finite.max() if finite.size else 0)
        near = np.abs(found - alone) <= tolerance
    return bool((near | (found == alone) | (np.isnan(found) & np.isnan(alone))).all())


def widen(array: np.ndarray) -> np.ndarray:
    """bfloat16 as float32, whose upper half it is."""
    return (array.view(np.uint16).astype(np.uint32) << 16).view(np.float32)


def probe_in_time(probe: Probe, seconds: float) -> str:
    """Runs a probe beside this thread, so that a call that never ends holds up nothing; see `Probe.run`."""
    found: list[str] = []

    def run() -> None:
        with Attempt() as attempt:
            found.append(probe.run(seconds))
        if attempt.error is not None:
            # What a foreign graph does to made-up inputs may be anything; it only costs the batching.
            logger.error("A probe of rows failed", exc_info=attempt.error)
            found.append("the probe of its rows failed")

    thread = threading.Thread(target=run, name="probe", daemon=True)
    thread.start()
    thread.join(PATIENCE * seconds)
    return found[0] if found else STUCK
