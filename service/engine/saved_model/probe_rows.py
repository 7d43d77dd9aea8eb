"""Rows to try a signature with: those of its own warm-up requests, and others that are made up."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from service.engine.batching.options import count_rows
from service.engine.interface import Arrays
from service.engine.saved_model.warmup import read_requests, warmup_file
from service.engine.signature import Signature, TensorSpec

SEED = 20240229
# Sizes to try for axes of any size: of short sequences first, of small images last.
SIZES = (3, 16, 64)
# Row by row: the magnitude of floats, the bound of integers, the only one of a row, and the words of a text.
MAGNITUDES = (1.0, 0.01, 10.0, -1.0, 1000.0, -1000.0, 0.1, 100.0)
BOUNDS = (4, 4, 4, 4, 2, 10, 100, -5)
INTEGERS = (1, 0, 2, 3, 4, 7, 100, -5)
UNSIGNED = 200
LENGTHS = (2, 1, 0, 5, 50, 1, 3, 1)
# What spreads to all rows that a row can touch.
EXTREMES = (np.nan, np.inf, -np.inf)
# By how much a row's answer may differ: kernels for another number of rows sum in another order, which shows the more,
# the larger the numbers are that cancel one another. An extreme row's own answer is not compared.
RELATIVE, RELATIVE_LARGE = 1e-5, 1e-3
LARGE = 100.0
WORDS = (b"good", b"film", b"bad", b"the", b"a", b"red", b"3", b"1.5", b"x")
WORD = re.compile(rb"[\w'-]{1,30}")
MOST_WORDS = 64
MOST_RECORDED = 3
MOST_CROSSED = 4
RECORDS_READ = 50
ASSET_BYTES = 64 * 1024


@dataclass(frozen=True)
class Row:
    """One row of every input, without the batch axis.

    Attributes:
        inputs: by name.
        relative: by how much an answer may differ from that which the row has alone.
    """

    inputs: Arrays
    relative: float = RELATIVE

    @property
    def is_extreme(self) -> bool:
        """Whether it is there for what it does to other rows."""
        return self.relative == np.inf


class Material:
    """What rows of a version's signatures are made of.

    Args:
        path: the version's folder.
        definition: its `MetaGraphDef`.
    """

    def __init__(self, path: Path, definition: Any) -> None:
        self._path = path
        self._definition = definition

    @cached_property
    def words(self) -> tuple[bytes, ...]:
        """Words that the model knows, as far as its assets and constants tell, and others."""
        known: list[bytes] = []
        for asset in self._definition.asset_file_def:
            with (self._path / "assets" / asset.filename).open("rb") as file:
                known += file.read(ASSET_BYTES).splitlines()
        graph = self._definition.graph_def
        nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
        constants = [node.attr["value"].tensor.string_val for node in nodes if node.op == "Const"]
        for values in sorted(constants, key=len, reverse=True)[:MOST_WORDS]:
            known += values[:MOST_WORDS]
        return (*filter(WORD.fullmatch, dict.fromkeys(known[: 4 * MOST_WORDS])), *WORDS)[:MOST_WORDS]

    def recorded(self, key: str, signature: Signature) -> list[Row]:
        """A few different rows of one shape from the signature's own warm-up requests."""
        file = warmup_file(self._path)
        if not file.is_file():
            return []
        rows = [
            {name: np.asarray(array[number], array.dtype) for name, array in inputs.items()}
            for name, inputs in islice(read_requests(file), RECORDS_READ)
            if name == key and inputs.keys() == signature.inputs.keys()
            for number in range(min(count_rows(inputs), MOST_RECORDED))
        ]
        shapes = Counter(map(shapes_of, rows))
        distinct = {repr(row): row for row in rows if shapes_of(row) == shapes.most_common(1)[0][0]}
        return [Row(row) for row in islice(distinct.values(), MOST_RECORDED)]

    def make(self, signature: Signature, shapes: dict[str, tuple[int, ...]]) -> Iterator[Row]:
        """Rows that are made up: ordinary ones first, then the extremes.

        Args:
            signature: what takes them.
            shapes: of a row of each input.
        """
        generator = np.random.default_rng(SEED)
        first: Arrays = {}
        for number in range(len(MAGNITUDES)):
            row = {name: self._make(spec, number, shapes[name], generator) for name, spec in signature.inputs.items()}
            first = first or row
            yield Row(row, RELATIVE if abs(MAGNITUDES[number]) < LARGE else RELATIVE_LARGE)
        floats = [name for name, spec in signature.inputs.items() if is_float(spec)]
        for extreme in EXTREMES if floats else ():
            made = {name: fill(signature.inputs[name], np.full(shapes[name], extreme)) for name in floats}
            yield Row(first | made, np.inf)

    def _make(
        self, spec: TensorSpec, number: int, shape: tuple[int, ...], generator: np.random.Generator
    ) -> np.ndarray:
        if is_float(spec):
            low = 0.1 if number % 4 else 0.5
            return fill(spec, generator.uniform(low, 1, shape) * MAGNITUDES[number])
        if spec.dtype == "DT_STRING":
            texts = np.empty(shape, object)
            for place in np.ndindex(shape):
                texts[place] = b" ".join(generator.choice(self.words, LENGTHS[number]).tolist())
            return texts
        if spec.dtype == "DT_BOOL":
            return generator.integers(0, 2, shape).astype(bool)
        unsigned = spec.dtype.startswith("DT_UINT")
        bound, only = (UNSIGNED if unsigned and of[number] < 0 else of[number] for of in (BOUNDS, INTEGERS))
        values = generator.integers(min(0, bound), max(0, bound), shape) if shape else np.array(only)
        return values.astype(spec.numpy_dtype)


def cross(first: Row, second: Row) -> Iterator[Row]:
    """Rows that have some values of one row and some of another.

    Rows that agree in one input or column and differ in others may matter to one another where none else do: those of
    one query, or of one customer.
    """
    names = list(first.inputs)
    relative = max(first.relative, second.relative)
    for name in names[:MOST_CROSSED] if len(names) > 1 else ():
        yield Row(first.inputs | {name: second.inputs[name]}, relative)
    halves: tuple[Arrays, Arrays] = {}, {}
    for name in names:
        one, other = first.inputs[name].ravel(), second.inputs[name].ravel()
        middle = len(one) // 2
        for half, front, back in ((halves[0], one, other), (halves[1], other, one)):
            half[name] = np.concatenate([front[:middle], back[middle:]]).reshape(first.inputs[name].shape)
    if any(array.size > 1 for array in first.inputs.values()):
        yield from (Row(half, relative) for half in halves)


def shapes_of(row: Arrays) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """The shape of each input's row."""
    return tuple((name, array.shape) for name, array in sorted(row.items()))


def row_shapes(signature: Signature, size: int) -> dict[str, tuple[int, ...]]:
    """The shapes of rows, with one size for every axis of any size."""
    return {
        name: tuple(size if axis < 0 else axis for axis in (spec.shape or ())[1:])
        for name, spec in signature.inputs.items()
    }


def is_float(spec: TensorSpec) -> bool:
    """Whether values are floating-point numbers, bfloat16 and complex ones included."""
    return spec.is_servable and spec.numpy_dtype.kind in "fcV"


def fill(spec: TensorSpec, values: np.ndarray) -> np.ndarray:
    """Floats in the type of an input; of bfloat16, the upper half of the float32."""
    if spec.dtype == "DT_BFLOAT16":
        return (np.asarray(values, np.float32).view(np.uint32) >> 16).astype(np.uint16).view(spec.numpy_dtype)
    return np.asarray(values, spec.numpy_dtype)
