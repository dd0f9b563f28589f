"""Between a canonical document and the columns of its row; no value stands twice.

Columns hold what people query by, ``spec`` holds the rest of the document. Rebuilding leaves defaults
out again, so a row that nobody touched gives back exactly the document that was applied, and its
hash. Pure functions on plain values: the hot path of planning runs through here for every row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.model.canonical import Document

_SERVER_COLUMNS = ("host", "port", "username", "environment", "enabled")
_TASK_COLUMNS = ("command", "schedule", "timezone", "enabled")
DEFAULT_PORT = 22
DEFAULT_ZONE = "UTC"


def server_columns(document: Document) -> dict[str, Any]:
    """What a live server's row holds of its document."""
    spec = dict(document["spec"])
    metadata = document["metadata"]
    own = {name: spec.pop(name, None) for name in _SERVER_COLUMNS}
    return {
        "host": own["host"],
        "port": DEFAULT_PORT if own["port"] is None else own["port"],
        "username": own["username"],
        "environment": own["environment"] or "",
        "status": int(own["enabled"] is not False),
        "labels": metadata.get("labels", {}),
        "protected": int(metadata.get("protected", False)),
        "spec": _rest(spec, metadata),
    }


def task_columns(document: Document) -> dict[str, Any]:
    """What a live task's row holds of its document."""
    spec = dict(document["spec"])
    metadata = document["metadata"]
    own = {name: spec.pop(name, None) for name in _TASK_COLUMNS}
    return {
        "command": own["command"],
        "cron_expr": own["schedule"],
        "timezone": own["timezone"] or DEFAULT_ZONE,
        "status": int(own["enabled"] is not False),
        "labels": metadata.get("labels", {}),
        "protected": int(metadata.get("protected", False)),
        "spec": _rest(spec, metadata),
    }


def _rest(spec: dict[str, Any], metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What goes into the column ``spec``; annotations lie there under their own key.

    So does ``formerly`` of a renamed row, which is no part of the document: it says what was done.
    """
    annotations = metadata.get("annotations")
    return {"spec": spec, "annotations": annotations} if annotations else {"spec": spec}


def server_document(
    host: str,
    port: int,
    username: str | None,
    environment: str,
    status: int,
    labels: Mapping[str, Any],
    protected: int,
    rest: Mapping[str, Any],
) -> Document:
    """The canonical document that a server's columns say now."""
    spec = dict(rest.get("spec", {}))
    spec["host"] = host
    if port != DEFAULT_PORT:
        spec["port"] = port
    if username is not None:
        spec["username"] = username
    if environment:
        spec["environment"] = environment
    if not status:
        spec["enabled"] = False
    return {"metadata": metadata_of(labels, protected, rest), "spec": spec}


def task_document(
    command: str,
    cron_expr: str | None,
    timezone: str,
    status: int,
    labels: Mapping[str, Any],
    protected: int,
    rest: Mapping[str, Any],
) -> Document:
    """The canonical document that a task's columns say now."""
    spec = dict(rest.get("spec", {}))
    spec["command"] = command
    if cron_expr is not None:
        spec["schedule"] = cron_expr
    if timezone != DEFAULT_ZONE:
        spec["timezone"] = timezone
    if not status:
        spec["enabled"] = False
    return {"metadata": metadata_of(labels, protected, rest), "spec": spec}


def metadata_of(labels: Mapping[str, Any], protected: int, rest: Mapping[str, Any]) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    if labels:
        metadata["labels"] = dict(labels)
    if rest.get("annotations"):
        metadata["annotations"] = rest["annotations"]
    if protected:
        metadata["protected"] = True
    return metadata
