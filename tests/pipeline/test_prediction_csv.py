"""Reading CSV files in chunks: where they are cut, what the numbers are, what is said about lines that are wrong."""

import csv
import io
import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import prediction_csv
from pipeline.errors import DataError
from pipeline.prediction_csv import CsvSource
from pipeline.prediction_formats import CsvFormat
from pipeline.prediction_rows import ModelInput, Position, Reading

WANTED = ModelInput("features", "features", (2,), ("age", "floor_area"))
TEXTS = st.text(st.sampled_from('ab",;\n\r é'), max_size=6)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=32)


def open_csv(folder, content, rows=3, **options):
    path = folder / "in.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return CsvSource(path, WANTED, Reading(rows, **options))


def read(source, start=None):
    return list(source.chunks(start or Position()))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(NUMBERS, NUMBERS, TEXTS), max_size=20), st.integers(1, 5), st.sampled_from(["\n", "\r\n"]))
def test_chunks_hold_every_record_once_wherever_reading_begins(tmp_path_factory, records, rows, line_end):
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator=line_end, quoting=csv.QUOTE_NONNUMERIC)
    writer.writerows([("note", "age", "Floor area"), *((note, age, area) for age, area, note in records)])
    content = stream.getvalue().encode()
    source = open_csv(tmp_path_factory.mktemp("csv"), content, rows, keep_inputs=True)
    chunks = read(source)
    values = np.concatenate([chunk.values for chunk in chunks]) if chunks else np.zeros((0, 2), np.float32)
    np.testing.assert_array_equal(values, np.array([record[:2] for record in records], np.float32).reshape(-1, 2))
    assert [row for chunk in chunks for row in chunk.leading["row"].to_pylist()] == list(range(len(records)))
    assert [note for chunk in chunks for note in chunk.leading["note"].to_pylist()] == [note for *_, note in records]
    assert all(len(chunk.values) == rows for chunk in chunks[:-1])
    for before, after in pairwise(chunks):
        assert before.after.line == 1 + content[: before.after.byte].count(b"\n")
        np.testing.assert_array_equal(read(source, before.after)[0].values, after.values)


@settings(max_examples=50, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=12))
def test_the_slow_way_reads_what_the_fast_one_does(tmp_path_factory, notes):
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC).writerows(
        [("age", "note", "floor_area"), *((place, note, place / 7) for place, note in enumerate(notes))]
    )
    folder = tmp_path_factory.mktemp("csv")
    [fast] = read(open_csv(folder, stream.getvalue(), 50, keep_inputs=True))
    [slow] = read(open_csv(folder, stream.getvalue() + "wrong,,1\n", 50, keep_inputs=True))
    np.testing.assert_array_equal(slow.values, fast.values)
    assert slow.leading.equals(fast.leading)
    assert [rejection.row for rejection in slow.rejections] == [len(notes)]


def test_numbers_are_rounded_once_from_double_precision(tmp_path):
    # Halfway between two float32: rounding the text at once and rounding its double differ.
    text = "1.00000017881393432617187499"
    [chunk] = read(open_csv(tmp_path, f"age,floor_area\n{text},-0.0\n"))
    assert chunk.values[0, 0] == np.float32(float(text))
    assert np.signbit(chunk.values[0, 1])


def test_a_byte_order_mark_blank_lines_and_a_missing_last_line_end_are_no_rows(tmp_path):
    content = b"\xef\xbb\xbfage,floor_area\n1,2\n\n3,4\n\r\n5,6"
    chunks = read(open_csv(tmp_path, content, 2))
    np.testing.assert_array_equal(np.concatenate([chunk.values for chunk in chunks]), [[1, 2], [3, 4], [5, 6]])
    assert chunks[-1].after.row == 3


def test_small_blocks_give_the_same_chunks(tmp_path, monkeypatch):
    content = "age,floor_area\n" + "".join(f'{row},"{row / 3}"\n' for row in range(100))
    expected = read(open_csv(tmp_path, content, 7))
    monkeypatch.setattr(prediction_csv, "BLOCK_BYTES", 11)
    for chunk, other in zip(read(open_csv(tmp_path, content, 7)), expected, strict=True):
        np.testing.assert_array_equal(chunk.values, other.values)
        assert chunk.after == other.after


