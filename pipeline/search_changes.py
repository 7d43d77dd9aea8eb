"""A trial's values as a change of `params.yaml` that leaves everything else in it as it is."""

import difflib
import io
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from pipeline.params import parse_params
from pipeline.search_space import set_key


def change_params(path: Path, model: str, values: Mapping[str, Any]) -> str:
    """The parameter file's text with other values in a model's block.

    Args:
        path: of the parameter file.
        model: its name.
        values: by dotted key below the model's block.

    Returns:
        The new text: comments, anchors and the layout are as they were.

    Raises:
        ParamsError: the file cannot be read, or would be wrong with these values.
    """
    original = path.read_text(encoding="utf-8")
    yaml = YAML()
    yaml.preserve_quotes = True
    # No line is folded that was not before.
    yaml.width = 1 << 16
    document = yaml.load(original)
    before = _write(yaml, document)
    for key, value in values.items():
        set_key(document["models"][model], key, _in_one_line(value))
    after = _write(yaml, document)
    wanted = YAML(typ="safe").load(after)
    parse_params(wanted, str(path))
    merged = _merge(original, before, after)
    return merged if YAML(typ="safe").load(merged) == wanted else after


def show_difference(path: Path, text: str) -> str:
    """What a new text changes in a file, as a unified diff; "" for nothing."""
    before, after = path.read_text(encoding="utf-8").splitlines(keepends=True), text.splitlines(keepends=True)
    return "".join(difflib.unified_diff(before, after, f"a/{path.name}", f"b/{path.name}", n=1))


def replace_text(path: Path, text: str) -> None:
    """Writes a file's new text, whole or not at all."""
    building = path.with_name(f".{path.name}.building")
    building.write_text(text, encoding="utf-8")
    os.replace(building, path)


def _write(yaml: YAML, document: Any) -> str:
    stream = io.StringIO()
    yaml.dump(document, stream)
    return stream.getvalue()


def _merge(original: str, before: str, after: str) -> str:
    """The original with the changes that lead from `before` to `after`, which are written in another layout."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("original", "before", "after")]
        for path, text in zip(paths, (original, before, after), strict=True):
            path.write_text(text, encoding="utf-8")
        command = ["git", "merge-file", "--stdout", "--theirs", *map(str, paths)]
        return subprocess.run(command, capture_output=True, check=True, encoding="utf-8").stdout


def _in_one_line(value: Any) -> Any:
    """Lists and blocks as `[1, 2]` and `{a: 1}`."""
    if isinstance(value, list | tuple):
        written = CommentedSeq([_in_one_line(item) for item in value])
    elif isinstance(value, Mapping):
        written = CommentedMap({key: _in_one_line(item) for key, item in value.items()})
    else:
        return value
    written.fa.set_flow_style()
    return written
