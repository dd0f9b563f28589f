"""The plan as a frozen value: what will change, and everything an apply needs to do just that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from reconciler.model.enums import Kind
from reconciler.model.state import DesiredServer, DesiredTask, ObservedServer, ObservedTask, Origin


class Action(StrEnum):
    """What happens to an object."""

    CREATE = "create"
    UPDATE = "update"
    RENAME = "rename"
    DELETE = "delete"
    RESTORE = "restore"


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field in the manifest's words; None where it is not set."""

    before: Any
    after: Any


Fields = Mapping[str, FieldChange]
"""Dotted path (``spec.timeout``, ``metadata.labels.env``) → change."""


@dataclass(frozen=True, slots=True)
class Change:
    """One object that git changes.

    ``desired`` is None for a deletion, ``row`` for a creation. ``origin`` is the declaration; of a
    deletion the one last applied. A rename has the new name here and the old one in ``row``.
    ``server`` is the plain name of a task's server. A creation's ``fields`` are the ones that are set;
    a deletion has none. ``git_changed`` says that the generation grows.
    """

    action: Action
    kind: Kind
    name: str
    server: str | None
    origin: Origin
    fields: Fields = field(default_factory=dict)
    reason: str | None = None
    desired: DesiredServer | DesiredTask | None = None
    row: ObservedServer | ObservedTask | None = None
    git_changed: bool = True


@dataclass(frozen=True, slots=True)
class Drift:
    """A row that was changed by hand and that git did not change: an apply puts it back.

    ``fields``: before is what the row says now, after what git says.
    """

    kind: Kind
    name: str
    server: str | None
    fields: Fields
    desired: DesiredServer | DesiredTask
    row: ObservedServer | ObservedTask


@dataclass(frozen=True, slots=True)
class Guard:
    """Whether so many deletions need a release.

    ``limit`` rows and ``percent`` of the project's live rows are allowed; ``reasons`` says which
    limit was passed, ``release`` is the digest that lets this very plan through (None if nothing
    tripped). ``protected`` are rows whose deletion no release allows.
    """

    tripped: bool
    deletions: int
    live: int
    limit: int
    percent: int
    reasons: tuple[str, ...] = ()
    protected: tuple[str, ...] = ()
    release: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything one apply will do to one project.

    ``changes`` are in the order of doing: project, servers, tasks; then deletions, tasks before
    servers. ``former_project`` is the name the project is stored under when it is being renamed.
    ``base_revision`` and ``base_commit`` are what was applied last.
    """

    project: str
    changes: tuple[Change, ...]
    drift: tuple[Drift, ...]
    unchanged: int
    guard: Guard
    digest: str
    former_project: str | None = None
    base_revision: int | None = None
    base_commit: str | None = None
    commit: str | None = None

    @property
    def empty(self) -> bool:
        """Nothing to do: no change and no drift."""
        return not self.changes and not self.drift

    def summary(self) -> dict[str, int]:
        """How many objects of each action, and how many stay as they are."""
        counts = dict.fromkeys((action.value for action in Action), 0)
        for change in self.changes:
            counts[change.action] += 1
        return {**counts, "unchanged": self.unchanged}
