"""The pages for people: `/` to try the models, `/docs` to browse the API, `/openapi.json` for programs.

The pages use nothing but the service's public API: `GET /v1/models` names the models and repeats what each model's
`model.json` says (task, labels, input, features, target, metrics, example); `GET /v1/models/NAME/metadata` gives the
signatures; `POST /v1/models/NAME:predict` answers. A model without `model.json` gets a form made from its signatures.

Everything comes from this folder or, for `/docs`, from the files that the package `flask-swagger-ui` installs; nothing
is loaded from elsewhere, which the Content-Security-Policy enforces.
"""

from service.pages.blueprint import create_blueprint

__all__ = ["create_blueprint"]
