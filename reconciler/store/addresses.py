"""From what a person types to rows: ``name``, ``name@server`` or ``project/name@server``, plain names of
servers and projects. Unknown and ambiguous ones are errors that say what there is instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnClause, Connection, select

from reconciler.errors import Ambiguous, NotFound, UsageError
from reconciler.model.names import Address
from reconciler.store.tables import Project, Server, Task

_MOST_NAMES = 20_000
"""Names that are compared for a hint; beyond them a hint is not worth its time."""
_MOST_CANDIDATES = 20


@dataclass(frozen=True, slots=True)
class AddressedTask:
    """A row of ``tasks`` that an address fits."""

    id: int
    name: str
    server_id: int
    server: str
    project_id: int
    project: str
    deleted_at: datetime | None

    @property
    def address(self) -> str:
        """The whole address, which fits this row alone."""
        return f"{self.project}/{self.name}@{self.server}"


def parse_address(text: str) -> Address:
    """What a person typed, taken apart; raises UsageError for what can be no address."""
    try:
        return Address.parse(text)
    except ValueError as error:
        raise UsageError(
            f"{text!r} is no task: {error}", hint="write name, name@server or project/name@server"
        ) from error


def resolve_tasks(conn: Connection, address: Address, *, deleted: bool = False) -> list[AddressedTask]:
    """The live rows that an address fits, by project, name and server; raises NotFound if there is none.

    ``deleted``: where no live row fits, the deleted ones that do (their history is still there).
    """
    rows = _fitting(conn, address)
    live = [row for row in rows if row.deleted_at is None]
    if live:
        return live
    if rows and deleted:
        return rows
    raise _not_found(conn, address, rows)


def deleted_tasks(conn: Connection, address: Address) -> list[AddressedTask]:
    """The deleted rows that an address fits; raises NotFound if there is none."""
    rows = [row for row in _fitting(conn, address) if row.deleted_at is not None]
    if rows:
        return rows
    raise NotFound(
        f"there is no deleted task {str(address)!r}",
        hint="`get tasks --deleted` lists them",
        details={"address": str(address)},
    )


def resolve_one_task(conn: Connection, address: Address, *, deleted: bool = False) -> AddressedTask:
    """The one row that an address fits; raises NotFound, or Ambiguous with the candidates."""
    rows = resolve_tasks(conn, address, deleted=deleted)
    if len(rows) == 1:
        return rows[0]
    names = [row.address for row in rows]
    shown = ", ".join(names[:_MOST_CANDIDATES])
    more = f" and {len(names) - _MOST_CANDIDATES} more" if len(names) > _MOST_CANDIDATES else ""
    raise Ambiguous(
        f"{str(address)!r} fits {len(rows)} tasks",
        hint=f"say which: {shown}{more}",
        details={"address": str(address), "candidates": names},
    )


def server_ids(conn: Connection, names: Iterable[str], *, deleted: bool | None = None) -> dict[str, int]:
    """The ids of servers by name; raises NotFound naming all that are unknown.

    ``deleted``: True only deleted ones, False only live ones, None both.
    """
    names = list(names)
    found = _ids(conn, Server.name, Server.id, "server", names)
    if deleted is None:
        return found
    gone = set(
        conn.scalars(select(Server.name).where(Server.name.in_(found), Server.deleted_at.is_not(None)))
    )
    wrong = [name for name in found if (name in gone) is not deleted]
    if not wrong:
        return found
    listed = ", ".join(repr(name) for name in wrong)
    what, hint = (
        ("is deleted", "add --deleted to see it")
        if not deleted
        else ("is not deleted", "leave out --deleted")
    )
    raise NotFound(f"server {listed} {what}", hint=hint, details={"kind": "server", "names": wrong})


def project_ids(conn: Connection, names: Iterable[str]) -> dict[str, int]:
    """The ids of projects by name; raises NotFound naming all that are unknown."""
    return _ids(conn, Project.name, Project.id, "project", names)


def near(name: str, known: Sequence[str]) -> list[str]:
    """Names much like this one, the nearest first."""
    return difflib.get_close_matches(name, known, n=3, cutoff=0.6)


def did_you_mean(names: Sequence[str], otherwise: str) -> str:
    """A hint of near matches, or the other one."""
    return f"did you mean {' or '.join(names)}?" if names else otherwise


def _fitting(conn: Connection, address: Address) -> list[AddressedTask]:
    query = (
        select(
            Task.id,
            Task.name,
            Task.server_id,
            Server.name.label("server"),
            Task.project_id,
            Project.name.label("project"),
            Task.deleted_at,
        )
        .join(Server, Task.server_id == Server.id)
        .join(Project, Task.project_id == Project.id)
        .where(Task.name == address.name)
        .order_by(Project.name, Server.name)
    )
    if address.server is not None:
        query = query.where(Server.name == address.server)
    if address.project is not None:
        query = query.where(Project.name == address.project)
    return [AddressedTask(**row._mapping) for row in conn.execute(query)]


def _not_found(conn: Connection, address: Address, deleted: Sequence[AddressedTask]) -> NotFound:
    details = {"address": str(address)}
    if deleted:
        at = max(row.deleted_at for row in deleted if row.deleted_at is not None)
        return NotFound(
            f"task {str(address)!r} was deleted at {at.strftime('%Y-%m-%d %H:%M:%S')} UTC",
            hint="`get tasks --deleted` shows it; declaring it again restores it with its history",
            details=details,
        )
    if address.server is not None or address.project is not None:
        others = _fitting(conn, Address(address.name))
        if others:
            names = [row.address for row in others if row.deleted_at is None][:5]
            hint = did_you_mean(names, "`get tasks` lists them")
            return NotFound(f"there is no task {str(address)!r}", hint=hint, details=details)
    known = conn.scalars(
        select(Task.name).where(Task.deleted_at.is_(None)).distinct().limit(_MOST_NAMES)
    ).all()
    hint = did_you_mean(near(address.name, known), "`get tasks` lists them")
    return NotFound(f"there is no task {str(address)!r}", hint=hint, details=details)


def _ids(
    conn: Connection,
    name: ColumnClause[str],
    key: ColumnClause[int],
    noun: str,
    wanted: Iterable[str],
) -> dict[str, int]:
    names = list(dict.fromkeys(wanted))
    found = {row[0]: row[1] for row in conn.execute(select(name, key).where(name.in_(names)))}
    missing = [item for item in names if item not in found]
    if not missing:
        return found
    known = conn.scalars(select(name).limit(_MOST_NAMES)).all()
    likely = list(dict.fromkeys(match for item in missing for match in near(item, known)))
    listed = ", ".join(repr(item) for item in missing)
    raise NotFound(
        f"there is no {noun} {listed}",
        hint=did_you_mean(likely[:5], f"`get {noun}s` lists them"),
        details={"kind": noun, "names": missing},
    )
