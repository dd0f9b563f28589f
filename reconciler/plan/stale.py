"""A saved plan against the present state: does it still do what was printed, and if not, who moved what.

Per object: what the plan neither touches nor relies on may change as it likes. A row that moved is no
hindrance either as long as the very same change results.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from reconciler.errors import PlanStale
from reconciler.model.enums import Kind
from reconciler.model.instant import rfc3339
from reconciler.model.revision import RevisionNote
from reconciler.model.state import ObservedProject, ObservedServer, ObservedState, ObservedTask
from reconciler.plan.changes import Action, Change, Drift, FieldChange, Fields, Plan, address
from reconciler.plan.diff import project_change
from reconciler.plan.fields import Differences
from reconciler.plan.guard import judge, settings_drifted
from reconciler.plan.json import change_shape, drift_shape
from reconciler.plan.planfile import SavedPlan
from reconciler.plan.references import Reference
from reconciler.plan.rows import compare
from reconciler.plan.servers import jump_of
from reconciler.plan.words import count, is_text, lines_of, short, value

Row = ObservedServer | ObservedTask


@dataclass(frozen=True, slots=True)
class Stale:
    """One object that moved under a saved plan.

    ``what`` is a sentence without its subject ("was changed since the plan was made"). ``fields`` are
    those that are not as they were, or would not change as printed. ``revision_id`` is the revision that
    moved it, None if a hand did or nobody is known. ``now`` is the change that a new plan would have
    instead, None if it would have none.
    """

    kind: Kind
    name: str
    server: str | None
    what: str
    fields: tuple[str, ...] = ()
    revision_id: int | None = None
    now: Change | Drift | None = None

    @property
    def title(self) -> str:
        return f"{self.kind.value} {address(self.name, self.server)}"


def check_stale(saved: SavedPlan, observed: ObservedState) -> tuple[Stale, ...]:
    """Every reason why the saved plan no longer does what it said; empty if it may go."""
    return tuple(_Check(saved, observed).all())


def refresh(saved: SavedPlan, observed: ObservedState) -> Plan:
    """The saved plan on the rows as they are now: same changes, same digest; the guard is judged anew.

    Only for a plan that ``check_stale`` finds nothing against.
    """
    rows = _Rows(observed)
    stored = observed.project
    plan = replace(
        saved.plan,
        changes=tuple(
            one if one.row is None else replace(one, row=rows.of(one.row)) for one in saved.plan.changes
        ),
        drift=tuple(
            one if one.row is None else replace(one, row=rows.of(one.row)) for one in saved.plan.drift
        ),
        base_revision=stored.revision_id if stored else None,
        base_commit=stored.commit if stored else None,
    )
    return replace(plan, guard=judge(plan, observed))


def stale_error(stale: Sequence[Stale], notes: Mapping[int, RevisionNote]) -> PlanStale:
    """The refusal: what moved, who moved it, when, by which commit, and what a new plan would do.

    ``notes`` are the revisions of ``stale_revisions``, as far as they are known.
    """
    lines = [f"{one.title} {one.what}{_by(one, notes)}{_now(one)}" for one in stale]
    shown = lines[0] if len(lines) == 1 else "".join(f"\n  {line}" for line in lines[:20])
    more = f"\n  … and {len(lines) - 20} more" if len(lines) > 20 else ""
    head = (
        "the saved plan is stale: "
        if len(lines) == 1
        else f"the saved plan is stale for {len(lines)} objects:"
    )
    return PlanStale(
        f"{head}{shown}{more}",
        hint="make a new plan, read what is different in it, and apply that",
        details={"stale": [_shape(one, notes) for one in stale]},
    )


def stale_revisions(stale: Sequence[Stale]) -> tuple[int, ...]:
    """The revisions to look up for ``stale_error``."""
    return tuple(sorted({one.revision_id for one in stale if one.revision_id is not None}))


def _by(one: Stale, notes: Mapping[int, RevisionNote]) -> str:
    fields = f" ({', '.join(one.fields[:5])}{', …' if len(one.fields) > 5 else ''})" if one.fields else ""
    if one.revision_id is None:
        return fields
    note = notes.get(one.revision_id)
    if note is None:
        return f"{fields}, by revision {one.revision_id}"
    who = note.author or note.applied_by
    when = f"{note.applied_at:%Y-%m-%d %H:%M} UTC"
    commit = f", commit {note.commit[:12]}" if note.commit else ""
    return f"{fields}, by {who} on {when} (revision {one.revision_id}{commit})"


def _now(one: Stale) -> str:
    """What a new plan would do with it, in as few lines as there are fields; nothing where there is none."""
    if one.now is None or not one.now.fields:
        return ""
    fields = list(one.now.fields.items())
    lines = [
        f"{short(name)}  {_brief(change.before)} → {_brief(change.after)}" for name, change in fields[:5]
    ]
    if len(fields) > 5:
        lines.append(f"… and {len(fields) - 5} more fields")
    return "".join(["\n    a new plan:", *(f"\n      {line}" for line in lines)])


def _brief(item: Any) -> str:
    """A value where there is room for a look only; `plan` shows it whole."""
    if is_text(item):
        return count(len(lines_of(item)), "line")
    text = value(item)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _shape(one: Stale, notes: Mapping[int, RevisionNote]) -> dict[str, Any]:
    note = notes.get(one.revision_id) if one.revision_id is not None else None
    now = one.now
    return {
        "kind": one.kind.value,
        "name": one.name,
        "server": one.server,
        "what": one.what,
        "fields": list(one.fields),
        "revision": one.revision_id,
        "commit": note.commit if note else None,
        "author": note.author if note else None,
        "appliedBy": note.applied_by if note else None,
        "appliedAt": rfc3339(note.applied_at) if note else None,
        "now": None if now is None else change_shape(now) if isinstance(now, Change) else drift_shape(now),
    }


class _Rows:
    """The present rows by id."""

    def __init__(self, observed: ObservedState) -> None:
        self._servers = {row.id: row for row in observed.servers.values()}
        self._tasks = {row.id: row for row in observed.tasks.values()}

    def of(self, row: Row) -> Row | None:
        return self.get(Kind.TASK if isinstance(row, ObservedTask) else Kind.SERVER, row.id)

    def get(self, kind: Kind, row_id: int) -> Row | None:
        return self._tasks.get(row_id) if kind is Kind.TASK else self._servers.get(row_id)


class _Check:
    def __init__(self, saved: SavedPlan, observed: ObservedState) -> None:
        self._saved = saved
        self._plan = saved.plan
        self._observed = observed
        self._rows = _Rows(observed)
        self._differences = Differences()
        plan = saved.plan
        self._touched = {(one.kind, one.row.id) for one in plan.changes if one.row is not None}
        renames = [one for one in plan.changes if one.action is Action.RENAME and one.row is not None]
        self._renamed = {(one.kind, one.row.id) for one in renames if one.row is not None}
        self._present_names = {
            one.name: one.row.name for one in renames if one.kind is Kind.SERVER and one.row is not None
        }
        """Servers that the plan renames: their new name → the one they have until then."""
        self._new_servers = {
            one.name for one in plan.changes if one.kind is Kind.SERVER and one.action is Action.CREATE
        }

    def all(self) -> Iterator[Stale]:
        yield from self._project()
        for change in self._plan.changes:
            if change.kind is not Kind.PROJECT:
                yield from self._change(change)
        for drift in self._plan.drift:
            yield from self._moved(drift)
        for reference in self._saved.references:
            yield from self._reference(reference)
        yield from self._needed_servers()

    def _project(self) -> Iterator[Stale]:
        stored = self._observed.project
        was = self._plan.former_project or self._plan.project
        if stored is None:
            if self._saved.project_hash is not None:
                yield Stale(Kind.PROJECT, was, None, "is gone or has another name now")
            return
        if self._saved.project_hash is None:
            return
        drift = self._plan.settings_drift
        if drift is not None and not settings_drifted(stored):
            yield Stale(Kind.PROJECT, was, None, "already is as the plan wants it", tuple(drift.fields))
        if stored.name != was:
            yield Stale(Kind.PROJECT, was, None, f"is called {stored.name!r} now", (), stored.revision_id)
        elif stored.spec_hash != self._saved.project_hash:
            yield from self._settings(stored)

    def _settings(self, stored: ObservedProject) -> Iterator[Stale]:
        """Other settings matter only to a plan that writes them."""
        change = next((one for one in self._plan.changes if one.kind is Kind.PROJECT), None)
        if change is None:
            return
        now = project_change(self._plan.project, self._plan.spec, change.origin, stored)
        if now is None or now.fields != change.fields:
            fields = _other_fields(change.fields, now.fields if now else {})
            yield Stale(
                Kind.PROJECT, change.name, None, "got other settings", fields, stored.revision_id, now
            )

    def _change(self, change: Change) -> Iterator[Stale]:
        if change.action in (Action.CREATE, Action.RENAME):
            yield from self._name_free(change)
        if change.row is not None:
            yield from self._moved(change)

    def _name_free(self, change: Change) -> Iterator[Stale]:
        """The new name was nobody's, or that of a row which this plan renames."""
        holder = self._holder(change)
        if holder is None or (change.kind, holder.id) in self._renamed:
            return
        if change.row is not None and holder.id == change.row.id:
            return
        what = "was made in the meantime" if holder.live else "was made and deleted in the meantime"
        again = None
        if holder.live and holder.project != (self._plan.former_project or self._plan.project):
            what = f"{what} in project {holder.project!r}"
        elif change.row is None and change.desired is not None:
            again = compare(self._differences, change.kind, change.server, change.desired, holder, {})
            if again is None:
                what = f"{what}, just as the plan wants it"
        fields = tuple(again.fields) if again is not None else ()
        yield Stale(change.kind, change.name, change.server, what, fields, holder.revision_id, again)

    def _holder(self, change: Change) -> Row | None:
        if change.kind is Kind.SERVER:
            return self._observed.servers.get(change.name)
        server = str(change.server)
        if server in self._new_servers:
            made = self._observed.servers.get(server)
            if made is None or (Kind.SERVER, made.id) in self._renamed:
                return None
        return self._observed.tasks.get((change.name, self._present_names.get(server, server)))

    def _moved(self, one: Change | Drift) -> Iterator[Stale]:
        seen = one.row
        assert seen is not None
        now = self._rows.of(seen)
        if now is None:
            yield Stale(one.kind, one.name, one.server, "is gone")
        elif _state(now) != _state(seen):
            yield from self._compared(one, seen, now)

    def _compared(self, one: Change | Drift, seen: Row, now: Row) -> Iterator[Stale]:
        """The row moved: would the same change still result?"""
        revision = now.revision_id if now.revision_id != seen.revision_id else None
        by_hand = "" if revision is not None else " by hand"
        if one.desired is None:
            fields = self._fields(one.kind, seen, now)
            what = "is already deleted" if not now.live else f"was changed{by_hand} since the plan was made"
            yield Stale(one.kind, one.name, one.server, what, fields, revision)
            return
        again = None
        if not self._strange(one, now):
            names = _names(one, now)
            again = compare(self._differences, one.kind, one.server, one.desired, now, names)
            if _same(one, again):
                return
        fields = self._fields(one.kind, seen, now) or _other_fields(one.fields, again.fields if again else {})
        if not now.live and seen.live:
            what = "was deleted since the plan was made"
        elif again is None and not self._strange(one, now):
            what = "already is as the plan wants it"
        else:
            what = f"was changed{by_hand} since the plan was made"
        yield Stale(one.kind, one.name, one.server, what, fields, revision, again)

    def _strange(self, one: Change | Drift, now: Row) -> bool:
        """Whether it belongs to another project now, or another server has its tasks."""
        owner = self._plan.former_project or self._plan.project
        if now.live and now.project != owner:
            return True
        seen = one.row
        return (
            isinstance(now, ObservedTask)
            and isinstance(seen, ObservedTask)
            and now.server_id != seen.server_id
        )

    def _fields(self, kind: Kind, seen: Row, now: Row) -> tuple[str, ...]:
        """What is not as it was: names first."""
        found = ["metadata.name"] if seen.name != now.name else []
        if isinstance(seen, ObservedTask) and isinstance(now, ObservedTask) and seen.server != now.server:
            found.append("spec.server")
        return (*found, *self._differences.between(kind, seen.definition, now.definition))

    def _reference(self, reference: Reference) -> Iterator[Stale]:
        """What the plan relies on may change as long as it is there, under its name."""
        now = self._rows.get(reference.kind, reference.id)
        why = f", and {reference.why} needs it"
        subject = reference.kind, reference.name, reference.server
        if now is None or not now.live:
            revision = now.revision_id if now is not None else None
            yield Stale(*subject, f"was deleted since the plan was made{why}", (), revision)
            return
        place = now.server if isinstance(now, ObservedTask) else None
        if now.name != reference.name:
            what = f"is called {now.name!r} now{why}"
            yield Stale(*subject, what, ("metadata.name",), now.revision_id)
        elif place != reference.server and isinstance(now, ObservedTask):
            yield Stale(*subject, f"is on {place!r} now{why}", ("spec.server",), now.revision_id)
        elif now.project != reference.project and not self._is_own_rename(reference, now):
            yield Stale(*subject, f"belongs to project {now.project!r} now{why}", (), now.revision_id)

    def _is_own_rename(self, reference: Reference, now: Row) -> bool:
        return {reference.project, now.project} <= {self._plan.project, self._plan.former_project}

    def _needed_servers(self) -> Iterator[Stale]:
        """A server that is to go must not have got new users in the meantime."""
        going = {
            one.row.id: one
            for one in self._plan.changes
            if one.kind is Kind.SERVER and one.action is Action.DELETE and one.row is not None
        }
        if not going:
            return
        for row in self._observed.tasks.values():
            if row.live and row.server_id in going and (Kind.TASK, row.id) not in self._touched:
                yield _needs(going[row.server_id], f"task {address(row.name, row.server)}", row.revision_id)
        names = {one.row.name: one for one in going.values() if one.row is not None}
        for task in self._observed.foreign_tasks:
            if task.server in names:
                who = f"task {task.project}/{address(task.name, task.server)}"
                yield _needs(names[task.server], who, None)
        for server in self._observed.servers.values():
            name = jump_of(server.definition.document) if server.live else ""
            if name in names and (Kind.SERVER, server.id) not in self._touched:
                yield _needs(names[name], f"server {server.name}", server.revision_id)


