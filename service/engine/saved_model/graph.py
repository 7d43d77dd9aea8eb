"""The part of a graph that a signature runs, and what it says of state, randomness and control flow."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from service.engine.saved_model.row_operations import find_connection
from service.engine.saved_model.scope import Given, Scope, Shape, agree, read_shapes
from service.engine.tensorflow.library import has_kernel, read_operations

# Operations that TensorFlow calls stateful, or that take a resource, and that change nothing an answer depends on.
HARMLESS = frozenset({
    "VarHandleOp", "ReadVariableOp", "VariableV2", "Variable", "VarIsInitializedOp", "IsVariableInitialized",
    "VariableShape", "ResourceGather", "ResourceGatherNd", "HashTable", "HashTableV2", "MutableHashTable",
    "MutableHashTableV2", "MutableHashTableOfTensorsV2", "MutableDenseHashTableV2", "LookupTableFind",
    "LookupTableFindV2", "LookupTableSize", "LookupTableSizeV2", "PartitionedCall", "StatefulPartitionedCall",
    "If", "While", "Case", "Assert", "CheckNumerics", "CheckNumericsV2", "Print", "PrintV2", "GuaranteeConst",
    "XlaCallModule", "RefIdentity", "RefEnter", "RefExit", "RefMerge", "RefNextIteration", "RefSelect",
    "RefSwitch", "TensorArrayV3", "TensorArrayReadV3", "TensorArrayWriteV3", "TensorArrayGatherV3",
    "TensorArrayScatterV3", "TensorArraySizeV3", "TensorArraySplitV3", "TensorArrayConcatV3",
    "TensorArrayCloseV3", "_Arg", "_Retval",
})  # fmt: skip
BRANCHES = frozenset({"If", "StatelessIf", "Case", "StatelessCase"})
LOOPS = frozenset({"While", "StatelessWhile"})
# Control flow of TensorFlow 1: branches and loops are made of the same operations.
SWITCHES = frozenset({"Switch", "RefSwitch"})
# What a branch consists of that only refuses inputs, and what the condition of a loop that only counts has beside.
CHECKS = frozenset({"Assert", "Const", "Identity", "NoOp", "Placeholder", "_Arg", "_Retval"})
COMPARISONS = frozenset({"Less", "LessEqual", "Greater", "GreaterEqual"})
# How many rows these give depends on the values in all of them.
SELECTIONS = frozenset({
    "Where", "Unique", "UniqueV2", "UniqueWithCounts", "UniqueWithCountsV2", "ListDiff", "DynamicPartition",
    "NonMaxSuppression", "NonMaxSuppressionV2", "NonMaxSuppressionV3", "NonMaxSuppressionV4",
    "NonMaxSuppressionV5", "NonMaxSuppressionWithOverlaps",
})  # fmt: skip
# TensorFlow replaces these before it looks for kernels.
REPLACED = frozenset({"AccumulateNV2"})
PYTHON = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc"})
# Numbers in `DataType`.
RESOURCE, BOOL, INTEGERS = 20, 10, (3, 9)


class Graph:
    """The nodes and functions of a `MetaGraphDef`.

    Args:
        definition: the `MetaGraphDef`.
    """

    def __init__(self, definition: Any) -> None:
        graph = definition.graph_def
        self._nodes = {node.name: node for node in graph.node}
        self.functions = {function.signature.name: function for function in graph.library.function}

    def reach(self, tensors: Iterable[str], feeds: Iterable[str] = ()) -> list[Any]:
        """The nodes that are needed to compute tensors, those within functions included.

        Args:
            tensors: names such as `dense:0`.
            feeds: the tensors that are given.
        """
        found: dict[str, Any] = {}
        given = {normalize(tensor) for tensor in feeds}
        waiting = [normalize(tensor) for tensor in tensors]
        while waiting:
            tensor = waiting.pop()
            node = self._nodes.get(tensor.removeprefix("^").rpartition(":")[0])
            if tensor not in given and node is not None and node.name not in found:
                found[node.name] = node
                waiting += map(normalize, node.input)
        return [*found.values(), *self._within(found.values())]

    def _within(self, nodes: Iterable[Any]) -> Iterator[Any]:
        """The nodes of all functions that nodes call, directly or not."""
        for function in self._functions_within(nodes):
            yield from function.node_def

    def _functions_within(self, nodes: Iterable[Any]) -> Iterator[Any]:
        """The functions that nodes call, directly or not."""
        seen: set[str] = set()
        waiting = [name for node in nodes for name in self.called(node)]
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                yield self.functions[name]
                waiting += [each for node in self.functions[name].node_def for each in self.called(node)]

    def scopes(self, nodes: Sequence[Any], feeds: Mapping[str, Shape]) -> Iterator[Scope]:
        """The graph itself and each function, as far as `reach` has found their nodes.

        Args:
            nodes: those.
            feeds: shapes of the tensors that are given, by name.
        """
        top: list[Any] = [node for node in nodes if self._nodes.get(node.name) is node]
        given = {}
        for tensor, shape in feeds.items():
            name, _, index = normalize(tensor).partition(":")
            recorded = next(iter(read_shapes(self._nodes[name].attr)), None) if index == "0" else None
            given[name] = Given(0, recorded if agree(shape, recorded) else None)
        yield Scope(top, given)
        for function in self._functions_within(top):
            given = {
                argument.name: Given(argument.type, argument_shape(function, place))
                for place, argument in enumerate(function.signature.input_arg)
            }
            results = [function.ret[result.name] for result in function.signature.output_arg]
            yield Scope(function.node_def, given, results, function.signature.name)

    def called(self, node: Any) -> list[str]:
        """The functions of the graph's library that a node calls."""
        names = [node.op]
        for value in node.attr.values():
            kind = value.WhichOneof("value")
            if kind == "func":
                names.append(value.func.name)
            elif kind == "list":
                names += [function.name for function in value.list.func]
        return [name for name in names if name in self.functions]

    def only_checks(self, function: str) -> bool:
        """Whether a branch does nothing but refuse inputs."""
        return all(node.op in CHECKS for node in self.functions[function].node_def)

    def only_counts(self, function: str) -> bool:
        """Whether the condition of a loop compares whole numbers, and nothing else decides."""
        nodes = self.functions[function].node_def
        comparisons = [node for node in nodes if node.op in COMPARISONS]
        allowed = CHECKS | COMPARISONS | {"LogicalAnd"}
        flags = {argument.name for argument in self.functions[function].signature.input_arg if argument.type == BOOL}
        return (
            bool(comparisons)
            and all(node.attr["T"].type in INTEGERS for node in comparisons)
            and all(node.op in allowed and flags.isdisjoint(node.input) for node in nodes)
        )

    def describe_unrunnable(self, nodes: Iterable[Any]) -> str:
        """Which operations this server cannot run, in a sentence; "" where it can run all."""
        used = {node.op for node in nodes}.difference(self.functions, REPLACED)
        known = read_operations()
        missing = sorted(name for name in used if name in PYTHON or name not in known or not has_kernel(name))
        if not missing:
            return ""
        hint = (
            "Python functions do not travel with a SavedModel; express them in TensorFlow"
            if PYTHON.intersection(missing)
            else "Libraries of custom operations are named by KILN_OP_LIBRARIES"
        )
        return f"Its signatures need operations that cannot run here: {', '.join(missing)}. {hint}"

    def find_state(self, nodes: Iterable[Any]) -> str:
        """An operation that changes what later answers depend on, or that is not known to leave it alone; or ""."""
        known = read_operations()
        used: set[str] = {node.op for node in nodes}
        for name in sorted(used.difference(self.functions, HARMLESS)):
            operation = known.get(name)
            if operation is None or operation.is_stateful or takes_state(operation):
                return name
        return ""

    def describe_dependence(self, nodes: Sequence[Any], feeds: Mapping[str, Shape]) -> str:
        """Why rows may depend on one another, as far as the operations tell, in a sentence; or "".

        Args:
            nodes: what `reach` has found.
            feeds: shapes of the signature's inputs, by the names of their tensors.
        """
        if state := self.find_state(nodes):
            return f"its graph keeps or changes state ({state})"
        for node in nodes:
            if node.op.startswith("Stateless") and node.op not in BRANCHES | LOOPS:
                return f"its graph draws random numbers ({node.op})"
            if node.op in SELECTIONS:
                return f"how many rows its graph works on depends on their values ({node.op})"
            if self._branches(node):
                return f"what its graph does depends on values ({node.op})"
        connection = find_connection(self.scopes(nodes, feeds), self.functions)
        return f"its graph has operations that may connect rows ({connection})" if connection else ""

    def _branches(self, node: Any) -> bool:
        if node.op in BRANCHES:
            return not all(map(self.only_checks, self.called(node)))
        if node.op in LOOPS:
            return not self.only_counts(node.attr["cond"].func.name)
        return node.op in SWITCHES


def argument_shape(function: Any, place: int) -> Shape:
    """The shape that a function records of an argument."""
    shapes = read_shapes(function.arg_attr[place].attr) if place in function.arg_attr else []
    return shapes[0] if shapes else None


def normalize(tensor: str) -> str:
    """`name:index` for what a node or a signature may write as `name`; `^name:0` for a node to run before."""
    return tensor if ":" in tensor else f"{tensor}:0"


def takes_state(operation: Any) -> bool:
    """Whether an operation takes a variable or a resource."""
    return any(argument.is_ref or argument.type == RESOURCE for argument in operation.input_arg)
