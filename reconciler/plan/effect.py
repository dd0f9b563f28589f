"""What a plan does to runs: how often, when next, across clock changes, on top of what, how many at once.

Only changed objects are looked at, and the other tasks of their servers, those of other projects too, for the
busiest minute; every question about a schedule is asked once, however many tasks share it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime

from reconciler.model.canonical import Document
from reconciler.model.enums import Kind
from reconciler.model.measured import Measured
from reconciler.model.state import DesiredState, ObservedState, ObservedTask
from reconciler.plan.changes import Action, Change, Drift, Effect, Plan, Shift, Times, address
from reconciler.plan.timing import MINUTES, Timetable, Timing, rounded, timing_of


def with_effects(
    plan: Plan, desired: DesiredState, observed: ObservedState, now: datetime, measured: Measured
) -> Plan:
    """The plan whose changes tell their effect as of ``now`` (aware); the same digest."""
    if plan.empty:
        return plan
    effects = _Effects(plan, desired, observed, now, measured)
    return replace(
        plan,
        changes=tuple(effects.of_change(change) for change in plan.changes),
        drift=tuple(effects.of_drift(one) for one in plan.drift),
    )


def busy_servers(plan: Plan, observed: ObservedState) -> set[int]:
    """The rows of the servers whose busiest minute a plan may tell: what ``Measured`` is asked for."""
    ids = _ids_after(plan, observed)
    names = {one.server if one.kind is Kind.TASK else one.name for one in plan.touched()}
    return {ids[name] for name in names if name in ids}


def _ids_after(plan: Plan, observed: ObservedState) -> dict[str, int]:
    """The row of each server by the name it has when the plan is applied; new ones have none yet."""
    found = {name: row.id for name, row in observed.servers.items()}
    servers = [one for one in plan.changes if one.kind is Kind.SERVER and one.row is not None]
    return found | {one.name: one.row.id for one in servers if one.row is not None}


class _Effects:
    def __init__(
        self, plan: Plan, desired: DesiredState, observed: ObservedState, now: datetime, measured: Measured
    ) -> None:
        self._table = Timetable(now)
        self._measured = measured
        self._observed = observed
        self._enabled = _enabled_after(plan, desired, observed)
        self._state = _After(plan, desired, observed)
        self._ids = _ids_after(plan, observed)
        self._busiest: dict[str, tuple[datetime, int] | None] = {}

    def of_change(self, change: Change) -> Change:
        if change.kind is Kind.TASK:
            row = change.row if isinstance(change.row, ObservedTask) else None
            document = change.desired.definition.document if change.desired else None
            return replace(change, effect=self._task(change.name, change.server or "", row, document))
        if change.kind is Kind.SERVER and change.scheduling_changed and change.row is not None:
            return replace(change, effect=self._server(change))
        return change

    def of_drift(self, drift: Drift) -> Drift:
        if isinstance(drift.row, ObservedTask) and drift.desired is not None:
            document = drift.desired.definition.document
            return replace(drift, effect=self._task(drift.name, drift.server or "", drift.row, document))
        return drift

    def _task(self, name: str, server: str, row: ObservedTask | None, document: Document | None) -> Effect:
        before = None if row is None else self._timing_before(row)
        after = None
        if document is not None and self._enabled.get(server, True):
            after = timing_of(document, address(name, server))
        average = None if row is None else self._measured.average_seconds.get(row.id)
        return Effect(
            before=self._table.times(before),
            after=self._table.times(after),
            dst=self._table.dst_events(after) if after is not None else (),
            overlap_per_day=self._overlap(after, average),
            busiest_minute=self._busiest_minute(server),
            running=self._measured.running.get(row.id, ()) if row is not None else (),
            suspended=self._measured.suspension_of(None if row is None else row.id),
        )

    def _timing_before(self, row: ObservedTask) -> Timing | None:
        if not row.live:
            return None
        server = self._observed.servers.get(row.server)
        if server is not None and not (server.live and _is_enabled(server.definition.document)):
            return None
        return timing_of(row.definition.document, address(row.name, row.server))

    def _overlap(self, timing: Timing | None, average: float | None) -> float | None:
        if average is None:
            return None
        return 0 if timing is None else self._table.overlap_per_day(timing, average)

    def _server(self, change: Change) -> Effect:
        """All of this project's tasks on a server that is renamed, restored, deleted, enabled or disabled."""
        assert change.row is not None
        before, after = 0.0, 0.0
        running: list[int] = []
        shifted: list[Shift] = []
        for row in self._state.rows_on(change.row.id):
            timing = self._timing_before(row)
            before += self._table.runs_per_day(timing) if timing else 0
            running += self._measured.running.get(row.id, ())
            if change.action is Action.RENAME and timing is not None and timing.keyed:
                shifted += self._shift(row, timing, change.name)
        if change.desired is not None and self._enabled.get(change.name, True):
            for name, document in self._state.tasks_on(change.name):
                moved = timing_of(document, address(name, change.name))
                after += self._table.runs_per_day(moved) if moved else 0
        return Effect(
            before=Times(rounded(before)),
            after=Times(rounded(after)),
            busiest_minute=self._busiest_minute(change.name) if change.desired is not None else None,
            running=tuple(sorted(running)),
            shifted=tuple(shifted),
        )

    def _shift(self, row: ObservedTask, timing: Timing, server: str) -> Iterator[Shift]:
        """A task that nobody touched, whose ``H`` and jitter follow the new name of its server."""
        if self._state.is_changed(row):
            return
        after = timing_of(row.definition.document, address(row.name, server))
        yield Shift(row.name, self._table.times(timing), self._table.times(after))

    def _busiest_minute(self, server: str) -> tuple[datetime, int] | None:
        if server not in self._busiest:
            self._busiest[server] = self._find_busiest(server)
        return self._busiest[server]

    def _find_busiest(self, server: str) -> tuple[datetime, int] | None:
        if not self._enabled.get(server, True):
            return None
        groups: Counter[tuple[tuple[int, int], ...]] = Counter()
        others = self._measured.others.get(self._ids.get(server, 0), ())
        for name, document in (*self._state.tasks_on(server), *others):
            timing = timing_of(document, address(name, server))
            if timing is not None:
                groups[self._table.minutes(timing)] += 1
        runs = [0] * MINUTES
        for minutes, times in groups.items():
            for minute, count in minutes:
                runs[minute] += count * times
        most = max(runs)
        return (self._table.at_minute(runs.index(most)), most) if most else None


