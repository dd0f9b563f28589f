"""How the long-running commands log: one line each, as text for people or as JSON for machines."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import TextIO

from reconciler.model.instant import rfc3339

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


def set_up_logging(form: str, stream: TextIO) -> None:
    """Send the program's own log to ``stream``; ``form`` is ``text`` or ``json``.

    Libraries are only heard when they warn: paramiko tells every failed login by itself, and each of
    those is already the reason of an execution.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("reconciler").setLevel(logging.INFO)
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)


def _when(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


class TextLines(logging.Formatter):
    """``02:00:01 warning reconciler.dispatch: message``; times in UTC."""

    def format(self, record: logging.LogRecord) -> str:
        where = record.name.removeprefix("reconciler.")
        line = f"{_when(record):%H:%M:%S} {record.levelname.lower()} {where}: {record.getMessage()}"
        if record.exc_info and record.levelno >= logging.ERROR:
            line += f"\n{self.formatException(record.exc_info)}"
        return line


class JsonLines(logging.Formatter):
    """One object a line: time, level, logger, message, and what the call gave as ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": rfc3339(_when(record)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= {name: value for name, value in record.__dict__.items() if name not in _STANDARD}
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False, default=str)
