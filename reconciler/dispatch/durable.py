"""The wall behind which durable runs will stand: which runs can be asked about after their owner is gone."""

from __future__ import annotations

from reconciler.model.server import ServerSpec


def survives_owner(server: ServerSpec) -> bool:
    """Whether a run on this server goes on without us, so that the next owner of its lease can attach to it.

    Today none does: a run ends with its connection, and with the process that holds it. Once runs are
    durable this is ``server.durable``, and everything that asks here (taking, reaping, shutdown)
    already acts on the answer.
    """
    return False
