"""A database in memory: trees are written in a few words, planned, and applied as the store would."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from reconciler.model.canonical import document_hash
from reconciler.model.enums import Kind
from reconciler.model.project import ProjectSpec, project_document
from reconciler.model.state import (
    Commit,
    Definition,
    DesiredServer,
    DesiredState,
    DesiredTask,
    ForeignTask,
    ObservedProject,
    ObservedServer,
    ObservedState,
    ObservedTask,
    Origin,
)
from reconciler.plan.changes import Action, Change, Plan
from reconciler.plan.diff import make_plan

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def definition(spec: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> Definition:
    """A canonical document as the manifest room makes it; defaults are the writer's business."""
    document = {"metadata": dict(metadata or {}), "spec": dict(spec)}
    return Definition(document, document_hash(document))


def server(
    name: str,
    *,
    formerly: str | None = None,
    line: int = 1,
    path: str = "servers.yaml",
    protected: bool = False,
    labels: Mapping[str, str] | None = None,
    **spec: Any,
) -> DesiredServer:
    """``server("db-1", port=2222)``; fields in camelCase, as in YAML."""
    made = definition({"host": "10.0.0.1", "username": "deploy", **spec}, _metadata(protected, labels))
    return DesiredServer(name, made, Origin(path, line), formerly)


def task(
    name: str,
    at: str = "db-1",
    *,
    formerly: str | None = None,
    line: int = 1,
    path: str = "tasks.yaml",
    protected: bool = False,
    labels: Mapping[str, str] | None = None,
    **spec: Any,
) -> DesiredTask:
    """``task("backup", "db-1", schedule="0 2 * * *")``; ``formerly`` may be ``name@server``."""
    made = definition({"command": f"run {name}", **spec}, _metadata(protected, labels))
    was, _, was_on = (formerly or "").partition("@")
    return DesiredTask(name, at, made, Origin(path, line), was or None, was_on or None)


def _metadata(protected: bool, labels: Mapping[str, str] | None) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    if labels:
        metadata["labels"] = dict(labels)
    if protected:
        metadata["protected"] = True
    return metadata


def tree(
    *objects: DesiredServer | DesiredTask,
    project: str = "shop",
    formerly: str | None = None,
    spec: Mapping[str, Any] | None = None,
    commit: str | None = None,
    source: str = "",
) -> DesiredState:
    """A desired state; ``spec`` is that of the Project, in YAML's words."""
    return DesiredState(
        project=project,
        spec=ProjectSpec.model_validate(spec or {}),
        servers={one.name: one for one in objects if isinstance(one, DesiredServer)},
        tasks={(one.name, one.server): one for one in objects if isinstance(one, DesiredTask)},
        origin=Origin("project.yaml", 1),
        formerly=formerly,
        source=source,
        commit=Commit(commit, "Ada <ada@example.net>", "ada@example.net", "change", "main")
        if commit
        else None,
    )


