"""Wrong requests by the thousand to the real service, with the published models of the bundled data: `make fuzz`.

Not part of `make test`, which must pass in a clone where nothing is published yet and end within minutes.
"""

import shutil
from collections.abc import Iterator

import pytest
import requests
import schemathesis

from service.openapi.document import build_document
from service.openapi.examples import PREDICTIONS
from service.settings import Settings
from tests.running_service import ROOT, serve
from tests.service.fuzzing import OPERATIONS_THAT_CHANGE_WHAT_IS_SERVED, fuzz, operations

MODELS = ("digits", "breast_cancer", "diabetes")
EXAMPLES = 1000
# Where there is no body to get wrong, and where each may load a model.
FEWER_EXAMPLES = 150

pytestmark = pytest.mark.skipif(
    not all((ROOT / "models" / name).is_dir() for name in MODELS), reason="needs published models: make run"
)
# The limits of the default settings are those of the service below.
OPERATIONS = {
    operation.label: operation for operation in operations(schemathesis.openapi.from_dict(build_document(Settings())))
}


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("models")
    for name in MODELS:
        shutil.copytree(ROOT / "models" / name, folder / name)
    with serve(folder) as base:
        yield base


@pytest.mark.parametrize("label", OPERATIONS)
def test_every_answer_is_one_that_the_document_describes(label, address):
    with requests.Session() as session:

        def send(method, path, headers, body):
            return session.request(method, address + path, headers=headers, data=body, timeout=60)

        operation = OPERATIONS[label]
        is_changing = label.endswith(OPERATIONS_THAT_CHANGE_WHAT_IS_SERVED)
        examples = FEWER_EXAMPLES if is_changing or not list(operation.body) else EXAMPLES
        fuzz(operation, send, list(MODELS), examples)


def test_afterwards_the_service_predicts_as_before(address):
    for name in MODELS:
        assert requests.post(f"{address}/v2/repository/models/{name}/load", timeout=60).status_code == 200
    assert requests.get(f"{address}/v2/health/ready", timeout=60).status_code == 200
    for key, (_, request, _) in PREDICTIONS.items():
        model = next(model for model in MODELS if key.startswith(model))
        assert requests.post(f"{address}/v1/models/{model}:predict", json=request, timeout=60).status_code == 200
