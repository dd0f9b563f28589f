"""What people ask for: a run now, or the end of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from reconciler.clock import Clock
from reconciler.dispatch.following import LIVE_SECONDS, Follower
from reconciler.dispatch.leases import live_workers, local_workers
from reconciler.dispatch.scheduler import REPLACED_BY
from reconciler.errors import DatabaseBusy, NotFound, Refused
from reconciler.model.enums import Connection as Reach
from reconciler.model.execution import Reason, State, Status, Trigger, state_of
from reconciler.model.task import TaskSpec
from reconciler.schedule.concurrency import admit
from reconciler.store import claims, requests, server_rows
from reconciler.store.addresses import AddressedTask, parse_address, resolve_one_task
from reconciler.store.claims import NewExecution
from reconciler.store.engine import Connection, Database
from reconciler.store.leases import raise_counter
from reconciler.store.node import Ids
from reconciler.store.requests import AskedTask
from reconciler.store.specs import SpecSpoilt, scheduling_spec

POLL_SECONDS = 0.2
"""How often a waiting command looks at its rows."""
_NO_WORKER = "start `reconciler up`, `reconciler controller` or `reconciler worker` on this database"


@dataclass(frozen=True, slots=True)
class Asked:
    """A slot that a person asked for, as it stands; the id is that of its newest attempt."""

    execution_id: int
    task_id: int
    task: str
    server: str
    scheduled_for: datetime
    state: State
    reason: str | None = None
    exit_code: int | None = None

    @property
    def ended(self) -> bool:
        return self.state not in (State.WAITING, State.RUNNING)


def request_runs(
    db: Database,
    clock: Clock,
    ids: Ids,
    addresses: Sequence[str],
    by: str,
    follower: Follower | None = None,
) -> list[Asked]:
    """Insert a manual run of each task, all or none, in one transaction that holds the tasks' row locks.

    ``by`` is user@host; ``follower`` follows the runs from their first line on. A run that ``concurrency``
    forbids just now is recorded as skipped. Raises UsageError, NotFound and Ambiguous for addresses, Refused
    on a disabled server or where no live worker could take it.
    """

    def request(connection: Connection) -> list[Asked]:
        asked = _request(db, connection, clock, ids, addresses, by)
        if follower is not None:
            follower.follow([item.execution_id for item in asked if not item.ended], connection)
        raise_counter(connection)
        return asked

    return db.transact(request)


def _request(
    db: Database, connection: Connection, clock: Clock, ids: Ids, addresses: Sequence[str], by: str
) -> list[Asked]:
    found = [resolve_one_task(connection, parse_address(text)) for text in addresses]
    wanted = {task.id: task for task in found}
    rows = requests.lock_asked_tasks(connection, list(wanted))
    for task in wanted.values():
        _check_server(task, rows.get(task.id))
    _check_workers(db, connection, list(rows.values()))
    unfinished = claims.open_slots(connection, list(wanted))
    now = clock.now()
    new: list[NewExecution] = []
    supersede: list[int] = []
    cancel: list[int] = []
    for task in wanted.values():
        row = rows[task.id]
        spec = _spec(task, row)
        verdict = admit(spec.concurrency, spec.catch_up, Trigger.MANUAL, unfinished.get(task.id, ()))
        supersede += verdict.supersede
        cancel += verdict.cancel
        new.append(_execution(row, ids.one(), now, by, verdict.skip))
    if claims.insert_executions(connection, new, now):
        raise DatabaseBusy("another run of the same task was asked for in the same microsecond")
    if supersede or cancel:
        claims.supersede(connection, supersede, now)
        claims.request_cancels(connection, supersede + cancel, REPLACED_BY, now)
    return [_asked(wanted[row.task_id], row) for row in new]


def _check_server(task: AddressedTask, row: AskedTask | None) -> None:
    if row is None or not row.live:
        raise NotFound(f"task {task.address!r} was just deleted", hint="`get tasks --deleted` shows it")
    if not row.server.status:
        raise Refused(
            f"server {row.server.name!r} is disabled, so nothing runs on it",
            hint="set enabled: true in its manifest and apply it",
            details={"task": task.address, "server": row.server.name},
        )


def _check_workers(db: Database, connection: Connection, rows: Sequence[AskedTask]) -> None:
    if not live_workers(db, connection):
        raise Refused("no live worker could take the run, so nothing was inserted", hint=_NO_WORKER)
    if local_workers(db, connection):
        return
    for row in rows:
        try:
            spec = server_rows.server_spec_of(row.server)
        except SpecSpoilt:
            continue  # taking it will say what is wrong
        if spec.connection is Reach.LOCAL:
            raise Refused(
                f"no live worker may run {row.server.name!r} (connection: local), so nothing was inserted",
                hint="start one with RECONCILER_ALLOW_LOCAL=1",
            )


def _spec(task: AddressedTask, row: AskedTask) -> TaskSpec:
    try:
        return scheduling_spec(row.cron_expr, row.timezone, row.spec)
    except SpecSpoilt as error:
        raise Refused(
            f"the row of task {task.address!r} holds no valid spec: {error}",
            hint="it was changed by hand; apply its project again",
        ) from error


def _execution(
    row: AskedTask, execution_id: int, now: datetime, by: str, skip: Reason | None
) -> NewExecution:
    return NewExecution(
        id=execution_id,
        task_id=row.id,
        server_id=row.server_id,
        trigger=Trigger.MANUAL,
        # not on a whole second, where the slots of schedules are
        scheduled_for=now + timedelta(microseconds=not now.microsecond),
        due_at=now,
        generation=row.generation,
        revision_id=row.revision_id,
        path=row.path,
        line=row.line,
        reason=skip,
        requested_by=by,
    )


def _asked(task: AddressedTask, row: NewExecution) -> Asked:
    state = State.WAITING if row.reason is None else State.SKIPPED
    return Asked(row.id, task.id, task.name, task.server, row.scheduled_for, state, row.reason)


def watch(
    db: Database,
    clock: Clock,
    asked: Sequence[Asked],
    on_change: Callable[[Asked], None],
    between: Callable[[], None] | None = None,
) -> list[Asked]:
    """Wait until every slot has its verdict, retries included.

    ``on_change`` is told of each new state; ``between`` is called before each look and
    makes looks as frequent as a reader of live output wants them.
    """
    current = list(asked)
    while True:
        if between is not None:
            between()
        with db.read() as connection:
            seen = [item if item.ended else _look(connection, item) for item in current]
        for before, after in zip(current, seen, strict=True):
            if after != before:
                on_change(after)
        current = seen
        if all(item.ended for item in current):
            return current
        clock.sleep(POLL_SECONDS if between is None else LIVE_SECONDS)


def _look(connection: Connection, item: Asked) -> Asked:
    found = requests.attempts(connection, item.task_id, item.scheduled_for)
    if not found:
        raise NotFound(f"execution {item.execution_id} is gone", hint="it was pruned while we waited for it")
    last = found[-1]
    return replace(
        item,
        execution_id=last.id,
        state=state_of(last.status, last.started),
        reason=last.reason,
        exit_code=last.exit_code,
    )


@dataclass(frozen=True, slots=True)
class Cancelled:
    """What a cancel found: ``before`` is the state of the execution when it came."""

    execution_id: int
    before: State


def cancel_executions(db: Database, clock: Clock, ids: Sequence[int], by: str) -> list[Cancelled]:
    """Close those that wait, ask the owners of those that run to end them; what has ended stays as it is.

    Raises NotFound, before anything is changed, naming all ids that there are not.
    """
    return db.transact(lambda connection: _cancel(connection, ids, by, clock.now()))


def _cancel(connection: Connection, ids: Sequence[int], by: str, now: datetime) -> list[Cancelled]:
    wanted = list(dict.fromkeys(ids))
    found = requests.asked_executions(connection, wanted)
    missing = [str(execution_id) for execution_id in wanted if execution_id not in found]
    if missing:
        raise NotFound(
            f"there is no execution {', '.join(missing)}",
            hint="`get executions` lists them; nothing was cancelled",
            details={"executions": missing},
        )
    if any(found[execution_id].status == Status.OPEN for execution_id in wanted):
        requests.cancel(connection, wanted, by, now)
        raise_counter(connection)
    return [
        Cancelled(execution_id, state_of(found[execution_id].status, found[execution_id].taken))
        for execution_id in wanted
    ]
