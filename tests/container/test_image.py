"""The service image, built by buildah and run as a cluster runs it: numeric user, read-only root, no capabilities."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
IMAGE = "kiln-service-test"
READY_SECONDS = 120


@dataclass
class Image:
    """A built image: the variables it was built with, where its files are mounted, what `docker inspect` says of it."""

    build: dict[str, str]
    root: Path
    config: dict

    def environment(self, **changes: str) -> list[str]:
        return [*self.config["Env"], *(f"{name}={value}" for name, value in changes.items())]

    def command(self, arguments: list[str], models: Path, **changes: str) -> list[str]:
        place = [str(self.root), str(models), self.config["User"], self.config["WorkingDir"]]
        return [str(HERE / "run.sh"), *place, *self.environment(**changes), *arguments]

    def run(self, *arguments: str, models: Path, **changes: str) -> subprocess.CompletedProcess:
        command = self.command(list(arguments), models, **changes)
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def buildah(*arguments: str) -> str:
    return subprocess.run(["buildah", *arguments], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def image():
    # The fixture that cleans the environment for each test works after this one.
    build = dict(os.environ)
    base = build.get("KILN_BASE_IMAGE")
    if os.geteuid() != 0 or shutil.which("buildah") is None:
        pytest.skip("needs root and buildah: apt-get install buildah")
    if base and subprocess.run(["buildah", "inspect", "--type", "image", base], capture_output=True).returncode:
        pytest.skip(f"the base image {base}, named by KILN_BASE_IMAGE, is not here")
    built = subprocess.run([HERE / "build.sh", "service", IMAGE], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
    container = buildah("from", "--pull-never", IMAGE)
    try:
        config = json.loads(buildah("inspect", "--type", "image", IMAGE))["Docker"]["config"]
        yield Image(build, Path(buildah("mount", container)), config)
    finally:
        buildah("umount", container)
        buildah("rm", container)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A model repository with one model, which doubles its input."""
    import tensorflow as tf

    class Double(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="features")])
        def __call__(self, features):
            return {"prediction": features * 2.0}

    folder = tmp_path_factory.mktemp("models")
    module = Double()
    tf.saved_model.save(module, str(folder / "double" / "1"), signatures=module.__call__)
    for path in [*folder.parents[:2], folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


@pytest.fixture(scope="module")
def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def server(image, models, port):
    """The running container, once it is ready."""
    settings = {"KILN_HOST": "127.0.0.1", "KILN_PORT": str(port), "KILN_LOG_FORMAT": "json"}
    command = image.command(image.config["Entrypoint"], models, **settings)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        deadline = time.monotonic() + READY_SECONDS
        while ask(port, "/v2/health/ready")[0] != 200:
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < deadline, "not ready in time"
            time.sleep(0.5)
        yield process
    finally:
        process.kill()
        process.communicate(timeout=30)


def ask(port: int, path: str, body: dict | None = None) -> tuple[int, bytes]:
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", data=data, timeout=10) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except OSError:
        return 0, b""


def first_process_in_container(server: subprocess.Popen) -> int:
    """The process id, seen from outside, of process 1 inside."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    return int(children[0])


def test_the_image_says_how_it_is_run(image):
    assert image.config["User"] == "65532:65532"
    assert image.config["ExposedPorts"] == {"8080/tcp": {}}
    assert image.config["Healthcheck"]["Test"][:2] == ["CMD", "python"]


@pytest.mark.parametrize("name", ["pip", "gcc", "cc", "make", "git", "dvc", "uv", "wheel"])
def test_no_tool_that_the_service_does_not_need_is_in_the_image(image, name):
    folders = [image.root / folder for folder in ("opt/kiln/bin", "usr/local/bin", "usr/bin")]
    assert [path for folder in folders for path in folder.glob(name)] == []


def test_the_image_holds_the_service_and_nothing_else_of_the_project(image):
    assert [path.name for path in (image.root / "srv/kiln").iterdir()] == ["service"]
    assert list((image.root / "models").iterdir()) == []


def test_packages_of_the_pipeline_and_for_building_are_not_in_the_image(image):
    installed = {path.name for path in (image.root / "opt/kiln/lib/python3.11/site-packages").iterdir()}
    assert {"flask", "tensorflow", "gunicorn"} <= installed
    assert not {"dvc", "pandas", "sklearn", "matplotlib", "pytest", "pip", "setuptools", "clang"} & installed


def test_the_command_is_an_unprivileged_first_process(image, models):
    process = image.run("sh", "-c", "id -u; echo $$; cat /proc/self/status", models=models)
    assert process.stdout.splitlines()[:2] == ["65532", "1"]
    assert "CapBnd:\t0000000000000000" in process.stdout
    assert "NoNewPrivs:\t1" in process.stdout


@pytest.mark.parametrize("folder", ["/", "/srv/kiln", "/models", "/opt/kiln", "/var/tmp"])
def test_nothing_but_the_temporary_folder_can_be_written(image, models, folder):
    process = image.run("sh", "-c", f"touch /tmp/new && touch {folder}/new", models=models)
    assert process.returncode == 1
    assert process.stderr.endswith("Read-only file system\n")


def test_a_wrong_setting_ends_the_container_with_a_sentence(image, models):
    process = image.run(*image.config["Entrypoint"], models=models, KILN_WORKERS="many")
    assert process.returncode == 2
    assert "KILN_WORKERS is 'many'" in process.stderr


@pytest.mark.usefixtures("server")
def test_the_container_becomes_ready_and_predicts(port):
    status, body = ask(port, "/v1/models/double:predict", {"instances": [[1.5, 2.0], [0.0, -3.0]]})
    assert (status, json.loads(body)) == (200, {"predictions": [[3.0, 4.0], [0.0, -6.0]]})


@pytest.mark.usefixtures("server")
def test_the_container_counts_its_requests(port):
    status, body = ask(port, "/metrics")
    assert status == 200
    assert b"kiln_requests_total" in body


@pytest.mark.usefixtures("server")
def test_the_health_check_passes(image, models, port):
    check = image.config["Healthcheck"]["Test"][1:]
    assert image.run(*check, models=models, KILN_PORT=str(port)).returncode == 0


def test_the_health_check_fails_without_a_server(image, models):
    check = image.config["Healthcheck"]["Test"][1:]
    assert image.run(*check, models=models, KILN_PORT="1").returncode != 0


def test_sigterm_ends_the_container_well(server):
    os.kill(first_process_in_container(server), signal.SIGTERM)
    assert server.wait(timeout=40) == 0


def test_models_can_be_baked_into_the_image(image, models, tmp_path):
    """The build argument names a folder of the context, here of a small one with the same Dockerfile."""
    root = HERE.parent.parent
    for name in ("Dockerfile", ".dockerignore"):
        shutil.copy(root / name, tmp_path / name)
    shutil.copytree(root / "requirements", tmp_path / "requirements")
    shutil.copytree(root / "service", tmp_path / "service", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(models, tmp_path / "models")
    shutil.copytree(HERE, tmp_path / "tests" / "container")
    command = [tmp_path / "tests" / "container" / "build.sh", "service", f"{IMAGE}-baked"]
    subprocess.run(command, check=True, capture_output=True, env={**image.build, "MODELS": "models"})
    container = buildah("from", "--pull-never", f"{IMAGE}-baked")
    try:
        baked = Path(buildah("mount", container)) / "models" / "double" / "1" / "saved_model.pb"
        assert baked.read_bytes() == (models / "double" / "1" / "saved_model.pb").read_bytes()
        assert baked.stat().st_mode & 0o777 == 0o644
    finally:
        buildah("umount", container)
        buildah("rm", container)
        buildah("rmi", f"{IMAGE}-baked")
