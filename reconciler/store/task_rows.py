"""Tasks' rows as columns: what a run that is about to be made needs of its task."""

from __future__ import annotations

from sqlalchemy import Text, type_coerce

from reconciler.store.tables import Task

_TASK = Task.__table__.c

TIMING = (_TASK.cron_expr, _TASK.timezone, type_coerce(_TASK.spec, Text).label("text"))
"""What makes a task's spec but for its command; ``text`` is that of the column ``spec``."""
ORIGIN = (_TASK.generation, _TASK.revision_id, _TASK.path, _TASK.line)
"""What an execution notes of its task: what it was then, and from where."""
