"""All servers at once, as those see them who go to every one."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection

from sqlalchemy import Connection, Text, select, type_coerce

from reconciler.store.bulk import chunks
from reconciler.store.server_rows import SERVER_SPEC, ServerColumns
from reconciler.store.tables import Server, Task


def live_servers(connection: Connection) -> dict[int, ServerColumns]:
    """Every server that is not deleted, by id, in the order of their names."""
    query = select(Server.id, *SERVER_SPEC).where(Server.deleted_at.is_(None)).order_by(Server.name)
    return {key: ServerColumns(*columns) for key, *columns in connection.execute(query)}


def accounts(connection: Connection) -> dict[int, set[str]]:
    """The accounts other than the login's (``runAs``) that live tasks use on each server, by its id."""
    spec = type_coerce(Task.spec, Text)
    query = select(Task.server_id, spec).where(Task.deleted_at.is_(None), spec.like('%"runAs"%'))
    found: dict[int, set[str]] = defaultdict(set)
    for server_id, text in connection.execute(query):
        declared = json.loads(text).get("spec") or {}
        if isinstance(declared, dict) and isinstance(declared.get("runAs"), str):
            found[server_id].add(declared["runAs"])
    return found


def ids_of(connection: Connection, names: Collection[str]) -> dict[str, tuple[int, int]]:
    """Id and generation of live servers by name."""
    found: dict[str, tuple[int, int]] = {}
    for chunk in chunks(sorted(names), 500):
        query = select(Server.name, Server.id, Server.generation)
        for name, *rest in connection.execute(
            query.where(Server.deleted_at.is_(None), Server.name.in_(chunk))
        ):
            found[name] = (rest[0], rest[1])
    return found
