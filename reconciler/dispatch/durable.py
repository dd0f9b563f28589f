"""Which runs can be asked about after their owner is gone: what taking, reaping and leaving act on."""

from __future__ import annotations

from reconciler.model.server import ServerSpec


def survives_owner(server: ServerSpec) -> bool:
    """Whether a run on this server goes on without us, so that the next owner of its lease attaches to it."""
    return server.durable
