"""One task's rows of the ledger around a moment: what `explain` answers from.

Each read is a bounded walk along one index, named to the servers with FORCE INDEX, however long the ledger.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, Select, func, select

from reconciler.model.execution import Status
from reconciler.store.executions import executions_by_id
from reconciler.store.ids import first_id_at
from reconciler.store.listing import REVISIONS_OF_PROJECT, revisions_by_id
from reconciler.store.overview import BY_SLOT
from reconciler.store.prune import declared_history
from reconciler.store.tables import Execution, Project, Revision
from reconciler.store.views import ExecutionView, RevisionView

OPEN_OF_TASK = "ix_task_executions_status_task_id"
_NEAR = 20
"""Rows of each status that may have been in a slot's way."""
_SKEW = timedelta(seconds=10)
"""How far the clocks that made two ids may be apart."""
_ONE_APPLY = timedelta(seconds=2)


def slots_until(conn: Connection, task_id: int, moment: datetime, count: int) -> list[ExecutionView]:
    """The rows of a task for ``scheduled_for <= moment``, the newest slot and attempt first."""
    query = until_query(task_id, moment).limit(count)
    return executions_by_id(conn, list(conn.scalars(query)))


def slots_after(conn: Connection, task_id: int, moment: datetime, count: int) -> list[ExecutionView]:
    """The rows of a task for ``scheduled_for > moment``, the oldest slot and attempt first."""
    query = after_query(task_id, moment).limit(count)
    return executions_by_id(conn, list(conn.scalars(query)))


def until_query(task_id: int, moment: datetime) -> Select[int]:
    """The ids of ``slots_until``."""
    row = Execution
    wanted = _of_task(BY_SLOT).where(row.task_id == task_id, row.scheduled_for <= moment)
    return wanted.order_by(row.task_id.desc(), row.scheduled_for.desc(), row.attempt.desc())


def after_query(task_id: int, moment: datetime) -> Select[int]:
    """The ids of ``slots_after``."""
    row = Execution
    wanted = _of_task(BY_SLOT).where(row.task_id == task_id, row.scheduled_for > moment)
    return wanted.order_by(row.task_id, row.scheduled_for, row.attempt)


def tried_before(conn: Connection, task_id: int, moment: datetime) -> list[ExecutionView]:
    """The newest rows of a task that were made until ``moment`` and were not skipped, newest first."""
    ids: list[int] = []
    for status in (Status.OPEN, Status.SUCCESS, Status.FAILED):
        ids += conn.scalars(tried_query(task_id, status, moment).limit(_NEAR))
    found = executions_by_id(conn, sorted(ids, reverse=True))
    return [run for run in found if run.created_at <= moment]


def tried_query(task_id: int, status: Status, moment: datetime) -> Select[int]:
    """The ids of one status of ``tried_before``."""
    row = Execution
    bound = first_id_at(moment + _SKEW)
    wanted = _of_task(OPEN_OF_TASK).where(row.status == status, row.task_id == task_id, row.id < bound)
    return wanted.order_by(row.status.desc(), row.task_id.desc(), row.id.desc())


def revision_at(conn: Connection, project_id: int, moment: datetime) -> RevisionView | None:
    """The project's apply that was made at ``moment`` (rows it closes bear its time), or None."""
    query = (
        select(Revision.id)
        .with_hint(Revision, f"FORCE INDEX ({REVISIONS_OF_PROJECT})", "mysql")
        .where(Revision.project_id == project_id, Revision.applied_at <= moment + _ONE_APPLY)
        .order_by(Revision.project_id.desc(), Revision.id.desc())
        .limit(1)
    )
    found = revisions_by_id(conn, list(conn.scalars(query)))
    return found[0] if found and found[0].applied_at >= moment - _ONE_APPLY else None


def count_rows(conn: Connection, task_id: int, most: int) -> int:
    """How many rows a task has, counted up to ``most``."""
    some = select(Execution.id).where(Execution.task_id == task_id).limit(most).subquery()
    return int(conn.execute(select(func.count()).select_from(some)).scalar_one())


def project_history(conn: Connection, project_id: int) -> object:
    """A project's ``history`` as it was declared; None where it says nothing."""
    spec = conn.execute(select(Project.spec).where(Project.id == project_id)).scalar_one_or_none()
    return declared_history(spec)


def _of_task(index: str) -> Select[int]:
    return select(Execution.id).with_hint(Execution, f"FORCE INDEX ({index})", "mysql")
