"""The real engine on SavedModels that Kiln's pipeline did not make."""

import base64
import json
import shutil

import numpy as np
import pytest

from service.app import create_app
from service.engine.model import InvalidInput
from service.engine.resources import count_cpus
from service.engine.saved_model.loaded_model import clean
from service.engine.saved_model.loader import SavedModelLoader
from service.settings import Settings
from tests.service.fake_engine import fake_repository


def save_foreign(tensorflow, folder):
    """Several inputs and outputs, strings, a scalar, images, and a name that is no Python identifier."""
    tf = tensorflow

    class Foreign(tf.Module):
        @tf.function(
            input_signature=[
                tf.TensorSpec([None, 3], tf.float32, name="x"),
                tf.TensorSpec([None], tf.string, name="text"),
                tf.TensorSpec([], tf.int32, name="times"),
            ]
        )
        def several(self, x, text, times):
            scaled = x * tf.cast(times, tf.float32)
            joined = tf.strings.join([text, tf.strings.as_string(times)])
            return {"scaled": scaled, "joined": joined, "raw_bytes": text, "count": times}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image/encoded")])
        def decode(self, encoded):
            pixels = tf.map_fn(
                lambda item: tf.io.decode_image(item, channels=1, expand_animations=False)[0, 0, 0],
                encoded,
                fn_output_signature=tf.uint8,
            )
            return {"pixel": pixels}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="data")])
        def quote(self, data):
            return {"end": tf.strings.substr(data, 16, 8)}

        @tf.function(input_signature=[tf.TensorSpec(None, tf.float64, name="v")])
        def any_rank(self, v):
            return {"v": v * 2}

    module = Foreign()
    signatures = {
        "serving_default": module.several,
        "decode": module.decode,
        "any_rank": module.any_rank,
        "quote": module.quote,
    }
    tf.saved_model.save(module, str(folder), signatures=signatures)


def save_version_1(tensorflow, folder):
    """A SavedModel as TensorFlow 1 writes it: a graph and a session."""
    v1 = tensorflow.compat.v1
    with v1.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tensorflow.float32, [None, 2], name="x")
        weights = v1.get_variable("weights", initializer=[[1.0], [10.0]], use_resource=False)
        signature = v1.saved_model.signature_def_utils.predict_signature_def({"x": x}, {"y": x @ weights})
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
        builder.save()


def write_warmup(tensorflow, folder, rows):
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    request = predict_pb2.PredictRequest()
    request.inputs["v"].CopyFrom(tensorflow.make_tensor_proto(np.array(rows)))
    request.model_spec.signature_name = "any_rank" if rows else "decode"
    log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
    (folder / "assets.extra").mkdir(exist_ok=True)
    with tensorflow.io.TFRecordWriter(str(folder / "assets.extra" / "tf_serving_warmup_requests")) as writer:
        writer.write(log.SerializeToString())


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    import tensorflow

    folder = tmp_path_factory.mktemp("saved")
    save_foreign(tensorflow, folder / "foreign" / "1")
    save_version_1(tensorflow, folder / "old" / "5")
    write_warmup(tensorflow, folder / "foreign" / "1", [[1.0]])
    return folder


@pytest.fixture(scope="module")
def real_repository(saved):
    repository = fake_repository(saved, SavedModelLoader(threads=1))
    assert repository.pending() == {}
    return repository


@pytest.fixture
def real_client(real_repository):
    return create_app(Settings(), real_repository).test_client()


@pytest.fixture(scope="module")
def png():
    """A picture of one pixel of grey level 7."""
    import tensorflow

    return tensorflow.io.encode_png(np.full((1, 1, 1), 7, np.uint8)).numpy()


def predict(client, path, body):
    response = client.post(path, json=body)
    return response.status_code, response.get_json()


def test_several_inputs_and_outputs_with_strings(real_client):
    body = {"inputs": {"x": [[1, 2, 3]], "text": ["é"], "times": 2}}
    status, answer = predict(real_client, "/v1/models/foreign:predict", body)
    assert (status, answer) == (
        200,
        {"outputs": {"count": 2, "joined": ["é2"], "raw_bytes": [{"b64": "w6k="}], "scaled": [[2.0, 4.0, 6.0]]}},
    )


def test_a_scalar_input_that_is_sent_in_rows_is_a_list_of_them(real_client):
    body = {"instances": [{"x": [1, 2, 3], "text": "a", "times": 2}]}
    status, answer = predict(real_client, "/v1/models/foreign:predict", body)
    assert (status, answer["predictions"][0]["scaled"]) == (200, [2.0, 4.0, 6.0])


def test_images_as_base64(real_client, png):
    body = {"signature_name": "decode", "instances": [{"b64": base64.b64encode(png).decode()}]}
    assert predict(real_client, "/v1/models/foreign:predict", body) == (200, {"predictions": [7]})


