# ruff: noqa: N999
"""gunicorn's configuration; `python -m service` starts it with this file.

TensorFlow does not survive a fork, so the application is made and the models are loaded in each worker, in a thread:
the port and `/v2/health/live` answer at once.
"""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from service.errors import InvalidSettings
from service.fleet import FOLDER_VARIABLE, STATES, Fleet
from service.settings import Settings, bracketed

try:
    settings = Settings.from_env(os.environ)
except InvalidSettings as error:
    raise SystemExit(str(error)) from None

# For prometheus_client, which must find it when it is imported, and for `Fleet`. After SIGHUP this file is read again
# and finds the folder that it made.
PREFIX = "kiln-workers-"
try:
    if FOLDER_VARIABLE not in os.environ:
        os.environ[FOLDER_VARIABLE] = tempfile.mkdtemp(prefix=PREFIX)
except OSError as error:
    sentence = f"The service needs a folder that it can write to, such as /tmp, or as TMPDIR names it: {error}."
    raise SystemExit(sentence) from None
folder = Path(os.environ[FOLDER_VARIABLE])
fleet = Fleet(folder)

wsgi_app = "service.app:create_worker_app()"
bind = f"{bracketed(settings.host)}:{settings.port}"
workers = settings.workers
worker_class = "service.gunicorn_worker.Worker"
threads = settings.threads
preload_app = False
# A heartbeat that stops for so long means a worker that hangs; importing TensorFlow takes seconds of it on a busy CPU.
timeout = 120
graceful_timeout = settings.graceful_timeout_seconds
# Longer than the 60 s for which proxies and load balancers usually keep a connection, so that they close it first.
keepalive = 75
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
# It would be made under $HOME, which a container with a read-only root refuses.
control_socket_disable = True
logger_class = "service.gunicorn_logger.GunicornLogger"
loglevel = settings.log_level


def on_starting(_server: Any) -> None:
    """Empties the folder: what another run left there is not ours to count."""
    folder.mkdir(parents=True, exist_ok=True)
    for pattern in ("*.db", "announced", *(f"*.{state}" for state in STATES)):
        for path in folder.glob(pattern):
            path.unlink()


def post_fork(_server: Any, worker: Any) -> None:
    """Counts the worker among those to wait for."""
    fleet.join(worker.pid)


def post_worker_init(worker: Any) -> None:
    """Starts to load the models, now that the application can answer probes."""
    from service.app import start_loading

    start_loading(worker.wsgi, is_stopping=lambda: not worker.alive)


def child_exit(_server: Any, worker: Any) -> None:
    """Takes a dead worker's marks and metrics files away; what it counted stays."""
    from service.metrics import fold_dead_worker

    fleet.leave(worker.pid)
    fold_dead_worker(worker.pid, folder)


def on_exit(_server: Any) -> None:
    """Leaves nothing behind, but for a folder that somebody else made."""
    if folder.name.startswith(PREFIX):
        shutil.rmtree(folder, ignore_errors=True)
