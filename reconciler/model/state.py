"""Desired and observed state: what git says, and what the database holds.

Both speak in canonical documents (``model.canonical``), so comparing them is comparing values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

from reconciler.model.canonical import Document, canonical_json
from reconciler.model.project import ProjectSpec
from reconciler.model.server import ServerSpec
from reconciler.model.task import TaskSpec
from reconciler.model.value import value

TaskKey = tuple[str, str]
"""(task name, server): a row of a project. The server of another project is ``project/name``."""


@value
class Origin:
    """Where something is declared: path relative to the tree, line from 1."""

    path: str
    line: int


@dataclass(frozen=True, slots=True)
class Commit:
    """The git commit of a tree; ``author`` is ``Name <email>``, ``hash`` the whole hash."""

    hash: str
    author: str
    author_email: str
    message: str
    branch: str | None = None
    dirty: bool = False


@value
class Definition:
    """A canonical document and its hash; shared by all rows of one declaration."""

    document: Document
    hash: str


@value
class DesiredServer:
    """A server that the tree declares."""

    name: str
    definition: Definition
    origin: Origin
    formerly: str | None = None


@value
class DesiredTask:
    """One row that the tree declares: a task on a server.

    ``server`` is a server of this tree, or ``project/name``. ``formerly`` is the former name of the
    task, ``formerly_server`` the server it moves from.
    """

    name: str
    server: str
    definition: Definition
    origin: Origin
    formerly: str | None = None
    formerly_server: str | None = None


@dataclass(frozen=True, slots=True)
class DesiredState:
    """A whole valid tree. Mappings are in the order of files and documents."""

    project: str
    spec: ProjectSpec
    servers: Mapping[str, DesiredServer]
    tasks: Mapping[TaskKey, DesiredTask]
    origin: Origin | None = None
    formerly: str | None = None
    source: str = ""
    commit: Commit | None = None


@value
class ObservedServer:
    """A row of ``servers``, deleted ones too. ``project`` is None for a server nobody owns.

    ``definition`` is what the columns say now; it has drifted when its hash is not ``applied_hash``.
    ``renamed_from`` is the ``formerly`` that gave the row its name; of a ``spoilt`` row (a column that
    cannot be read) nobody knows. Unreadable text stands in the document beside metadata and spec.
    """

    id: int
    name: str
    project: str | None
    definition: Definition
    applied_hash: str
    generation: int
    protected: bool
    origin: Origin
    revision_id: int | None = None
    deleted_at: datetime | None = None
    renamed_from: str | None = None
    spoilt: bool = False

    @property
    def live(self) -> bool:
        return self.deleted_at is None

    @property
    def drifted(self) -> bool:
        return self.live and self.definition.hash != self.applied_hash


@value
class ObservedTask:
    """A row of ``tasks``, deleted ones too; ``server`` is the server's plain name.

    ``renamed_from`` is the ``formerly`` that gave the row its name or place, as it was written; of a
    ``spoilt`` row nobody knows.
    """

    id: int
    name: str
    server: str
    server_id: int
    project: str
    definition: Definition
    applied_hash: str
    generation: int
    protected: bool
    origin: Origin
    revision_id: int | None = None
    deleted_at: datetime | None = None
    renamed_from: str | None = None
    next_slot: datetime | None = None
    next_run: datetime | None = None
    spoilt: bool = False

    @property
    def live(self) -> bool:
        return self.deleted_at is None

    @property
    def drifted(self) -> bool:
        return self.live and self.definition.hash != self.applied_hash


@dataclass(frozen=True, slots=True)
class ObservedProject:
    """A row of ``projects``; ``spec`` is the one last applied, ``commit`` its hash.

    ``spoilt``: the column cannot be read, and ``spec`` has the defaults.
    """

    id: int
    name: str
    spec: ProjectSpec
    spec_hash: str
    revision_id: int | None = None
    commit: str | None = None
    source: str = ""
    spoilt: bool = False


@dataclass(frozen=True, slots=True)
class ForeignTask:
    """A live task of another project on some server; deleting that server would break it."""

    project: str
    name: str
    server: str


@dataclass(frozen=True, slots=True)
class ObservedState:
    """What the database holds for one project, and as much of the others as planning needs.

    ``servers`` are those of all projects by name. ``tasks`` are this project's rows, deleted ones
    too, by (name, plain server name). ``foreign_tasks`` are live tasks of other projects.
    ``renamed_from`` is set where the project is still stored under its earlier name.
    """

    project: ObservedProject | None
    servers: Mapping[str, ObservedServer]
    tasks: Mapping[TaskKey, ObservedTask]
    foreign_tasks: tuple[ForeignTask, ...] = ()
    other_projects: Mapping[str, ObservedProject] = field(default_factory=dict)


@lru_cache(maxsize=4096)
def _task_spec(text: str) -> TaskSpec:
    return TaskSpec.model_validate_json(text)


@lru_cache(maxsize=4096)
def _server_spec(text: str) -> ServerSpec:
    return ServerSpec.model_validate_json(text)


def task_spec(document: Mapping[str, Any]) -> TaskSpec:
    """The task's spec with defaults filled in; raises pydantic.ValidationError for a spoilt document."""
    return _task_spec(canonical_json(document["spec"]))


def server_spec(document: Mapping[str, Any]) -> ServerSpec:
    """The server's spec with defaults filled in; raises pydantic.ValidationError for a spoilt document."""
    return _server_spec(canonical_json(document["spec"]))


def full_document(kind: str, document: Mapping[str, Any]) -> Document:
    """The document with all defaults written out, for diffs that people read."""
    spec: TaskSpec | ServerSpec = task_spec(document) if kind == "Task" else server_spec(document)
    metadata = {"labels": {}, "annotations": {}, "protected": False, **document.get("metadata", {})}
    return {"metadata": metadata, "spec": spec.model_dump(mode="json", by_alias=True)}
