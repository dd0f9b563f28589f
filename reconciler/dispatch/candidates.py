"""Which waiting executions could start now: specs, the way to their servers, the room that is left."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from reconciler.dispatch.routes import MAX_JUMPS, plain_name, route_to
from reconciler.model.enums import Concurrency
from reconciler.model.execution import Hop, Reason, Status, Trigger
from reconciler.model.server import ServerSpec
from reconciler.model.task import TaskSpec
from reconciler.model.value import value
from reconciler.schedule.concurrency import OpenSlot, OpenState, goes_first, has_room, may_start
from reconciler.store import claims, server_rows, takes
from reconciler.store.engine import Connection
from reconciler.store.specs import SpecSpoilt, whole_task_spec
from reconciler.store.takes import WaitingRow


@value
class Candidate:
    """A waiting execution that may be taken, and everything its job needs."""

    row: WaitingRow
    spec: TaskSpec
    server: ServerSpec
    jumps: tuple[Hop, ...] = ()

    @property
    def slot(self) -> OpenSlot:
        return OpenSlot(self.row.id, self.row.scheduled_for, OpenState.WAITING, self.row.trigger)

    @property
    def group(self) -> tuple[int, str]:
        """What ``maxParallel`` counts together: the task over all its servers."""
        return self.row.project_id, self.row.task

    @property
    def in_line(self) -> bool:
        """Whether earlier runs of the task can be in its way (a retry may be one of a catch-up)."""
        return self.spec.concurrency != Concurrency.ALLOW or self.row.trigger in (
            Trigger.CATCH_UP,
            Trigger.RETRY,
        )


@dataclass(frozen=True, slots=True)
class Dead:
    """A waiting execution that will never run, and the end it gets."""

    execution_id: int
    status: Status
    reason: Reason
    message: str | None = None


def _nobody(server_id: int) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Caution:
    """Servers (ids) that are not known to answer: one run at a time finds out, and those that began there
    before do not count. ``finding_out``: how many of our runs there have not begun."""

    doubtful: Callable[[int], bool] = _nobody
    finding_out: Mapping[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class Room:
    """What is known of the limits.

    ``here``: runs per server (id) that keep threads of this process busy; one server may have ``share``.
    """

    here: Mapping[int, int]
    share: int
    caution: Caution
    added: dict[int, int] = field(default_factory=dict)
    servers: dict[int, int] = field(default_factory=dict)
    groups: dict[tuple[int, str], int] = field(default_factory=dict)
    slots: dict[int, list[OpenSlot]] = field(default_factory=dict)

    def server_full(self, candidate: Candidate) -> bool:
        """Whether one more would be too many for the server, or for its share of this process."""
        server = candidate.row.server_id
        added = self.added.get(server, 0)
        running = self.servers.get(server, 0) + added
        here = self.here.get(server, 0) + added
        if self.caution.doubtful(server) and self.caution.finding_out.get(server, 0) + added:
            return True
        return not has_room(running, candidate.server.max_concurrent_runs) or here >= self.share

    def task_blocked(self, candidate: Candidate) -> bool:
        """Whether an earlier run of the task is in the way, or ``maxParallel`` of them are running."""
        unfinished = self.slots.get(candidate.row.task_id, ())
        if not may_start(candidate.spec.concurrency, candidate.slot, unfinished):
            return True
        return not has_room(self.groups.get(candidate.group, 0), candidate.spec.max_parallel)

    def goes_first(self, candidate: Candidate) -> int | None:
        """The id of the waiting run of its task whose turn is before this one's."""
        unfinished = self.slots.get(candidate.row.task_id, ())
        first = goes_first(candidate.spec.concurrency, candidate.slot, unfinished)
        return None if first is None else first.execution_id

    def add(self, candidate: Candidate) -> None:
        """This one is going to run."""
        row = candidate.row
        self.added[row.server_id] = self.added.get(row.server_id, 0) + 1
        if candidate.spec.max_parallel:
            self.groups[candidate.group] = self.groups.get(candidate.group, 0) + 1
        if row.task_id in self.slots:
            self.slots[row.task_id] = [
                OpenSlot(slot.execution_id, slot.scheduled_for, OpenState.RUNNING, slot.trigger)
                if slot.execution_id == row.id
                else slot
                for slot in self.slots[row.task_id]
            ]