@pytest.mark.parametrize("content", [b"no image", b"", b"\x89PNG\r\n\x1a\n"])
def test_bytes_that_are_no_image_are_the_clients_fault(real_client, content):
    body = {"signature_name": "decode", "instances": [{"b64": base64.b64encode(content).decode()}]}
    status, answer = predict(real_client, "/v1/models/foreign:predict", body)
    assert status == 400
    assert answer["error"].startswith("The model refused the inputs: ")
    assert "node" not in answer["error"]
    assert "\n" not in answer["error"]


def test_a_refusal_that_quotes_bytes_of_the_input_is_the_clients_fault(real_client):
    body = {"signature_name": "quote", "instances": [{"b64": base64.b64encode(b"\x89PNG").decode()}]}
    status, answer = predict(real_client, "/v1/models/foreign:predict", body)
    assert status == 400
    assert answer["error"].startswith("The model refused the inputs: ")


def test_a_model_of_tensorflow_1(real_client):
    body = {"instances": [[1, 2], [3, 4]]}
    assert predict(real_client, "/v1/models/old/versions/5:predict", body) == (200, {"predictions": [[21.0], [43.0]]})


def test_a_refusal_of_a_shape_names_the_signatures(real_repository):
    with pytest.raises(InvalidInput, match=r"\(input 'x' has shape \[3\], and the signature states \[-1, 2\]\)$"):
        real_repository.find("old").call("serving_default", {"x": np.zeros(3, np.float32)})


def test_metadata_of_a_foreign_model(real_client):
    body = real_client.get("/v1/models/foreign/metadata").get_json()
    signatures = body["metadata"]["signature_def"]["signature_def"]
    assert set(signatures) == {"serving_default", "decode", "any_rank", "quote"}
    assert list(signatures["serving_default"]["inputs"]) == ["text", "times", "x"]
    assert signatures["decode"]["inputs"]["image/encoded"]["dtype"] == "DT_STRING"
    assert signatures["any_rank"]["inputs"]["v"]["tensor_shape"]["unknown_rank"] is True


def test_outputs_are_the_graphs_float32_numbers(real_repository, real_client):
    rows = np.random.default_rng(1).normal(size=(20, 3)).astype(np.float32)
    inputs = {"x": rows, "text": np.full(20, b"a", object), "times": np.array(3, np.int32)}
    expected = real_repository.find("foreign").call("serving_default", inputs)["scaled"]
    body = {"inputs": {"x": rows.astype(float).tolist(), "text": ["a"] * 20, "times": 3}}
    _, answer = predict(real_client, "/v1/models/foreign:predict", body)
    np.testing.assert_array_equal(np.array(answer["outputs"]["scaled"], np.float32), expected)


def test_a_version_that_refuses_its_own_warm_up_is_not_served(saved, tmp_path):
    import tensorflow

    shutil.copytree(saved / "foreign", tmp_path / "foreign")
    write_warmup(tensorflow, tmp_path / "foreign" / "1", [])
    (tmp_path / "empty" / "1").mkdir(parents=True)
    (tmp_path / "empty" / "1" / "saved_model.pb").write_bytes(b"")
    (tmp_path / "cut" / "1").mkdir(parents=True)
    content = (saved / "old" / "5" / "saved_model.pb").read_bytes()
    (tmp_path / "cut" / "1" / "saved_model.pb").write_bytes(content[:-100])
    for name, sentence in (("cut", "cut short"), ("empty", "holds no graph"), ("foreign", "has the inputs")):
        with pytest.raises(ValueError, match=sentence):
            SavedModelLoader(threads=1)(tmp_path / name / "1", name, 1)


def test_an_error_of_the_graph_is_one_sentence():
    message = (
        "Graph execution error:\n\nDetected at node a/b defined at (most recent call last):\n"
        '  File "/home/someone/train.py", line 1, in <module>\n\n<stack traces unavailable>\n'
        "{{function_node __inference_x}} indices[0] = 5 is not in [0, 2)\n"
        "\t [[{{node GatherV2}}]] [Op:__inference_signature_wrapper_2]"
    )
    assert clean(message) == "indices[0] = 5 is not in [0, 2)"


def test_a_refusal_is_told_from_a_failure(real_repository):
    with pytest.raises(InvalidInput, match="Input is empty"):
        real_repository.find("foreign").call("decode", {"image/encoded": np.array([b""], object)})


@pytest.mark.parametrize(("limit", "cpus"), [("150000 100000", 2), ("50000 100000", 1), ("max 100000", 8)])
def test_threads_follow_the_containers_limit(tmp_path, monkeypatch, limit, cpus):
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: range(8))
    (tmp_path / "cpu.max").write_text(limit)
    assert count_cpus(tmp_path / "cpu.max") == cpus


def test_the_description_is_json_of_the_version(saved, fake_model):
    extra = saved / "old" / "5" / "assets.extra"
    extra.mkdir()
    (extra / "model.json").write_text(json.dumps({"task": "regression"}))
    assert fake_repository(saved, fake_model).list_models()[1]["task"] == "regression"
