"""Servers' rows as columns, and the specs they make: what running something on one needs."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

from sqlalchemy import Connection, Text, select, type_coerce

from reconciler.model.server import ServerSpec
from reconciler.model.value import value
from reconciler.store.specs import SpecSpoilt, whole_server_spec
from reconciler.store.tables import Server

_SERVER = Server.__table__.c


@value
class ServerColumns:
    """What makes a server's spec, as stored; ``rest`` is the text of the column ``spec``."""

    name: str
    host: str
    port: int
    username: str | None
    environment: str
    status: int
    rest: str


SERVER_SPEC = (
    _SERVER.name,
    _SERVER.host,
    _SERVER.port,
    _SERVER.username,
    _SERVER.environment,
    _SERVER.status,
    type_coerce(_SERVER.spec, Text),
)


def servers_named(connection: Connection, names: Collection[str]) -> dict[str, ServerColumns]:
    """Live servers by name: the hops on the way to others."""
    rows = connection.execute(
        select(*SERVER_SPEC).where(_SERVER.name.in_(sorted(names)), _SERVER.deleted_at.is_(None))
    )
    return {row[0]: ServerColumns(*row) for row in rows}


def server_specs(connection: Connection, ids: Collection[int]) -> dict[int, ServerSpec]:
    """The specs of servers by id; those that hold no valid one are absent."""
    found: dict[int, ServerSpec] = {}
    for key, *columns in connection.execute(
        select(_SERVER.id, *SERVER_SPEC).where(_SERVER.id.in_(sorted(ids)))
    ):
        with suppress(SpecSpoilt):
            found[key] = server_spec_of(ServerColumns(*columns))
    return found


def server_spec_of(server: ServerColumns) -> ServerSpec:
    """The spec that a server's columns say; raises SpecSpoilt."""
    return whole_server_spec(
        server.host, server.port, server.username, server.environment, server.status, server.rest
    )
