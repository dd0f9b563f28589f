"""The fields that differ, in the manifest's words, with their defaults; and what a hand changed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.canonical import document_hash, flatten
from reconciler.model.enums import Kind
from reconciler.model.state import full_document
from reconciler.plan.fields import Differences, differences
from reconciler.plan.text import plan_text
from tests.plan.world import World, applied, definition, server, steps, task, tree

TASK_SPECS: list[dict[str, Any]] = [
    {"command": "x"},
    {"command": "x", "timeout": "2h"},
    {"command": "y", "schedule": "0 2 * * *", "timezone": "Europe/Berlin", "jitter": "5m"},
    {"command": "x", "script": {"file": "a.sh"}},
    {"command": "x", "script": {"file": "a.sh", "interpreter": "/bin/bash"}},
    {"command": "x", "history": {"maxAge": "5d"}},
    {"command": "x", "history": {"maxCount": 7}},
    {"command": "x", "env": {"A": "1", "B": "2"}},
    {"command": "x", "env": {"A": "3"}, "secrets": {"P": {"env": "Q"}}},
    {"command": "x", "secrets": {"P": {"file": "q"}}},
    {"command": "x", "retries": {"limit": 2}, "successExitCodes": [0, 3], "after": ["z"]},
    {"command": "x", "enabled": False, "notify": [{"on": ["failure"], "to": "ops"}]},
]
SERVER_SPECS: list[dict[str, Any]] = [
    {"host": "a", "username": "u"},
    {"host": "b", "username": "u", "port": 2222},
    {"host": "a", "username": "u", "auth": {"privateKey": {"file": "k"}}},
    {"host": "a", "username": "u", "auth": {"password": {"env": "P"}}, "enabled": False},
    {"host": "a", "connection": "local", "durable": False},
]
METADATA: list[dict[str, Any]] = [
    {},
    {"labels": {"env": "prod"}},
    {"labels": {"env": "dev", "app.kubernetes.io/name": "x"}, "protected": True},
    {"annotations": {"owner": "me"}},
]


def documents(specs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"metadata": metadata, "spec": spec} for spec in specs for metadata in METADATA[:2]] + [
        {"metadata": metadata, "spec": specs[0]} for metadata in METADATA
    ]


@pytest.mark.parametrize(("kind", "specs"), [(Kind.TASK, TASK_SPECS), (Kind.SERVER, SERVER_SPECS)])
def test_differences_are_those_of_the_documents_with_all_defaults_written_out(
    kind: Kind, specs: list[dict[str, Any]]
) -> None:
    for before in documents(specs):
        for after in documents(specs):
            old, new = flatten(full_document(kind, before)), flatten(full_document(kind, after))
            expected = {
                name: (old.get(name), new.get(name))
                for name in {**old, **new}
                if old.get(name) != new.get(name)
            }
            found = differences(kind, before, after)
            assert {name: (one.before, one.after) for name, one in found.items()} == expected


def test_fields_come_in_the_order_of_the_models() -> None:
    before = {"metadata": {}, "spec": {"command": "x"}}
    after = {
        "metadata": {"labels": {"b": "2", "a": "1"}},
        "spec": {"retries": {"limit": 1}, "timezone": "Europe/Paris", "schedule": "@daily", "command": "y"},
    }
    assert list(differences(Kind.TASK, before, after)) == [
        "metadata.labels.a", "metadata.labels.b", "spec.command", "spec.schedule", "spec.timezone",
        "spec.retries.limit",
    ]  # fmt: skip


def test_a_creation_lists_what_is_set_and_a_deletion_nothing() -> None:
    plan = World().plan(tree(server("db-1"), task("a", timeout="2h")))
    assert {name: (one.before, one.after) for name, one in plan.changes[1].fields.items()} == {
        "spec.command": (None, "run a"),
        "spec.timeout": (None, "2h"),
    }
    world = applied(server("db-1"), task("a"))
    assert world.plan(tree(server("db-1"))).changes[0].fields == {}


def test_a_row_that_a_hand_has_spoilt_is_shown_as_it_is() -> None:
    world = applied(server("db-1"), task("a"))
    row = world.task_row("a", "db-1")
    broken = {**row.definition.document, "unreadable": {"labels": "{oops"}}
    world.edit(row, definition=type(row.definition)(broken, document_hash(broken)), spoilt=True)
    (drift,) = world.plan(tree(server("db-1"), task("a"))).drift
    assert {name: (one.before, one.after) for name, one in drift.fields.items()} == {
        "unreadable.labels": ("{oops", None)
    }


def test_secrets_are_shown_by_the_names_of_their_sources() -> None:
    world = applied(server("db-1"), task("a", secrets={"P": {"env": "OLD"}}))
    (change,) = world.plan(tree(server("db-1"), task("a", secrets={"P": {"file": "new"}}))).changes
    assert {name: (one.before, one.after) for name, one in change.fields.items()} == {
        "spec.secrets.P.env": ("OLD", None),
        "spec.secrets.P.file": (None, "new"),
    }


def test_a_default_that_a_hand_wrote_out_is_not_drift_without_a_word() -> None:
    world = applied(server("db-1"), task("a"))
    world.by_hand(world.task_row("a", "db-1"), timeout="1h")
    (drift,) = world.plan(tree(server("db-1"), task("a"))).drift
    assert {name: (one.before, one.after) for name, one in drift.fields.items()} == {
        "spec.timeout": ("1h", None)
    }
    world.by_hand(world.task_row("a", "db-1"), timeout=None, env={})
    plan = world.plan(tree(server("db-1"), task("a")))
    assert plan.drift[0].fields == {}
    assert "the same values, written otherwise" in plan_text(plan)


def test_drift_is_apart_from_what_git_changes() -> None:
    world = applied(server("db-1"), task("a"), task("b"))
    world.by_hand(world.task_row("a", "db-1"), timeout="5m", schedule="@daily")
    plan = world.plan(tree(server("db-1"), task("a"), task("b", timeout="2h")))
    assert steps(plan) == ["update Task b@db-1"]
    (drift,) = plan.drift
    assert {name: (one.before, one.after) for name, one in drift.fields.items()} == {
        "spec.schedule": ("@daily", None),
        "spec.timeout": ("5m", "1h"),
    }
    assert drift.scheduling_changed
    assert not plan.empty


def test_drift_alone_is_put_back_without_a_new_generation() -> None:
    world = applied(server("db-1"), task("a"))
    world.by_hand(world.by_name("db-1"), port=2222)
    desired = tree(server("db-1"), task("a"))
    plan = world.apply(desired)
    assert [one.kind for one in plan.drift] == [Kind.SERVER]
    assert world.plan(desired).empty
    assert world.by_name("db-1").generation == 1


def test_what_a_hand_changed_is_told_from_what_git_changed_in_the_same_row() -> None:
    world = applied(server("db-1"), task("a", env={"A": "1"}))
    world.by_hand(world.task_row("a", "db-1"), timeout="5m", env={"A": "1", "B": "x"})
    plan = world.plan(tree(server("db-1"), task("a", env={"A": "2"}, jitter="1m")))
    (change,) = plan.changes
    assert {name: (one.before, one.after) for name, one in change.fields.items()} == {
        "spec.jitter": ("0s", "1m"),
        "spec.env.A": ("1", "2"),
    }
    assert {name: (one.before, one.after) for name, one in change.drift.items()} == {
        "spec.timeout": ("5m", "1h"),
        "spec.env.B": ("x", None),
    }
    assert plan.drift == ()
    assert [one.fields for one in plan.all_drift()] == [change.drift]
    assert change.scheduling_changed


def test_a_field_that_both_changed_is_not_guessed_at() -> None:
    world = applied(server("db-1"), task("a"))
    world.by_hand(world.task_row("a", "db-1"), timeout="5m")
    plan = world.plan(tree(server("db-1"), task("a", timeout="2h")))
    (change,) = plan.changes
    assert (change.fields["spec.timeout"].before, change.fields["spec.timeout"].after) == ("5m", "2h")
    assert "does not tell" in str(change.reason)
    assert [one.fields for one in plan.all_drift()] == [{}]


def test_git_may_adopt_what_a_hand_has_done() -> None:
    world = applied(server("db-1"), task("a"))
    world.by_hand(world.task_row("a", "db-1"), timeout="5m")
    desired = tree(server("db-1"), task("a", timeout="5m"))
    plan = world.apply(desired)
    (change,) = plan.changes
    assert (change.fields, change.git_changed) == ({}, True)
    assert change.reason == "already made by hand, now declared in git"
    assert plan.all_drift() == ()
    assert world.task_row("a", "db-1").generation == 2
    assert world.plan(desired).empty


def test_a_renamed_row_that_drifted_is_put_back_too() -> None:
    world = applied(server("db-1"), task("a"))
    world.by_hand(world.task_row("a", "db-1"), timeout="5m")
    (change,) = world.plan(tree(server("db-1"), task("b", formerly="a", command="run a"))).changes
    assert list(change.fields) == ["metadata.name"]
    assert list(change.drift) == ["spec.timeout"]


def test_settings_of_the_project_drift_too() -> None:
    from dataclasses import replace

    from reconciler.model.project import ProjectSpec

    world = applied(server("db-1"))
    stored = world.projects["shop"]
    world.projects["shop"] = replace(stored, spec=ProjectSpec.model_validate({"prune": False}))
    plan = world.plan(tree(server("db-1")))
    assert plan.changes == ()
    assert plan.drift == ()
    assert not plan.empty
    (drift,) = plan.all_drift()
    assert {name: (one.before, one.after) for name, one in drift.fields.items()} == {
        "spec.prune": (False, True)
    }
    assert plan.digest != applied(server("db-1")).plan(tree(server("db-1"))).digest


SPEC = st.fixed_dictionaries(
    {},
    optional={
        "timeout": st.sampled_from(["1m", "2m"]),
        "runAs": st.sampled_from(["a", "b"]),
        "env": st.dictionaries(st.sampled_from("XYZ"), st.sampled_from("12"), min_size=1),
        "retries": st.fixed_dictionaries({"limit": st.integers(1, 3)}),
    },
)


@given(SPEC, SPEC, SPEC)
def test_whatever_the_hash_proves_is_the_applied_document(
    was: dict[str, Any], now: dict[str, Any], wanted: dict[str, Any]
) -> None:
    applied_, row, desired = definition(was), definition(now), definition(wanted)
    found = Differences().applied(row, desired, applied_.hash)
    assert found is None or found.document == applied_.document
