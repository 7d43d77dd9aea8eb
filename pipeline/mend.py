"""Mends what a killed `dvc repro` can leave behind, so that the next one starts.

DVC rewrites `dvc.lock` and its own read-write lock in place: a process that is killed during such a write leaves half a
file, and DVC then refuses to start. `make run` and `make repro` call this first; it is silent when all is well.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from voluptuous import Invalid


def mend(root: Path) -> list[str]:
    """Restores a broken `dvc.lock` from git and removes a broken read-write lock.

    Args:
        root: the project's folder.

    Returns:
        One sentence per mended file; empty when nothing was broken.
    """
    done = []
    if not _is_valid_lock_file(root / "dvc.lock"):
        done.append(f"dvc.lock was cut short by a killed run; {_replace_lock_file(root)}.")
    read_write_lock = root / ".dvc" / "tmp" / "rwlock"
    if not _is_valid_json(read_write_lock):
        read_write_lock.unlink()
        done.append(f"{read_write_lock.relative_to(root)} was cut short by a killed run; removed it.")
    return done


def _replace_lock_file(root: Path) -> str:
    # Stages that ran since the last commit run once more: their outputs differ from the lock in git.
    restored = subprocess.run(["git", "checkout", "--quiet", "HEAD", "--", "dvc.lock"], cwd=root, check=False)
    if restored.returncode == 0:
        return "restored the committed one"
    (root / "dvc.lock").unlink()
    return "removed it, since git has none, so every stage runs again"


def _is_valid_lock_file(path: Path) -> bool:
    if not path.exists():
        return True
    try:
        COMPILED_LOCKFILE_SCHEMA(YAML(typ="safe").load(path.read_text(encoding="utf-8")) or {})
    except (YAMLError, Invalid, UnicodeDecodeError):
        return False
    return path.stat().st_size > 0


def _is_valid_json(path: Path) -> bool:
    if not path.exists():
        return True
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.mend", description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path(), help="the project's folder (default: the current one)")
    for sentence in mend(parser.parse_args(arguments).root):
        print(sentence, file=sys.stderr)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
