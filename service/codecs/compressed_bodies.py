"""Bodies in the HTTP content codings gzip and deflate.

Answers are compressed only for clients that name exactly one of the two. HTTP libraries offer several by themselves,
and a service on numbers is shorter of CPU than of network: the lightest compression of an answer costs more time than
the rest of the request.

Source:
    RFC 9110, section 8.4.1: `deflate` is the zlib format.
"""

import zlib

from service.errors import InvalidPayload, PayloadTooLarge

# What zlib calls the formats: 16 stands for gzip, 15 is the largest window.
WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
FASTEST = 1
WORTHWHILE_BYTES = 1024


def decompress(body: bytes, coding: str, most_bytes: int) -> bytes:
    """Undoes a content coding.

    Args:
        body: as it came.
        coding: the value of Content-Encoding.
        most_bytes: how many bytes are accepted.

    Raises:
        InvalidPayload: the coding is not supported, or the body not of that coding.
        PayloadTooLarge: there are more bytes in it.
    """
    coding = coding.strip().lower()
    if coding in ("", "identity"):
        return body
    if coding not in WINDOWS:
        raise InvalidPayload(f"Content-Encoding '{coding[:64]}' is not supported. Supported: gzip, deflate")
    decompressor = zlib.decompressobj(WINDOWS[coding])
    try:
        content = decompressor.decompress(body, most_bytes + 1)
    except zlib.error as error:
        raise InvalidPayload(f"The body cannot be read as {coding}: {error}") from None
    if len(content) > most_bytes:
        raise PayloadTooLarge(most_bytes)
    if not decompressor.eof or decompressor.unused_data:
        rest = "something follows its end" if decompressor.eof else "it ends too early"
        raise InvalidPayload(f"The body cannot be read as {coding}: {rest}")
    return content


def compress(body: bytes, accepted: str | None) -> tuple[bytes, str | None]:
    """Applies the content coding that a client asks for, where it pays.

    Args:
        body: as it is.
        accepted: the value of Accept-Encoding.

    Returns:
        The body and its coding, or None where it is as it was.
    """
    if accepted not in WINDOWS or len(body) < WORTHWHILE_BYTES:
        return body, None
    compressor = zlib.compressobj(FASTEST, zlib.DEFLATED, WINDOWS[accepted])
    smaller = compressor.compress(body) + compressor.flush()
    return (smaller, accepted) if len(smaller) < len(body) else (body, None)
