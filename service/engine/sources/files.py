"""The model repository on disk: a model's versions, what is wrong beside them, and what `model.json` says.

Everything here may be slow, or fail with `OSError`: who looks at a whole repository does it through `Scanner`.
"""

import errno
import json
import logging
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from service.engine.interface import LARGEST_VERSION, Description

logger = logging.getLogger(__name__)

# The largest that TensorFlow Serving's API can carry.
# The graph of a SavedModel, in the binary form or as text.
GRAPHS = ("saved_model.pb", "saved_model.pbtxt")
# What lies in a repository without being meant for it: hidden, an editor's, notes.
IGNORED = re.compile(r"\..*|lost\+found|@eaDir|.*~|#.*#|.*\.(swp|tmp|part|md|txt|dvc)|(README|LICENSE).*", re.DOTALL)
# A model's name; the protocols' paths end it at a colon or a slash.
NAME = re.compile(r"[^./:\s][^/:]*")
KERAS = (".keras", ".h5", ".hdf5")

# Device, inode, time of change in nanoseconds and size in bytes of a version's graph.
Identity = tuple[int, int, int, int]
# Name, time of change in nanoseconds and size in bytes of every file in a folder.
Fingerprint = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class VersionFolder:
    """A version on disk.

    Attributes:
        name: of its folder: `1`, or `00000123` for version 123.
        identity: what changes when another version takes its place; None where it cannot be read.
    """

    name: str
    identity: Identity | None


@dataclass(frozen=True)
class ModelFolder:
    """A model on disk.

    Attributes:
        versions: by number, newest first.
        problems: sentences by entry of the folder that should be a version and is none; "" for the folder itself.
    """

    versions: dict[int, VersionFolder] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


def read_entry(repository: Path, name: str) -> ModelFolder:
    """Looks at an entry of the repository, at the cost of little more than a system call for each version.

    Args:
        repository: its folder.
        name: the entry's.

    Returns:
        The model, with a problem under "" where the entry is none.

    Raises:
        OSError: it cannot be read.
    """
    path = os.path.join(repository, name)
    try:
        names = list_entries(path)
    except NotADirectoryError:
        return ModelFolder(problems={"": describe_file(name, Path(path))})
    if not is_model_name(name):
        sentence = "a model of this name cannot be reached by any path; rename it without ':' and control characters"
        return ModelFolder(problems={"": sentence})
    if any(graph in names for graph in GRAPHS):
        return ModelFolder(problems={"": describe_flat(Path(path))})
    found: dict[int, VersionFolder] = {}
    problems: dict[str, str] = {}
    # The plain form of a number comes after the forms with zeros in front, and takes their place.
    for entry in sorted(names, key=len, reverse=True):
        try:
            identity = take_identity(os.path.join(path, entry)) if is_number(entry) else None
            sentence = "" if identity else describe_entry(Path(path, entry))
        except OSError as error:
            # A version that cannot be read is one all the same: loading it fails and says why.
            identity, sentence = None, "" if is_number(entry) else describe_error(error)
        if sentence or not is_number(entry):
            problems |= {entry: sentence} if sentence else {}
            continue
        number = int(entry)
        if number in found:
            problems[found[number].name] = f"is version {number} too, as is the folder {entry}, which counts"
        found[number] = VersionFolder(entry, identity)
    if found:
        problems = {entry: sentence for entry, sentence in problems.items() if not entry.endswith(KERAS)}
    elif not problems:
        problems[""] = f"holds no version; expected {path}/1/{GRAPHS[0]}"
    return ModelFolder({number: found[number] for number in sorted(found, reverse=True)}, problems)


def describe_flat(path: Path) -> str:
    """What is wrong with a SavedModel in the place of a model."""
    path = path.absolute()
    if is_number(path.name):
        return f"{path.parent} is the folder of one model; set KILN_MODEL_REPOSITORY to {path.parent.parent}"
    return f"a SavedModel needs a folder for its version; move the files to {path / '1'}"


def describe_entry(path: Path) -> str:
    """What is wrong with an entry of a model's folder; "" for what is not meant to be a version.

    Raises:
        OSError: it cannot be read.
    """
    mode = path.stat().st_mode
    if not stat.S_ISDIR(mode):
        is_note = stat.S_ISREG(mode) and not path.name.endswith(KERAS) and not is_number(path.name)
        return "" if is_note else describe_file(path.name, path)
    if is_number(path.name):
        return describe_contents(path)
    if find_graph(path) is not None:
        return f"a version's folder is a number up to {LARGEST_VERSION}; rename it, to 1 for example"
    return ""


