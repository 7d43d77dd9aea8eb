"""Whether the operations of a graph keep rows apart, as far as names, attributes and constants tell.

A probe cannot show what depends on values that it does not try. So a signature is only probed where every operation
that sees rows is one that cannot connect them along the first axis: element by element, or along other axes that are
constants of the graph. Whatever is not listed here, or not constant, may connect them.

Every value that depends on rows must have the rows along its first axis, and no other axis of theirs: the shapes that
the graph records (`_output_shapes`) must begin with an axis of any size, values that meet must have as many axes, and
the number of rows must not be a value that functions pass on.
"""

from collections.abc import Iterable, Mapping
from math import prod
from typing import Any

from service.engine.saved_model.scope import Scope, Shape, agree, data_inputs, has_rows_first, read_shapes

ELEMENTWISE = frozenset({
    "Abs", "Acos", "Add", "AddN", "AddV2", "AsString", "Asin", "Atan", "Atan2", "BiasAdd", "Bitcast", "Bucketize",
    "Cast", "Ceil", "CheckNumerics", "CheckNumericsV2",
    "ClipByValue", "Cos", "Cosh", "Div", "DivNoNan", "Elu", "Equal", "Erf", "Erfc", "Exp", "Expm1",
    "Floor", "FloorDiv", "FloorMod", "Greater", "GreaterEqual", "Identity", "IdentityN", "Inv", "IsFinite", "IsInf",
    "IsNan", "LeakyRelu", "Less", "LessEqual", "Log", "Log1p", "LogicalAnd", "LogicalNot", "LogicalOr",
    "LookupTableFind", "LookupTableFindV2", "Maximum", "Minimum", "Mod", "Mul", "MulNoNan", "Neg", "NotEqual",
    "OnesLike", "Pow", "PreventGradient", "RealDiv", "Reciprocal", "Relu", "Relu6", "Rint", "Round",
    "Rsqrt", "Select", "SelectV2", "Selu", "Sigmoid", "Sign", "Sin", "Sinh", "Snapshot", "Softplus", "Softsign",
    "Sqrt", "Square", "SquaredDifference", "StaticRegexReplace", "StopGradient", "StringLength", "StringLower",
    "StringStrip", "StringToHashBucket", "StringToHashBucketFast", "StringToHashBucketStrong", "StringToNumber",
    "StringUpper", "Sub", "Tan", "Tanh", "TruncateDiv", "Xdivy", "Xlog1py", "Xlogy", "ZerosLike",
})  # fmt: skip
# These see rows, and keep each in its place: along the last axis, or over windows within a row.
WITHIN_ROWS = frozenset({
    "AvgPool", "AvgPool3D", "LRN", "LogSoftmax", "MaxPool", "MaxPool3D", "MaxPoolV2", "ResizeArea", "ResizeBicubic",
    "ResizeBilinear", "ResizeNearestNeighbor", "Softmax",
})  # fmt: skip
# These give no value of rows.
SILENT = frozenset({"Assert", "NoOp", "PrintV2"})
REDUCTIONS = frozenset({"All", "Any", "ArgMax", "ArgMin", "EuclideanNorm", "Max", "Mean", "Min", "Prod", "Sum"})
CONVOLUTIONS = frozenset({"Conv2D", "Conv3D", "DepthwiseConv2dNative"})
CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})


def find_connection(scopes: Iterable[Scope], functions: Mapping[str, Any]) -> str:
    """The first operation that may connect rows, or ""."""
    by_name = {scope.name: scope for scope in scopes}
    for scope in by_name.values():
        for result in filter(scope.is_shape, scope.results):
            return str(scope.nodes[result.split(":")[0]].op)
        for node in scope.nodes.values():
            if scope.is_constant(node.name) or scope.is_shape(node.name):
                continue
            if node.op in functions or node.op in CALLS:
                name = node.op if node.op in functions else node.attr["f"].func.name
                keeps_apart = name in by_name and passes_rows_on(scope, node, by_name[name])
            else:
                keeps_apart = node.op in SILENT or keeps_rows_apart(scope, node)
            if not keeps_apart:
                return str(node.op)
    return ""


def passes_rows_on(scope: Scope, node: Any, function: Scope) -> bool:
    """Whether a call gives a function what that says of its arguments, and the caller what the caller says of results.

    So an argument that has no rows along its first axis is a constant in every call.
    """
    inputs, outputs = data_inputs(node), read_shapes(node.attr)
    if len(inputs) != len(function.arguments) or len(outputs) != len(function.results):
        return False
    return all(
        scope.is_constant(tensor) or (not scope.is_shape(tensor) and agree(scope.shape(tensor), argument.shape))
        for tensor, argument in zip(inputs, function.arguments, strict=True)
    ) and all(
        function.is_constant(tensor) or agree(function.shape(tensor), shape)
        for tensor, shape in zip(function.results, outputs, strict=True)
    )


