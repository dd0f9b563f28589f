"""The plan as a frozen value: what will change, and everything an apply needs to do just that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from reconciler.model.enums import Kind
from reconciler.model.measured import Suspended
from reconciler.model.project import ProjectSpec
from reconciler.model.state import (
    Commit,
    DesiredServer,
    DesiredTask,
    ObservedServer,
    ObservedTask,
    Origin,
)


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
"""Dotted path (``spec.timeout``, ``metadata.labels.env``) → change. Changes share equal ones: never edit."""


@dataclass(frozen=True, slots=True)
class Times:
    """When something runs: on an ordinary day, and the next due times (at most five, UTC, jitter included).

    ``timezone`` is the zone of its schedule, None without one.
    """

    runs_per_day: float = 0
    next_fires: tuple[datetime, ...] = ()
    timezone: str | None = None


@dataclass(frozen=True, slots=True)
class Shift:
    """A task that git did not touch and whose times move all the same: its server got another name."""

    name: str
    before: Times
    after: Times


@dataclass(frozen=True, slots=True)
class Effect:
    """What a change does to the runs of a task, or of all tasks of a server.

    ``dst`` are the clock changes of the coming year that touch the new schedule, each with its note and how
    often a time that it skips or repeats runs (None: not known, in a plan that an older version saved).
    ``overlap_per_day`` is how many runs a day come due while an earlier one is still in progress if each
    takes the task's average time, None where that is not known. ``busiest_minute`` is of the
    server, with this project's runs, in the next 24 hours after the change. ``running`` are
    executions that finish under the old generation. ``shifted`` only for servers. ``suspended``: the
    task does not run now, whatever its schedule says.
    """

    before: Times = Times()
    after: Times = Times()
    dst: tuple[tuple[datetime, str, int | None], ...] = ()
    overlap_per_day: float | None = None
    busiest_minute: tuple[datetime, int] | None = None
    running: tuple[int, ...] = ()
    shifted: tuple[Shift, ...] = ()
    suspended: Suspended | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One object that git changes.

    ``desired`` is None for a deletion, ``row`` for a creation. ``origin`` is the declaration; of a
    deletion the one last applied. A rename has the new name here and the old one in ``row``; names may be
    swapped among renames, and a creation may take a name that a rename leaves.
    ``server`` is the plain name of a task's server, after the change. A creation's ``fields`` are the
    ones that are set; a deletion has none. ``git_changed`` says that the generation grows.

    ``scheduling_changed``: next slots are computed anew; of a server, those of all live tasks on it, other
    projects' too. ``drift`` is what was changed by hand on top of what git changes (before: what the row
    says, after: what git says): writing ``desired`` puts it back as well. ``drifted`` without ``drift``:
    changed by hand, but the stored hash does not tell which of ``fields``.
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
    scheduling_changed: bool = False
    drifted: bool = False
    drift: Fields = field(default_factory=dict)
    effect: Effect | None = None


@dataclass(frozen=True, slots=True)
class Drift:
    """A row that was changed by hand and that git did not change: an apply puts it back.

    ``fields``: before is what the row says now, after what git says. The generation stays. ``desired`` and
    ``row`` are None only for the project's settings (``Plan.settings_drift``).
    """

    kind: Kind
    name: str
    server: str | None
    fields: Fields
    desired: DesiredServer | DesiredTask | None
    row: ObservedServer | ObservedTask | None
    scheduling_changed: bool = False
    effect: Effect | None = None

    @property
    def origin(self) -> Origin:
        """Where it is declared; a project's settings may be declared nowhere."""
        return Origin("", 0) if self.desired is None else self.desired.origin


@dataclass(frozen=True, slots=True)
class Guard:
    """Whether so many deletions need a release.

    ``limit`` rows and ``percent`` of the project's live rows are allowed; ``reasons`` says what
    tripped it, ``release`` is the digest that lets this very plan through (None if nothing
    tripped, or if that would not be enough). ``protected`` are rows whose deletion no release allows.
    """

    tripped: bool
    deletions: int
    live: int
    limit: int
    percent: int
    reasons: tuple[str, ...] = ()
    protected: tuple[str, ...] = ()
    release: str | None = None

    @property
    def stops(self) -> bool:
        """Whether an apply without a release is stopped."""
        return self.tripped or bool(self.protected)


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything one apply will do to one project.

    ``changes`` are in the order of doing: project, servers, tasks; then deletions, tasks before
    servers; in each group renames first, then by name. ``former_project`` is the name the project is
    stored under when it is being renamed. ``base_revision`` and ``base_commit`` are what was applied last.

    ``spec`` are the project's settings: written when a change of kind Project is here, or when the project
    has no row yet. ``source`` and ``git`` say where the tree comes from. ``targets`` are the ``--target``
    options as written; then ``left_out`` counts the changes that were not asked for. ``declared`` counts the
    objects of the tree. ``settings_drift``: the stored settings were changed by hand and git did not change
    them; writing ``spec`` puts them back. ``forget`` are unchanged rows whose remembered ``formerly`` is no
    longer declared: an apply clears it (also when there is nothing else to do; without a revision), so that
    the same words act when they are written again. They are no change. ``applied_as`` is the other project
    that this source was last applied as; None where it is the same.
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
    spec: ProjectSpec = field(default_factory=ProjectSpec)
    source: str = ""
    git: Commit | None = None
    targets: tuple[str, ...] = ()
    left_out: int = 0
    declared: int = 0
    settings_drift: Drift | None = None
    forget: tuple[ObservedServer | ObservedTask, ...] = ()
    applied_as: str | None = None

    @property
    def commit(self) -> str | None:
        """The hash of the tree's commit; None without git."""
        return None if self.git is None else self.git.hash

    @property
    def empty(self) -> bool:
        """Nothing to do: no change and no drift."""
        return not self.changes and not self.drift and self.settings_drift is None

    def touched(self) -> tuple[Change | Drift, ...]:
        """Changes, then drift: all that an apply writes."""
        return (*self.changes, *self.drift)

    def all_drift(self) -> tuple[Drift, ...]:
        """Every row that was changed by hand, those that git changes too: what people are shown.

        Their ``fields`` are empty where the stored hash does not tell which a hand changed.
        """
        on_top = (
            Drift(one.kind, one.name, one.server, one.drift, one.desired, one.row)
            for one in self.changes
            if one.drifted and (one.drift or one.fields) and one.desired is not None and one.row is not None
        )
        settings = () if self.settings_drift is None else (self.settings_drift,)
        return (*settings, *self.drift, *on_top)

    def summary(self) -> dict[str, int]:
        """How many objects of each action, and how many stay as they are."""
        counts = dict.fromkeys((action.value for action in Action), 0)
        for change in self.changes:
            counts[change.action] += 1
        return {**counts, "unchanged": self.unchanged}

    def task_ids(self) -> tuple[int, ...]:
        """The rows of tasks it changes: what ``Measured`` is asked for."""
        return tuple(one.row.id for one in self.touched() if one.kind is Kind.TASK and one.row is not None)


def address(name: str, server: str | None) -> str:
    """``name`` or ``name@server``."""
    return name if server is None else f"{name}@{server}"
