"""A project as declared: how its tree is reconciled."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, StrictInt

from reconciler.model.base import Model, declared
from reconciler.model.fields import Name, Seconds
from reconciler.model.metadata import ProjectMetadata


class Guard(Model):
    """How much one apply may delete without being released."""

    max_deletions: Annotated[StrictInt, Field(ge=0)] = 10
    """More rows than this trip the guard."""
    max_deletion_percent: Annotated[StrictInt, Field(ge=0, le=100)] = 20
    """At least 5 rows and more than this share of the live rows trip it too."""


class History(Model):
    """Which executions of a task are kept; the newest always is, and what decides the next run."""

    max_age: Annotated[Seconds, Field(ge=1)] = 90 * 86_400
    """Older ones are pruned."""
    max_count: Annotated[StrictInt, Field(ge=1)] = 1000
    """Beyond this many, the oldest are pruned."""


def kept_history(own: object, project: object) -> History:
    """What is kept of a task: its own declared ``history`` as a whole, else its project's, else the default.

    Not field by field: what a task leaves out is the language's default, also where its project says
    otherwise, because documents leave defaults out. None: nothing was declared. Raises ValueError for what
    is no ``history``, in a row that somebody spoilt.
    """
    said = project if own is None else own
    return History() if said is None else History.model_validate(said)


class Defaults(Model):
    """Filled in below each object before validation; the object wins. Keys are those of the kind's spec."""

    task: dict[str, Any] = Field(
        default_factory=dict, examples=[{"timezone": "Europe/Berlin", "timeout": "1h"}]
    )
    """Defaults of every Task's spec."""
    server: dict[str, Any] = Field(default_factory=dict, examples=[{"username": "deploy"}])
    """Defaults of every Server's spec."""


class ProjectSpec(Model):
    """How this tree is reconciled."""

    prune: StrictBool = True
    """Soft-delete what left the tree (only what this project owns)."""
    self_heal: StrictBool = True
    """The controller puts back what was changed by hand."""
    guard: Guard = Guard()
    """How much one apply may delete."""
    history: History = History()
    """How many executions of each task are kept; a task may set its own."""
    calendars: tuple[Name, ...] = Field(default=(), examples=[["holidays"]])
    """Calendars of this tree that hold for every task, before the task's own."""
    defaults: Defaults = Defaults()
    """Defaults of this tree's objects."""


class ProjectDeclaration(Model):
    """The tree itself; at most one in a tree."""

    api_version: Literal["reconciler/v1"]
    kind: Literal["Project"]
    metadata: ProjectMetadata
    spec: ProjectSpec = ProjectSpec()


def project_document(spec: ProjectSpec) -> dict[str, Any]:
    """The canonical document of a project's spec; defaults left out.

    ``calendars`` and ``defaults`` are not part of it: they act on the objects, whose documents show their
    effect.
    """
    return declared(spec, set(ACTING_ON_OBJECTS))


ACTING_ON_OBJECTS = frozenset({"calendars", "defaults"})
"""Fields of a project's spec that are stored with its tasks and servers instead."""
