"""The quick way from JSON to arrays against the strict one: the same array bit for bit, or the same error sentence."""

import json
import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service.codecs.json import numbers as json_numbers
from service.codecs.json.document import parse_document
from service.codecs.json.numbers import LARGEST_BODY_FOR_REUSE, LEAST_WORTHWHILE_BYTES, MOST_IDLE, open_numbers
from service.codecs.json.requests import PredictRequest, decode_document, read_signature_name
from service.engine.signature import Signature, TensorSpec
from service.errors import ServiceError

# Long enough for the quick way; spaces in front change nothing but the offsets in sentences.
PADDING = b" " * LEAST_WORTHWHILE_BYTES
MOST_BYTES = 2**20


def one(dtype, shape):
    return Signature({"x": TensorSpec("x", dtype, shape)}, {})


def two(left, right, *, defaults=""):
    specs = {"x": TensorSpec("x", *left), "y": TensorSpec("y", *right)}
    return Signature({name: replace(spec, has_default=name in defaults) for name, spec in specs.items()}, {})


SIGNATURES = [
    one("DT_FLOAT", (-1, 2, 3)),
    one("DT_FLOAT", (-1, -1)),
    one("DT_FLOAT", (-1,)),
    one("DT_FLOAT", (2, 2)),
    one("DT_DOUBLE", None),
    one("DT_FLOAT", None),
    one("DT_INT64", None),
    one("DT_UINT64", None),
    one("DT_INT32", (-1, 2)),
    one("DT_UINT8", (-1, 2, 2)),
    one("DT_BOOL", None),
    one("DT_STRING", None),
    one("DT_HALF", None),
    two(("DT_FLOAT", (-1, 2)), ("DT_INT64", (-1, 3))),
    two(("DT_FLOAT", None), ("DT_DOUBLE", (-1, 2))),
    two(("DT_FLOAT", (-1,)), ("DT_FLOAT", (-1,))),
    two(("DT_FLOAT", (-1, 2)), ("DT_INT64", (-1,))),
    Signature({"b64": TensorSpec("b64", "DT_FLOAT", None)}, {}),
    Signature({}, {}),
    two(("DT_FLOAT", (-1, 2)), ("DT_INT64", (-1,)), defaults="y"),
    two(("DT_FLOAT", None), ("DT_FLOAT", ()), defaults="x"),
    two(("DT_FLOAT", (-1,)), ("DT_FLOAT", (-1, 2)), defaults="xy"),
]
CORNERS = [
    "0", "-0", "-0.0", "0e5", "1e5", "1E-3", "1.0", "2.5e+3", "1e-400", "-1e-400", "5e-324", "1e23", "0.1", "256", "-1",
    "3.4028235e38", "3.4028235677973366e+38", "3.4028236e38", "1e39", "1e308", "1.7976931348623157e308", "1e400",
    "1e999999999999999999999", "9007199254740993", "9223372036854775807", "9223372036854775808", "18446744073709551615",
    "-9223372036854775808", "-9223372036854775809", "18446744073709551616", "123456789012345678901234567890",
    "0.30000000000000004", "1.00000005960464477539062500000000000001", "4294967296",
]  # fmt: skip
NUMBERS = st.one_of(
    st.integers(-3, 300).map(str),
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(width=32, allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(CORNERS),
)
FLOATS = st.floats(-1e30, 1e30).map(repr)
INTEGERS = st.integers(0, 255).map(str)
STRANGERS = st.sampled_from(
    ["true", "false", "null", '"6"', "{}", '{"b64": "YQ=="}', "[]", "[[]]", "NaN", "-Infinity", "01", "1.", "+1", ".5",
     '{"x": 1}', "[1]", "[[1, 2]]", '"["', ""]
)  # fmt: skip
SPACES = st.sampled_from(["", " ", "\n", "\t ", "\r\n"])


@st.composite
def tensors(draw, leaves=NUMBERS):
    """Nested lists as trees of strings: mostly regular, sometimes with mistakes in them."""
    shape = draw(st.one_of(st.sampled_from([(1, 2, 3), (2, 2, 3), (2, 2), (1, 2, 2), (3,), ()]),
                           st.lists(st.integers(0, 3), max_size=4)))  # fmt: skip
    pool = draw(st.lists(draw(st.sampled_from([leaves, FLOATS, INTEGERS, INTEGERS])), min_size=1, max_size=6))

    def build(sizes):
        if not sizes:
            return draw(st.sampled_from(pool))
        return [build(sizes[1:]) for _ in range(sizes[0])]

    tree = build(shape)
    for _ in range(draw(st.sampled_from([0, 0, 0, 0, 0, 1, 1, 2]))):
        damage(draw, tree, leaves)
    return tree


def damage(draw, tree, leaves):
    """Changes some list of the tree so that totals may stay and places do not."""
    while isinstance(tree, list) and tree:
        index = draw(st.integers(0, len(tree) - 1))
        if not isinstance(tree[index], list) or draw(st.booleans()):
            break
        tree = tree[index]
    if not isinstance(tree, list) or not tree:
        return
    change = draw(st.sampled_from(["drop", "add", "nest", "flatten", "stranger", "move"]))
    if change == "drop":
        del tree[index]
    elif change == "add":
        tree.insert(index, draw(leaves))
    elif change == "nest":
        tree[index] = [tree[index]]
    elif change == "flatten" and isinstance(tree[index], list):
        tree[index : index + 1] = tree[index]
    elif change == "stranger":
        tree[index] = draw(STRANGERS)
    elif change == "move" and isinstance(tree[index], list) and isinstance(tree[index - 1], list) and tree[index]:
        tree[index - 1].append(tree[index].pop())


def render(draw, tree):
    """A tree as JSON text, with spaces here and there."""
    if isinstance(tree, list):
        gap = draw(SPACES)
        return f"{gap}[{gap}{f',{gap}'.join(render(draw, item) for item in tree)}]{gap}"
    if isinstance(tree, dict):
        return "{" + ", ".join(f'"{key}": {render(draw, item)}' for key, item in tree.items()) + "}"
    return tree


@st.composite
def bodies(draw):
    """Bodies of every form: bare, by rows, by columns, with keys missing, doubled or superfluous."""
    form = draw(st.sampled_from(["bare", "bare", "rows", "columns"]))
    names = draw(st.sampled_from([("x",), ("x",), ("x", "y"), ("y", "x"), ("x", "y", "z"), ("b64",), ("x", "x")]))
    if form == "bare":
        tree = draw(tensors())
    elif form == "columns":
        tree = dict.fromkeys(names)
        tree = {name: draw(tensors()) for name in tree}
    else:
        row = {name: draw(tensors()) for name in names}
        other = {name: draw(tensors()) for name in names}
        tree = draw(st.sampled_from([[row], [row, row], [row, other], [row, row, draw(tensors())]]))
    key = draw(st.sampled_from(["instances", "instances", "inputs"]))
    entries = [f'"{key}": {render(draw, tree)}']
    extras = [] if draw(st.integers(0, 2)) else draw(st.lists(st.sampled_from([
        '"signature_name": "serving_default"', '"signature_name": "other,[["', '"signature_name": 3',
        '"signature_name": ""', '"note": true', '"note": [1]', '"inputs": [1]', '"inst\\u0061nces": [[1, 2]]',
    ]), max_size=2))  # fmt: skip
    entries = draw(st.permutations([*entries, *extras]))
    tail = draw(st.sampled_from([""] * 12 + [" ", "x", "]", ",", "\x00"]))
    return ("{" + ", ".join(entries) + "}" + tail).encode()


def outcome(read, body, signature):
    """The name, arrays and form that come of a body, or the error."""
    try:
        name, (arrays, by_rows) = read(body, signature)
    except ServiceError as error:
        return type(error), str(error)
    seen = {key: (array.dtype.str, array.shape, array_bytes(array)) for key, array in arrays.items()}
    return name, by_rows, seen


def array_bytes(array):
    return array.tolist() if array.dtype == object else array.tobytes()


def read_quick(body, signature):
    request = PredictRequest(body, MOST_BYTES)
    return request.signature_name, request.decode(signature)


def read_strict(body, signature):
    document = parse_document(body)
    return read_signature_name(document), decode_document(document, signature)


@settings(max_examples=1000, deadline=None)
@given(bodies(), st.sampled_from(SIGNATURES + 8 * [one("DT_FLOAT", None), one("DT_INT64", None)]))
@example(b'{"inputs": [[1, 2], [3], [4, 5, 6]]}', SIGNATURES[1])
@example(b'{"inputs": [[1, [2, 3]], [4]]}', SIGNATURES[4])
@example(b'{"inputs": [[[1, 2], [3, 4]], [[5, 6, 7], [8]]]}', SIGNATURES[4])
@example(b'{"inputs": [[[1, 2]], [[3, 4], [5, 6], [7, 8]]]}', SIGNATURES[4])
@example(b'{"inputs": [[1, []], [2, [3, 4]]]}', SIGNATURES[4])
@example(b'{"inputs": [{"x": [1]}]}', SIGNATURES[4])
@example(b'{"instances": {"x": [1]}}', SIGNATURES[4])
@example(b'{"inputs": {"b64": [1]}}', SIGNATURES[17])
@example(b'{"inputs": [1], "inputs": [2]}', SIGNATURES[4])
@example(b'{"inputs": {"x": [1], "x": [2]}}', SIGNATURES[4])
@example(b'{"inputs": {"x": [1], "x": 2}}', SIGNATURES[4])
@example(b'{"instances": [{"x": [1], "x": 2}]}', SIGNATURES[4])
@example(b'{"instances": [{"x": [1], "z": 2}]}', SIGNATURES[4])
@example(b'{"instances": [{"x": [1, 2]}, {"x": [[1, 2]]}]}', SIGNATURES[4])
@example(b'{"inputs": {"x": [1, 2], "y": "[[", "x": 3}}', SIGNATURES[4])
@example(b'{"signature_name": 1, "inputs": [1], "signature_name": "a"}', SIGNATURES[4])
@example(b'{"inputs": [1], "note": [1]}', SIGNATURES[4])
@example(b'{"inputs": [1], "instances": [2]}', SIGNATURES[4])
@example(b'["inputs"]', SIGNATURES[4])
@example(b'{"inputs": [16777217.000000001, 9007199254740993, 1.1754943508222875e-38]}', SIGNATURES[5])
@example(b'{"inputs": [-0, -0.0, 0]}', SIGNATURES[5])
@example(b'{"instances": [1, 2]}', SIGNATURES[0])
@example(b'{"instances": [[]]}', SIGNATURES[0])
@example(b'{"instances": [{"x": [1]}, {"x": [2]}]}', SIGNATURES[19])
@example(b'{"instances": [{"x": [1]}, {"x": [2], "y": [3]}]}', SIGNATURES[19])
@example(b'{"instances": [{"y": [1]}, {"y": [2]}]}', SIGNATURES[19])
@example(b'{"inputs": {"y": [[1, 2]], "z": 3}}', SIGNATURES[20])
@example(b'{"inputs": [[1, 2]]}', SIGNATURES[20])
@example(b'{"instances": [{}, {}]}', SIGNATURES[21])
@example(b'{"inputs": {}}', SIGNATURES[21])
def test_the_quick_way_and_the_strict_way_agree(body, signature):
    for padded in (4 * PADDING + body, body):
        assert outcome(read_quick, padded, signature) == outcome(read_strict, padded, signature)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=30), st.sampled_from(SIGNATURES))
