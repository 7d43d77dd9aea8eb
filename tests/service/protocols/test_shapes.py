"""Shapes are TensorFlow's to judge, as in TensorFlow Serving, by its own first example and the real graph."""

import numpy as np
import pytest

from service.app import create_app
from service.engine.saved_model.loader import SavedModelLoader
from service.settings import Settings
from tests.service.fake_engine import fake_repository


@pytest.fixture(scope="module")
def half_plus_two(tmp_path_factory):
    import tensorflow as tf

    class HalfPlusTwo(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, name="x")])
        def predict(self, x):
            return {"y": x * 0.5 + 2.0}

        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])
        def product(self, x):
            return {"y": x @ tf.constant([[1.0], [10.0]])}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
        def join(self, text):
            return {"joined": tf.strings.reduce_join(text, separator="|", keepdims=True)}

    module = HalfPlusTwo()
    folder = tmp_path_factory.mktemp("models")
    signatures = {"serving_default": module.predict, "product": module.product, "join": module.join}
    tf.saved_model.save(module, str(folder / "half_plus_two" / "123"), signatures=signatures)
    return create_app(Settings(), fake_repository(folder, SavedModelLoader(threads=1))).test_client()


def predict(client, body):
    response = client.post("/v1/models/half_plus_two:predict", json=body)
    return response.status_code, response.get_json()


def infer(client, name, shape, data, signature="serving_default", datatype="FP32"):
    tensor = {"name": name, "shape": shape, "datatype": datatype, "data": data}
    body = {"inputs": [tensor], "parameters": {"signature_name": signature}}
    response = client.post("/v2/models/half_plus_two/infer", json=body)
    return response.status_code, response.get_json()


def test_the_first_example_of_tensorflow_serving(half_plus_two):
    assert predict(half_plus_two, {"instances": [1.0, 2.0, 5.0]}) == (200, {"predictions": [2.5, 3.0, 4.5]})


@pytest.mark.parametrize("repeats", [1, 100])
@pytest.mark.parametrize("rows", [[1.0, 2.0, 5.0], [[1.0], [2.0]], [[1.0, 2.0]], [[[1.0]], [[2.0]]], [[]]])
def test_the_shape_of_the_answer_is_that_of_the_lists(half_plus_two, rows, repeats):
    rows = rows * repeats  # the quick way for many, the strict one for few
    expected = (np.array(rows) * 0.5 + 2.0).tolist()
    assert predict(half_plus_two, {"instances": rows}) == (200, {"predictions": expected})
    assert predict(half_plus_two, {"instances": [{"x": row} for row in rows]}) == (200, {"predictions": expected})
    assert predict(half_plus_two, {"inputs": {"x": rows}}) == (200, {"outputs": expected})
    status, answer = infer(half_plus_two, "x", list(np.shape(rows)), rows)
    assert (status, answer["outputs"][0]["shape"]) == (200, list(np.shape(expected)))
    assert answer["outputs"][0]["data"] == np.ravel(expected).tolist()


def test_a_scalar_has_no_rows_to_answer_with(half_plus_two):
    assert predict(half_plus_two, {"inputs": 3.0}) == (200, {"outputs": 3.5})


def test_what_tensorflow_refuses_is_the_clients_mistake(half_plus_two):
    status, answer = predict(half_plus_two, {"signature_name": "product", "instances": [1.0, 2.0]})
    assert status == 400
    assert "The model refused the inputs" in answer["error"]
    status, answer = infer(half_plus_two, "x", [1, 3], [1, 2, 3], "product")
    assert status == 400
    assert "The model refused the inputs" in answer["error"]


def test_lists_of_different_lengths_stay_a_mistake(half_plus_two):
    status, answer = predict(half_plus_two, {"instances": [[1.0], [2.0, 3.0]]})
    assert (status, "Expecting tensor size: 1 but got: 2" in answer["error"]) == (400, True)
    status, answer = infer(half_plus_two, "x", [2, 1], [[1.0], [2.0, 3.0]])
    assert (status, "takes a list of 1 there" in answer["error"]) == (400, True)


def test_texts_of_another_shape_reach_the_model(half_plus_two):
    status, answer = infer(half_plus_two, "text", [2, 1], ["a", "b"], "join", "BYTES")
    assert (status, answer["outputs"][0]["data"]) == (200, ["a|b"])
