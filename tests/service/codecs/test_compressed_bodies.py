"""Bodies in content codings: gzip may have several members, and limits hold over all of them."""

import gzip
import time
import zlib

import pytest

from service.codecs.compressed_bodies import FIRST_PIECE_BYTES, decompress
from service.errors import InvalidPayload, PayloadTooLarge

# With the time in it, tests of several processes would have other names.
MEMBER = gzip.compress(b"x", mtime=0)
LIMIT = 10_000_000


@pytest.mark.parametrize("size", [0, 1, FIRST_PIECE_BYTES, 3_000_000])
def test_a_body_of_any_size_is_unpacked(size):
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    assert decompress(gzip.compress(content), "gzip", LIMIT) == content
    assert decompress(zlib.compress(content, 0), "deflate", LIMIT) == content


def test_several_members_are_one_body():
    body = gzip.compress(b'{"instances": ') + gzip.compress(b"", mtime=0) + gzip.compress(b"[1]}", mtime=0)
    assert decompress(body, "gzip", LIMIT) == b'{"instances": [1]}'


def test_the_limit_holds_over_all_members():
    body = gzip.compress(b"x" * 600) * 2
    assert len(decompress(body, "gzip", 1200)) == 1200
    with pytest.raises(PayloadTooLarge):
        decompress(body, "gzip", 1199)


@pytest.mark.parametrize(
    ("coding", "body", "sentence"),
    [
        (
            "gzip",
            MEMBER + b"y" * 30,
            "cannot be read as gzip: Error -3 .* incorrect header check",
        ),
        (
            "gzip",
            MEMBER + MEMBER[:-1],
            "cannot be read as gzip: it ends too early",
        ),
        ("gzip", b"", "cannot be read as gzip: it ends too early"),
        ("deflate", zlib.compress(b"x") * 2, "cannot be read as deflate: something follows its end"),
    ],
)
def test_what_is_no_member_is_refused(coding, body, sentence):
    with pytest.raises(InvalidPayload, match=sentence):
        decompress(body, coding, LIMIT)


def test_time_grows_with_the_number_of_members_and_no_faster():
    # 100,000 members of 20 bytes take less than a second; copying the rest for each would take minutes.
    started = time.monotonic()
    assert decompress(gzip.compress(b"", mtime=0) * 100_000, "gzip", LIMIT) == b""
    assert time.monotonic() - started < 20