@dataclass
class World:
    """Rows by id, as tables hold them; ``apply`` does what the store does in one transaction."""

    servers: dict[int, ObservedServer] = field(default_factory=dict)
    tasks: dict[int, ObservedTask] = field(default_factory=dict)
    projects: dict[str, ObservedProject] = field(default_factory=dict)
    revisions: int = 0
    ids: int = 0
    now: datetime = NOW

    def observed(self, project: str = "shop", formerly: str | None = None) -> ObservedState:
        """What the store's ``observe`` returns."""
        found = self.projects.get(project) or (self.projects.get(formerly) if formerly else None)
        name = found.name if found else None
        owned = {row.id for row in self.servers.values() if row.project in (name, None)}
        return ObservedState(
            project=found,
            servers={row.name: row for row in self.servers.values()},
            tasks={(row.name, row.server): row for row in self.tasks.values() if row.project == name},
            foreign_tasks=tuple(
                ForeignTask(row.project, row.name, row.server)
                for row in self.tasks.values()
                if row.project != name and row.live and row.server_id in owned
            ),
            other_projects={one.name: one for one in self.projects.values() if one is not found},
        )

    def plan(self, desired: DesiredState, *arguments: Any, **keywords: Any) -> Plan:
        return make_plan(desired, self.observed(desired.project, desired.formerly), *arguments, **keywords)

    def apply(self, desired: DesiredState, plan: Plan | None = None) -> Plan:
        """Plan and apply, or apply that plan; returns it."""
        plan = plan or self.plan(desired)
        self.now += timedelta(hours=1)
        self._forget(plan)
        if plan.empty:
            return plan
        self.revisions += 1
        self._project(plan)
        for kind in (Kind.SERVER, Kind.TASK):
            rewritten = [one for one in plan.changes if one.kind is kind and one.row and one.desired]
            self._rewrite(rewritten, plan)
            for one in plan.changes:
                if one.kind is kind and one.action is Action.CREATE:
                    self._create(one, plan)
            for one in plan.drift:
                if one.kind is kind:
                    self._put_back(one.row, one.desired)
        for one in plan.changes:
            if one.action is Action.DELETE:
                self._delete(one)
        self._check_keys()
        return plan

    def by_name(self, name: str) -> ObservedServer:
        return next(row for row in self.servers.values() if row.name == name)

    def task_row(self, name: str, at: str, project: str = "shop") -> ObservedTask:
        return next(
            row for row in self.tasks.values() if (row.name, row.server, row.project) == (name, at, project)
        )

    def by_hand(self, row: ObservedServer | ObservedTask, **spec: Any) -> None:
        """Change columns of a row as a person with SQL does; None removes a field."""
        merged = {**row.definition.document["spec"], **spec}
        made = definition(
            {key: value for key, value in merged.items() if value is not None},
            row.definition.document["metadata"],
        )
        table: dict[int, Any] = self.servers if isinstance(row, ObservedServer) else self.tasks
        table[row.id] = replace(row, definition=made)

    def edit(self, row: ObservedServer | ObservedTask, **columns: Any) -> None:
        table: dict[int, Any] = self.servers if isinstance(row, ObservedServer) else self.tasks
        table[row.id] = replace(row, **columns)

    def _project(self, plan: Plan) -> None:
        stored = self.projects.pop(plan.former_project or plan.project, None)
        written = stored is None or any(one.kind is Kind.PROJECT for one in plan.changes)
        spec = plan.spec if written else stored.spec  # type: ignore[union-attr]
        self.projects[plan.project] = ObservedProject(
            id=stored.id if stored else self._id(),
            name=plan.project,
            spec=spec,
            spec_hash=document_hash(project_document(spec)),
            revision_id=self.revisions,
            commit=plan.commit,
            source=plan.source,
        )
        if plan.former_project:
            for table in (self.servers, self.tasks):
                for row in list(table.values()):  # type: ignore[attr-defined]
                    if row.project == plan.former_project:
                        table[row.id] = replace(row, project=plan.project)  # type: ignore[index]

    def _rewrite(self, changes: Iterable[Change], plan: Plan) -> None:
        for one in changes:
            row, desired = one.row, one.desired
            assert row is not None
            assert desired is not None
            new = replace(
                row,
                name=one.name,
                project=plan.project,
                definition=desired.definition,
                applied_hash=desired.definition.hash,
                generation=row.generation + one.git_changed,
                protected=desired.definition.document["metadata"].get("protected", False),
                origin=desired.origin,
                revision_id=self.revisions,
                deleted_at=None,
                renamed_from=_said(desired),
            )
            if isinstance(new, ObservedServer):
                self.servers[row.id] = new
                for task_row in list(self.tasks.values()):
                    if task_row.server_id == row.id:
                        self.tasks[task_row.id] = replace(task_row, server=new.name)
            else:
                assert one.server is not None
                place = self.by_name(one.server)
                self.tasks[row.id] = replace(new, server=place.name, server_id=place.id)

    def _create(self, one: Change, plan: Plan) -> None:
        desired = one.desired
        assert desired is not None
        common: dict[str, Any] = {
            "id": self._id(),
            "name": one.name,
            "project": plan.project,
            "definition": desired.definition,
            "applied_hash": desired.definition.hash,
            "generation": 1,
            "protected": desired.definition.document["metadata"].get("protected", False),
            "origin": desired.origin,
            "revision_id": self.revisions,
            "renamed_from": _said(desired),
        }
        if one.kind is Kind.SERVER:
            self.servers[common["id"]] = ObservedServer(**common)
        else:
            place = self.by_name(str(one.server))
            self.tasks[common["id"]] = ObservedTask(**common, server=place.name, server_id=place.id)

    def _put_back(self, row: Any, desired: Any) -> None:
        table: dict[int, Any] = self.servers if isinstance(row, ObservedServer) else self.tasks
        protected = desired.definition.document["metadata"].get("protected", False)
        table[row.id] = replace(
            table[row.id],
            definition=desired.definition,
            protected=protected,
            origin=desired.origin,
            renamed_from=_said(desired),
            revision_id=self.revisions,
        )

    def _delete(self, one: Change) -> None:
        assert one.row is not None
        if one.kind is Kind.SERVER:
            live = [row for row in self.tasks.values() if row.server_id == one.row.id and row.live]
            assert not live, "a server is deleted under live tasks"
            row = self.servers[one.row.id]
            self.servers[row.id] = replace(row, deleted_at=self.now, project=None, revision_id=self.revisions)
        else:
            task_row = self.tasks[one.row.id]
            self.tasks[task_row.id] = replace(task_row, deleted_at=self.now, revision_id=self.revisions)

    def _forget(self, plan: Plan) -> None:
        for row in plan.forget:
            self.edit(row, renamed_from=None)

    def _check_keys(self) -> None:
        names = [row.name for row in self.servers.values()]
        assert len(set(names)) == len(names), "two servers of one name"
        keys = [(row.project, row.name, row.server_id) for row in self.tasks.values()]
        assert len(set(keys)) == len(keys), "two rows of one task on one server"

    def _id(self) -> int:
        self.ids += 1
        return self.ids


def _said(desired: DesiredServer | DesiredTask) -> str | None:
    if isinstance(desired, DesiredTask) and desired.formerly_server:
        return f"{desired.formerly}@{desired.formerly_server}"
    return desired.formerly


def applied(*objects: DesiredServer | DesiredTask, **keywords: Any) -> World:
    """A world in which that tree was applied."""
    world = World()
    world.apply(tree(*objects, **keywords))
    return world


def steps(plan: Plan) -> list[str]:
    """The plan in a few words: ``["create Server db-1", "create Task backup@db-1"]``."""
    return [
        f"{one.action} {one.kind} {one.name}{'@' + one.server if one.server else ''}" for one in plan.changes
    ]


def problems_of(call: Callable[[], object]) -> list[dict[str, Any]]:
    """The problems of the PlanRefused that the call raises."""
    from reconciler.errors import PlanRefused

    try:
        call()
    except PlanRefused as error:
        found: list[dict[str, Any]] = error.details["problems"]
        return found
    raise AssertionError("the plan was not refused")
