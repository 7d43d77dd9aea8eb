"""The classes of the protocol buffers come without TensorFlow, and do not get in its way."""

import subprocess
import sys

import pytest

PROTOS = """
from service.engine.tensorflow.protos import load_protos
tensors = load_protos("tensorflow.core.framework.tensor_pb2")
load_protos("tensorflow_serving.apis.prediction_service_pb2_grpc")
load_protos("tensorflow.core.protobuf.config_pb2")
"""
WITHOUT = """
import sys
heavy = [name for name in sys.modules if name.startswith(("tensorflow.python", "tensorflow._api", "keras"))]
assert "tensorflow" not in sys.modules and not heavy, heavy
from tensorflow_serving.apis import predict_pb2
"""
REAL = """
import tensorflow
"""
SAME = """
proto = tensorflow.make_tensor_proto([1.0, 2.0])
assert type(proto) is tensors.TensorProto
assert tensorflow.constant([1.0]).numpy() == 1
from tensorflow.core.framework import graph_pb2
assert sys.modules["tensorflow"] is tensorflow
"""
THREADS = """
from concurrent.futures import ThreadPoolExecutor
from service.engine.tensorflow.protos import load_protos
names = ["predict", "classification", "regression", "inference", "get_model_metadata", "model_management"] * 4
with ThreadPoolExecutor(24) as pool:
    list(pool.map(lambda name: load_protos(f"tensorflow_serving.apis.{name}_pb2").DESCRIPTOR.package, names))
"""


def start(*parts):
    command = [sys.executable, "-c", "".join(parts)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_protos_come_without_tensorflow_and_before_or_after_it():
    runs = [start(PROTOS, WITHOUT, REAL, SAME), start(REAL, "import sys", PROTOS, SAME), start(THREADS, WITHOUT)]
    for run in runs:
        output, _ = run.communicate(timeout=180)
        assert run.returncode == 0, output


def test_a_module_that_does_not_exist_is_named():
    from service.engine.tensorflow.protos import load_protos

    with pytest.raises(ModuleNotFoundError, match="tensorflow.core.framework.nothing_pb2"):
        load_protos("tensorflow.core.framework.nothing_pb2")
