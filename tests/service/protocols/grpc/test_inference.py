"""TensorFlow Serving's gRPC Classify, Regress and MultiInference, called by the official stubs."""

import pytest

from tests.service.grpc_fleet import CLASSIFY, REGRESS, example, make, refusal, serving


@pytest.fixture(scope="module")
def client(tmp_path_factory, make_version):
    folder = tmp_path_factory.mktemp("models")
    make_version(folder / "echo", 3)
    with serving(folder) as (_, _, client):
        yield client


def request_of(kind, values, signature, name="echo"):
    request = make(kind)
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    request.input.example_list.examples.extend(map(example, values))
    return request


def classify_request(values, signature="classify", name="echo"):
    return request_of("classification.ClassificationRequest", values, signature, name)


def regress_request(values, signature="regress", name="echo"):
    return request_of("regression.RegressionRequest", values, signature, name)


def multi_request(values, *tasks):
    request = make("inference.MultiInferenceRequest")
    for signature, method, name in tasks:
        task = request.tasks.add(method_name=method)
        task.model_spec.name = name
        task.model_spec.signature_name = signature
    request.input.example_list.examples.extend(map(example, values))
    return request


def rows(result):
    return [[(entry.label, entry.score) for entry in row.classes] for row in result.classifications]


def test_classes_and_scores_of_each_example(client):
    response = client.prediction.Classify(classify_request([0.25, 1.0]))
    assert rows(response.result) == [[("low", 0.75), ("high", 0.25)], [("low", 0.0), ("high", 1.0)]]
    spec = response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("echo", 3, "classify")


def test_scores_without_classes(client):
    response = client.prediction.Classify(classify_request([0.25], "scores"))
    assert rows(response.result) == [[("", 0.75), ("", 0.25)]]


def test_a_number_for_each_example(client):
    response = client.prediction.Regress(regress_request([0.5, 2.0]))
    assert [entry.value for entry in response.result.regressions] == [1.0, 4.0]
    assert response.model_spec.version.value == 3


def test_the_context_is_merged_into_each_example(client):
    request = make("regression.RegressionRequest")
    request.model_spec.name = "echo"
    request.model_spec.signature_name = "regress"
    parts = request.input.example_list_with_context
    parts.context.CopyFrom(example(1.5))
    empty, own = parts.examples.add(), parts.examples.add()
    own.CopyFrom(example(4.0))
    assert not empty.features.feature
    response = client.prediction.Regress(request)
    assert [entry.value for entry in response.result.regressions] == [3.0, 8.0]


@pytest.mark.parametrize("kind", ["classification.ClassificationRequest", "regression.RegressionRequest"])
def test_a_context_cannot_be_repeated_without_end(client, kind):
    request = make(kind)
    request.model_spec.name = "echo"
    request.model_spec.signature_name = "classify" if "class" in kind else "regress"
    parts = request.input.example_list_with_context
    parts.context.features.feature["x"].bytes_list.value.append(b"y" * 100_000)
    for _ in range(1000):
        parts.examples.add()
    method = client.prediction.Classify if "class" in kind else client.prediction.Regress
    code, details = refusal(method, request)
    assert code == "INVALID_ARGUMENT"
    assert details.startswith("The inputs would take 1000")
    assert details.endswith("at most 67108864 are allowed (twice KILN_MAX_BODY_BYTES). Send fewer rows at a time.")


def test_several_signatures_for_the_same_examples(client):
    request = multi_request([0.25], ("classify", CLASSIFY, "echo"), ("regress", REGRESS, "echo"))
    first, second = client.prediction.MultiInference(request).results
    assert rows(first.classification_result) == [[("low", 0.75), ("high", 0.25)]]
    assert [entry.value for entry in second.regression_result.regressions] == [0.5]
    assert [result.model_spec.signature_name for result in (first, second)] == ["classify", "regress"]
    assert first.model_spec.version.value == 3


@pytest.mark.parametrize(
    ("request_of", "code", "sentence"),
    [
        (lambda: make("classification.ClassificationRequest"), "INVALID_ARGUMENT", "Missing ModelSpec"),
        (lambda: classify_request([1], name="no"), "NOT_FOUND", "Servable not found for request: Latest(no)"),
        (lambda: classify_request([1], "x"), "INVALID_ARGUMENT", "No signature was found with the name: x"),
        (
            lambda: classify_request([1], ""), "INVALID_ARGUMENT",
            "Expected classification signature method_name to be tensorflow/serving/classify. "
            "Was: tensorflow/serving/predict",
        ),
        (lambda: classify_request([]), "INVALID_ARGUMENT", "Input is empty."),
        (
            lambda: classify_request([1], "unnamed"), "FAILED_PRECONDITION",
            'Expected classification signature outputs to contain at least one of "classes" or "scores".',
        ),
        (
            lambda: classify_request([1], "flat_scores"), "INVALID_ARGUMENT",
            "Expected Tensor shape: [batch_size num_classes] but got [1]",
        ),
        (
            lambda: classify_request([1], "arrays"), "INVALID_ARGUMENT",
            "The signature takes no serialized examples: its input 'inputs' is DT_FLOAT of shape [-1, 2]",
        ),
    ],
)  # fmt: skip
def test_wrong_classifications_are_refused(client, request_of, code, sentence):
    actual, details = refusal(client.prediction.Classify, request_of())
    assert actual == code
    assert details.startswith(sentence)


def test_a_classification_signature_cannot_regress(client):
    code, details = refusal(client.prediction.Regress, regress_request([1], "classify"))
    assert code == "INVALID_ARGUMENT"
    assert details.startswith(
        "Expected regression signature method_name to be tensorflow/serving/regress. Was: tensorflow/serving/classify"
    )


TASK = ("classify", CLASSIFY, "echo")


@pytest.mark.parametrize(
    ("tasks", "code", "sentence"),
    [
        ([], "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        ([("classify", CLASSIFY, "no")], "NOT_FOUND", "Servable not found for request: Latest(no)"),
        ([TASK, ("x", REGRESS, "")], "INVALID_ARGUMENT", "Found ModelSpec with an empty model name."),
        ([TASK, ("x", REGRESS, "other")], "INVALID_ARGUMENT", "All ModelSpecs in a MultiInferenceRequest must access"),
        ([TASK, TASK], "INVALID_ARGUMENT", "Duplicate evaluation of signature: classify"),
        ([TASK, ("x", REGRESS, "echo")], "INVALID_ARGUMENT", "Requested signature not found in model graph: x"),
        ([("classify", "x", "echo")], "UNIMPLEMENTED", "Unsupported signature method_name: x"),
        (
            [TASK, ("elsewhere", REGRESS, "echo")], "INVALID_ARGUMENT",
            "Input tensor must be the same for all Signatures.",
        ),
    ],
)  # fmt: skip
def test_tasks_that_do_not_fit_are_refused(client, tasks, code, sentence):
    actual, details = refusal(client.prediction.MultiInference, multi_request([1], *tasks))
    assert actual == code
    assert details.startswith(sentence)
