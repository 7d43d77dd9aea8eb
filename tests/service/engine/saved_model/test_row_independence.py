"""Requests share a call only where a row's answer is the same alone and among others; on real SavedModels."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from service.engine.batching.executor import Executor
from service.engine.batching.options import Batching
from service.engine.batching.scheduler import Scheduler
from service.engine.interface import BatchingState, Call
from service.engine.model import InvalidInput
from service.engine.saved_model.loader import Examination, SavedModelLoader
from service.engine.saved_model.row_probe import same
from tests.service.engine.saved_model.test_zoo import Silent, loading

ROOT = Path(__file__).parents[4]
# The models of `build_row_models.py`.
INDEPENDENT = [
    "linear", "softmax_of_row", "any_width", "two_inputs", "embedding", "upper", "half", "bfloat16", "flags", "pixels",
    "lookup", "dense", "convolution", "tensorflow_1", "in_functions", "one_hot",
]  # fmt: skip
# Independent too, but by operations of which that cannot be told: loops, shapes that are computed, ragged rows.
UNTOLD = ["per_row", "checked", "lstm", "embedded", "convolution_1d", "text_fixed_length", "always_zero"]
# These depend on one another only where values are larger than any that a probe tries.
LARGE = [
    "count_passed", "count_reshaped", "count_returned", "frequencies", "softmax_of_large", "subtracted_least",
    "normalized_large", "repeated_letter", "said_to_be_one", "said_to_be_columns",
    "said_to_be_a_list",
]  # fmt: skip
DEPENDENT = [
    "softmax", "centred", "faintly_centred", "normed", "summed", "sorted_rows", "ranks", "reversed_rows",
    "rolled", "minus_first", "differences", "distances", "attention", "whitened", "best", "flipped_sign",
    "repeats", "counted", "crowded", "branch_on_rows", "numbered", "scalar", "one_row", "twice", "kept",
    "unique", "grouped", "tokens", "wordcount_padded", "counter", "running_mean", "noise", "seeded_noise",
    "clock", "loop_on_values", "loop_until_all", "query_centred", "column_centred", "in_group", "joined",
    "any_flag", "outlier", "segments", "longest", "percentile", "doubles", "pixels_by_brightest",
    "two_inputs_centred", "lookup_centred", "batch_statistics",
    "text_any_length", "stateful_lstm", "tensorflow_1_loop", "tensorflow_1_counter",
    "genres", "separated", "ages", "brightest", "filled", "flagged", "late",
    *LARGE,
]  # fmt: skip
# What ends by itself takes far less, on any machine.
SECONDS = 20.0
WORDS = [b"good", b"film", b"the", b"dull", b"unheard"]


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    command = [sys.executable, "-m", "tests.service.build_row_models", str(folder)]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONWARNINGS": "ignore"}
    finished = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    assert finished.returncode == 0, finished.stderr
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {*INDEPENDENT, *UNTOLD, *DEPENDENT, "endless"}
    return folder


@pytest.fixture(scope="module")
def load(zoo):
    with loading(zoo, SavedModelLoader(threads=1, probe_seconds=SECONDS)) as load:
        yield load


def only_state(model):
    return model.batching["serving_default"]


@pytest.mark.parametrize("name", INDEPENDENT)
def test_rows_that_are_independent_share_calls(load, name):
    assert only_state(load(name)) == BatchingState(
        True, "a probe at loading found no difference between a row alone and among others"
    )


@pytest.mark.parametrize("name", DEPENDENT)
def test_rows_that_may_depend_on_one_another_do_not(load, name):
    state = only_state(load(name))
    assert not state.enabled
    assert "failed" not in state.reason


def make_inputs(signature, rows, generator):
    """Inputs of so many rows, as clients might send them."""
    inputs = {}
    for name, spec in signature.inputs.items():
        shape = (rows, *(3 if size < 0 else size for size in spec.shape[1:]))
        if spec.dtype == "DT_STRING":
            texts = [b" ".join(generator.choice(WORDS, generator.integers(1, 9))) for _ in range(rows)]
            inputs[name] = np.array(texts, object)
        elif spec.dtype == "DT_BFLOAT16":
            inputs[name] = generator.integers(0x3F80, 0x4000, shape).astype(np.uint16).view("V2")
        else:
            inputs[name] = generator.uniform(0.5, 4, shape).astype(spec.numpy_dtype)
    return inputs


def answer_together(model, key, requests):
    scheduler = Scheduler(lambda _name, _version: model, lambda _name: Batching(), most_calls=1)
    executor, outcomes = Executor(scheduler, Silent()), {}
    for number, inputs in enumerate(requests):
        scheduler.submit(
            Call("m", 1, key, inputs), lambda outcome, number=number: outcomes.__setitem__(number, outcome)
        )
    while (batch := scheduler.take()) is not None:
        executor.run(batch)
    return [outcomes[number] for number in range(len(requests))]


STATELESS = [name for name in DEPENDENT if name not in ("counter", "running_mean", "noise", "clock",
                                                        "tensorflow_1_counter", "stateful_lstm")]  # fmt: skip


@pytest.mark.parametrize("name", [*INDEPENDENT, *STATELESS])
def test_an_answer_is_the_same_alone_and_among_other_requests(load, name):
    model = load(name)
    key = "serving_default"
    signature = model.signatures[key]
    generator = np.random.default_rng(7)
    requests = [make_inputs(signature, rows, generator) for rows in (1, 2, 5, 1, 7)]
    for inputs, answered in zip(requests, answer_together(model, key, requests), strict=True):
        for output, alone in model.call(key, inputs).items():
            assert same(answered[output], alone, 1e-5), output


@pytest.mark.parametrize("name", LARGE)
def test_large_values_are_answered_beside_others_as_alone(load, name):
    model = load(name)
    width = model.signatures["serving_default"].inputs["x"].shape[1:]
    requests = [{"x": np.full((1, *width), value, np.float32)} for value in (2e6, 3e6, 1.0)]
    for inputs, answered in zip(requests, answer_together(model, "serving_default", requests), strict=True):
        np.testing.assert_array_equal(answered["y"], model.call("serving_default", inputs)["y"])


def test_a_list_of_scores_is_answered_as_tensorflow_does(load):
    answered = load("softmax").call("serving_default", {"x": np.array([1, 2, 3, 4, 5], np.float32)})
    np.testing.assert_allclose(answered["p"], [0.01165623, 0.03168492, 0.08612854, 0.23412166, 0.6364086], rtol=1e-5)


@pytest.mark.parametrize(("name", "expected"), [("counter", [1, 2]), ("tensorflow_1_counter", [1, 2])])
def test_no_invented_values_reach_a_counter(zoo, name, expected):
    model = SavedModelLoader(threads=1)(zoo / name / "1", name, 1)
    output = "n" if name == "counter" else "y"
    answered = [model.call("serving_default", {"x": np.zeros(1, np.float32)})[output].tolist() for _ in range(2)]
    model.close()
    assert answered == [[number] for number in expected]


def test_a_stateful_network_answers_first_what_tensorflow_answers_first(zoo):
    loader = SavedModelLoader(threads=1)
    expected = np.load(zoo / "stateful_lstm.npy")
    examination = loader.examine(zoo / "stateful_lstm" / "1", "stateful_lstm", 1)
    model = loader(zoo / "stateful_lstm" / "1", "stateful_lstm", 1, examination)
    x = np.ones((1, 1, 3), np.float32)
    answered = [next(iter(model.call("serving_default", {"x": x}).values())).item() for _ in range(2)]
    model.close()
    np.testing.assert_allclose(answered, expected, rtol=1e-5)
    assert abs(expected[0] - expected[1]) > 1e-4


def test_a_graph_that_may_connect_rows_is_not_probed(zoo):
    """So a loop that never ends, or a crash, on values that nobody sends is not met by the probe."""
    reports = []
    found = SavedModelLoader(threads=1).examine(zoo / "endless" / "1", "endless", 1, reports.append)
    assert found.batching["serving_default"] == BatchingState(
        False, "its graph has operations that may connect rows (Max)"
    )
    assert reports == [found]


@pytest.mark.parametrize("name", UNTOLD)
def test_rows_of_which_nothing_can_be_told_do_not_share_calls(load, name):
    state = only_state(load(name))
    assert not state.enabled
    assert state.reason


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("seeded_noise", BatchingState(True, "its export has proven that its rows are independent")),
        ("scalar", BatchingState(False, "its output 'y' of shape [] has no batch axis of any size")),
    ],
)
def test_what_an_export_has_proven_is_not_probed_where_shapes_allow_it(zoo, tmp_path, name, expected):
    shutil.copytree(zoo / name / "1", tmp_path / "1")
    (tmp_path / "1" / "assets.extra").mkdir()
    description = {"independent_rows": ["serving_default", "other"]}
    (tmp_path / "1" / "assets.extra" / "model.json").write_text(json.dumps(description))
    assert SavedModelLoader(threads=1).examine(tmp_path / "1", "m", 1).batching == {"serving_default": expected}


def test_an_examination_spares_later_loads_the_probe(zoo):
    told = Examination({"serving_default": BatchingState(False, "as was found before")})
    model = SavedModelLoader(threads=1)(zoo / "linear" / "1", "linear", 1, Examination.from_json(told.to_json()))
    assert model.batching == told.batching
    model.close()


def test_outputs_that_are_always_the_same_prove_nothing(load):
    reason = "the probe of its rows found no two inputs that differ in output 'y'"
    assert only_state(load("always_zero")) == BatchingState(False, reason)


def test_a_probe_without_time_concludes_nothing(zoo):
    model = SavedModelLoader(threads=1, probe_seconds=1e-9)(zoo / "linear" / "1", "linear", 1)
    assert not only_state(model).enabled
    model.close()


@pytest.mark.parametrize(
    ("found", "alone", "is_same"),
    [
        ([1.0, np.nan, np.inf], [1.0 + 1e-6, np.nan, np.inf], True),
        ([1.0, 2.0], [1.0, 2.001], False),
        ([np.inf], [-np.inf], False),
        ([1.0], [1.0, 1.0], False),
        ([1], [2], False),
        ([True], [True], True),
    ],
)
def test_numbers_are_compared_as_near_as_kernels_compute(found, alone, is_same):
    assert same(np.array(found), np.array(alone), 1e-5) == is_same


def test_rows_that_are_refused_alone_prove_nothing(load):
    """The logarithm's check refuses what is not positive; enough other rows are taken."""
    with pytest.raises(InvalidInput):
        load("checked").call("serving_default", {"x": np.array([-1], np.float32)})
