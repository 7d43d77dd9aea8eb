"""How large JSON texts are told to be before they are read."""

import pytest

from service.codecs.json.document import SMALL_BODY_BYTES, parse_document
from service.codecs.json.size import SHORT_BYTES, check_structure
from service.errors import InvalidPayload

MIB = 2**20


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"[" + b"[]," * MIB + b"[]]", "1048576 commas, 1048578 lists, 0 objects and 0 strings in 3145732 bytes"),
        (b"[" + b"{}," * MIB + b"{}]", "1048576 commas, 1 lists, 1048577 objects and 0 strings"),
        (b"[" + b'"",' * MIB + b'""]', "1048576 commas, 1 lists, 0 objects and 1048577 strings"),
        (b'["' + b'\\"' * MIB + b'"]' + b"," * 3 * MIB, "3145728 commas, 1 lists, 0 objects and 1 strings"),
    ],
)
def test_a_text_of_too_many_values_is_refused_with_their_numbers(text, sentence):
    with pytest.raises(InvalidPayload, match=sentence) as caught:
        check_structure(text, 4 * MIB)
    assert f"{28 * MIB} are allowed. Send fewer rows at a time, or binary data" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        b"[]," * (SHORT_BYTES // 3),
        b'"' + b"x" * 4 * MIB + b'"',
        b'"' + b'\\"' * 2 * MIB + b'"',
        b"0.30000000000000004," * (MIB // 8),
    ],
)
def test_short_texts_long_strings_and_long_numbers_are_taken(text):
    check_structure(text, 4 * MIB)


def test_a_document_of_which_nothing_is_said_is_a_small_one():
    parse_document(b"[" + b" " * SMALL_BODY_BYTES + b"]")
    with pytest.raises(InvalidPayload, match="lists"):
        parse_document(b"[" + b"[]," * MIB + b"[]]")
