"""Reports of the real service where a test fails, and what tests of this folder share."""

import os
from pathlib import Path

import pytest

from tests.end_to_end import service, zoo


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):  # noqa: ARG001
    """Adds the end of the log of every service that runs to the report of a test that failed."""
    report = yield
    if report.failed:
        for running in service.running:
            lines = running.log().splitlines()[-service.SHOWN_LINES :]
            report.sections.append((f"log of the service at {running.address}", "\n".join(lines)))
    return report


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Path:
    """The folder with the SavedModels of `zoo.build`; processes of one session share it.

    Where the variable END_TO_END_ZOO names a folder, they are built there and kept for the next session.
    """
    if "END_TO_END_ZOO" in os.environ:
        return zoo.build(Path(os.environ["END_TO_END_ZOO"]))
    base = tmp_path_factory.getbasetemp()
    return zoo.build((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "zoo")