def keeps_rows_apart(scope: Scope, node: Any) -> bool:
    """Whether a node whose inputs have rows along their first axis gives a row for each of them, and from it alone."""
    inputs, attributes, outputs = data_inputs(node), node.attr, read_shapes(node.attr)
    if not outputs or not has_rows_first(outputs[0]):
        return False
    if node.op == "Reshape":
        return keeps_row_count(scope, inputs)
    if any(map(scope.is_shape, inputs)):
        return False
    if node.op in ELEMENTWISE:
        return have_same_rank([*scope.row_shapes(inputs), *outputs])
    if node.op in WITHIN_ROWS:
        return all(has_rows_first(shape) and len(shape or ()) > 1 for shape in outputs)
    if node.op == "OneHot":
        return "axis" not in attributes or attributes["axis"].i != 0
    if node.op in REDUCTIONS or node.op == "ExpandDims":
        return are_within_rows(scope.values(inputs[1]), last=node.op == "ExpandDims")
    if node.op in ("ConcatV2", "Pack", "Unpack", "Split", "SplitV", "Squeeze"):
        return are_within_rows(axes_of(scope, node, inputs))
    if node.op == "Transpose":
        return (scope.values(inputs[1]) or [1])[0] == 0
    if node.op in ("Slice", "Pad", "PadV2", "MirrorPad", "StridedSlice"):
        return keeps_all_rows(scope, node, inputs)
    if node.op == "MatMul":
        return not attributes["transpose_a"].b and scope.is_constant(inputs[1])
    if node.op in CONVOLUTIONS:
        return scope.is_constant(inputs[1])
    if node.op.startswith("FusedBatchNorm"):
        # Where a graph leaves it out, it is on.
        return (
            "is_training" in attributes and not attributes["is_training"].b and all(map(scope.is_constant, inputs[1:]))
        )
    if node.op in ("Gather", "GatherV2", "ResourceGather"):
        along_first = node.op != "GatherV2" or scope.values(inputs[2]) == [0]
        return scope.is_constant(inputs[0]) and along_first and not attributes["batch_dims"].i
    return node.op == "Einsum" and keeps_letter(scope, attributes["equation"].s.decode(), inputs)


def have_same_rank(shapes: Iterable[Shape]) -> bool:
    """Whether all have as many axes, and rows along the first."""
    ranks = {len(shape) if shape is not None and has_rows_first(shape) else 0 for shape in shapes}
    return len(ranks) == 1 and 0 not in ranks


def are_within_rows(axes: list[int] | None, *, last: bool = False) -> bool:
    """Whether axes are known, and none can be the first; with `last`, one behind all others is none either."""
    return bool(axes) and all(axis > 0 or (last and axis == -1) for axis in axes or ())


def axes_of(scope: Scope, node: Any, inputs: list[str]) -> list[int] | None:
    """The axes along which an operation joins, cuts or drops."""
    if node.op in ("Pack", "Unpack"):
        return [node.attr["axis"].i]
    if node.op == "Squeeze":
        return list(node.attr["squeeze_dims"].list.i)
    return scope.values(inputs[{"ConcatV2": -1, "Split": 0, "SplitV": 2}[node.op]])


def keeps_row_count(scope: Scope, inputs: list[str]) -> bool:
    """Whether a value of a new shape has as many rows as before."""
    data, shape = inputs
    before, sizes = scope.shape(data), scope.values(shape)
    if sizes is not None:
        # As many rows only where each has as many values as before.
        return (
            before is not None
            and has_rows_first(before)
            and min(before[1:], default=1) > 0
            and sizes[:1] == [-1]
            and prod(sizes[1:]) == prod(before[1:])
        )
    node = scope.find(shape)
    if node is None or node.op != "Pack":
        return False
    first, *others = data_inputs(node)
    return is_row_count(scope, first) and all(
        (size := scope.values(other)) is not None and size[0] > 0 for other in others
    )


def is_row_count(scope: Scope, tensor: str) -> bool:
    """Whether a tensor is the first size of a shape."""
    node = scope.find(tensor)
    if node is None or node.op != "StridedSlice":
        return False
    source, begin, end, _ = data_inputs(node)
    shape = scope.find(source)
    return shape is not None and shape.op == "Shape" and (scope.values(begin), scope.values(end)) == ([0], [1])


def keeps_all_rows(scope: Scope, node: Any, inputs: list[str]) -> bool:
    """Whether cutting or padding leaves the first axis as it is."""
    if node.op == "Slice":
        begin, size = scope.values(inputs[1]), scope.values(inputs[2])
        return bool(begin and size and begin[0] == 0 and size[0] == -1)
    if node.op == "StridedSlice":
        masks = [node.attr[f"{name}_mask"].i & 1 for name in ("begin", "end", "new_axis", "shrink_axis", "ellipsis")]
        return masks == [1, 1, 0, 0, 0] and (scope.values(inputs[3]) or [0])[0] == 1
    return (scope.values(inputs[1]) or [1])[:2] == [0, 0]


def keeps_letter(scope: Scope, equation: str, inputs: list[str]) -> bool:
    """Whether the first axis of all operands with rows is the first of the result, once, and of no constant."""
    left, _, result = equation.partition("->")
    terms = left.split(",")
    with_rows = [term for term, tensor in zip(terms, inputs, strict=True) if not scope.is_constant(tensor)]
    others = [term for term, tensor in zip(terms, inputs, strict=True) if scope.is_constant(tensor)]
    letter = result[:1]
    return (
        letter.isalpha()
        and result.count(letter) == 1
        and all(term[:1] == letter and term.count(letter) == 1 for term in with_rows)
        and not any(letter in term for term in others)
    )