@example(b"\xef\xbb\xbf", SIGNATURES[0])
def test_both_ways_agree_on_any_bytes_within_a_body(noise, signature):
    body = b'{"instances": [[[1, 2, 3], [4, 5, 6]]]' + PADDING + b"}"
    for place in (0, 1, 15, 17, 20, len(body) - 1, len(body)):
        changed = body[:place] + noise + body[place:]
        assert outcome(read_quick, changed, signature) == outcome(read_strict, changed, signature)


QUICK = {
    "rows of whole numbers": ({"instances": [[1, 2], [3, 4]]}, one("DT_FLOAT", (-1, 2)), [[1, 2], [3, 4]]),
    "whole and broken numbers": ({"instances": [[1, 2.5], [3, -4]]}, one("DT_FLOAT", (-1, 2)), [[1, 2.5], [3, -4]]),
    "integers": ({"inputs": [[1, 255]]}, one("DT_UINT8", (-1, 2)), [[1, 255]]),
    "the largest integer": ({"inputs": [2**64 - 1]}, one("DT_UINT64", (-1,)), [2**64 - 1]),
    "with a signature": ({"signature_name": "a", "inputs": [1]}, one("DT_INT32", (-1,)), [1]),
    "with a signature behind": ({"inputs": [1], "signature_name": "a"}, one("DT_INT32", (-1,)), [1]),
    "rows as objects": ({"instances": [{"x": [1, 2]}, {"x": [3, 4]}]}, one("DT_FLOAT", (-1, 2)), [[1, 2], [3, 4]]),
    "with other keys": ({"note": {"true": True}, "inputs": [1], "id": "x"}, one("DT_INT32", (-1,)), [1]),
    "columns with other names": ({"inputs": {"y": 1, "x": [1.5]}}, one("DT_DOUBLE", None), [1.5]),
    "columns": ({"inputs": {"x": [[[1.5]]]}}, one("DT_DOUBLE", None), [[[1.5]]]),
}


