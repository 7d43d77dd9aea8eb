"""Fixtures of the tests of gRPC."""

import pytest


@pytest.fixture
def folder(tmp_path, make_version):
    """A model repository with the model `echo`; modules that need others have a `folder` of their own."""
    folder = tmp_path / "models"
    make_version(folder / "echo", 1)
    return folder
