import gzip

import numpy as np
import pytest

from pipeline.datasets import digits, fashion_mnist, mnist
from pipeline.errors import DataError, ParamsError
from pipeline.idx import IMAGE_FILES, decode_idx, encode_idx, measure_archive


@pytest.fixture
def arrays():
    random = np.random.default_rng(0)
    return {
        "x_train": random.integers(0, 256, (30, 28, 28), dtype=np.uint8),
        "y_train": np.arange(30, dtype=np.uint8) % 10,
        "x_test": random.integers(0, 256, (20, 28, 28), dtype=np.uint8),
        "y_test": np.arange(20, dtype=np.uint8) % 10,
    }


def write_idx_files(folder, arrays):
    for part, name in IMAGE_FILES.items():
        (folder / name).write_bytes(gzip.compress(encode_idx(arrays[part])))


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.int32, np.float32, np.float64])
def test_idx_encodes_and_decodes(dtype):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    decoded = decode_idx(encode_idx(array), "file")
    assert decoded.dtype == dtype
    assert np.array_equal(decoded, array)


def test_idx_has_the_published_header():
    assert encode_idx(np.array([[1, 2]], np.uint8)).hex() == "00000802" + "00000001" + "00000002" + "0102"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "file is not an IDX file"),
        (b"PK\x03\x04rest", "file is not an IDX file"),
        (b"\0\0\x08\x03\0", "file is cut short or too long"),
        (encode_idx(np.zeros(9, np.uint8))[:-1], "expected 17 bytes, received 16"),
        (encode_idx(np.zeros(9, np.uint8)) + b"x", "expected 17 bytes, received 18"),
    ],
)
def test_a_broken_idx_file_is_a_sentence(content, sentence):
    with pytest.raises(DataError, match=sentence):
        decode_idx(content, "file")


def test_either_container_gives_the_same_mnist(arrays, tmp_path):
    (tmp_path / "idx").mkdir()
    (tmp_path / "npz").mkdir()
    write_idx_files(tmp_path / "idx", arrays)
    np.savez(tmp_path / "npz" / "mnist.npz", **arrays)
    from_idx, from_npz = (mnist.load(tmp_path / kind, {}) for kind in ("idx", "npz"))
    assert from_idx.checksum() == from_npz.checksum()
    assert from_idx.x.shape == (50, 28, 28)
    assert from_idx.published_test.sum() == 20


def test_the_whole_fashion_mnist_is_not_partial(arrays, tmp_path, monkeypatch):
    monkeypatch.setattr(fashion_mnist, "WHOLE_COUNTS", (30, 20))
    write_idx_files(tmp_path, arrays)
    raw = fashion_mnist.load(tmp_path, {})
    assert raw.partial == ""
    assert [raw.labels[label] for label in raw.y[:2]] == ["T-shirt/top", "Trouser"]


def test_a_partial_fashion_mnist_says_so_where_it_is_allowed(arrays, tmp_path):
    np.savez(tmp_path / "fashion_mnist_partial.npz", **arrays)
    raw = fashion_mnist.load(tmp_path, {"allow_partial": True})
    assert raw.partial == "only the first 30 of 60,000 training and 20 of 10,000 test images"
    with pytest.raises(DataError, match="set datasets.fashion_mnist.options.allow_partial to true"):
        fashion_mnist.load(tmp_path, {})


def test_the_partial_file_is_offered_only_where_it_is_allowed():
    assert [bool(files.partial) for files in fashion_mnist.remote_files({})] == [False]
    assert [bool(files.partial) for files in fashion_mnist.remote_files({"allow_partial": True})] == [False, True]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"allow": True}, "options: unknown key 'allow'. Allowed: 'allow_partial'"),
        ({"allow_partial": "yes"}, "Received: 'yes'"),
    ],
)
def test_wrong_options_are_a_sentence(options, sentence):
    with pytest.raises(ParamsError, match=sentence):
        fashion_mnist.remote_files(options)


def test_a_broken_archive_is_a_sentence(arrays, tmp_path):
    np.savez(tmp_path / "whole.npz", **arrays)
    content = (tmp_path / "whole.npz").read_bytes()
    for broken in (content[: len(content) // 2], b"<html>", b""):
        (tmp_path / "broken.npz").write_bytes(broken)
        with pytest.raises(DataError, match="broken.npz is not an archive of x_train"):
            measure_archive(tmp_path / "broken.npz")


def test_a_broken_gzip_file_is_a_sentence(arrays, tmp_path):
    write_idx_files(tmp_path, arrays)
    broken = tmp_path / "t10k-images-idx3-ubyte.gz"
    broken.write_bytes(broken.read_bytes()[:-20])
    with pytest.raises(DataError, match="t10k-images-idx3-ubyte.gz is not a whole gzip file"):
        mnist.load(tmp_path, {})


def test_the_bundled_digits(tmp_path):
    digits.write_bundled(tmp_path, {})
    raw = digits.load(tmp_path, {})
    assert raw.x.shape == (1797, 8, 8)
    assert (raw.x.dtype, raw.x.max()) == (np.uint8, 16)
