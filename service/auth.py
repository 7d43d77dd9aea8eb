"""Who may do what: bearer tokens from a file, by scope.

A line of the file gives scopes and a token, e.g. `predict,metrics 3f9ca1...`; empty lines and lines that start with `#`
do not count. A scope may have several tokens, which is how one replaces another without a gap. `admin` includes the
other scopes. Without a file, everybody may predict and read metrics, and administration is for this machine only.
"""

import hashlib
import hmac
import ipaddress
import logging
import re
import threading
import time
from pathlib import Path

from service.errors import Forbidden, Unauthorized

logger = logging.getLogger(__name__)

ADMIN, METRICS, PREDICT = "admin", "metrics", "predict"
SCOPES = frozenset({ADMIN, METRICS, PREDICT})
# What a bearer token may be made of, by RFC 6750.
LINE = re.compile(r"([a-z]+(?:,[a-z]+)*)[ \t]+([A-Za-z0-9._~+/-]+=*)")
BEARER = re.compile(r"Bearer +([^ ]+) *", re.IGNORECASE)
RELOAD_SECONDS = 1.0

# SHA-256 of each token, and what it allows.
Tokens = tuple[tuple[bytes, frozenset[str]], ...]


class Access:
    """Checks requests. May be used by several threads.

    Args:
        token_file: where the tokens are; None where none are needed.
    """

    def __init__(self, token_file: Path | None) -> None:
        self._file = token_file
        self._tokens: Tokens = ()
        self._seen = b""
        self._complaint = ""
        self._next_look = 0.0
        self._lock = threading.Lock()
        if token_file is not None:
            self._look(token_file)

    def check(self, scope: str, authorization: str | None, *, from_loopback: bool) -> None:
        """Lets a request pass, or raises.

        Args:
            scope: what it needs: `predict`, `admin` or `metrics`.
            authorization: its `Authorization` header, or None.
            from_loopback: whether it comes from this machine, with no proxy in between.

        Raises:
            Unauthorized: a token is needed, and none or an unknown one came.
            Forbidden: the token does not allow this; or administration without a token file, from elsewhere.
        """
        if self._file is None:
            if scope == ADMIN and not from_loopback:
                raise Forbidden(
                    "Without tokens, administration is for this machine only: ask http://127.0.0.1 or "
                    "http://localhost directly, or set KILN_TOKEN_FILE and send a token of scope admin."
                )
            return
        if time.monotonic() >= self._next_look:
            self._look(self._file)
        allowed = self._scopes(authorization)
        if scope not in allowed:
            raise Forbidden(f"The token does not allow this. It needs scope {scope} and has: {', '.join(allowed)}.")

    def _scopes(self, authorization: str | None) -> list[str]:
        match = BEARER.fullmatch(authorization or "")
        if match is None:
            raise Unauthorized("A token is needed. Send it as the header 'Authorization: Bearer TOKEN'.")
        digest = hash_token(match[1])
        allowed: frozenset[str] = frozenset()
        # Every token is compared, so that the time tells nothing of which one came close.
        for known, scopes in self._tokens:
            if hmac.compare_digest(known, digest):
                allowed = scopes
        if not allowed:
            raise Unauthorized("The token is not known. Send one that is valid as 'Authorization: Bearer TOKEN'.")
        return sorted(allowed)

    def _look(self, file: Path) -> None:
        """Reads the file where it has changed; one thread does, while the others go on with what is known."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            self._next_look = time.monotonic() + RELOAD_SECONDS
            # A few lines are read as fast as their time and inode, which may stay the same when a file is replaced.
            content = file.read_bytes()
            seen = hashlib.sha256(content).digest()
            if seen != self._seen:
                self._tokens = parse_tokens(content.decode())
                logger.info("Tokens were read", extra={"fields": {"file": str(file), "tokens": len(self._tokens)}})
            self._seen, self._complaint = seen, ""
        except (OSError, ValueError) as error:
            self._complain(file, error)
        finally:
            self._lock.release()

    def _complain(self, file: Path, error: OSError | ValueError) -> None:
        """Logs once what is wrong with the file; the tokens that were good last stay so."""
        self._seen = b""
        reason = "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)
        if reason == self._complaint:
            return
        self._complaint = reason
        sentence = "The token file cannot be used; " + (
            "the tokens that were read before stay valid" if self._tokens else "EVERY REQUEST IS REFUSED until it can"
        )
        level = logging.WARNING if self._tokens else logging.ERROR
        logger.log(level, sentence, extra={"fields": {"file": str(file), "reason": reason}})


def parse_tokens(text: str) -> Tokens:
    """Reads a token file's text.

    Args:
        text: see the top of this module.

    Returns:
        The tokens' hashes and scopes; a token on several lines has the scopes of all.

    Raises:
        ValueError: a line is wrong, or there is no token at all; the sentence names the line and repeats none of it.
    """
    tokens: dict[bytes, frozenset[str]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = LINE.fullmatch(line.strip())
        scopes = frozenset(match[1].split(",")) if match else frozenset()
        if match is None or not scopes <= SCOPES:
            raise ValueError(
                f"line {number}: expected scopes and a token, such as 'predict,metrics TOKEN'; "
                f"scopes are {', '.join(sorted(SCOPES))}"
            )
        digest = hash_token(match[2])
        tokens[digest] = tokens.get(digest, frozenset()) | (SCOPES if ADMIN in scopes else scopes)
    if not tokens:
        raise ValueError("there is no token in it")
    return tuple(tokens.items())


def hash_token(token: str) -> bytes:
    """The token's SHA-256, so that comparisons take the same time whatever its length."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def is_loopback(address: str) -> bool:
    """Whether an address is this machine's own: 127.0.0.0/8, ::1, or the former written as IPv6."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_loopback
