"""The rules of ARCHITECTURE.md, checked by walking the syntax trees and the pipeline's own files."""

import ast
import dataclasses
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pipeline.params import ComparisonParams, DatasetParams, ModelParams, load_params
from service import VERSION
from service.settings import NOT_OURS, Settings, show_default, variable_name

ROOT = Path(__file__).parent.parent
STAGES = ("fetch", "prepare", "train", "evaluate", "export", "publish")
SOURCES = sorted(path for folder in ("pipeline", "service", "studies") for path in (ROOT / folder).rglob("*.py"))
PIPELINE = [path for path in SOURCES if path.is_relative_to(ROOT / "pipeline")]
SERVICE = [path for path in SOURCES if path.is_relative_to(ROOT / "service")]
STUDIES = [path for path in SOURCES if path.is_relative_to(ROOT / "studies")]


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path, *, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else ast.walk(tree)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            pytest.fail(f"{relative(path)}:{node.lineno}: relative import; name the module in full")
    return found


def roots(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def module_file(name: str) -> Path | None:
    base = ROOT.joinpath(*name.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def closure(path: Path) -> set[Path]:
    """The file and every file of the project that it imports, directly or not."""
    found, queue = set(), [path]
    while queue:
        current = queue.pop()
        if current in found:
            continue
        found.add(current)
        queue += [file for name in imports(current) if (file := module_file(name))]
    return found


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", [*PIPELINE, *SERVICE], ids=relative)
def test_the_halves_never_import_each_other(path):
    other = "service" if path in PIPELINE else "pipeline"
    assert not {other, "studies"} & roots(imports(path)), relative(path)


@pytest.mark.parametrize("path", STUDIES, ids=relative)
def test_studies_import_the_pipeline_only(path):
    assert "service" not in roots(imports(path))
    assert "tensorflow" not in roots(imports(path)), "studies train through the pipeline"


@pytest.mark.parametrize("stage", STAGES)
def test_stages_never_import_stages(stage):
    others = {f"pipeline.{name}" for name in STAGES if name != stage}
    assert not others & imports(ROOT / "pipeline" / f"{stage}.py")


# The service's packages, each of which imports only those before it. The modules of `service` and `service.engine`
# themselves come first, but for those that put the parts together, which are named.
LAYERS = (
    "service",
    "service.engine",
    "service.engine.tensorflow",
    "service.engine.ipc",
    "service.engine.batching",
    "service.engine.sources",
    "service.engine.saved_model",
    "service.engine.isolation",
    "service.engine.versions",
    "service.engine.fleet",
    "service.engine.local",
    "service.engine.__main__",
    "service.codecs",
    "service.codecs.json",
    "service.codecs.open_inference",
    "service.http",
    "service.protocols",
    "service.protocols.tensorflow_serving",
    "service.protocols.open_inference",
    "service.protocols.grpc",
    "service.openapi",
    "service.pages",
    "service.app",
    "service.processes",
    "service.__main__",
)


def layer(module: str) -> str:
    """The entry of `LAYERS` that a module belongs to."""
    if module in LAYERS:
        return module
    package = module.rpartition(".")[0]
    assert package in LAYERS, f"{module} is in no layer"
    return package


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("path", SERVICE, ids=relative)
def test_packages_of_the_service_import_only_those_below_them(path):
    if path.name == "gunicorn.conf.py":
        return
    own = layer(module_name(path))
    files = {module_file(name) for name in imports(path)} & set(SERVICE)
    for imported in {module_name(file) for file in files} - {"service", "service.engine"}:
        other = layer(imported)
        assert LAYERS.index(other) <= LAYERS.index(own), f"{relative(path)} imports {imported}"


def test_packages_of_the_service_are_small_and_say_what_they_are():
    for folder in {path.parent for path in SERVICE}:
        modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(modules) <= 16, relative(folder)
        docstring = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
        assert docstring, relative(folder)


@pytest.mark.parametrize("folder", ["engine", "codecs"])
def test_engine_and_codecs_know_nothing_of_flask(folder):
    for path in (ROOT / "service" / folder).rglob("*.py"):
        assert not {"flask", "werkzeug"} & roots(imports(path)), relative(path)


def test_only_the_engine_imports_tensorflow_in_the_service():
    allowed = {"service/engine"}
    for path in SERVICE:
        if {"tensorflow", "tensorflow_serving", "keras"} & roots(imports(path)):
            assert any(relative(path).startswith(prefix) for prefix in allowed), relative(path)


@pytest.mark.parametrize("path", SERVICE, ids=relative)
def test_no_service_module_imports_tensorflow_when_it_is_imported(path):
    assert "tensorflow" not in roots(imports(path, top_level_only=True))


def test_only_the_export_needs_tensorflow_in_the_pipeline():
    reached = closure(ROOT / "pipeline" / "export.py")
    for path in PIPELINE:
        if path not in reached:
            assert "tensorflow" not in roots(imports(path, top_level_only=True)), relative(path)


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_no_work_at_import(path):
    forbidden = {"environ", "getenv", "basicConfig", "set_random_seed", "seed", "enable_op_determinism"}
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if path.name in ("gunicorn.conf.py", "__main__.py"):
        return
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            continue
        if isinstance(statement, ast.If) and "__name__" in ast.dump(statement.test):
            continue
        names = {node.attr for node in ast.walk(statement) if isinstance(node, ast.Attribute)}
        assert not names & forbidden, f"{relative(path)}:{statement.lineno}"


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_modules_and_functions_stay_small(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300, relative(path)
    for function in functions(path):
        length = function.end_lineno - function.lineno + 1
        assert length <= 60, f"{relative(path)}: {function.name} has {length} lines"
        arguments = function.args.posonlyargs + function.args.args + function.args.kwonlyargs
        count = len([argument for argument in arguments if argument.arg not in ("self", "cls")])
        assert count <= 6, f"{relative(path)}: {function.name} takes {count} arguments"


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_no_module_is_named_for_nothing(path):
    assert path.stem not in {"utils", "util", "helpers", "helper", "common", "misc"}


def blocks() -> dict[str, dict]:
    """The stages of dvc.yaml by name."""
    return {name: block["do"] for name, block in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].items()}


@pytest.mark.parametrize("stage", blocks())
def test_each_stage_depends_on_the_code_that_it_runs(stage):
    """A stage whose code changed must run again, and one whose code did not change must not."""
    block = blocks()[stage]
    module = block["cmd"].split()[2]
    listed = {dep for dep in block["deps"] if dep.startswith("pipeline/")}
    needed = {relative(path) for path in closure(ROOT / f"{module.replace('.', '/')}.py")}
    needed -= {"pipeline/__init__.py", "pipeline/datasets/__init__.py"}
    assert listed == needed, f"stage {stage}: missing {needed - listed}, superfluous {listed - needed}"


@pytest.mark.parametrize("stage", ["run", "report"])
def test_the_studies_depend_on_their_own_code(stage):
    """Not on the pipeline's: a result belongs to a configuration and to data."""
    block = yaml.safe_load((ROOT / "studies" / "dvc.yaml").read_text())["stages"][stage]
    needed = {relative(path) for path in closure(ROOT / "studies" / f"{stage}.py") if path in STUDIES}
    listed = {dep for dep in block["deps"] if dep.startswith("studies/") and dep.endswith(".py")}
    assert listed == needed - {"studies/__init__.py"}


@pytest.mark.parametrize("stage", ["train", "evaluate"])
def test_comparisons_run_as_models_do(stage):
    model, comparison = blocks()[stage], blocks()[f"{stage}_comparison"]
    for key in ("cmd", "deps", "outs"):
        assert comparison[key] == model[key]
    assert comparison["params"] == [entry.replace("models.", "comparisons.") for entry in model["params"]]


def test_the_parameters_in_the_pipeline_file_exist():
    sections = {"datasets": DatasetParams, "models": ModelParams, "comparisons": ComparisonParams}
    for name, block in blocks().items():
        for entry in block.get("params", []):
            kind, key, *rest = entry.split(".")
            assert key == "${key}", f"{name}: {entry}"
            assert not rest or rest[0] in sections[kind].model_fields, f"{name}: {entry}"


def test_every_section_of_a_model_is_read_by_some_stage():
    entries = {entry for block in blocks().values() for entry in block.get("params", [])}
    for field in ModelParams.model_fields:
        assert f"models.${{key}}.{field}" in entries, f"no stage depends on {field}"


def test_the_parameter_file_is_valid():
    params = load_params(ROOT / "params.yaml")
    assert set(params.models) == {
        "digits", "breast_cancer", "diabetes", "mnist_mlp", "mnist_cnn", "mnist_rnn", "fashion_mnist",
        "wine_alcohol", "seizure",
    }  # fmt: skip


def test_the_readme_lists_every_setting_with_its_default():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for entry in dataclasses.fields(Settings):
        default = show_default(entry)
        shown = f"`{default}`" if default else ""
        row = f"| `{variable_name(entry.name)}` | {shown} | {entry.metadata['description']} |".replace("  ", " ")
        assert row in readme, row
    for name in NOT_OURS:
        assert f"| `{name}` |" in readme, name


FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
# A path of this repository: no placeholder such as `<name>`, and a folder or a file of a kind that is written by hand.
PATH = re.compile(r"`([\w.-]+/(?:[\w.-]+/)*(?:[\w.-]+\.(?:py|md|yaml|toml))?)`")
# Parts of a version in the model repository.
IN_A_VERSION = ("assets.extra/", "variables/")
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))


