"""Documents to columns and back: whatever was declared comes back to the letter, and nothing stands twice."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.canonical import document_hash
from reconciler.model.server import ServerDeclaration
from reconciler.model.server import server_document as declared_server
from reconciler.model.task import TaskDeclaration
from reconciler.model.task import task_document as declared_task
from reconciler.store.rows import server_columns, server_document, task_columns, task_document

HEAD = {"apiVersion": "reconciler/v1"}


def rebuilt_server(columns: dict[str, Any]) -> dict[str, Any]:
    return server_document(
        *(
            columns[name]
            for name in ("host", "port", "username", "environment", "status", "labels", "protected", "spec")
        )
    )


def rebuilt_task(columns: dict[str, Any]) -> dict[str, Any]:
    return task_document(
        *(
            columns[name]
            for name in ("command", "cron_expr", "timezone", "status", "labels", "protected", "spec")
        )
    )


EVERYTHING_OF_A_SERVER = {
    "host": "10.0.0.11",
    "port": 2222,
    "username": "deploy",
    "environment": "production",
    "enabled": False,
    "auth": {"privateKey": {"file": "id_ed25519"}, "passphrase": {"env": "DB1_PASSPHRASE"}},
    "hostKeys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHVGs0dIZeXSJ0WMBVRNtV8E1wXqb9Xn6vbNbLr6Cb3V"],
    "jump": "bastion-1",
    "maxConcurrentRuns": 3,
    "durable": False,
}
EVERYTHING_OF_A_TASK = {
    "server": "db-1",
    "maxParallel": 2,
    "command": "pg_dump app | gzip > /backup/app.gz",
    "schedule": "0 2 * * *",
    "timezone": "Europe/Berlin",
    "dst": "both",
    "enabled": False,
    "catchUp": "all",
    "catchUpWindow": "3h",
    "concurrency": "queue",
    "jitter": "5m",
    "timeout": "2h",
    "killGrace": "20s",
    "retries": {"limit": 2, "backoff": "1m", "factor": 1.5, "maxBackoff": "1h"},
    "after": ["extract"],
    "runAs": "postgres",
    "workingDirectory": "/srv/app",
    "env": {"PGDATABASE": "app"},
    "secrets": {"PGPASSWORD": {"env": "APP_PGPASSWORD"}},
    "successExitCodes": [0, 3],
    "output": {"maxBytes": "128KiB", "archive": True},
    "notify": [{"on": ["failure"], "to": "ops"}],
    "history": {"maxAge": "30d", "maxCount": 50},
}
METADATA = {
    "name": "nightly-备份",
    "labels": {"role": "db", "größe": ""},
    "annotations": {"owner": 'team "data"\n'},
    "protected": True,
}


def server_of(spec: dict[str, Any], metadata: dict[str, Any]) -> dict[str, Any]:
    return declared_server(
        ServerDeclaration.model_validate({**HEAD, "kind": "Server", "metadata": metadata, "spec": spec})
    )


def task_of(spec: dict[str, Any], metadata: dict[str, Any]) -> dict[str, Any]:
    return declared_task(
        TaskDeclaration.model_validate({**HEAD, "kind": "Task", "metadata": metadata, "spec": spec})
    )


@st.composite
def some_of(draw: st.DrawFn, everything: dict[str, Any], needed: set[str]) -> dict[str, Any]:
    kept = draw(st.sets(st.sampled_from(sorted(everything.keys() - needed))))
    return {name: everything[name] for name in everything if name in kept | needed}


@given(some_of(EVERYTHING_OF_A_SERVER, {"host", "username"}), some_of(METADATA, {"name"}))
def test_a_servers_document_comes_back(spec: dict[str, Any], metadata: dict[str, Any]) -> None:
    document = server_of(spec, metadata)
    assert rebuilt_server(server_columns(document)) == document
    assert document_hash(rebuilt_server(server_columns(document))) == document_hash(document)


@given(some_of(EVERYTHING_OF_A_TASK, {"server", "command"}), some_of(METADATA, {"name"}))
def test_a_tasks_document_comes_back(spec: dict[str, Any], metadata: dict[str, Any]) -> None:
    document = task_of(spec, metadata)
    assert rebuilt_task(task_columns(document)) == document
    assert document_hash(rebuilt_task(task_columns(document))) == document_hash(document)


def test_a_local_server_has_no_user() -> None:
    document = server_of({"host": "localhost", "connection": "local"}, {"name": "here"})
    columns = server_columns(document)
    assert columns["username"] is None
    assert rebuilt_server(columns) == document


def test_no_value_stands_twice() -> None:
    columns = task_columns(task_of(EVERYTHING_OF_A_TASK, METADATA))
    rest = columns["spec"]["spec"]
    assert rest.keys().isdisjoint({"command", "schedule", "timezone", "enabled", "labels"})
    assert set(columns) == {
        "command", "cron_expr", "timezone", "status", "labels", "protected", "spec",
    }  # fmt: skip
    rest = server_columns(server_of(EVERYTHING_OF_A_SERVER, METADATA))["spec"]["spec"]
    assert rest.keys().isdisjoint({"host", "port", "username", "environment", "enabled"})


def test_a_document_is_not_consumed_by_being_stored() -> None:
    document = task_of(EVERYTHING_OF_A_TASK, METADATA)
    before = document_hash(document)
    task_columns(document)
    assert document_hash(document) == before


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("command", "false"),
        ("cron_expr", None),
        ("timezone", "UTC"),
        ("status", 0),
        ("labels", {"a": "b"}),
        ("protected", 1),
    ],
)
def test_a_column_that_a_hand_changed_changes_the_hash(column: str, value: Any) -> None:
    document = task_of(
        {"server": "s", "command": "true", "schedule": "@daily", "timezone": "Asia/Tokyo"}, {"name": "t"}
    )
    columns = task_columns(document)
    assert columns[column] != value
    assert document_hash(rebuilt_task(columns | {column: value})) != document_hash(document)
