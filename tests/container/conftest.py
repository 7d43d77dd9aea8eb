import pytest


def pytest_addoption(parser):
    parser.addoption("--container", action="store_true", help="build the service image with buildah and run it")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--container", default=False):
        return
    skip = pytest.mark.skip(reason="builds an image, which takes minutes; `make test-image` runs it")
    for item in items:
        if "tests/container/" in item.path.as_posix():
            item.add_marker(skip)
