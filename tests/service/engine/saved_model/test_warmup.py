"""The requests that a version brings are run before it is served; after the engine has died, as few as need be."""

from types import SimpleNamespace

import numpy as np
import pytest

from service.engine.saved_model.warmup import warm_up, warmup_file
from service.engine.signature import Signature, TensorSpec
from service.engine.tensorflow.protos import load_protos
from service.engine.tensorflow.tensor_protos import encode_tensor

BROUGHT = ["serving_default", "count", "classify", "serving_default", "count", "classify"]


@pytest.fixture
def folder(tmp_path):
    """A version that brings six requests."""
    logs = load_protos("tensorflow_serving.apis.prediction_log_pb2")
    path = warmup_file(tmp_path)
    path.parent.mkdir()
    with path.open("wb") as file:
        for number, name in enumerate(BROUGHT):
            log = logs.PredictionLog()
            request = log.predict_log.request
            request.model_spec.signature_name = name
            encode_tensor(np.array([number], np.float32), request.inputs["x"])
            content = log.SerializeToString()
            file.write(len(content).to_bytes(8, "little") + bytes(4) + content + bytes(4))
    return tmp_path


class Recorder(SimpleNamespace):
    """A model that notes which requests it gets."""

    def __init__(self):
        signature = Signature({"x": TensorSpec("x", "DT_FLOAT", (-1,))}, {})
        super().__init__(signatures=dict.fromkeys(BROUGHT, signature), called=[])

    def call(self, _name, inputs):
        self.called.append(int(inputs["x"][0]))


@pytest.mark.parametrize(
    ("is_again", "stateless", "called"),
    [
        (False, {"serving_default", "classify"}, [0, 1, 2, 3, 4, 5]),
        (True, {"serving_default", "classify"}, [0, 1, 4]),
        (True, {"classify"}, [0, 1, 2, 3, 4]),
        (True, set(), [0, 1, 2, 3, 4, 5]),
    ],
)
def test_of_requests_that_change_nothing_one_is_run_again(folder, is_again, stateless, called):
    model = Recorder()
    warm_up(model, folder, stateless, "the model", is_again=is_again)
    assert model.called == called


def test_a_request_that_is_not_run_again_must_fit_all_the_same(folder):
    model = Recorder()
    del model.signatures["classify"]
    with pytest.raises(ValueError, match="names signature 'classify', which the model does not have"):
        warm_up(model, folder, {"serving_default"}, "the model", is_again=True)
