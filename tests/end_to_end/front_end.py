"""The real service with small models, as the tests of its front end need it: raw sockets, memory, counters."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import requests

ROOT = Path(__file__).parent.parent.parent
START_SECONDS = 120
ROW = {"instances": [[1.0, 2.5, 3.0]]}
GOOD = {"predictions": [[6.5]]}
# 200 kB, so that it takes part in the budget of bodies.
LONG = json.dumps({"instances": [[1.0] * 5000] * 10}).encode()
WIDE_ROWS = 1500


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def save_models(folder):
    """`tiny` adds three numbers, `long` any number; an answer of `wide` is a thousand times as long as its request."""
    import tensorflow as tf

    class Sum(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="features")])
        def __call__(self, features):
            return {"prediction": tf.reduce_sum(features, axis=1, keepdims=True)}

    class Wide(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
        def __call__(self, x):
            return {"e": tf.expand_dims(x, 1) + tf.zeros([1, 1024])}

    class Long(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32, name="x")])
        def __call__(self, x):
            return {"sum": tf.reduce_sum(x, axis=1)}

    for name, module in (("tiny", Sum()), ("wide", Wide()), ("long", Long())):
        tf.saved_model.save(module, str(folder / name / "1"), signatures={"serving_default": module.__call__})


class Service:
    """A running service."""

    def __init__(self, folder, models, **settings):
        self.port, self.admin_port = free_port(), free_port()
        self.address, self.admin = (f"http://127.0.0.1:{port}" for port in (self.port, self.admin_port))
        self.log = folder / "service.log"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("KILN_", "PROMETHEUS_"))}
        given = {
            "port": self.port, "admin_port": self.admin_port, "model_repository": models, "log_format": "json"
        } | settings  # fmt: skip
        variables = {f"KILN_{name.upper()}": str(value) for name, value in given.items()}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "service"], cwd=ROOT, env=kept | variables, stdout=log, stderr=log
            )

    def wait_until_ready(self):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with suppress(requests.ConnectionError):
                if self.get("/v2/health/ready").status_code == 200:
                    return
            time.sleep(0.1)
        pytest.fail(f"the service did not become ready: {self.log.read_text()[-3000:]}")

    def get(self, path, address=None):
        return requests.get((address or self.address) + path, timeout=60)

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def refusals(self, reason):
        text = self.get("/metrics", self.admin).text
        return float(re.search(rf'kiln_refusals_total{{reason="{reason}"}} (\S+)', text)[1])

    def processes(self):
        """Ids of the service's processes."""
        parents = {}
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                parents[int(path.name)] = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
        found = [self.process.pid]
        for parent in found:
            found += [child for child, its in parents.items() if its == parent]
        return found

    def workers(self):
        """Ids of the HTTP workers."""
        masters = [pid for pid in self.processes() if "gunicorn" in command(pid) and "--bind" not in command(pid)]
        return masters[1:]

    def memory(self):
        """Bytes of all processes but the engine's, what they share counted once."""
        total = 0
        for pid in self.processes():
            if "service.engine" in command(pid):
                continue
            with suppress(OSError):
                total += int(re.search(r"Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text())[1])
        return total * 1024


def command(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


@contextmanager
def running(folder, models, **settings):
    service = Service(folder, models, **settings)
    try:
        service.wait_until_ready()
        yield service
    finally:
        service.process.terminate()
        try:
            service.process.wait(60)
        except subprocess.TimeoutExpired:
            service.process.kill()
            service.process.wait()


def head(length, path="/v1/models/tiny:predict"):
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode()


WIDE = json.dumps({"instances": [1.5] * WIDE_ROWS}).encode()
WIDE_REQUEST = head(len(WIDE), "/v1/models/wide:predict") + WIDE
