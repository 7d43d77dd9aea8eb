"""The publish stage: an export that is good enough becomes the next version in the model repository."""

import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pipeline.command import run_stage
from pipeline.gate import judge
from pipeline.model_card import compose_card
from pipeline.params import Params
from pipeline.releases import add_release, latest_release, load_candidate, sole_publisher


def publish(name: str, params: Params, root: Path) -> None:
    """Takes `exports/<name>/` into `models/<name>/<version>/`, unless it is what is published already.

    Args:
        name: of the model.
        params: the checked parameters.
        root: the project's folder.

    Raises:
        ParamsError: there is no such model, or its floor names a figure it does not have.
        DataError: there is no export.
        PublishRefused: the candidate is not good enough; what is published is left alone.
    """
    block = params.published(name)
    models = root / "models"
    candidate = load_candidate(root / "exports" / name)
    with sole_publisher(models, name):
        published = latest_release(models, name)
        content = candidate.content()
        verdict = judge(candidate, published, block.publish)
        if published and published.manifest.get("content") == content:
            print(f"{published.folder} is this export already, nothing to publish: {verdict.figures}")  # noqa: T201
            return
        added = {"content": content, "git_commit": _describe_commit(root), "created": _now()}
        card = compose_card({**candidate.manifest, **added}, candidate.load_profile())
        version = add_release(models, name, candidate, added, card)
    if verdict.note:
        print(verdict.note)  # noqa: T201
    partial = candidate.manifest["metrics"].get("partial")
    print(f"Published {version}: {verdict.figures}" + (f" (partial data: {partial})" if partial else ""))  # noqa: T201


def _describe_commit(root: Path) -> str | None:
    """The commit, with `-dirty` behind it where code or parameters differ from it; None outside a repository."""
    try:
        commit = _git(root, "rev-parse", "HEAD")
        # Not the whole tree: a run rewrites dvc.lock and the reports before it comes to publish.
        changed = _git(root, "status", "--porcelain", "--", "pipeline", "params.yaml", "dvc.yaml")
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{commit}-dirty" if changed else commit


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True).stdout.strip()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def main(argv: Sequence[str] | None = None) -> int:
    """Publishes one model."""
    return run_stage("model", publish, argv)


if __name__ == "__main__":
    sys.exit(main())
