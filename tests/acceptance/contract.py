"""The JSON shapes of the command line's contract, and a way to run commands and look at all they say.

Fields may be added, never changed: so what stands here must be there, with this type, always.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from reconciler.cli.main import main

Shape = Any
"""A type, a value, a list of one shape, a mapping of names to shapes, or a function that judges a value."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a command said on its two streams and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def command(*words: str | Path, stdin: str = "") -> Said:
    """Run the program in this process; its standard input is no terminal."""
    out, err = io.StringIO(), io.StringIO()
    before, sys.stdin = sys.stdin, io.StringIO(stdin)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([str(word) for word in words])
    except SystemExit as end:  # of argparse, for --help and --version
        code = int(end.code or 0)
    finally:
        sys.stdin = before
    assert "Traceback" not in err.getvalue(), err.getvalue()
    return Said(code, out.getvalue(), err.getvalue())


def check(value: Any, shape: Shape, place: str = "") -> None:
    """Fails at the first place where the value is not of the shape."""
    if isinstance(shape, Mapping):
        assert isinstance(value, dict), f"{place or 'it'} is no object: {value!r}"
        missing = shape.keys() - value.keys()
        assert not missing, f"{place} lacks {sorted(missing)}"
        for name, inner in shape.items():
            check(value[name], inner, f"{place}.{name}")
    elif isinstance(shape, list):
        assert isinstance(value, list), f"{place} is no list: {value!r}"
        for index, item in enumerate(value):
            check(item, shape[0], f"{place}[{index}]")
    elif isinstance(shape, type):
        # a bool is an int in Python and none in JSON
        right = isinstance(value, shape) and (shape is bool or not isinstance(value, bool))
        assert right, f"{place} is no {shape.__name__}: {value!r}"
    elif callable(shape):
        assert shape(value), f"{place}: {value!r}"
    else:
        assert value == shape, f"{place} is not {shape!r}: {value!r}"


def maybe(shape: Shape) -> Callable[[Any], bool]:
    """The shape, or null."""

    def judge(value: Any) -> bool:
        if value is not None:
            check(value, shape)
        return True

    return judge


def one_of(*words: Any) -> Callable[[Any], bool]:
    return lambda value: value in words


