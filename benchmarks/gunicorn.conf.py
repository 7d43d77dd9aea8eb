# ruff: noqa: N999
"""gunicorn's configuration of the floor and the plain handler: Kiln's own, on gunicorn's own gevent worker."""

import runpy
from pathlib import Path

from gunicorn.config import Config

OWN = {"wsgi_app", "logger_class", "loglevel", "worker_class"}

worker_class = "gevent"

loglevel = "warning"
for name, value in runpy.run_path(
    str(Path(__file__).parent.parent / "service" / "processes" / "gunicorn.conf.py")
).items():
    if name in Config().settings and name not in OWN and not callable(value):
        globals()[name] = value
