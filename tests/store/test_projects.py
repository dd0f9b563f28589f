"""Projects, revisions and users, as an apply writes them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from reconciler.model.state import Commit
from reconciler.store import projects
from reconciler.store.engine import Database
from reconciler.store.listing import get_revision, list_revisions
from reconciler.store.projects import AppliedState, Person, RevisionRecord
from reconciler.store.tables import Project, User
from tests.store.rows_in import NOON, table_of

COMMIT = Commit("a" * 40, "Ada Lövelace <ada@example.com>", "ada@example.com", "Fix 备份\n\nwhy", "main")


def a_record(**values: Any) -> RevisionRecord:
    fields: dict[str, Any] = {
        "commit": COMMIT,
        "applied_by": "ci@runner",
        "applied_at": NOON,
        "digest": "d" * 64,
        "counts": {"create": 1, "unchanged": 2},
        "changes": [
            {"action": "create", "name": "备份", "fields": {"spec.timeout": {"before": None, "after": "5m"}}}
        ],
    }
    return RevisionRecord(**fields | values)


def test_a_user_is_made_once_and_names_are_compared_exactly(db: Database) -> None:
    with db.write() as connection:
        ada = projects.ensure_user(connection, Person("ada@example.com", "Ada", "ada@example.com"), NOON)
        assert projects.ensure_user(connection, Person("ada@example.com"), NOON) == ada
        other = projects.ensure_user(connection, Person("Ada@example.com"), NOON)
        assert other != ada
        here = projects.ensure_user(connection, Person("ada@laptop"), NOON)
    assert table_of(db, User, "id", "username", "display_name", "email") == [
        (ada, "ada@example.com", "Ada", "ada@example.com"),
        (other, "Ada@example.com", "", None),
        (here, "ada@laptop", "", None),
    ]


@pytest.mark.parametrize("name", ["x" * 300, "trailing  ", ""])
def test_whatever_a_commit_says_becomes_a_user(db: Database, name: str) -> None:
    with db.write() as connection:
        first = projects.ensure_user(connection, Person(name), NOON)
        assert projects.ensure_user(connection, Person(name), NOON) == first


def test_a_revision_tells_who_what_and_from_where(db: Database) -> None:
    with db.write() as connection:
        project = projects.insert_project(connection, "billing", NOON)
        number = projects.insert_revision(connection, project, a_record())
        second = projects.insert_revision(connection, project, a_record(commit=None, released="d" * 64))
    with db.read() as connection:
        revision = get_revision(connection, number)
        assert [one.id for one in list_revisions(connection, limit=10).items] == [second, number]
        without_git = get_revision(connection, second)
    assert (revision.commit, revision.author, revision.branch) == (COMMIT.hash, COMMIT.author, "main")
    assert (revision.message, revision.dirty) == ("Fix 备份\n\nwhy", False)
    assert (revision.applied_by, revision.applied_at) == ("ci@runner", NOON)
    assert revision.summary == {"create": 1, "unchanged": 2}
    assert revision.changes == a_record().changes
    assert (without_git.commit, without_git.author, without_git.released) == (None, None, "d" * 64)


def test_very_long_words_of_git_do_not_stop_an_apply(db: Database) -> None:
    commit = Commit("b" * 64, "A" * 400, "a" * 400, "m" * 100_000, "feature/" + "x" * 400)
    with db.write() as connection:
        project = projects.insert_project(connection, "billing", NOON)
        number = projects.insert_revision(connection, project, a_record(commit=commit, applied_by="y" * 400))
        applied = AppliedState("billing", {}, "https://" + "s" * 2_000, commit.hash, number, NOON)
        projects.record_applied(connection, project, applied)
    with db.read() as connection:
        revision = get_revision(connection, number)
    assert revision.message == "m" * 100_000
    assert revision.branch is not None
    assert len(revision.branch) == 255


def test_a_project_remembers_what_was_applied_last(db: Database) -> None:
    later = NOON + timedelta(hours=1)
    document = {"guard": {"maxDeletions": 3}}
    with db.write() as connection:
        project = projects.insert_project(connection, "old", NOON)
        number = projects.insert_revision(connection, project, a_record())
        applied = AppliedState("new", document, "git@example.com:ops.git//m", COMMIT.hash, number, later)
        projects.record_applied(connection, project, applied)
    columns = ("id", "name", "spec", "source", "commit", "revision_id", "created_at", "updated_at")
    assert table_of(db, Project, *columns) == [
        (project, "new", document, "git@example.com:ops.git//m", COMMIT.hash, number, NOON, later)
    ]


def test_a_revision_is_recognised_by_all_that_it_says(db: Database) -> None:
    with db.write() as connection:
        project = projects.insert_project(connection, "billing", NOON)
        number = projects.insert_revision(connection, project, a_record())
        assert projects.is_revision(connection, number, "d" * 64, "ci@runner", NOON)
        assert not projects.is_revision(connection, number, "e" * 64, "ci@runner", NOON)
        assert not projects.is_revision(
            connection, number, "d" * 64, "ci@runner", NOON + timedelta(microseconds=1)
        )
        assert not projects.is_revision(connection, number + 1, "d" * 64, "ci@runner", NOON)
