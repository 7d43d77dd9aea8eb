"""Routes of the pages, their security headers and their caching."""

import gzip
import hashlib
import importlib.util
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson
from flask import Blueprint, Response, abort, render_template, request
from flask.typing import ResponseReturnValue

from service.openapi.document import build_document

# Swagger UI sets style attributes and has its icons as data addresses; scripts still come from this service only.
PAGE_POLICY = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"
DOCS_POLICY = f"{PAGE_POLICY}; style-src 'self' 'unsafe-inline'; img-src 'self' data:"
SWAGGER_FILES = {
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
}
ONE_YEAR_SECONDS = 31_536_000


def create_blueprint(settings: Any, repository: Any) -> Blueprint:
    """Makes the blueprint with `/`, `/docs`, `/openapi.json` and the files that the two pages load.

    Args:
        settings: the service's `Settings`; the OpenAPI document states its limits.
        repository: anything with `list_models()`, whose entries have at least `name`.

    Returns:
        A blueprint to be registered without a prefix.
    """
    pages = Blueprint("pages", __name__, template_folder="templates", static_folder="static", static_url_path="/pages")
    document = orjson.dumps(build_document(settings))

    @pages.get("/")
    def index() -> Response:
        # Without JavaScript there is no way to enter a token, and without one no name to be told.
        listed = [] if settings.token_file else repository.list_models()
        names = sorted(model["name"] for model in listed)
        return html_page(render_template("index.html", names=names), PAGE_POLICY)

    @pages.get("/docs")
    def docs() -> Response:
        return html_page(render_template("docs.html", version=version("flask-swagger-ui")), DOCS_POLICY)

    @pages.get("/docs/<name>")
    def swagger_file(name: str) -> Response:
        if name not in SWAGGER_FILES:
            abort(404)
        return compressible_file(swagger_folder() / name)

    @pages.get("/openapi.json")
    def openapi() -> ResponseReturnValue:
        response = Response(document, content_type="application/json")
        response.set_etag(hashlib.sha256(document).hexdigest()[:32])
        response.headers["Cache-Control"] = "no-cache"
        return response.make_conditional(request)

    pages.after_request(forbid_guessing)
    return pages


def html_page(text: str, policy: str) -> Response:
    """An HTML answer that is asked for anew each time and may load only what `policy` allows."""
    response = Response(text, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = policy
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-cache"
    return response


def forbid_guessing(response: Response) -> Response:
    """Tells browsers to believe the content type."""
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def compressible_file(path: Path) -> Response:
    """A file that never changes under its address (the page adds the package's version), gzipped where accepted."""
    accepts_gzip = request.accept_encodings.quality("gzip") > 0
    response = Response(read_gzipped(path) if accepts_gzip else path.read_bytes())
    response.content_type = SWAGGER_FILES[path.name]
    if accepts_gzip:
        response.content_encoding = "gzip"
    response.vary.add("Accept-Encoding")
    response.cache_control.public = True
    response.cache_control.max_age = ONE_YEAR_SECONDS
    response.cache_control.immutable = True
    return response


@cache
def read_gzipped(path: Path) -> bytes:
    """The file's gzipped bytes, made once per worker: Swagger UI shrinks from 1.7 MB to 0.5 MB."""
    return gzip.compress(path.read_bytes(), compresslevel=6, mtime=0)


@cache
def swagger_folder() -> Path:
    """Where `flask-swagger-ui` keeps Swagger UI, found without importing the package.

    Raises:
        ModuleNotFoundError: the package is not installed.
    """
    found = importlib.util.find_spec("flask_swagger_ui")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("flask-swagger-ui is not installed, and /docs is made of its files.")
    return Path(found.origin).parent / "dist"
