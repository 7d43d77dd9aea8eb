"""One file over HTTPS: with a progress bar, retries with growing pauses, and resumption of what a cut left behind."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import requests
import urllib3
from tqdm import tqdm

from pipeline.errors import DataError

CHUNK_BYTES = 1 << 16
PASSING_STATUSES = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Retries:
    """How stubborn a download is.

    Attributes:
        attempts: requests in all.
        first_pause_seconds: before the second request; doubles each time.
        timeout_seconds: to connect, and between two pieces of the answer.
        pause: waits the given number of seconds.
    """

    attempts: int = 5
    first_pause_seconds: float = 1.0
    timeout_seconds: float = 30.0
    pause: Callable[[float], None] = time.sleep


class _Interrupted(Exception):
    """The answer did not come, or not whole: another attempt may succeed."""


def download(address: str, target: Path, retries: Retries) -> None:
    """Downloads `address` to `target`.

    What has arrived lies in `<target>.part` until all of it has; a later call goes on where that file ends.

    Args:
        address: an HTTP or HTTPS address.
        target: the file to write; it appears whole or not at all.
        retries: see `Retries`.

    Raises:
        DataError: the server refuses (404, 403, ...), or the last attempt fails.
    """
    part = part_of(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(retries.attempts):
        try:
            _continue(address, part, retries.timeout_seconds)
        except _Interrupted as error:
            if attempt + 1 == retries.attempts:
                raise DataError(f"{address} could not be downloaded in {retries.attempts} attempts: {error}.") from None
            retries.pause(retries.first_pause_seconds * 2**attempt)
        else:
            os.replace(part, target)
            return


def part_of(target: Path) -> Path:
    """Where the first bytes of an unfinished download lie."""
    return target.with_name(f"{target.name}.part")


def _continue(address: str, part: Path, timeout_seconds: float) -> None:
    """Asks for what `part` lacks, and appends it."""
    # Packed transfer would make the lengths that the server names useless.
    headers = {"Accept-Encoding": "identity", "User-Agent": "kiln"}
    start = part.stat().st_size if part.exists() else 0
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        with requests.get(address, headers=headers, stream=True, timeout=timeout_seconds) as response:
            _check_status(response, address, part)
            _receive(response, part)
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
        raise DataError(f"{address!r} is not an http or https address: {_first_line(error)}.") from None
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise _Interrupted(_first_line(error)) from None


def _check_status(response: requests.Response, address: str, part: Path) -> None:
    if response.status_code == 416:
        # The part is as long as the file or longer, so it is not known to be a beginning of it.
        part.unlink()
        raise _Interrupted("the unfinished file did not fit and was removed")
    if response.status_code in PASSING_STATUSES:
        raise _Interrupted(f"the server answers {response.status_code} {response.reason}")
    if response.status_code not in (200, 206):
        raise DataError(f"{address} cannot be had: the server answers {response.status_code} {response.reason}.")


def _receive(response: requests.Response, part: Path) -> None:
    """Writes the body; only a 206 goes on where the part ends, since a server may ignore `Range`."""
    start = part.stat().st_size if response.status_code == 206 else 0
    if response.status_code == 206 and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        part.unlink()
        raise _Interrupted("the server answers with another range than the one asked for")
    length = response.headers.get("Content-Length")
    total = start + int(length) if length and length.isdigit() else None
    with part.open("ab" if start else "wb") as stream, _bar(part, start, total) as bar:
        received = start + _write_chunks(response, stream, bar)
    if total is not None and received < total:
        raise _Interrupted(f"received {received:,} of {total:,} bytes")


def _write_chunks(response: requests.Response, stream: BinaryIO, bar: tqdm) -> int:
    written = 0
    # Not `iter_content`: it unpacks a file that a server wrongly declares as packed for the transfer.
    for chunk in response.raw.stream(CHUNK_BYTES, decode_content=False):
        stream.write(chunk)
        bar.update(len(chunk))
        written += len(chunk)
    return written


def _bar(part: Path, start: int, total: int | None) -> tqdm:
    return tqdm(desc=part.stem, initial=start, total=total, unit="B", unit_scale=True, leave=False)


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
