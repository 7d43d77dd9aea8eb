import pytest

from pipeline.folders import whole_folder


def test_a_folder_appears_whole_and_replaces_the_old_one(tmp_path):
    for content in ("first", "second"):
        with whole_folder(tmp_path / "out") as folder:
            (folder / "file").write_text(content)
            (folder / content).write_text("")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["file", "second"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_failure_leaves_the_old_folder(tmp_path):
    with whole_folder(tmp_path / "out") as folder:
        (folder / "file").write_text("first")

    def fail():
        with whole_folder(tmp_path / "out") as folder:
            (folder / "file").write_text("second")
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fail()
    assert (tmp_path / "out/file").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_a_killed_run_left_is_removed(tmp_path):
    (tmp_path / ".out.building").mkdir()
    (tmp_path / ".out.building/half").write_text("")
    (tmp_path / ".out.old").mkdir()
    with whole_folder(tmp_path / "out") as folder:
        (folder / "file").write_text("")
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "file"]
