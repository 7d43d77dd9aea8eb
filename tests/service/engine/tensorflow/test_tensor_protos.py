"""`TensorProto` to numpy and back, beside TensorFlow's own functions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from service.engine.tensorflow.protos import load_protos
from service.engine.tensorflow.tensor_protos import decode_tensor, encode_tensor
from service.errors import InvalidPayload

MEBIBYTE = 2**20
NUMBERS = ["c8", "c16", "f4", "f8", "f2", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?"]
numbers = st.sampled_from(NUMBERS).flatmap(lambda name: arrays_of.arrays(name, arrays_of.array_shapes(min_dims=0)))
strings = arrays_of.arrays(object, arrays_of.array_shapes(min_dims=0, min_side=0), elements=st.binary(max_size=300))
tensors = st.one_of(numbers, arrays_of.arrays("f4", st.just((0, 3))), strings)


@pytest.fixture(scope="module")
def tensorflow():
    return pytest.importorskip("tensorflow")


def message(**fields):
    shape = fields.pop("shape", ())
    proto = load_protos("tensorflow.core.framework.tensor_pb2").TensorProto(**fields)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


def number(name):
    return load_protos("tensorflow.core.framework.types_pb2").DataType.Value(name)


def encoded(array, *, typed=False):
    proto = message()
    encode_tensor(array, proto, typed=typed)
    return proto


def run(tensorflow, proto):
    """What TensorFlow's runtime makes of a message; it is stricter than `make_ndarray`."""
    value = tensorflow.io.parse_tensor(proto.SerializeToString(), proto.dtype).numpy()
    # numpy's own type of strings would drop zeros at the end.
    return np.array(value, object) if isinstance(value, bytes) else np.asarray(value)


def assert_same(actual, expected):
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    assert actual.tolist() == expected.tolist() or actual.tobytes() == expected.tobytes()


@given(tensors, st.booleans())
@settings(max_examples=150, deadline=None)
def test_arrays_come_back_as_they_went(array, typed):
    assert_same(decode_tensor(encoded(array, typed=typed), MEBIBYTE), array)


@given(tensors, st.booleans())
@settings(max_examples=150, deadline=None)
def test_tensorflow_reads_what_is_written(tensorflow, array, typed):
    proto = encoded(array, typed=typed)
    assert_same(np.asarray(tensorflow.make_ndarray(proto)), array)
    assert run(tensorflow, proto).tobytes() == array.tobytes() or run(tensorflow, proto).tolist() == array.tolist()


@given(tensors)
@settings(max_examples=150, deadline=None)
def test_what_tensorflow_writes_is_read(tensorflow, array):
    dtype = tensorflow.string if array.dtype == object else None
    proto = tensorflow.make_tensor_proto(array, dtype=dtype, shape=array.shape)
    assert_same(decode_tensor(proto, MEBIBYTE), tensorflow.make_ndarray(proto))


