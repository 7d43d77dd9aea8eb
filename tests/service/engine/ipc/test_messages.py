"""Messages between the front ends and the engine arrive as they were sent."""

import io
import struct

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from service.engine.ipc.messages import ANSWER, CALL, HEAD, decode, encode
from service.engine.signature import DTYPES

NUMBERS = sorted({np.dtype(kind) for kind, _ in DTYPES.values() if kind is not np.object_}, key=str)
SHAPES = arrays_of.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


@st.composite
def numbers(draw):
    """An array of any type, contiguous or not; its bytes may be anything."""
    dtype, shape = draw(st.sampled_from(NUMBERS)), draw(SHAPES)
    size = int(np.prod(shape)) * dtype.itemsize
    content = draw(st.binary(min_size=size, max_size=size))
    if dtype == np.bool_:
        content = bytes(byte & 1 for byte in content)
    array = np.frombuffer(bytearray(content), dtype).reshape(shape) if size else np.empty(shape, dtype)
    if draw(st.booleans()):
        return array.T
    return array[::2] if array.ndim and draw(st.booleans()) else array


@st.composite
def strings(draw):
    shape = draw(SHAPES)
    array = np.empty(shape, object)
    for index in np.ndindex(shape):
        array[index] = draw(st.binary(max_size=40))
    return array


def send(kind, document, arrays=None):
    """The message as one stream, decoded as the receiver does it."""
    stream = io.BytesIO(b"".join(bytes(memoryview(buffer).cast("B")) for buffer in encode(kind, document, arrays)))
    found, head, content, _ = HEAD.unpack(stream.read(HEAD.size))
    message = decode(found, memoryview(stream.read(head)), memoryview(stream.read(content)))
    assert not stream.read()
    return message


def assert_equal(received, sent):
    assert list(received) == list(sent)
    for name, array in sent.items():
        assert received[name].shape == array.shape
        assert received[name].dtype == array.dtype
        if array.dtype == object:
            assert received[name].tolist() == array.tolist()
        else:
            assert received[name].tobytes() == array.tobytes()


@given(st.dictionaries(st.text(max_size=10), numbers() | strings(), max_size=5))
def test_arrays_of_every_type_and_shape_come_back(arrays):
    message = send(CALL, ["m", 1], arrays)
    assert message.kind == CALL
    assert message.document == ["m", 1]
    assert_equal(message.arrays, arrays)


@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 0, 2), (2, 3)])
def test_every_type_has_its_scalars_and_empty_arrays(dtype, shape):
    array = np.zeros(shape, dtype)
    assert_equal(send(ANSWER, None, {"x": array}).arrays, {"x": array})


@pytest.mark.parametrize("shape", [(), (0,), (2, 0), (2, 2)])
def test_strings_may_hold_anything(shape):
    array = np.full(shape, b"\0a\xff\0", object)
    assert_equal(send(ANSWER, None, {"s": array}).arrays, {"s": array})


def test_text_is_sent_as_utf_8():
    assert send(ANSWER, None, {"s": np.array(["grün"], object)}).arrays["s"].tolist() == ["grün".encode()]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip


@given(JSON)
def test_documents_come_back(document):
    assert send(ANSWER, document).document == document


@given(st.floats(0, 1e9))
def test_deadlines_come_back_exactly(deadline):
    assert send(CALL, deadline).document == deadline


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_garbage_is_a_value_error_or_its_like(head, content):
    with pytest.raises((ValueError, TypeError)):
        decode(CALL, b"\xff" + head, content)


@pytest.mark.parametrize(
    "outline",
    [
        ["x", "<f4", [10**12], 0],
        ["x", "<f4", [4], 16],
        ["x", "|O", [10**12], 0],
        ["x", "|O8", [1], 8],
        ["x", "no", [1], 8],
    ],
)  # fmt: skip
def test_arrays_that_are_not_there_are_not_made(outline):
    with pytest.raises((ValueError, TypeError)):
        decode(CALL, orjson.dumps([None, [outline]]), b"12345678")


def test_the_head_of_a_message_has_twenty_four_bytes():
    assert HEAD.size == 24
    [head, document, *rest] = encode(ANSWER, None, {"x": np.zeros((2, 3), np.float32)}, 7)
    assert struct.unpack("<IIQQ", head) == (ANSWER, len(document), 24, 7)
    assert [len(buffer) for buffer in rest] == [24]
