"""TensorFlow Serving's REST API: predict, classify, regress, status and metadata, by version and by label.

Deliberate differences:

- `GET /v1/models` lists the models, and the entries of the repository that are none; `/v1/models/M/labels` lists
  labels, which can be set and removed there. A version's state says whether it is batched.
- Numbers must be finite both ways, unless the settings allow the tokens `NaN`, `Infinity` and `-Infinity`.
- Integers are range-checked for int8, int16, uint8 and their like; whole numbers that a float type must round are not
  refused.
- One document is one value, with nothing behind it, nested not deeper than arrays can be; of a key that stands twice in
  an object, the last one counts.
- Strings of an output that are no UTF-8 are answered as `{"b64": ...}`.
- Sentences name the place (`instances[3][2]`) and the alternatives.
- Unknown models answer before wrong keys in classify and regress too, as in predict.
- Bodies may be compressed; answers are compact JSON.

Source:
    TensorFlow Serving, `http_rest_api_handler.cc`, `http_rest_api_util.cc`, `json_tensor.cc` and `docs/api_rest.md`.
"""

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response

from service.codecs.json.answers import encode_outputs, encode_predictions
from service.codecs.json.document import parse_document
from service.codecs.json.examples import decode_examples, encode_classes, encode_values
from service.codecs.json.requests import PredictRequest, read_signature_name
from service.engine.repository import Model, Repository
from service.engine.signature import Signature
from service.errors import InvalidPayload
from service.http import prediction
from service.http.prediction import Answer
from service.http.routing import parse_version
from service.protocols import example_signatures
from service.protocols.tensorflow_serving.documents import describe_metadata, describe_status
from service.protocols.tensorflow_serving.labels import add_label_routes, json_response
from service.settings import Settings

JSON = "application/json"


def create_blueprint(repository: Repository, settings: Settings) -> Blueprint:
    """Makes the routes under /v1/models.

    Args:
        repository: the models.
        settings: see `Settings`.
    """
    routes = Blueprint("tensorflow_serving", __name__, url_prefix="/v1/models")
    add_model_routes(routes, repository)
    add_label_routes(routes, repository)
    add_example_routes(routes, repository, settings)
    nan_tokens = settings.nan_tokens

    @routes.post("/<model:model>:predict")  # type: ignore[type-var]  # `KilnApp` takes an `Answer`
    @routes.post("/<model:model>/versions/<version:version>:predict")
    @routes.post("/<model:model>/labels/<label:label>:predict")
    def predict(model: str, version: str | None = None, label: str | None = None) -> Answer:
        prediction.note_model(repository, model)
        number = parse_version(version)
        body = PredictRequest(prediction.read_body(), settings.max_body_bytes, nan_tokens=nan_tokens)
        loaded = repository.find(model, number, label)
        inputs, by_rows = body.decode(find_signature(loaded, body.signature_name))
        outputs = prediction.predict(loaded, body.signature_name, inputs)
        encode = encode_predictions if by_rows else encode_outputs
        return Answer(encode(outputs, nan_tokens=nan_tokens))

    return routes


def add_model_routes(routes: Blueprint, repository: Repository) -> None:
    """Adds the routes that tell what there is."""

    @routes.get("")
    def models() -> Response:
        return json_response({"models": repository.list_models(), "problems": repository.problems()})

    @routes.get("/<model:model>")
    @routes.get("/<model:model>/versions/<version:version>")
    @routes.get("/<model:model>/labels/<label:label>")
    def status(model: str, version: str | None = None, label: str | None = None) -> Response:
        prediction.note_model(repository, model)
        return json_response(describe_status(repository.versions(model, parse_version(version), label)))

    @routes.get("/<model:model>/metadata")
    @routes.get("/<model:model>/versions/<version:version>/metadata")
    @routes.get("/<model:model>/labels/<label:label>/metadata")
    def metadata(model: str, version: str | None = None, label: str | None = None) -> Response:
        prediction.note_model(repository, model)
        return json_response(describe_metadata(repository.find(model, parse_version(version), label)))


def add_example_routes(routes: Blueprint, repository: Repository, settings: Settings) -> None:
    """Adds the routes whose inputs are `tf.Example`s."""

    nan_tokens = settings.nan_tokens

    @routes.post("/<model:model>:classify")
    @routes.post("/<model:model>/versions/<version:version>:classify")
    @routes.post("/<model:model>/labels/<label:label>:classify")
    def classify(model: str, version: str | None = None, label: str | None = None) -> Response:
        outputs, count = answer(model, version, label, example_signatures.choose_class_outputs)
        example_signatures.check_classes(outputs, count)
        classes, scores = outputs.get(example_signatures.CLASSES), outputs.get(example_signatures.SCORES)
        return Response(encode_classes(classes, scores, nan_tokens=nan_tokens), content_type=JSON)

    @routes.post("/<model:model>:regress")
    @routes.post("/<model:model>/versions/<version:version>:regress")
    @routes.post("/<model:model>/labels/<label:label>:regress")
    def regress(model: str, version: str | None = None, label: str | None = None) -> Response:
        outputs, count = answer(model, version, label, example_signatures.choose_value_outputs)
        example_signatures.check_values(outputs, count)
        return Response(encode_values(outputs[example_signatures.VALUES], nan_tokens=nan_tokens), content_type=JSON)

    def answer(
        model: str, version: str | None, label: str | None, choose: Callable[[Signature], list[str]]
    ) -> tuple[Any, int]:
        prediction.note_model(repository, model)
        number = parse_version(version)
        document = parse_document(prediction.read_body(), settings.max_body_bytes, nan_tokens=nan_tokens)
        name = read_signature_name(document)
        loaded = repository.find(model, number, label)
        wanted = choose(example_signatures.find_signature(loaded, name))
        examples = decode_examples(document, settings.max_body_bytes)
        return prediction.predict(loaded, name, {example_signatures.INPUT: examples}, wanted), len(examples)


def find_signature(model: Model, name: str) -> Signature:
    """A signature by name.

    Raises:
        InvalidPayload: the model has none of that name.
    """
    signature = model.signatures.get(name)
    if signature is None:
        available = ", ".join(sorted(model.signatures)) or "none"
        raise InvalidPayload(
            f'Serving signature name: "{name[:256]}" not found in signature def. Signatures: {available}'
        )
    return signature
