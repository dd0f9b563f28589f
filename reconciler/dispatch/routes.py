"""The way to a server: the jump hosts to go through, the first to dial first."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.model.execution import Hop

MAX_JUMPS = 8


def route_to(name: str, jump: str | None, hops: Mapping[str, Hop]) -> tuple[Hop, ...] | str:
    """The hops to dial before server ``name``, whose spec says ``jump``; or what is wrong with the way.

    ``hops`` are the servers that can be gone through, by name.
    """
    route: list[Hop] = []
    while jump is not None:
        hop = hops.get(plain_name(jump))
        if hop is None:
            return f"server {plain_name(jump)!r}, the jump to {name!r}, is not there or holds no valid spec"
        if hop in route or len(route) == MAX_JUMPS:
            return f"the jumps to server {name!r} go round in a circle"
        route.insert(0, hop)
        jump = hop.spec.jump
    return tuple(route)


def plain_name(reference: str | None) -> str:
    """A server's own name, which is unique in the database, of ``project/name``."""
    return (reference or "").rpartition("/")[2]