def find_graph(version: Path) -> Path | None:
    """The graph of a SavedModel, or None where the folder holds none.

    Raises:
        OSError: that cannot be told.
    """
    for name in GRAPHS:
        try:
            os.lstat(version / name)
        except (FileNotFoundError, NotADirectoryError):
            continue
        return version / name
    return None


def take_identity(version: str | Path) -> Identity | None:
    """What changes when a version is replaced by another under its number; None where there is none.

    Raises:
        OSError: it cannot be read.
    """
    for name in GRAPHS:
        try:
            status = os.stat(f"{version}/{name}")
        except (FileNotFoundError, NotADirectoryError):
            continue
        return (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
    return None


def check_version(version: Path) -> None:
    """Refuses a version whose graph is not there, or would block its reader for ever.

    Raises:
        OSError: it cannot be read; the sentence says why.
    """
    graph = find_graph(version) or version / GRAPHS[0]
    if not is_regular(graph):
        raise OSError(errno.EINVAL, "expected a regular file", str(graph))
    with graph.open("rb"):
        return


def describe_contents(path: Path) -> str:
    """What is wrong with a version's folder that holds no SavedModel."""
    names = sorted(os.listdir(path))
    for name in names:
        if find_graph(path / name) is not None:
            return f"holds a SavedModel in {name}; move the contents of {path / name} to {path}"
    if exports := [name for name in names if name.endswith(KERAS)]:
        return describe_file(exports[0], path / exports[0])
    return f"holds no {GRAPHS[0]}; it is looked at again until it does"


def describe_file(name: str, path: Path) -> str:
    """What is wrong with a file where a folder is expected."""
    if name.endswith(KERAS):
        return f"{name} is not a SavedModel; export it: keras.saving.load_model('{name}').export('MODEL/1')"
    if name in GRAPHS:
        folder = path.absolute().parent
        if is_number(folder.name):
            return f"{folder} is the folder of one version; set KILN_MODEL_REPOSITORY to {folder.parent.parent}"
        return f"a SavedModel needs a folder for its model and one for its version; move the files to {folder}/MODEL/1"
    return "is not a folder; expected one with a version, such as MODEL/1/saved_model.pb"


def describe_error(error: OSError) -> str:
    """Why an entry cannot be read."""
    return f"cannot be read: {error.strerror or error}"


def is_regular(path: Path) -> bool:
    """Whether this is a file that ends; opening a FIFO, say, may wait for ever."""
    return stat.S_ISREG(path.stat().st_mode)


def is_number(name: str) -> bool:
    """Whether a folder's name is a version's number, with or without zeros in front."""
    return name.isascii() and name.isdigit() and int(name) <= LARGEST_VERSION


def is_model_name(name: str) -> bool:
    """Whether this names a folder in the repository, no hidden one, that a path of the protocols can carry."""
    return NAME.fullmatch(name) is not None and name.isprintable()


def escape(name: str) -> str:
    """A file's name, which may be any bytes, as text for people and messages: without control characters."""
    if name.isprintable():
        return name
    text = name.encode("utf-8", "backslashreplace").decode()
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def take_fingerprint(version: Path) -> Fingerprint:
    """What changes when the files of a version do; files that vanish meanwhile are left out."""
    entries = []
    for folder, _, names in os.walk(version):
        for name in names:
            path = os.path.join(folder, name)
            try:
                status = os.stat(path)
            except OSError:
                continue
            entries.append((os.path.relpath(path, version), status.st_mtime_ns, status.st_size))
    return tuple(sorted(entries))


def read_regular(path: Path) -> bytes:
    """The contents of a file.

    Raises:
        OSError: it cannot be read, or is not a regular file.
    """
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "expected a regular file", str(path))
        return file.read()


def read_description(version: Path) -> Description:
    """What `assets.extra/model.json` says; empty for a SavedModel that another tool made."""
    path = version / "assets.extra" / "model.json"
    try:
        description = json.loads(read_regular(path).decode())
        # The catalogue must be able to carry it: no half of a surrogate pair, no number over 64 bits, no deep nesting.
        orjson.dumps(description)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, RecursionError) as error:
        logger.warning("Ignored %s, which cannot be read: %s", path, error)
        return {}
    if not isinstance(description, dict):
        logger.warning("Ignored %s, which holds no JSON object", path)
        return {}
    return description


def list_entries(folder: str | Path) -> list[str]:
    """The entries of a repository, or of a model's folder, that are meant for it, sorted.

    Raises:
        OSError: it cannot be read.
    """
    return sorted(name for name in os.listdir(folder) if not IGNORED.fullmatch(name))
