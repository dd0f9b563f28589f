"""How the long-running commands log: one line each, as text for people or as JSON for machines."""

from __future__ import annotations

import json
import logging
import os
import traceback
from datetime import UTC, datetime
from typing import TextIO

from reconciler.controller.subject import FIELDS, AddSubject
from reconciler.errors import ReconcilerError
from reconciler.model.instant import rfc3339

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", *FIELDS}
_COMMIT_DIGITS = 12


def set_up_logging(form: str, stream: TextIO) -> None:
    """Send the program's own log to ``stream``; ``form`` is ``text`` or ``json``. May be called again.

    Libraries are only heard when they warn: paramiko tells every failed login by itself, and each of
    those is already the reason of an execution.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    handler.addFilter(AddSubject())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("reconciler").setLevel(logging.INFO)
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)


def _when(record: logging.LogRecord) -> str:
    return rfc3339(datetime.fromtimestamp(record.created, UTC))


def _short(name: str, value: object) -> str:
    return str(value)[:_COMMIT_DIGITS] if name == "commit" else str(value)


class _Lines(logging.Formatter):
    def trace(self, record: logging.LogRecord) -> str | None:
        """Where it failed, and what kind of error it was. Not its text, which may hold anything, unless it is
        an error of ours or RECONCILER_DEBUG=1 asks for it.
        """
        if not record.exc_info or record.exc_info[1] is None:
            return None
        if os.environ.get("RECONCILER_DEBUG") == "1":
            return self.formatException(record.exc_info)
        error: BaseException | None = record.exc_info[1]
        parts: list[str] = []
        while error is not None:
            text = f": {error.message}" if isinstance(error, ReconcilerError) else ""
            parts.append("".join(traceback.format_tb(error.__traceback__)) + type(error).__name__ + text)
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "\ncaused by\n".join(parts)


class TextLines(_Lines):
    """``2026-11-24T02:00:01.250000Z warning dispatch: message  [execution=… task=…]``."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and where it failed in further ones."""
        where = record.name.removeprefix("reconciler.")
        line = f"{_when(record)} {record.levelname.lower()} {where}: {record.getMessage()}"
        known = [(name, getattr(record, name, None)) for name in FIELDS]
        concerns = " ".join(f"{name}={_short(name, value)}" for name, value in known if value is not None)
        if concerns:
            line += f"  [{concerns}]"
        trace = self.trace(record) if record.levelno >= logging.ERROR else None
        return line if trace is None else f"{line}\n{trace}"


class JsonLines(_Lines):
    """One object a line (docs/log-line.schema.json); what the call gave as ``extra`` besides comes last."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the message holds."""
        entry: dict[str, object] = {
            "time": _when(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= {name: getattr(record, name, None) for name in FIELDS}
        entry["exception"] = self.trace(record)
        entry |= {name: value for name, value in record.__dict__.items() if name not in _STANDARD}
        return json.dumps(entry, ensure_ascii=False, default=str)
