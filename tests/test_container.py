"""What the Dockerfile promises, read from its text: `make test-image` builds and runs it."""

import ast
import fnmatch
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from service.settings import Settings, variable_name

ROOT = Path(__file__).parent.parent


def instructions() -> list[tuple[str, str]]:
    """The instructions in order, each with its arguments on one line."""
    text = re.sub(r"(?m)^\s*#.*\n", "", (ROOT / "Dockerfile").read_text())
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line.strip()]


def stages() -> dict[str, list[tuple[str, str]]]:
    found = {}
    for name, arguments in instructions():
        if name == "FROM":
            found[arguments.split(" AS ")[1]] = []
        elif found:
            found[list(found)[-1]].append((name, arguments))
    return found


def arguments_of(stage: str, name: str) -> list[str]:
    return [arguments for instruction, arguments in stages()[stage] if instruction == name]


def environment(stage: str) -> dict[str, str]:
    words = shlex.split(" ".join(arguments_of(stage, "ENV")))
    return dict(word.split("=", 1) for word in words)


def copied() -> list[str]:
    """Every path that some stage takes from the context."""
    lines = [arguments for name, arguments in instructions() if name == "COPY" and "--from=" not in arguments]
    return [source for line in lines for source in line.split()[:-1]]


def ignored(path: str) -> bool:
    """Whether .dockerignore keeps a path of the checkout out of the context."""
    verdict = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.strip().removeprefix("!")
        if not pattern or pattern.startswith("#"):
            continue
        parents = [path, *(parent.as_posix() for parent in Path(path).parents)]
        if any(fnmatch.fnmatch(name, pattern.removeprefix("**/")) for name in parents):
            verdict = not line.startswith("!")
    return verdict


@pytest.mark.parametrize("stage", ["service", "trainer"])
def test_an_image_runs_as_a_user_that_is_a_number_and_not_root(stage):
    assert arguments_of(stage, "USER") == ["65532:65532"]


@pytest.mark.parametrize("stage", ["service", "trainer"])
def test_the_entry_point_gets_the_signals_itself(stage):
    [entry_point] = arguments_of(stage, "ENTRYPOINT")
    assert isinstance(ast.literal_eval(entry_point), list)


def test_every_stage_starts_from_the_base_image_that_can_be_named():
    images = [arguments.split(" AS ")[0] for name, arguments in instructions() if name == "FROM"]
    assert set(images) == {"${BASE_IMAGE}"}
    assert instructions()[0] == ("ARG", "BASE_IMAGE=docker.io/library/python:3.11-slim-bookworm")


def test_the_service_image_takes_its_settings_from_variables_that_exist():
    known = {variable_name(field) for field in Settings.__dataclass_fields__}
    given = {name: value for name, value in environment("service").items() if name.startswith("KILN_")}
    assert set(given) <= known
    settings = Settings.from_env(given)
    assert (settings.host, str(settings.model_repository)) == ("0.0.0.0", "/models")
    assert arguments_of("service", "EXPOSE") == [str(settings.port)]


def test_the_health_check_asks_whether_the_service_is_ready():
    [check] = arguments_of("service", "HEALTHCHECK")
    _, command = check.split(" CMD ")
    program = ast.literal_eval(command)
    assert program[:2] == ["python", "-c"]
    compile(program[2], "HEALTHCHECK", "exec")
    assert "/v2/health/ready" in program[2]


def test_the_service_image_has_no_code_of_the_pipeline():
    of_service = [arguments for stage in ("service", "service-files") for arguments in arguments_of(stage, "COPY")]
    assert not [line for line in of_service if re.search(r"\b(pipeline|tests|dvc|params)\b", line)]


@pytest.mark.parametrize("stage", ["service-packages", "trainer-packages"])
def test_packages_are_installed_with_hashes_only(stage):
    [install] = [arguments for arguments in arguments_of(stage, "RUN") if "install" in arguments]
    assert {"--require-hashes", "--no-deps", "--no-cache-dir"} <= set(install.split())


def test_what_the_images_copy_is_in_the_context():
    for source in copied():
        path = source.replace("${REQUIREMENTS}", "gpu").replace("${MODELS:-requirements}", "requirements").rstrip("*")
        assert (ROOT / path).exists() or source.endswith("*"), path
        files = [file.relative_to(ROOT).as_posix() for file in sorted((ROOT / path).glob("*.*"))] or [path]
        assert any(not ignored(file) for file in files), f"{path} is copied, but .dockerignore keeps it out"


@pytest.mark.parametrize("path", [".git", ".venv", "data", "runs", "exports", ".dvc/cache", "tests", "README.md"])
def test_what_no_image_needs_is_kept_out_of_the_context(path):
    assert ignored(path)


def test_published_models_can_be_baked_in_without_the_half_written():
    assert not ignored("models/digits/1/saved_model.pb")
    assert ignored("models/digits/.2-half-written")
    assert ignored("models/.staging")


@pytest.mark.parametrize("script", ["tests/container/build.sh", "tests/container/run.sh", ".ci/run"])
def test_the_scripts_are_executable_and_parse(script):
    path = ROOT / script
    assert path.stat().st_mode & 0o111
    shell = "bash" if path.read_text().startswith("#!/usr/bin/env bash") else "sh"
    subprocess.run([shell, "-n", path], check=True)
