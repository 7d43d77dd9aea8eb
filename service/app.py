"""Where the parts meet: settings, models, routes, errors, metrics and pages become one Flask application."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from flask import Flask, g

from service import pages, record
from service.announcement import announce
from service.engine.loaded_model import TensorFlowLoader
from service.engine.repository import Repository
from service.engine.tensorflow_runtime import share_of_cpus
from service.fleet import FOLDER_VARIABLE, Fleet
from service.metrics import Metrics
from service.protocols import health, tensorflow_serving
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


def create_app(settings: Settings, repository: Repository | None = None, fleet: Fleet | None = None) -> KilnApp:
    """Makes the application; models are loaded by `start_loading`, or by whoever made the repository.

    Args:
        settings: see `Settings`.
        repository: the models; None for those in the settings' model repository.
        fleet: the workers that share the port; None for a process on its own.
    """
    app = KilnApp("service", static_folder=None)
    app.settings = settings
    app.repository = repository if repository is not None else create_repository(settings)
    app.readiness = Readiness(app.repository, fleet or Fleet(None))
    app.measures = Metrics()
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.url_map.converters |= {"model": ModelConverter, "version": VersionConverter}
    record.watch_requests(app, app.measures)
    handle_failures(app, settings.max_body_bytes)
    app.register_blueprint(tensorflow_serving.create_blueprint(app.repository, app.measures))
    app.register_blueprint(health.create_blueprint(app.readiness, app.measures))
    app.register_blueprint(pages.create_blueprint(settings, app.repository))
    app.wsgi_app = CaseFoldingMiddleware(app.wsgi_app)
    return app


def create_repository(settings: Settings) -> Repository:
    """The models that the settings name, not loaded yet."""
    threads = settings.tensorflow_threads or share_of_cpus(settings.workers)
    return Repository(
        settings.model_repository,
        TensorFlowLoader(threads),
        settings.models,
        every_version=settings.versions == "all",
    )


def create_worker_app() -> KilnApp:
    """What gunicorn calls in each worker: the application for the environment's settings."""
    return create_app(Settings.from_env(os.environ), fleet=Fleet(Path(os.environ[FOLDER_VARIABLE])))


def start_loading(app: KilnApp, is_stopping: Callable[[], bool]) -> None:
    """Loads the models in a thread; when all workers have, one of them says so on standard output.

    Args:
        app: the worker's application.
        is_stopping: whether the worker was told to end.
    """
    app.readiness.is_stopping = is_stopping

    def when_loaded() -> None:
        loaded = app.repository.loaded()
        app.measures.models_loaded.set(len(loaded))
        for version in loaded:
            app.measures.load_timestamp.labels(version.name, str(version.number)).set(version.loaded_at)
        if app.readiness.settle() and not is_stopping():
            announce(app.settings, app.repository)

    app.repository.load_in_background(when_loaded)
