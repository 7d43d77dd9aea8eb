"""Bodies in the HTTP content codings gzip and deflate.

Answers are compressed only for clients that name exactly one of the two. HTTP libraries offer several by themselves,
and a service on numbers is shorter of CPU than of network: the lightest compression of an answer costs more time than
the rest of the request.

Source:
    RFC 9110, section 8.4.1: `deflate` is the zlib format. RFC 1952, section 2.2: gzip may have several members.
"""

import zlib

from service.errors import InvalidPayload, PayloadTooLarge

# What zlib calls the formats: 16 stands for gzip, 15 is the largest window.
WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
FASTEST = 1
WORTHWHILE_BYTES = 1024
# How much of a gzip member is read at first, and later at a time. What a piece holds beyond the member's end is copied,
# so pieces begin small: a body of many small members would take quadratic time.
FIRST_PIECE_BYTES, LARGEST_PIECE_BYTES = 2**10, 2**20


def is_identity(coding: str) -> bool:
    """Whether a value of Content-Encoding leaves a body as it is."""
    return coding.strip().lower() in ("", "identity")


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
    if is_identity(coding):
        return body
    coding = coding.strip().lower()
    if coding not in WINDOWS:
        raise InvalidPayload(f"Content-Encoding '{coding[:64]}' is not supported. Supported: gzip, deflate")
    parts: list[bytes] = []
    place, left = 0, most_bytes
    try:
        while place < len(body) or not parts:
            if parts and coding != "gzip":
                raise InvalidPayload(f"The body cannot be read as {coding}: something follows its end")
            place, left = read_member(body, place, left, coding, parts)
            if left < 0:
                raise PayloadTooLarge(most_bytes)
    except zlib.error as error:
        raise InvalidPayload(f"The body cannot be read as {coding}: {error}") from None
    return b"".join(parts)


def read_member(body: bytes, place: int, left: int, coding: str, parts: list[bytes]) -> tuple[int, int]:
    """Decompresses what begins at a place, a whole body or one of its members, and appends it to `parts`.

    Args:
        body: as it came.
        place: where to begin.
        left: how many bytes may still come out; reading stops where there are more.
        coding: gzip or deflate.
        parts: what came out before.

    Returns:
        The place behind the member, and how many bytes may come out of others; less than 0 where there were too many.

    Raises:
        InvalidPayload: the body ends before the member does.
        zlib.error: it is of no such format.
    """
    decompressor = zlib.decompressobj(WINDOWS[coding])
    size = FIRST_PIECE_BYTES
    while not decompressor.eof:
        piece = body[place : place + size]
        if not piece:
            raise InvalidPayload(f"The body cannot be read as {coding}: it ends too early")
        content = decompressor.decompress(piece, left + 1)
        parts.append(content)
        left -= len(content)
        if left < 0:
            break
        place += len(piece) - len(decompressor.unused_data)
        size = min(2 * size, LARGEST_PIECE_BYTES)
    return place, left


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
