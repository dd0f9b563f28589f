"""Specs of rows, each distinct text validated once: what claiming and taking read thousands of times
a second.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from reconciler.model.server import ServerSpec
from reconciler.model.state import server_spec, task_spec
from reconciler.model.task import TaskSpec
from reconciler.store.rows import server_document, task_document

_KEPT = 8192
"""Distinct specs kept: more distinct ones are validated again, at about 30 µs each."""
_SMALL = 2048
"""Characters up to which a task's spec is kept: scripts may be long."""


class SpecSpoilt(ValueError):
    """A row's columns make no valid spec: it was changed by hand, or by a newer program."""


@lru_cache(maxsize=_KEPT)
def scheduling_spec(cron_expr: str | None, timezone: str, rest: str) -> TaskSpec:
    """The spec of a task's row without its command; ``rest`` is the text of the column ``spec``.

    Raises SpecSpoilt.
    """
    try:
        spec = dict(_loads(rest).get("spec", {}))
        if cron_expr is not None:
            spec["schedule"] = cron_expr
        return TaskSpec.model_validate({**spec, "timezone": timezone})
    except (ValueError, TypeError, AttributeError) as error:
        raise _spoilt(error) from error


def whole_task_spec(command: str, cron_expr: str | None, timezone: str, status: int, rest: str) -> TaskSpec:
    """The spec of a task's row; raises SpecSpoilt."""
    if len(command) + len(rest) > _SMALL:
        return _task_spec.__wrapped__(command, cron_expr, timezone, status, rest)
    return _task_spec(command, cron_expr, timezone, status, rest)


@lru_cache(maxsize=2 * _KEPT)
def _task_spec(command: str, cron_expr: str | None, timezone: str, status: int, rest: str) -> TaskSpec:
    try:
        return task_spec(task_document(command, cron_expr, timezone, status, {}, 0, _loads(rest)))
    except (ValueError, TypeError, AttributeError) as error:
        raise _spoilt(error) from error


@lru_cache(maxsize=_KEPT)
def whole_server_spec(
    host: str, port: int, username: str | None, environment: str, status: int, rest: str
) -> ServerSpec:
    """The spec of a server's row; raises SpecSpoilt."""
    try:
        return server_spec(server_document(host, port, username, environment, status, {}, 0, _loads(rest)))
    except (ValueError, TypeError, AttributeError) as error:
        raise _spoilt(error) from error


@lru_cache(maxsize=_KEPT)
def _loads(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise SpecSpoilt("the column spec holds no object")
    return value


def _spoilt(error: Exception) -> SpecSpoilt:
    # pydantic's own text quotes the values, which may be long and private
    errors = getattr(error, "errors", None)
    if callable(errors):
        places = [
            ".".join(map(str, item["loc"])) + ": " + item["type"] for item in errors(include_input=False)
        ]
        return SpecSpoilt("; ".join(places[:5]))
    return SpecSpoilt(f"{type(error).__name__} in the column spec")
