"""Where the parts meet: settings, models, routes, errors, metrics and pages become one Flask application."""

import os
from pathlib import Path

from service import pages
from service.auth import Access
from service.engine.ipc.client import connect
from service.engine.repository import Repository
from service.http import health
from service.http.access import Authorizer
from service.http.application import KilnApp
from service.http.body_budget import BodyBudget
from service.http.cors import allow_origins
from service.http.error_handlers import register_error_handlers
from service.http.routing import LabelConverter, ModelConverter, VersionConverter
from service.metrics import FOLDER_VARIABLE
from service.protocols.open_inference import routes as open_inference
from service.protocols.tensorflow_serving import routes as tensorflow_serving
from service.settings import Settings

LOCK = "large.lock"


def create_app(settings: Settings, repository: Repository, lock_file: Path | None = None) -> KilnApp:
    """Makes the application.

    Args:
        settings: see `Settings`.
        repository: the models.
        lock_file: where the processes of a service agree on who answers a large body; None for one process.
    """
    app = create_admin_app(settings, repository, lock_file)
    if settings.cors:
        allow_origins(app)
    app.register_blueprint(tensorflow_serving.create_blueprint(repository, settings))
    app.register_blueprint(open_inference.create_blueprint(repository, settings))
    app.register_blueprint(pages.create_blueprint(settings, repository))
    return app


def create_admin_app(settings: Settings, repository: Repository, lock_file: Path | None = None) -> KilnApp:
    """Makes an application with probes and metrics only; see `create_app`."""
    budget = BodyBudget(settings.max_body_bytes, lock_file)
    app = KilnApp(settings, repository, Authorizer(Access(settings.token_file)), budget)
    app.url_map.converters |= {"model": ModelConverter, "version": VersionConverter, "label": LabelConverter}
    app.url_map.merge_slashes = False  # a wrong path is refused, not corrected
    register_error_handlers(app, settings.max_body_bytes)
    app.register_blueprint(health.create_blueprint(app.readiness, app.measures))
    return app


def create_worker_app() -> KilnApp:
    """What gunicorn calls in each worker: the application for the environment's settings."""
    lock_file = Path(os.environ[FOLDER_VARIABLE]) / LOCK
    return create_app(Settings.from_env(os.environ), Repository(connect(os.environ)), lock_file)


def create_admin_worker_app() -> KilnApp:
    """The same for the worker behind `KILN_ADMIN_PORT`."""
    return create_admin_app(Settings.from_env(os.environ), Repository(connect(os.environ)))
