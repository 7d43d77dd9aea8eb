"""SavedModels of many kinds give in the engine what they give in TensorFlow's own session."""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from service.engine.batching.executor import Executor
from service.engine.batching.options import Batching, describe_obstacle
from service.engine.batching.scheduler import Scheduler
from service.engine.interface import Call
from service.engine.model import InvalidInput
from service.engine.saved_model.loader import SavedModelLoader
from service.engine.signature import DTYPES

ROOT = Path(__file__).parents[4]
# Only gRPC carries these; a signature of their own has them.
COMPLEX = {"DT_COMPLEX64", "DT_COMPLEX128"}
MODELS = ("tensorflow_1", "examples", "types", "shapes", "tables")


@pytest.fixture(scope="session")
def zoo(tmp_path_factory):
    """The folder with the SavedModels and what TensorFlow answers to them; TensorFlow runs in another process."""
    folder = tmp_path_factory.mktemp("zoo")
    command = [sys.executable, "-m", "tests.service.build_saved_models", str(folder)]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONWARNINGS": "ignore"}
    finished = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return folder


@contextmanager
def loading(folder, loader):
    """Loads each model of a folder once."""
    loaded = {}

    def load(name):
        if name not in loaded:
            loaded[name] = loader(folder / name / "1", name, 1)
        return loaded[name]

    yield load
    for model in loaded.values():
        model.close()


@pytest.fixture(scope="module")
def load(zoo):
    with loading(zoo, SavedModelLoader(threads=1)) as load:
        yield load


def read_cases(path):
    """Signature, inputs and expected outputs of each case, in order."""
    cases = {}
    with np.load(path, allow_pickle=True) as arrays:
        for key in arrays.files:
            number, signature, kind, name = key.split("|")
            case = cases.setdefault(number, (signature, {}, {}))
            case[1 if kind == "in" else 2][name] = arrays[key]
    return [cases[number] for number in sorted(cases)]


def assert_same(answered, expected):
    assert set(answered) == set(expected)
    for name, array in expected.items():
        assert answered[name].shape == array.shape, name
        assert answered[name].dtype == array.dtype, name
        if array.dtype.kind == "f":
            np.testing.assert_allclose(answered[name], array, rtol=1e-6, err_msg=name)
        else:
            assert answered[name].tolist() == array.tolist(), name


@pytest.mark.parametrize("name", MODELS)
def test_every_signature_answers_as_in_tensorflow(zoo, load, name):
    cases = read_cases(zoo / f"{name}.npz")
    assert cases
    for signature, inputs, expected in cases:
        assert_same(load(name).call(signature, inputs), expected)


@pytest.mark.parametrize("name", MODELS)
def test_signatures_state_the_types_and_shapes_that_are_answered(zoo, load, name):
    for signature, inputs, expected in read_cases(zoo / f"{name}.npz"):
        described = load(name).signatures[signature]
        for specs, arrays in ((described.inputs, inputs), (described.outputs, expected)):
            assert set(specs) == set(arrays)
            for key, array in arrays.items():
                assert specs[key].numpy_dtype == array.dtype, key
                assert specs[key].accepts(array.shape), key


def test_outputs_can_be_selected_and_come_in_the_order_asked_for(zoo, load):
    signature, inputs, expected = read_cases(zoo / "types.npz")[0]
    wanted = ["string_out", "bool_out"]
    answered = load("types").call(signature, inputs, wanted)
    assert list(answered) == wanted
    assert_same(answered, {name: expected[name] for name in wanted})


def test_every_type_is_in_the_zoo(load):
    signature = load("types").signatures["serving_default"]
    assert {spec.dtype for spec in signature.inputs.values()} == set(DTYPES) - COMPLEX
    assert {spec.dtype for spec in signature.outputs.values()} == set(DTYPES) - COMPLEX


def test_signatures_that_no_protocol_can_carry_are_left_out(load):
    assert set(load("types").signatures) == {"serving_default", "complex"}
    assert set(load("tensorflow_1").signatures) == {"serving_default", "loop", "words"}


def test_methods_of_signatures_are_kept(load):
    methods = {name: signature.method_name for name, signature in load("examples").signatures.items()}
    assert methods == {
        "serving_default": "tensorflow/serving/classify",
        "classes_only": "tensorflow/serving/classify",
        "scores_only": "tensorflow/serving/classify",
        "regress": "tensorflow/serving/regress",
        "parsed": "tensorflow/serving/predict",
    }


@pytest.mark.parametrize(
    ("content", "sentence"), [(b"no example", "Could not parse example"), (b"", "size .* is required but could not be")]
)
def test_what_is_no_example_is_the_clients_fault(load, content, sentence):
    with pytest.raises(InvalidInput, match=sentence):
        load("examples").call("regress", {"inputs": np.array([content], object)})


def test_only_rows_in_and_rows_out_may_share_a_call(load):
    model = load("shapes")
    batchable = {name for name, signature in model.signatures.items() if not describe_obstacle(signature)}
    assert batchable == {"series", "twice", "positive", "odd_names"}
    # Rows in a loop are shared only where an export has proven them, or the configuration says so.
    assert not any(state.enabled for state in model.batching.values())
    assert model.batching["odd_names"].reason == "its graph has operations that may connect rows (TensorListFromTensor)"


class Silent:
    """Wants to know nothing."""

    def executed(self, *_arguments):
        pass

    def answered(self, *_arguments, **_options):
        pass


def run_together(model, signature, requests):
    """Queues requests before the first of them runs, and gives their outcomes."""
    scheduler = Scheduler(lambda _name, _version: model, lambda _name: Batching(configured=True), most_calls=1)
    executor, outcomes = Executor(scheduler, Silent()), [None] * len(requests)

    def reply_to(number):
        def reply(outcome):
            outcomes[number] = outcome

        return reply

    for number, inputs in enumerate(requests):
        scheduler.submit(Call("shapes", 1, signature, inputs), reply_to(number))
    while (batch := scheduler.take()) is not None:
        executor.run(batch)
    return outcomes


@pytest.mark.parametrize("signature", ["twice", "positive"])
def test_a_batch_with_another_number_of_rows_out_is_run_again_one_by_one(load, signature):
    model = load("shapes")
    requests = [{"x": np.array(row, np.float32)} for row in ([1, -1, 2], [5], [-3, 4, 6, -7, 8])]
    expected = [model.call(signature, inputs) for inputs in requests]
    for _ in range(2):
        for answered, right in zip(run_together(model, signature, requests), expected, strict=True):
            assert_same(answered, right)


def test_rows_of_one_shape_share_a_call_and_others_do_not(load):
    model = load("shapes")
    requests = [{"series": np.arange(rows * steps * 2, dtype=np.float32).reshape(rows, steps, 2)}
                for rows, steps in ((1, 3), (2, 5), (3, 3))]  # fmt: skip
    expected = [model.call("series", inputs) for inputs in requests]
    for answered, right in zip(run_together(model, "series", requests), expected, strict=True):
        assert_same(answered, right)


def test_a_table_remembers_what_it_was_asked(zoo):
    loader = SavedModelLoader(threads=1)
    words = {"words": np.array([b"fig"], object)}
    models = [loader(zoo / "tables" / "1", "tables", 1) for _ in range(2)]
    try:
        times = [models[number].call("count", words)["times"].tolist() for number in (0, 0, 1)]
    finally:
        for model in models:
            model.close()
    assert times == [[1], [2], [1]]
