"""The cost of an apply is counted in statements: machines differ, round trips do not."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event

from tests.apply.states import World, server, task, tree

ROWS = 1200
WIDE = {"guard": {"maxDeletions": 10_000, "maxDeletionPercent": 100}}


def fleet(**spec: Any) -> Any:
    servers = [server(f"s{number:02}") for number in range(12)]
    return tree(
        *servers,
        *(task(f"t{number:03}", one.name, **spec) for one in servers for number in range(ROWS // 12)),
        settings=WIDE,
    )


class Counted:
    """How many statements go over the wire; an executemany of the driver's is one."""

    def __init__(self, world: World) -> None:
        self._engine = world.db.engine
        self.statements: list[str] = []

    def __enter__(self) -> Counted:
        event.listen(self._engine, "after_cursor_execute", self._listen)
        return self

    def __exit__(self, *_: object) -> None:
        event.remove(self._engine, "after_cursor_execute", self._listen)

    def _listen(
        self, connection: Any, cursor: Any, statement: str, parameters: Any, _: Any, many: bool
    ) -> None:
        # PyMySQL sends an INSERT of many rows as few statements, and an UPDATE of many as so many
        each = many and statement.lstrip().upper().startswith("UPDATE")
        self.statements += [statement] * (len(parameters) if each else 1)

    def __len__(self) -> int:
        return len(self.statements)


@pytest.mark.parametrize("world_url", ["mariadb"], indirect=True)
def test_statements_grow_with_dozens_of_rows_not_with_each(world: World) -> None:
    with Counted(world) as looking:
        world.plan(fleet())
    assert len(looking) <= 6
    costs = {}
    steps = {
        "create": fleet(schedule="H H * * *"),
        "update": fleet(schedule="H H * * *", timeout="2h"),
        "reschedule": fleet(schedule="H * * * *", timeout="2h"),
        "delete": tree(*fleet().servers.values(), settings=WIDE),
        "restore": fleet(schedule="H * * * *", timeout="2h"),
    }
    for name, desired in steps.items():
        digest = world.plan(desired).digest
        with Counted(world) as counted:
            applied = world.apply(desired, allow_deletions=digest)
        assert applied.revision is not None, name
        assert sum(applied.summary.values()) - applied.summary["unchanged"] >= ROWS, name
        costs[name] = len(counted)
    world.sql("UPDATE tasks SET command = 'by hand'")
    with Counted(world) as counted:
        world.apply(steps["restore"])
    costs["heal"] = len(counted)
    assert max(costs.values()) < 40 + ROWS / 12, costs
    with Counted(world) as counted:
        assert world.apply(steps["restore"]).revision is None
    assert len(counted) <= 6