def learn(connection: Connection, room: Room, candidates: Sequence[Candidate]) -> None:
    """Count what these candidates meet and the room does not know yet."""
    servers = {candidate.row.server_id for candidate in candidates} - room.servers.keys()
    if servers:
        room.servers.update(dict.fromkeys(servers, 0) | takes.running_on(connection, servers))
    line = [item for item in candidates if item.row.task_id not in room.slots and item.in_line]
    if line:
        alone = {item.row.task_id: item.slot for item in line if _only_waits(item.row)}
        others = {item.row.task_id for item in line} - alone.keys()
        empty: dict[int, list[OpenSlot]] = {task: [] for task in others}
        room.slots.update(empty | claims.open_slots(connection, sorted(others), alone))
    groups = {item.group for item in candidates if item.spec.max_parallel} - room.groups.keys()
    if groups:
        room.groups.update(dict.fromkeys(groups, 0) | takes.running_of(connection, groups))


def _only_waits(row: WaitingRow) -> bool:
    """Whether the row says all that ``open_slots`` would say of its task: that of a retry does not tell what
    made its slot's first attempt.
    """
    return row.alone and row.attempt == 1 and not row.begun


def candidates_of(connection: Connection, rows: Sequence[WaitingRow]) -> tuple[list[Candidate], list[Dead]]:
    """The rows that may run, in order, and the ends of those that never will."""
    found: list[Candidate] = []
    dead: list[Dead] = []
    for row in rows:
        if not row.begun and _disabled(row):
            dead.append(Dead(row.id, Status.SKIPPED, Reason.DISABLED))
            continue
        try:
            task, server = _specs(row)
        except SpecSpoilt as error:
            key = f"{row.task}@{row.server_columns.name}"
            message = f"the row of task {key} or of its server holds no valid spec: {error}"
            dead.append(Dead(row.id, Status.FAILED, Reason.INTERNAL, message))
            continue
        found.append(Candidate(row, task, server))
    if any(candidate.server.jump for candidate in found):
        found = _with_jumps(connection, found, dead)
    return found, dead


def _disabled(row: WaitingRow) -> bool:
    """An apply closes these itself; this is for a row that came in between.

    Manual runs ignore the task's switch.
    """
    if not row.server_live or not row.server_columns.status or not row.task_live:
        return True
    return not row.task_columns.status and not row.manual


def _specs(row: WaitingRow) -> tuple[TaskSpec, ServerSpec]:
    task = row.task_columns
    spec = whole_task_spec(task.command, task.cron_expr, task.timezone, task.status, task.rest)
    return spec, server_rows.server_spec_of(row.server_columns)


def _with_jumps(connection: Connection, candidates: list[Candidate], dead: list[Dead]) -> list[Candidate]:
    hops = _hops(connection, candidates)
    found = []
    for candidate in candidates:
        route = route_to(candidate.row.server_columns.name, candidate.server.jump, hops)
        if isinstance(route, str):
            dead.append(Dead(candidate.row.id, Status.FAILED, Reason.START_FAILED, route))
        else:
            found.append(Candidate(candidate.row, candidate.spec, candidate.server, route))
    return found


def _hops(connection: Connection, candidates: Sequence[Candidate]) -> dict[str, Hop]:
    """Every server on the way to one of these, by name."""
    hops: dict[str, Hop] = {}
    wanted = {plain_name(candidate.server.jump) for candidate in candidates if candidate.server.jump}
    for _ in range(MAX_JUMPS):
        if not wanted:
            break
        for name, columns in server_rows.servers_named(connection, wanted).items():
            try:
                hops[name] = Hop(name, server_rows.server_spec_of(columns))
            except SpecSpoilt:
                continue
        jumps = {plain_name(hop.spec.jump) for hop in hops.values() if hop.spec.jump}
        wanted = jumps - hops.keys() - wanted
    return hops
