"""Log records as lines: JSON objects for machines, or text for eyes."""

import json
import logging
import sys
import time
from functools import lru_cache
from typing import Any

# A record's `fields` (given as `extra={"fields": {...}}`) become keys of the JSON object.
FIELDS = "fields"


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON in ASCII: no name, wherever it comes from, writes a control character."""
        entry = {
            "time": timestamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
            **getattr(record, FIELDS, {}),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str, separators=(",", ":"))


class TextFormatter(logging.Formatter):
    """Time, level and sentence, with the fields behind it."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text; what clients sent is escaped, so that it cannot pose as a line of its own."""
        fields = " ".join(f"{key}={value}" for key, value in getattr(record, FIELDS, {}).items())
        sentence = escape(f"{record.getMessage()} {fields}".rstrip())
        lines = self.formatException(record.exc_info).splitlines() if record.exc_info else []
        text = f"{timestamp(record.created)} {record.levelname.lower():7} {sentence}"
        return "\n".join([text, *(f"  {escape(line)}" for line in lines)])


def escape(text: str) -> str:
    """The text in printable ASCII, with the rest as Python writes it in a string, e.g. `\\n`."""
    return text.encode("unicode_escape").decode("ascii")


def timestamp(seconds: float) -> str:
    """UTC time with milliseconds, e.g. `2026-01-31T12:00:00.123Z`."""
    return f"{whole_seconds(int(seconds))}.{int(seconds % 1 * 1000):03}Z"


@lru_cache(maxsize=2)
def whole_seconds(seconds: int) -> str:
    """UTC time, e.g. `2026-01-31T12:00:00`; many lines are of the same second."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def logging_configuration(level: str, form: str) -> dict[str, Any]:
    """What `logging.config.dictConfig` takes: everything goes to standard error.

    Args:
        level: least level that is logged.
        form: `json`, `text`, or `auto` for text on a terminal and JSON elsewhere.
    """
    if form == "auto":
        form = "text" if sys.stderr.isatty() else "json"
    formatter = {"json": "service.logs.JsonFormatter", "text": "service.logs.TextFormatter"}[form]
    quiet = {"level": level.upper(), "handlers": [], "propagate": True}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": formatter}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "stream": "ext://sys.stderr"}},
        "root": {"level": "WARNING", "handlers": ["stderr"]},
        "loggers": {"service": quiet, "gunicorn.error": quiet, "gunicorn.access": quiet},
    }
