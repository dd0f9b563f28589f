"""The database's servers as a doctor sees them: the way to each, and the accounts that its tasks use."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from reconciler.dispatch.routes import route_to
from reconciler.errors import NotFound
from reconciler.execute.doctor import Subject
from reconciler.model.execution import Hop
from reconciler.store import fleet, server_rows
from reconciler.store.engine import Database
from reconciler.store.specs import SpecSpoilt


def subjects(db: Database, names: Sequence[str] = ()) -> list[Subject]:
    """All live servers, or those named, by name. Raises NotFound for names that no server has."""
    with db.read() as connection:
        servers = fleet.live_servers(connection)
        accounts = fleet.accounts(connection)
    _check(names, [columns.name for columns in servers.values()])
    hops: dict[str, Hop] = {}
    problems: dict[str, str] = {}
    for columns in servers.values():
        try:
            hops[columns.name] = Hop(columns.name, server_rows.server_spec_of(columns))
        except SpecSpoilt as error:
            problems[columns.name] = f"its row holds no valid spec: {error}"
    found = []
    for server_id, columns in servers.items():
        name = columns.name
        if names and name not in names:
            continue
        problem = problems.get(name)
        route: tuple[Hop, ...] = ()
        if problem is None:
            way = route_to(name, hops[name].spec.jump, hops)
            if isinstance(way, str):
                problem = way
            else:
                route = (*way, hops[name])
        found.append(Subject(server_id, name, route, tuple(sorted(accounts.get(server_id, ()))), problem))
    return found


def _check(names: Sequence[str], known: Sequence[str]) -> None:
    unknown = [name for name in dict.fromkeys(names) if name not in known]
    if not unknown:
        return
    near = difflib.get_close_matches(unknown[0], known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "`reconciler get servers` lists them"
    raise NotFound(f"there is no server {', '.join(map(repr, unknown))}", hint=hint)