@pytest.mark.parametrize(("body", "signature", "expected"), QUICK.values(), ids=QUICK)
def test_bodies_of_numbers_take_the_quick_way(body, signature, expected):
    arrays = open_numbers(2 * PADDING + json.dumps(body).encode(), MOST_BYTES).decode(signature)
    [spec] = signature.inputs.values()
    assert arrays["x"].dtype == spec.numpy_dtype
    np.testing.assert_array_equal(arrays["x"], expected)


def test_threads_that_parse_at_once_get_their_own_numbers():
    def work(number, failures):
        body = PADDING + json.dumps({"inputs": [[number] * 50] * 20}).encode()
        for _ in range(50):
            arrays, _ = PredictRequest(body, MOST_BYTES).decode(one("DT_FLOAT", None))
            if not (arrays["x"] == number).all():
                failures.append(number)

    failures = []
    threads = [threading.Thread(target=work, args=(number, failures)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_few_parsers_are_kept_and_none_of_a_large_body():
    json_numbers.idle.clear()
    bodies = [PADDING + b'{"inputs": [1]}'] * (2 * MOST_IDLE)
    requests = [PredictRequest(body, MOST_BYTES) for body in bodies]
    for request in requests:
        assert request.decode(one("DT_FLOAT", (-1,)))[0]["x"].tolist() == [1.0]
    assert len(json_numbers.idle) == MOST_IDLE
    json_numbers.idle.clear()
    large = b'{"inputs": [1' + b" " * LARGEST_BODY_FOR_REUSE + b"]}"
    assert PredictRequest(large, MOST_BYTES).decode(one("DT_FLOAT", (-1,)))[0]["x"].tolist() == [1.0]
    assert json_numbers.idle == []
