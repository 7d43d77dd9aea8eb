"""What `make run` says before it does anything long: a port that is taken, a Python that is missing."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Writes down how it was called, and does what the real one does where it is asked to check the port.
STUB = """#!/bin/sh
echo "$(basename "$0") $*" >> calls.txt
case "$*" in *--check-port*) exec "{python}" "$@" ;; esac
"""


@pytest.fixture
def folder(tmp_path):
    """A project whose `.venv` seems to be installed; its programs only write down how they were called."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("python", "dvc"):
        (programs / name).write_text(STUB.format(python=sys.executable))
        (programs / name).chmod(0o755)
    (tmp_path / ".venv" / "installed-dev").touch()
    return tmp_path


def make(folder, *arguments, **variables):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KILN_", "MAKE", "PYTHON"))}
    environment = kept | {"PYTHONPATH": str(ROOT)} | variables
    return subprocess.run(
        ["make", *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def calls(folder):
    path = folder / "calls.txt"
    return path.read_text().splitlines() if path.exists() else []


def test_a_port_that_is_taken_is_said_before_anything_is_trained(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = make(folder, "run", KILN_PORT=str(port))
    assert result.returncode != 0
    assert f"Cannot listen on 127.0.0.1 port {port}: Address already in use. Set KILN_PORT" in result.stderr
    assert calls(folder) == ["python -m service --check-port"]


def test_with_a_free_port_models_are_trained_and_then_served(folder):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    result = make(folder, "run", f"KILN_PORT={port}")
    assert result.returncode == 0, result.stderr
    assert [call.split(" publish")[0] for call in calls(folder)] == [
        "python -m service --check-port", "python -m pipeline.mend", "dvc repro", "python -m service",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("python", "what"),
    [
        ("", "no Python is on PATH"),
        ("python3.99", "there is no program 'python3.99'"),
        ("/nowhere/python3.11", "there is no program '/nowhere/python3.11'"),
    ],
)
def test_a_python_that_is_missing_is_a_sentence(folder, python, what):
    (folder / ".venv" / "installed-dev").unlink()
    result = make(folder, "run", f"PYTHON={python}")
    assert result.returncode != 0
    sentence, *rest = result.stderr.splitlines()
    assert sentence == (f"Kiln needs Python 3.11, but {what}. Install it, or name it: make PYTHON=/path/to/python3.11")
    assert all(line.startswith("make: ***") for line in rest), rest
    assert calls(folder) == []
