"""Wrong requests to the application itself, as many as a test may make; `tests/check_fuzz.py` asks a real service."""

import pytest
import schemathesis

from service.app import create_app
from service.openapi.document import build_document
from service.settings import Settings
from tests.service.fuzzing import fuzz, operations
from tests.service.published_models import publish

EXAMPLES = 60
EXAMPLES_WITHOUT_BODY = 15
MODELS = ("digits", "breast_cancer", "diabetes", "foreign", "broken")
SETTINGS = Settings(max_body_bytes=8000)
OPERATIONS = {
    operation.label: operation for operation in operations(schemathesis.openapi.from_dict(build_document(SETTINGS)))
}


@pytest.fixture
def client(tmp_path):
    return create_app(SETTINGS, publish(tmp_path, *MODELS)).test_client()


@pytest.mark.parametrize("label", OPERATIONS)
def test_every_answer_is_one_that_the_document_describes(label, client):
    def send(method, path, headers, body):
        return client.open(path, method=method, headers=headers, data=body)

    operation = OPERATIONS[label]
    fuzz(operation, send, list(MODELS), EXAMPLES if list(operation.body) else EXAMPLES_WITHOUT_BODY)
