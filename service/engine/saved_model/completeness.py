"""Whether all files of a version are there; one that is being copied is loaded when they are."""

import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from service.engine.saved_model.graph import Graph

# What a checkpoint of TensorFlow 2 has beside variables; TensorFlow writes and wants it, a graph needs none of it.
OBJECT_GRAPH = b"_CHECKPOINTABLE_OBJECT_GRAPH"
SHARD = re.compile(r"variables\.data-\d{5}-of-(\d{5})")


class Incomplete(ValueError):
    """A file of the version is missing, or is none that can be read."""


def check_complete(path: Path, definition: Any, graph: Graph) -> None:
    """Refuses a version that lacks a file.

    Args:
        path: the version's folder.
        definition: its `MetaGraphDef`.
        graph: the definition's graph.

    Raises:
        Incomplete: naming the file.
    """
    if restores_variables(definition, graph):
        check_file(path / "variables" / "variables.index")
        for name in shards(path / "variables"):
            check_file(path / "variables" / name)
    for asset in definition.asset_file_def:
        check_file(path / "assets" / asset.filename)


def restores_variables(definition: Any, graph: Graph) -> bool:
    """Whether loading restores variables, by the names that the graph restores."""
    nodes = graph.reach([definition.saver_def.restore_op_name])
    constants = {node.name: node.attr["value"].tensor.string_val for node in nodes if node.op == "Const"}
    return any(
        set(constants.get(node.input[1].partition(":")[0], ())) != {OBJECT_GRAPH}
        for node in nodes
        if node.op == "RestoreV2"
    )


def shards(folder: Path) -> Iterator[str]:
    """The names of all files with variables' values; each name says how many there are."""
    names = [entry.name for entry in folder.iterdir()]
    counts = [int(match[1]) for name in names if (match := SHARD.fullmatch(name))]
    count = max(counts, default=1)
    return (f"variables.data-{number:05}-of-{count:05}" for number in range(count))


def check_file(file: Path) -> None:
    """Refuses what is missing or is not a regular file: opening a pipe would wait for ever.

    Raises:
        Incomplete: naming the file.
    """
    try:
        mode = file.stat().st_mode
    except FileNotFoundError:
        raise Incomplete(
            f"The file {file} is missing, which the SavedModel needs. It is tried again when files change"
        ) from None
    if not stat.S_ISREG(mode):
        raise Incomplete(f"{file} is not a regular file. It is tried again when files change")
