"""Commits on MariaDB and MySQL of which the answer, or the request, never arrives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pymysql.err

from reconciler.store.engine import Database


@contextmanager
def commits(db: Database, answers: Iterator[str]) -> Iterator[None]:
    """Each commit does what the next answer says: ``well``, ``lost`` (before it reached the server) or
    ``done, answer lost``."""
    dialect = db.engine.dialect
    commit_really = dialect.do_commit

    def do_commit(connection: Any) -> None:
        answer = next(answers, "well")
        if answer != "lost":
            commit_really(connection)
        if answer != "well":
            connection.close()
            raise pymysql.err.OperationalError(2013, "Lost connection to MySQL server during query")

    dialect.do_commit = do_commit  # type: ignore[assignment,method-assign]
    try:
        yield
    finally:
        del dialect.do_commit
