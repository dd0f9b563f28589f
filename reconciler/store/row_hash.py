"""The hash of what a task's columns say now, made of their texts: that of its document, sooner.

A row's rest (the column ``spec``) and labels are canonical JSON already, and few of them are distinct. Each
is taken apart once; then a document's text is a few pieces put together around its command.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.model.canonical import Document, canonical_json, document_hash
from reconciler.store.rows import DEFAULT_ZONE, metadata_of, task_document

_COLUMNS = ("command", "enabled", "schedule", "timezone")
"""What of a spec has a column of its own, in the order of the canonical text."""
_DISABLED = ',"enabled":false'
_MOST = 100_000
"""Texts remembered for one result."""


@dataclass(frozen=True, slots=True)
class _Pieces:
    """The members of a spec around those that have columns, with commas between them and those."""

    before_command: str
    before_enabled: str
    before_schedule: str
    before_timezone: str
    rest: str
    annotations: str


class TaskHashes:
    """For the rows of one result."""

    def __init__(self) -> None:
        self._pieces: dict[str, _Pieces | None] = {}
        self._heads: dict[tuple[str, int, str, str], str] = {}

    def of(
        self,
        command: str,
        cron_expr: str | None,
        timezone: str,
        status: int,
        labels: tuple[str, Mapping[str, Any]],
        protected: int,
        rest: tuple[str, Mapping[str, Any]],
    ) -> str:
        """The hash (64 hex digits); ``labels`` and ``rest`` are a column's text each, and what it holds."""
        text, value = rest
        if text in self._pieces:
            pieces = self._pieces[text]
        else:
            pieces = _pieces(value)
            if len(self._pieces) < _MOST:
                self._pieces[text] = pieces
        if pieces is None:
            return hash_of(task_document(command, cron_expr, timezone, status, labels[1], protected, value))
        key = labels[0], protected, pieces.annotations, pieces.before_command
        head = self._heads.get(key)
        if head is None:
            metadata = canonical_json(metadata_of(labels[1], protected, value))
            head = f'{{"metadata":{metadata},"spec":{{{pieces.before_command}"command":'
            if len(self._heads) < _MOST:
                self._heads[key] = head
        enabled = "" if status else _DISABLED
        schedule = "" if cron_expr is None else f',"schedule":{canonical_json(cron_expr)}'
        zone = "" if timezone == DEFAULT_ZONE else f',"timezone":{canonical_json(timezone)}'
        whole = (
            f"{head}{canonical_json(command)}{pieces.before_enabled}{enabled}{pieces.before_schedule}{schedule}"
            f"{pieces.before_timezone}{zone}{pieces.rest}}}}}"
        )
        return hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()


def hash_of(document: Document) -> str:
    """The hash of a document whose row a hand may have spoilt: empty for one that has none."""
    try:
        return document_hash(document)
    except ValueError:
        # a number that is none: no document that was ever applied holds one
        return ""


def _pieces(rest: Mapping[str, Any]) -> _Pieces | None:
    """None for what a hand has spoilt: a value that stands twice, or one that is no JSON."""
    spec = rest.get("spec", {})
    if not isinstance(spec, dict) or not spec.keys().isdisjoint(_COLUMNS):
        return None
    members: list[list[str]] = [[] for _ in range(len(_COLUMNS) + 1)]
    try:
        for name in sorted(spec):
            place = sum(1 for column in _COLUMNS if column < name)
            members[place].append(f"{canonical_json(name)}:{canonical_json(spec[name])}")
        annotations = canonical_json(rest.get("annotations"))
    except ValueError:
        return None
    first, *others = members
    enabled, schedule, timezone, rest_of_it = ("".join(f",{one}" for one in some) for some in others)
    return _Pieces("".join(f"{one}," for one in first), enabled, schedule, timezone, rest_of_it, annotations)