@pytest.mark.parametrize(
    ("line", "place", "problem"),
    [
        (",2", "line 3, column 'age'", "expected a finite number, received ''"),
        ("1,NA", "line 3, column 'floor_area'", "expected a finite number, received 'NA'"),
        ("1,-1e39", "line 3, column 'floor_area'", "expected a finite number, received '-1e39'"),
        ("inf,2", "line 3, column 'age'", "expected a finite number, received 'inf'"),
        ("1_0,2", "line 3, column 'age'", "expected a finite number, received '1_0'"),
        ("1,\u0661\u0662", "line 3, column 'floor_area'", "expected a finite number, received '\u0661\u0662'"),
        ("1,2,3", "line 3", "expected 2 fields, as in the header, received 3"),
    ],
)
def test_a_line_that_is_wrong_is_told_by_line_and_column(tmp_path, line, place, problem):
    [chunk] = read(open_csv(tmp_path, f"age,floor_area\n1,2\n{line}\n3,4\n"))
    [rejection] = chunk.rejections
    assert (rejection.row, rejection.place, rejection.problem) == (1, place, problem)
    np.testing.assert_array_equal(chunk.values, [[1, 2], [3, 4]])
    assert chunk.leading["row"].to_pylist() == [0, 2]


@pytest.mark.parametrize("keep_inputs", [False, True])
@pytest.mark.parametrize("wrong", ["", "wrong"])
def test_a_hundred_thousand_columns_are_read_in_seconds(tmp_path, keep_inputs, wrong):
    names = [f"column_{index}" for index in range(100_000)]
    wanted = ModelInput("features", "features", (len(names),), tuple(names))
    fields = ["1.5"] * len(names)
    path = tmp_path / "in.csv"
    path.write_text("\n".join(",".join(line) for line in (names, fields, [*fields[1:], wrong or "2"], fields)) + "\n")
    started = time.process_time()
    [chunk] = read(CsvSource(path, wanted, Reading(10, keep_inputs=keep_inputs)))
    assert (len(chunk.values), len(chunk.rejections)) == ((2, 1) if wrong else (3, 0))
    CsvFormat().encode(chunk.leading)
    assert time.process_time() - started < 60, "reading takes the square of the number of columns"


def test_a_few_of_a_hundred_thousand_columns_are_found_in_seconds(tmp_path):
    names = [f"Column {index}" for index in range(100_000)]
    line = ",".join(["1.5"] * len(names))
    started = time.process_time()
    [chunk] = read(open_csv(tmp_path, f"{','.join(names)},age,Floor area\n{line},1,2\n"))
    np.testing.assert_array_equal(chunk.values, [[1, 2]])
    assert time.process_time() - started < 60, "reading takes the square of the number of columns"


def test_bytes_that_are_no_text_are_wrong_only_where_they_are_kept(tmp_path):
    content = b"age,floor_area,note\n1,2,\xff\n3,4,ok\n"
    [chunk] = read(open_csv(tmp_path, content))
    assert (len(chunk.values), chunk.rejections) == (2, [])
    [chunk] = read(open_csv(tmp_path, content, keep_inputs=True))
    assert [rejection.place for rejection in chunk.rejections] == ["line 2, column 'note'"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected a header line with the names of the columns"),
        ("age,age,floor_area\n", "in.csv has more than one column named 'age'"),
        ("age,area\n", "lacks 1 of the model's 2 columns: 'floor_area'. Expected: age, floor_area. Received: 'age'"),
        ("age,Floor area,FLOOR-AREA\n", "the columns 'Floor area', 'FLOOR-AREA' are all called 'floor_area'"),
        ("age,floor_area\r1,2\r", r"expected lines that end in \\n or \\r\\n, received a \\r alone"),
        (b"age,\xff\n", "the header is not CSV in UTF-8"),
    ],
)
def test_a_header_that_does_not_fit_is_said_before_the_first_row(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        open_csv(tmp_path, content)


@pytest.mark.parametrize("limit", [20, 1 << 20])
def test_a_quote_that_never_ends_is_named_by_its_line(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(prediction_csv, "BLOCK_BYTES", 10)
    monkeypatch.setattr(prediction_csv, "LONGEST_RECORD_BYTES", limit)
    source = open_csv(tmp_path, 'age,floor_area\n1,2\n3,4\n5,6\n7,"8\n' + "9,9\n" * 20, 2)
    with pytest.raises(DataError, match="in.csv, line 5: a record begins here that does not end"):
        read(source)