def _needs(change: Change, who: str, revision: int | None) -> Stale:
    return Stale(Kind.SERVER, change.name, None, f"is needed by {who} now", (), revision)


def _state(row: Row) -> tuple[object, ...]:
    """What of a row matters to a change; not where it is declared, nor when it runs next."""
    place = (row.server_id, row.server) if isinstance(row, ObservedTask) else ()
    owner = row.project if row.live else None
    hashes = row.applied_hash, row.definition.hash
    return (row.name, owner, row.live, row.generation, *hashes, row.protected, *place)


def _names(one: Change | Drift, now: Row) -> dict[str, FieldChange]:
    """The fields of a rename from the row as it is now."""
    names = {}
    if now.name != one.name:
        names["metadata.name"] = FieldChange(now.name, one.name)
    before = one.fields.get("spec.server")
    if before is not None and isinstance(now, ObservedTask):
        names["spec.server"] = FieldChange(now.server, one.server)
    return names


def _same(one: Change | Drift, again: Change | Drift | None) -> bool:
    if isinstance(one, Change) and isinstance(again, Change):
        return (one.action, one.fields, one.drifted, one.drift) == (
            again.action, again.fields, again.drifted, again.drift,
        )  # fmt: skip
    return isinstance(one, Drift) and isinstance(again, Drift) and one.fields == again.fields


def _other_fields(before: Fields, after: Fields) -> tuple[str, ...]:
    return tuple(name for name in {**before, **after} if before.get(name) != after.get(name))
