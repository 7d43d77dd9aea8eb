"""The nodes of a graph or of one function: their shapes, and which of their values depend on rows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.engine.tensorflow.tensor_protos import decode_tensor

CONSTANTS = frozenset({"Const", "HashTable", "HashTableV2", "VarHandleOp", "Variable", "VariableV2"})
SHAPES = frozenset({"Rank", "Shape", "ShapeN", "Size"})
RESOURCE = 20

# Sizes of the axes, -1 for any; None where the graph does not say.
Shape = tuple[int, ...] | None


@dataclass(frozen=True)
class Given:
    """A value that comes from outside: an argument of a function, or a request's input.

    Attributes:
        type: a number of `DataType`.
        shape: see `Shape`.
    """

    type: int
    shape: Shape


def read_shapes(attributes: Mapping[str, Any]) -> list[Shape]:
    """The shapes that a graph records of a node's outputs, or of an argument."""
    recorded = attributes.get("_output_shapes")
    shapes = () if recorded is None else recorded.list.shape
    return [None if shape.unknown_rank else tuple(axis.size for axis in shape.dim) for shape in shapes]


def has_rows_first(shape: Shape) -> bool:
    """Whether the first axis is one of any size."""
    return shape is not None and shape[:1] == (-1,)


def agree(shape: Shape, other: Shape) -> bool:
    """Whether a value of the first shape, with rows along its first axis, always is one of the second, which has too.

    TensorFlow does not check what a function, or a signature, says of shapes.
    """
    if shape is None or other is None or not has_rows_first(shape) or not has_rows_first(other):
        return False
    return len(shape) == len(other) and all(there in (-1, here) for here, there in zip(shape, other, strict=True))


class Scope:
    """The nodes of a graph or of one function, and which of their values do not depend on rows.

    Args:
        nodes: all that are needed.
        given: what comes from outside, by name, in the order of a function's arguments.
        results: the tensors that a function gives.
        name: the function's; "" for the graph.
    """

    def __init__(
        self, nodes: Iterable[Any], given: Mapping[str, Given], results: Sequence[str] = (), name: str = ""
    ) -> None:
        self.nodes = {node.name: node for node in nodes}
        self.arguments = list(given.values())
        self.results = results
        self.name = name
        self._given = given
        self._constant: dict[str, bool] = {}
        self._shapes: dict[str, bool] = {}

    def find(self, tensor: str) -> Any:
        """The node that gives a tensor, or None for an argument."""
        return self.nodes.get(tensor.removeprefix("^").split(":")[0])

    def shape(self, tensor: str) -> Shape:
        """The shape of a tensor."""
        name, _, place = tensor.partition(":")
        node = self.nodes.get(name)
        if node is None:
            return self._given.get(name, Given(0, None)).shape
        # In a function `node:output:0`, where each of the operations here has one list of outputs.
        number = int(place.rpartition(":")[2] or 0)
        shapes = read_shapes(node.attr)
        return shapes[number] if number < len(shapes) else None

    def row_shapes(self, tensors: Iterable[str]) -> list[Shape]:
        """The shapes of the tensors that are not constant."""
        return [self.shape(tensor) for tensor in tensors if not self.is_constant(tensor)]

    def is_constant(self, tensor: str) -> bool:
        """Whether a tensor is the same for all requests: made of constants and variables only."""
        name = tensor.removeprefix("^").split(":")[0]
        node = self.nodes.get(name)
        if node is None:
            # What depends on rows has any number of them; see `passes_rows_on`.
            given = self._given.get(name, Given(0, None))
            return given.type == RESOURCE or (given.shape is not None and not has_rows_first(given.shape))
        if name not in self._constant:
            self._constant[name] = False  # a loop of nodes is none
            inputs = data_inputs(node)
            self._constant[name] = node.op in CONSTANTS or (bool(inputs) and all(map(self.is_constant, inputs)))
        return self._constant[name]

    def is_shape(self, tensor: str) -> bool:
        """Whether a tensor depends on nothing but shapes, e.g. the number of rows."""
        node = self.find(tensor)
        if node is None:
            return False
        if node.name not in self._shapes:
            self._shapes[node.name] = node.op in SHAPES
            inputs = data_inputs(node)
            if inputs and node.op not in SHAPES:
                given = [each for each in inputs if not self.is_constant(each)]
                self._shapes[node.name] = bool(given) and all(map(self.is_shape, given))
        return self._shapes[node.name]

    def values(self, tensor: str) -> list[int] | None:
        """The whole numbers of a constant; None for anything else."""
        node = self.find(tensor)
        while node is not None and node.op == "Identity":
            node = self.find(node.input[0])
        if node is None or node.op != "Const":
            return None
        array = decode_tensor(node.attr["value"].tensor, 2**20)
        return [int(value) for value in array.reshape(-1).tolist()] if array.dtype.kind in "iu" else None


def data_inputs(node: Any) -> list[str]:
    """The tensors that a node computes with."""
    return [name for name in node.input if not name.startswith("^")]
