"""Where the parts meet: settings, models, routes, errors, metrics and pages become one Flask application."""

import logging
import os
from types import TracebackType

from flask import Flask, g

from service import pages, record
from service.auth import Access
from service.engine.client import connect
from service.engine.repository import Repository
from service.metrics import Metrics
from service.protocols import health, open_inference, tensorflow_serving
from service.protocols.access import guard_routes
from service.protocols.failures import handle_failures
from service.protocols.paths import CaseFoldingMiddleware, ModelConverter, VersionConverter
from service.readiness import Readiness
from service.settings import Settings

logger = logging.getLogger(__name__)

ExceptionInfo = tuple[type, BaseException, TracebackType | None] | tuple[None, None, None]


class KilnApp(Flask):
    """The application with what its worker needs of it.

    Attributes:
        settings: what it was made with.
        repository: the models.
        readiness: whether requests should be sent here.
        measures: the metrics.
    """

    settings: Settings
    repository: Repository
    readiness: Readiness
    measures: Metrics

    def log_exception(self, exc_info: ExceptionInfo) -> None:
        """Logs what the client is not told, under the id that the client is told."""
        logger.error("Request failed", exc_info=exc_info, extra={"fields": {"request_id": g.record.request_id}})


def create_app(settings: Settings, repository: Repository) -> KilnApp:
    """Makes the application.

    Args:
        settings: see `Settings`.
        repository: the models.
    """
    app = KilnApp("service", static_folder=None)
    app.settings = settings
    app.repository = repository
    app.readiness = Readiness(repository)
    app.measures = Metrics()
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.url_map.converters |= {"model": ModelConverter, "version": VersionConverter}
    record.watch_requests(app, app.measures, settings.timeout_seconds)
    guard_routes(app, Access(settings.token_file))
    handle_failures(app, settings.max_body_bytes)
    app.register_blueprint(tensorflow_serving.create_blueprint(repository, settings))
    app.register_blueprint(open_inference.create_blueprint(repository, settings))
    app.register_blueprint(health.create_blueprint(app.readiness, app.measures))
    app.register_blueprint(pages.create_blueprint(settings, repository))
    app.wsgi_app = CaseFoldingMiddleware(app.wsgi_app)
    return app


def create_worker_app() -> KilnApp:
    """What gunicorn calls in each worker: the application for the environment's settings."""
    return create_app(Settings.from_env(os.environ), Repository(connect(os.environ)))
