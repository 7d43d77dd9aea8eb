"""Where the parts meet: settings, models, routes, errors, metrics and pages become one Flask application."""

import os

from service import pages
from service.auth import Access
from service.engine.client import connect
from service.engine.repository import Repository
from service.protocols import health, open_inference, tensorflow_serving
from service.protocols.access import Guard
from service.protocols.cors import allow_origins
from service.protocols.failures import handle_failures
from service.protocols.paths import LabelConverter, ModelConverter, VersionConverter
from service.settings import Settings
from service.web import KilnApp


def create_app(settings: Settings, repository: Repository) -> KilnApp:
    """Makes the application.

    Args:
        settings: see `Settings`.
        repository: the models.
    """
    app = KilnApp(settings, repository, Guard(Access(settings.token_file)))
    app.url_map.converters |= {"model": ModelConverter, "version": VersionConverter, "label": LabelConverter}
    app.url_map.merge_slashes = False  # a wrong path is refused, not mended
    handle_failures(app, settings.max_body_bytes)
    if settings.cors:
        allow_origins(app)
    app.register_blueprint(tensorflow_serving.create_blueprint(repository, settings))
    app.register_blueprint(open_inference.create_blueprint(repository, settings))
    app.register_blueprint(health.create_blueprint(app.readiness, app.measures))
    app.register_blueprint(pages.create_blueprint(settings, repository))
    return app


def create_worker_app() -> KilnApp:
    """What gunicorn calls in each worker: the application for the environment's settings."""
    return create_app(Settings.from_env(os.environ), Repository(connect(os.environ)))