def varint(size):
    return bytes([size]) if size < 128 else bytes([size % 128 + 128]) + varint(size // 128)


@given(strings.filter(lambda array: array.size))
@settings(max_examples=50, deadline=None)
def test_strings_in_tensor_content_are_read_as_tensorflow_reads_them(tensorflow, array):
    flat = array.reshape(-1).tolist()
    content = b"".join(map(varint, map(len, flat))) + b"".join(flat)
    proto = message(dtype=number("DT_STRING"), shape=array.shape, tensor_content=content)
    assert_same(decode_tensor(proto, MEBIBYTE), array)
    assert run(tensorflow, proto).tolist() == array.tolist()


def test_bfloat16_is_its_two_bytes(tensorflow):
    values = tensorflow.constant([1.0, -2.5, 3e38], tensorflow.bfloat16)
    array = decode_tensor(tensorflow.make_tensor_proto(values), MEBIBYTE)
    assert array.dtype == np.dtype("V2")
    assert array.tobytes() == values.numpy().tobytes()
    for typed in (False, True):
        back = tensorflow.make_ndarray(encoded(array, typed=typed))
        assert back.dtype == tensorflow.bfloat16.as_numpy_dtype
        assert back.tobytes() == values.numpy().tobytes()


@pytest.mark.parametrize("name", ["DT_FLOAT", "DT_BFLOAT16", "DT_STRING", "DT_BOOL", "DT_UINT8"])
def test_too_few_values_are_filled_up_as_tensorflow_does(tensorflow, name):
    field, value = {
        "DT_FLOAT": ("float_val", 1.5), "DT_BFLOAT16": ("half_val", 16256), "DT_STRING": ("string_val", b"x"),
        "DT_BOOL": ("bool_val", True), "DT_UINT8": ("int_val", 200),
    }[name]  # fmt: skip
    for count in (0, 1, 2):
        proto = message(dtype=number(name), shape=(2, 2), **{field: [value] * count})
        expected = run(tensorflow, proto)
        array = decode_tensor(proto, MEBIBYTE)
        assert array.shape == (2, 2)
        assert array.tolist() == expected.tolist() or array.tobytes() == expected.tobytes()


def test_too_few_complex_numbers_are_filled_up_as_tensorflow_does(tensorflow):
    for values in ([], [1.5, -2]):
        proto = message(dtype=number("DT_COMPLEX64"), shape=(3,), scomplex_val=values)
        assert decode_tensor(proto, MEBIBYTE).tolist() == run(tensorflow, proto).tolist()


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"dtype": "DT_VARIANT"}, "type DT_VARIANT is not supported. Types: DT_FLOAT, "),
        ({"dtype": "DT_COMPLEX64", "shape": (1,), "scomplex_val": [1]}, "has 1 values; complex numbers have two each"),
        ({"dtype": "DT_INVALID"}, "type DT_INVALID is not supported"),
        ({"dtype": 777}, "type 777 is not supported"),
        ({"shape": (2, -1)}, "shape [2, -1] has a negative size"),
        ({"shape": (2,), "float_val": [1, 2, 3]}, "float_val has 3 values; the shape takes 2"),
        ({"shape": (2,), "tensor_content": b"1234567"}, "tensor_content has 7 bytes; the shape and type need 8"),
        ({"shape": (0,), "tensor_content": b"1234"}, "tensor_content has 4 bytes; the shape and type need 0"),
        ({"shape": (2**40, 2**40), "float_val": [1]}, f"shape {[2**40, 2**40]} is larger than the 1048576 bytes"),
        ({"shape": (2**20,), "float_val": [1]}, "is larger than the 1048576 bytes that are accepted"),
        ({"shape": (1,) * 100, "float_val": [1]}, "the shape has 100 axes; at most 64 are possible"),
        ({"shape": (0, 2**62, 2**62)}, "has more or larger axes than an array can have"),
        ({"dtype": "DT_UINT8", "shape": (1,), "int_val": [300]}, "int_val has 300, which is out of range for uint8"),
        ({"dtype": "DT_HALF", "shape": (1,), "half_val": [-1]}, "half_val has -1, which is out of range for uint16"),
        ({"dtype": "DT_STRING", "shape": (2,), "tensor_content": b"\1\1a"}, "has 3 bytes; its strings need 4"),
        ({"dtype": "DT_STRING", "shape": (3,), "tensor_content": b"\1a"}, "has 2 bytes, which is too few for 3"),
        (
            {"dtype": "DT_STRING", "shape": (2,), "tensor_content": b"\xff" * 40},
            "within a number such as the length of a string",
        ),
        (
            {"dtype": "DT_STRING", "shape": (1,), "tensor_content": b"\xff"},
            "within a number such as the length of a string",
        ),
    ],
)
def test_impossible_tensors_are_refused(fields, sentence):
    dtype = fields.pop("dtype", "DT_FLOAT")
    with pytest.raises(InvalidPayload) as refused:
        decode_tensor(message(dtype=dtype if isinstance(dtype, int) else number(dtype), **fields), MEBIBYTE)
    assert sentence in str(refused.value)


def test_an_unknown_rank_is_refused():
    proto = message(dtype=number("DT_FLOAT"))
    proto.tensor_shape.unknown_rank = True
    with pytest.raises(InvalidPayload, match="unknown rank"):
        decode_tensor(proto, MEBIBYTE)


def test_bytes_of_bools_become_true_or_false():
    array = decode_tensor(message(dtype=number("DT_BOOL"), shape=(3,), tensor_content=b"\0\1\7"), MEBIBYTE)
    assert array.tolist() == [False, True, True]