class _After:
    """Which tasks are on a server before and after the plan; by name, that a server has after it."""

    def __init__(self, plan: Plan, desired: DesiredState, observed: ObservedState) -> None:
        self._changed = {one.row.id for one in plan.changes if one.kind is Kind.TASK and one.row is not None}
        touched = {one.server for one in plan.touched() if one.server is not None}
        servers = [one for one in plan.changes if one.kind is Kind.SERVER]
        touched |= {one.name for one in servers}
        ids = {one.row.id for one in servers if one.row is not None}
        self._rows: dict[int, list[ObservedTask]] = {}
        for row in observed.tasks.values() if ids else ():
            if row.server_id in ids and row.live:
                self._rows.setdefault(row.server_id, []).append(row)
        self._tasks = _declared(desired, touched)
        if plan.left_out or not desired.spec.prune:
            self._tasks = _remaining(plan, observed, touched)

    def rows_on(self, server_id: int) -> list[ObservedTask]:
        """Live rows on a server, before."""
        return self._rows.get(server_id, [])

    def tasks_on(self, server: str) -> list[tuple[str, Document]]:
        """Names and documents on a server, after."""
        return self._tasks.get(server, [])

    def is_changed(self, row: ObservedTask) -> bool:
        return row.id in self._changed


_OnServers = dict[str, list[tuple[str, Document]]]


def _declared(desired: DesiredState, touched: set[str]) -> _OnServers:
    """A whole plan leaves what is declared."""
    found: _OnServers = {}
    for task in desired.tasks.values():
        server = task.server.rpartition("/")[2]
        if server in touched:
            found.setdefault(server, []).append((task.name, task.definition.document))
    return found


def _remaining(plan: Plan, observed: ObservedState, touched: set[str]) -> _OnServers:
    """Part of a plan, or one that prunes nothing, leaves the rows, but for its changes."""
    names = {
        change.row.id: change.name for change in plan.changes if change.kind is Kind.SERVER and change.row
    }
    changes = [one for one in plan.touched() if one.kind is Kind.TASK]
    gone = {one.row.id for one in changes if one.row is not None}
    found: _OnServers = {}
    for row in observed.tasks.values():
        server = names.get(row.server_id, row.server)
        if row.live and row.id not in gone and server in touched:
            found.setdefault(server, []).append((row.name, row.definition.document))
    for one in changes:
        if one.desired is not None and one.server is not None:
            found.setdefault(one.server, []).append((one.name, one.desired.definition.document))
    return found


def _is_enabled(document: Mapping[str, object]) -> bool:
    spec = document["spec"]
    return not (isinstance(spec, Mapping) and spec.get("enabled") is False)


def _enabled_after(plan: Plan, desired: DesiredState, observed: ObservedState) -> dict[str, bool]:
    """Whether each server runs anything when the plan is applied; what is not in here does."""
    found = {row.name: row.live and _is_enabled(row.definition.document) for row in observed.servers.values()}
    if not plan.left_out:
        found |= {name: _is_enabled(one.definition.document) for name, one in desired.servers.items()}
    for one in plan.touched():
        if one.kind is Kind.SERVER:
            found[one.name] = one.desired is not None and _is_enabled(one.desired.definition.document)
    return found
