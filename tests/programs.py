"""Programs from Debian that tests run beside the service."""

import os
import shutil

import pytest


def require_programs(*names: str) -> None:
    """Skips the test where a program is missing; fails it where CI runs, which installs all (`.ci/run`)."""
    missing = [name for name in names if shutil.which(name) is None]
    if missing and os.environ.get("CI"):
        pytest.fail(f"{', '.join(missing)} missing, which .ci/run must install")
    if missing:
        pytest.skip(f"needs {', '.join(missing)}; install what .ci/run installs to run this test too")
