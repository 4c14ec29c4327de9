"""Logs of the server: lines of text or of JSON, each with the id of the request it belongs to."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
import uuid
from contextvars import ContextVar
from typing import Literal

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

request_id: ContextVar[str] = ContextVar("request_id", default="")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_PACKAGE = __name__.partition(".")[0]


def configure_logs(level: LogLevel, form: LogFormat) -> None:
    """Log to standard error in this form; of other libraries, warnings alone."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(handlers=[handler], force=True)
    logging.getLogger(_PACKAGE).setLevel(level.upper())


def new_request_id(given: str) -> str:
    """Return the id that a client has given to its request if it is valid, else a new one."""
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


class TextFormatter(logging.Formatter):
    """Time, level, message and the request's id."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03dZ %(levelname)-7s %(message)s", "%Y-%m-%dT%H:%M:%S")
        self.converter = time.gmtime

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Add the id of the request."""
        text = super().formatMessage(record)
        return f"{text} [{found}]" if (found := request_id.get()) else text


class JsonFormatter(logging.Formatter):
    """One object a line; what a record was given as `extra={"fields": {...}}` becomes keys of it."""

    def format(self, record: logging.LogRecord) -> str:
        """Lay out one record."""
        entry = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{record.msecs:03.0f}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if found := request_id.get():
            entry["request_id"] = found
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry | getattr(record, "fields", {}))
