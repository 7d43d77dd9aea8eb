# ruff: noqa: N999
"""gunicorn's configuration; the supervisor starts it with this file."""

import os
from pathlib import Path
from typing import Any

from service.errors import InvalidSettings
from service.metrics import FOLDER_VARIABLE
from service.process_setup import end_with_parent, prefer_throughput
from service.settings import Settings, bracketed

try:
    settings = Settings.from_env(os.environ)
except InvalidSettings as error:
    raise SystemExit(str(error)) from None
if FOLDER_VARIABLE not in os.environ:
    raise SystemExit("Start the service with `python -m service`: the HTTP workers need the engine's process.")

wsgi_app = "service.app:create_worker_app()"
bind = f"{bracketed(settings.host)}:{settings.port}"
workers = settings.workers
worker_class = "service.processes.gunicorn_worker.Worker"
# Connections of a worker that are open at a time; one costs a greenlet and 20 kB.
worker_connections = 10_000
# A header may have 16 kB, and a name.
limit_request_field_size = 17 * 1024
preload_app = False
# A heartbeat that stops for so long means a worker that hangs.
timeout = 120
graceful_timeout = settings.graceful_timeout_seconds
# Longer than the 60 s for which proxies and load balancers usually keep a connection, so that they close it first.
keepalive = 75
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
# It would be made under $HOME, which a container with a read-only root refuses.
control_socket_disable = True
logger_class = "service.processes.gunicorn_logger.GunicornLogger"
loglevel = settings.log_level


def on_starting(_server: Any) -> None:
    """Sees to it that nothing listens on when the supervisor was killed."""
    end_with_parent()
    prefer_throughput()


def post_worker_init(worker: Any) -> None:
    """Lets probes know when the worker is told to end."""
    worker.wsgi.readiness.is_stopping = lambda: not worker.alive


def child_exit(_server: Any, worker: Any) -> None:
    """Takes a dead worker's metrics files away; what it counted stays."""
    from service.metrics import fold_dead_worker

    fold_dead_worker(worker.pid, Path(os.environ[FOLDER_VARIABLE]))