def matching(pattern: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


def number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_time(value: Any) -> bool:
    if not matching(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")(value):
        return False
    datetime.fromisoformat(value)
    return True


TIME = _is_time
"""RFC 3339 in UTC with microseconds."""
LOCAL_TIME = matching(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}[+-]\d\d:\d\d")
EXECUTION_ID = matching(r"[1-9]\d{0,18}")
COMMIT = matching(r"[0-9a-f]{40}([0-9a-f]{24})?")
AUTHOR = matching(r".+ <.*>")
DIGEST = matching(r"[0-9a-f]{64}")
KIND = one_of("Project", "Server", "Task")

CONDITION = {
    "type": str,
    "status": one_of("True", "False", "Unknown"),
    "reason": str,
    "message": str,
    "lastTransitionTime": maybe(TIME),
}
PROBLEM = {
    "severity": one_of("error", "warning"), "code": matching("[a-z0-9-]+"), "message": str, "path": str,
    "line": int, "column": int, "endLine": int, "endColumn": int, "field": maybe(str), "hint": maybe(str),
}  # fmt: skip
VALIDATE = {"problems": [PROBLEM], "resources": {"Server": int, "Task": int, "Calendar": int}}
SUMMARY = dict.fromkeys(("create", "update", "rename", "delete", "restore", "unchanged"), int)
EFFECT = {
    "runsPerDay": {"before": number, "after": number},
    "nextFires": {"before": [TIME], "after": [TIME]},
    "dst": [{"at": TIME, "note": str}],
    "overlapPerDay": maybe(number),
    "busiestMinute": maybe({"at": TIME, "runs": int}),
    "running": [EXECUTION_ID],
}


def _fields(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(name, str) and {"before", "after"} <= change.keys() for name, change in value.items()
    )


CHANGE = {
    "action": one_of("create", "update", "rename", "delete", "restore"),
    "kind": KIND, "name": str, "server": maybe(str), "path": str, "line": int,
    "fields": _fields, "reason": maybe(str), "effect": maybe(EFFECT),
}  # fmt: skip
GUARD = {"tripped": bool, "deletions": int, "limit": int, "percent": int, "release": maybe(DIGEST)}
PLAN = {
    "format": 1, "project": str, "revision": maybe(int), "digest": DIGEST, "summary": SUMMARY,
    "changes": [CHANGE], "guard": GUARD,
    "drift": [{"kind": KIND, "name": str, "server": maybe(str), "fields": _fields}],
}  # fmt: skip
APPLY = {
    "revision": maybe(
        {"id": int, "commit": maybe(COMMIT), "author": maybe(AUTHOR), "appliedBy": str, "appliedAt": TIME}
    ),
    "summary": SUMMARY,
    "digest": DIGEST,
}
TASKS: dict[str, Any] = {
    "items": [
        {
            "id": int, "name": str, "server": str, "project": str, "command": str, "schedule": maybe(str),
            "timezone": str, "enabled": bool, "lastRun": maybe(TIME), "nextRun": maybe(TIME),
            "createdBy": str, "createdAt": TIME, "updatedAt": TIME, "deletedAt": maybe(TIME),
            "generation": int, "path": str, "line": int, "conditions": [CONDITION],
        }
    ],
    "next": maybe(str),
}  # fmt: skip
_REASONS = (
    None, "completed", "exit-code", "timed-out", "cancelled", "unreachable", "auth-failed", "host-key",
    "start-failed", "host-rebooted", "lost", "internal", "overlap", "missed", "suspended", "disabled",
    "superseded",
)  # fmt: skip
EXECUTION = {
    "id": EXECUTION_ID, "task": str, "server": str, "project": str, "status": one_of(0, 1, 2, 3),
    "state": one_of("waiting", "running", "success", "failed", "skipped"), "reason": one_of(*_REASONS),
    "exitCode": maybe(int), "trigger": one_of("schedule", "manual", "retry", "catch-up", "dependency"),
    "requestedBy": maybe(str), "attempt": int, "scheduledFor": TIME, "dueAt": TIME, "startedAt": maybe(TIME),
    "finishedAt": maybe(TIME), "durationSeconds": maybe(number), "outputBytes": int, "errorBytes": int,
    "truncated": bool, "count": int, "commit": maybe(COMMIT), "path": str, "line": int,
}  # fmt: skip
EXECUTIONS = {"items": [EXECUTION], "next": maybe(str)}
REVISIONS: dict[str, Any] = {
    "items": [
        {
            "id": int, "project": str, "commit": maybe(COMMIT), "branch": maybe(str), "author": maybe(AUTHOR),
            "message": maybe(str), "dirty": bool, "appliedBy": str, "appliedAt": TIME, "digest": DIGEST,
            "summary": SUMMARY,
        }
    ],
    "next": maybe(str),
}  # fmt: skip
LIST = {"items": [{"name": str}], "next": maybe(str)}
RUN = {
    "items": [
        {
            "id": EXECUTION_ID,
            "task": str,
            "server": str,
            "state": str,
            "reason": maybe(str),
            "exitCode": maybe(int),
        }
    ]
}
SCHEDULE = {
    "items": [
        {
            "task": str, "server": str, "project": str, "at": TIME, "scheduledFor": TIME, "timezone": str,
            "localTime": LOCAL_TIME, "note": one_of("dst-gap", "dst-repeat", None),
        }
    ]
}  # fmt: skip
EXPLAIN = {
    "task": str, "server": str, "at": TIME,
    "verdict": one_of("ran", "skipped", "running", "not-due", "overdue", "upcoming"),
    "reason": maybe(str), "execution": maybe(lambda value: isinstance(value, str | dict)),
    "previousSlot": maybe(TIME), "nextSlot": maybe(TIME), "note": maybe(str),
}  # fmt: skip
STATUS = {
    "generatedAt": TIME,
    "summary": dict,
    "objects": [
        {
            "kind": KIND, "name": str, "server": maybe(str),
            "sync": one_of("Synced", "Drifted", "Pending"),
            "health": one_of("Healthy", "Degraded", "Overdue", "Suspended", "Unknown"),
            "conditions": [CONDITION],
        }
    ],
}  # fmt: skip
ERROR = {"error": {"code": matching("[a-z-]+"), "message": str, "hint": maybe(str), "details": dict}}
