import subprocess
from pathlib import Path

import pytest

from pipeline.mend import mend

LOCK = """schema: '2.0'
stages:
  fetch@digits:
    cmd: python -m pipeline.fetch --dataset digits
    outs:
    - path: data/raw/digits
      hash: md5
      md5: d41d8cd98f00b204e9800998ecf8427e.dir
      size: 3
      nfiles: 1
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "dvc.lock").write_text(LOCK)
    (tmp_path / ".dvc" / "tmp").mkdir(parents=True)
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    for command in (["init", "-q"], ["add", "dvc.lock"], [*identity, "commit", "-qm", "Lock"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


def test_whole_files_are_left_alone(root):
    (root / ".dvc" / "tmp" / "rwlock").write_text('{"read": {}, "write": {}}')
    assert mend(root) == []
    assert (root / ".dvc" / "tmp" / "rwlock").exists()


@pytest.mark.parametrize("length", [0, 30, 130, 180])
def test_a_lock_file_cut_short_is_restored_or_still_usable(root, length):
    (root / "dvc.lock").write_text(LOCK[:length])
    mended = mend(root)
    assert bool(mended) == ((root / "dvc.lock").read_text() == LOCK)
    assert mend(root) == []


def test_an_emptied_lock_file_is_restored(root):
    (root / "dvc.lock").write_text("")
    assert mend(root) == ["dvc.lock was cut short by a killed run; restored the committed one."]
    assert (root / "dvc.lock").read_text() == LOCK


def test_a_broken_read_write_lock_is_removed(root):
    (root / ".dvc" / "tmp" / "rwlock").write_text("")
    assert mend(root) == [".dvc/tmp/rwlock was cut short by a killed run; removed it."]
    assert not (root / ".dvc" / "tmp" / "rwlock").exists()


def test_without_a_committed_lock_file_the_broken_one_is_removed(tmp_path):
    (tmp_path / "dvc.lock").write_text("schema: '2.0'\nstages: {")
    [sentence] = mend(tmp_path)
    assert sentence.endswith("removed it, since git has none, so every stage runs again.")
    assert not (tmp_path / "dvc.lock").exists()
