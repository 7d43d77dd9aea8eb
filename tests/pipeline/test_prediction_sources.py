"""Reading Parquet, arrays and folders of pictures in chunks that do not depend on where reading begins."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from pipeline import prediction_pictures
from pipeline.errors import DataError
from pipeline.prediction_columns import name_kept
from pipeline.prediction_rows import ModelInput, Position, Reading, chunk_rows
from pipeline.prediction_sources import open_source

FEATURES = ModelInput("features", "features", (2,), ("age", "size"))
IMAGE = ModelInput("image", "image", (2, 3), ())


def chunks_of(path, wanted=FEATURES, rows=4, **options):
    """The chunks, after reading again from each border and finding the same."""
    source = open_source(path, wanted, Reading(rows, **options))
    chunks = list(source.chunks(Position()))
    for before, after in pairwise(chunks):
        again = next(source.chunks(before.after))
        np.testing.assert_array_equal(again.values, after.values)
        assert again.leading.equals(after.leading)
    assert chunks[-1].after.row == source.total
    return chunks


@pytest.mark.parametrize("group_rows", [1, 3, 4, 5, 100])
def test_parquet_chunks_do_not_follow_row_groups(tmp_path, group_rows):
    table = pa.table({"size": pa.array(range(13), pa.int16()), "note": ["a"] * 13, "age": np.arange(13) / 3})
    pyarrow.parquet.write_table(table, tmp_path / "in.parquet", row_group_size=group_rows)
    chunks = chunks_of(tmp_path / "in.parquet", keep_inputs=True)
    assert [len(chunk.values) for chunk in chunks] == [4, 4, 4, 1]
    expected = np.stack([np.arange(13) / 3, np.arange(13)], axis=1).astype(np.float32)
    np.testing.assert_array_equal(np.concatenate([chunk.values for chunk in chunks]), expected)
    assert chunks[0].leading.schema.names == ["row", "size", "note", "age"]
    assert chunks[0].leading["size"].type == pa.int16()


def test_parquet_rows_without_a_number_are_told_by_row_and_column(tmp_path):
    table = pa.table({"age": [1.0, None, 3.0, float("nan")], "size": [1.0, 1.0, 1e39, 1.0]})
    pyarrow.parquet.write_table(table, tmp_path / "in.parquet")
    [chunk] = chunks_of(tmp_path / "in.parquet")
    assert chunk.leading["row"].to_pylist() == [0]
    assert [(rejection.place, rejection.problem) for rejection in chunk.rejections] == [
        ("row 1, column 'age'", "expected a finite number, received no value"),
        ("row 2, column 'size'", "expected a finite number, received 1e+39"),
        ("row 3, column 'age'", "expected a finite number, received nan"),
    ]


def test_parquet_columns_of_text_are_refused(tmp_path):
    pyarrow.parquet.write_table(pa.table({"age": ["1"], "size": [1]}), tmp_path / "in.parquet")
    with pytest.raises(DataError, match="in.parquet, column 'age': expected numbers, received the type string"):
        open_source(tmp_path / "in.parquet", FEATURES, Reading(4))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("name", ["x", "features", "only"])
def test_arrays_are_found_by_name_and_read_in_chunks(tmp_path, save, name):
    rows = np.random.default_rng(1).normal(size=(10, 2))
    save(tmp_path / "in.npz", **{name: rows})
    chunks = chunks_of(tmp_path / "in.npz")
    assert [len(chunk.values) for chunk in chunks] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate([chunk.values for chunk in chunks]), rows.astype(np.float32))


def test_images_come_as_pixels_in_arrays(tmp_path):
    images = np.arange(30, dtype=np.uint8).reshape(5, 2, 3)
    np.save(tmp_path / "in.npy", images)
    chunks = chunks_of(tmp_path / "in.npy", IMAGE)
    np.testing.assert_array_equal(np.concatenate([chunk.values for chunk in chunks]), images)
    assert chunks[0].values.dtype == np.float32


def test_a_row_of_an_array_that_is_not_finite_is_told_by_its_place(tmp_path):
    rows = np.ones((6, 2), np.float32)
    rows[5, 1] = np.inf
    np.save(tmp_path / "in.npy", rows)
    _, chunk = chunks_of(tmp_path / "in.npy")
    assert [(entry.row, entry.place) for entry in chunk.rejections] == [(5, "row 5, place [1]")]
    assert len(chunk.values) == 1


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((3, 5))}, r"array 'x': expected the shape \(rows, 2\), received \(3, 5\)"),
        ({"x": np.zeros((2, 3)).T}, "array 'x' is stored column by column"),
        ({"x": np.array([["a", "b"]])}, "array 'x': expected numbers, received the type <U1"),
        ({"a": np.zeros(1), "b": np.zeros(1)}, "expected an array 'features' or 'x', or one alone. Received: 'a', 'b'"),
    ],
)
def test_an_array_that_does_not_fit_is_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "in.npz", **arrays)
    with pytest.raises(DataError, match=message):
        open_source(tmp_path / "in.npz", FEATURES, Reading(4))


def test_an_array_that_is_cut_short_or_altered_is_noticed(tmp_path):
    path = tmp_path / "in.npy"
    np.save(path, np.zeros((10, 2)))
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(DataError, match="in.npy is cut short: its head says 10 rows"):
        list(open_source(path, FEATURES, Reading(4)).chunks(Position()))
    archive = tmp_path / "in.npz"
    np.savez(archive, x=np.zeros((10, 2)))
    content = bytearray(archive.read_bytes())
    content[250] ^= 1
    archive.write_bytes(content)
    with pytest.raises(DataError, match="in.npz, array 'x' cannot be read: Bad CRC-32"):
        list(open_source(archive, FEATURES, Reading(4)).chunks(Position()))


def test_pictures_come_by_name_in_chunks_of_limited_size(tmp_path, monkeypatch):
    monkeypatch.setattr(prediction_pictures, "CHUNK_FILE_BYTES", 10)
    for name, size in {"b.png": 4, "a.jpeg": 4, "c.PNG": 4, "d.png": 100, "e.png": 1, "readme.md": 3}.items():
        (tmp_path / name).write_bytes(b"x" * size)
    chunks = chunks_of(tmp_path, IMAGE)
    assert [chunk.leading["file"].to_pylist() for chunk in chunks] == [
        ["a.jpeg", "b.png"],
        ["c.PNG"],
        ["d.png"],
        ["e.png"],
    ]
    assert open_source(tmp_path, IMAGE, Reading(4)).ignored == ["readme.md"]


def test_a_folder_without_pictures_and_a_model_without_are_refused(tmp_path):
    with pytest.raises(DataError, match="expected files with one of the endings .png, .jpg, .jpeg, found none"):
        open_source(tmp_path, IMAGE, Reading(4))
    with pytest.raises(DataError, match="is a folder of pictures, but the model takes 2 numbers per row"):
        open_source(tmp_path, FEATURES, Reading(4))


def test_kept_columns_give_way_to_the_answers():
    taken = {"row", "label", "input_score"}
    assert name_kept(["label", "age", "row"], taken) == {"label": "input_label", "age": "age", "row": "input_row"}
    assert name_kept(["label", "input_label"], taken) == {"label": "input_input_label", "input_label": "input_label"}


def test_chunks_are_whole_batches_and_small_where_rows_are_wide():
    assert chunk_rows(1024, 240) == 8192
    assert chunk_rows(1000, 240) == 8000
    assert chunk_rows(256, 1 << 20) == 256