def prose(document: Path) -> str:
    """A document without its blocks of code."""
    return FENCED.sub("", document.read_text(encoding="utf-8"))


def test_documents_name_files_that_exist():
    """All in git but for the reports of models and studies, which commands write."""
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    documents = [name for name in listed.splitlines() if not name.startswith(("studies/", "reports/"))]
    assert {"README.md", "ARCHITECTURE.md", "service/README.md"} <= set(documents)
    for document in documents:
        for target in LINK.findall(prose(ROOT / document)):
            assert (ROOT / document).parent.joinpath(target).exists(), f"{document}: {target}"


@pytest.mark.parametrize("document", [ROOT / "ARCHITECTURE.md", *DECISIONS], ids=relative)
def test_documents_name_paths_that_exist(document):
    """Seen from the root, or from the package that the text is about."""
    folders = [ROOT, ROOT / "pipeline", ROOT / "service", ROOT / "service" / "engine"]
    for path in PATH.findall(prose(document)):
        found = any((folder / path).exists() for folder in folders)
        assert found or path.startswith(IN_A_VERSION), f"{relative(document)}: {path}"


def test_documents_on_decisions_are_in_the_index():
    index = (ROOT / "docs" / "decisions" / "README.md").read_text(encoding="utf-8")
    for decision in DECISIONS:
        number, title = int(decision.name[:4]), decision.read_text(encoding="utf-8").partition("\n")[0]
        assert title.startswith(f"# {number}. "), decision.name
        assert f"- [{title.removeprefix('# ')}]({decision.name})" in index, decision.name


def test_the_tree_names_every_package_of_the_service():
    """One line for each package, indented below the package that it is in."""
    architecture = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    [tree] = [block for block in FENCED.findall(architecture) if re.search("^service/ ", block, re.MULTILINE)]
    folders: list[str] = []
    named = set()
    for indent, name in re.findall(r"^( *)(\w+)/ ", tree, re.MULTILINE):
        folders = [*folders[: len(indent) // 2], name]
        named.add("/".join(folders))
    packages = {relative(path.parent) for path in SERVICE if path.name == "__init__.py"}
    assert {path for path in named if path.split("/")[0] == "service"} == packages
    assert [path for path in named if not (ROOT / path).is_dir()] == []


def test_the_version_is_the_same_everywhere(capfd):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["version"] == VERSION
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{VERSION}] - " in changes
    for document in ("k8s/base/kustomization.yaml", "k8s/upload.yaml"):
        assert VERSION in (ROOT / document).read_text(encoding="utf-8"), document
    subprocess.run([sys.executable, "-m", "service", "--version"], cwd=ROOT, check=True)
    assert capfd.readouterr().out == f"Kiln {VERSION}\n"
