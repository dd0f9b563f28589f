from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from reconciler.model.canonical import canonical_json, document_hash, flatten
from reconciler.model.server import ServerDeclaration, server_document
from reconciler.model.state import full_document, task_spec
from reconciler.model.task import Selector, TaskDeclaration, task_document


def a_task(**spec: Any) -> TaskDeclaration:
    return TaskDeclaration.model_validate(
        {
            "apiVersion": "reconciler/v1",
            "kind": "Task",
            "metadata": {"name": "backup"},
            "spec": {"server": "db-1", "command": "true", **spec},
        }
    )


def a_server(**spec: Any) -> ServerDeclaration:
    return ServerDeclaration.model_validate(
        {
            "apiVersion": "reconciler/v1",
            "kind": "Server",
            "metadata": {"name": "db-1"},
            "spec": {"host": "10.0.0.1", "username": "deploy", **spec},
        }
    )


@pytest.mark.parametrize(
    "explicit",
    [
        {"timezone": "UTC"},
        {"timeout": "60m"},
        {"retries": {"limit": 0, "factor": 2.0}},
        {"successExitCodes": [0]},
        {"env": {}},
        {"output": {"maxBytes": "64KiB"}},
        {"enabled": True, "concurrency": "forbid"},
    ],
)
def test_writing_a_default_is_not_a_change(explicit: dict[str, Any]) -> None:
    assert task_document(a_task(**explicit)) == task_document(a_task())


def test_the_order_of_keys_does_not_change_the_hash() -> None:
    one = {"metadata": {}, "spec": {"a": 1, "b": {"c": 2, "d": 3}}}
    other = {"spec": {"b": {"d": 3, "c": 2}, "a": 1}, "metadata": {}}
    assert document_hash(one) == document_hash(other)


def test_placement_is_identity_and_not_part_of_a_tasks_document() -> None:
    assert task_document(a_task(server="db-2")) == task_document(a_task())


def test_a_script_is_its_text() -> None:
    spec = {"server": "db-1", "script": {"file": "a.sh"}}
    task = TaskDeclaration.model_validate(
        {"apiVersion": "reconciler/v1", "kind": "Task", "metadata": {"name": "x"}, "spec": spec}
    )
    document = task_document(task, script_text="echo hi\n")
    assert document["spec"] == {"command": "echo hi\n", "script": {"file": "a.sh"}}


def test_a_document_and_its_spec_round_trip() -> None:
    document = task_document(a_task(timeout="90s", retries={"limit": 3}, secrets={"A": {"env": "B"}}))
    spec = task_spec(document)
    assert (spec.timeout, spec.retries.limit, spec.secrets) == (90, 3, {"A": {"env": "B"}})
    assert spec.model_dump(mode="json", by_alias=True, exclude_defaults=True) == document["spec"]


def test_a_full_document_speaks_the_manifests_words() -> None:
    leaves = flatten(full_document("Task", task_document(a_task())))
    assert leaves["spec.timeout"] == "1h"
    assert leaves["spec.output.maxBytes"] == "64KiB"
    assert leaves["spec.retries.factor"] == 2
    assert leaves["metadata.protected"] is False


def test_canonical_json_keeps_characters_as_they_are() -> None:
    assert canonical_json({"b": "备份", "a": [1, None]}) == '{"a":[1,null],"b":"备份"}'


@pytest.mark.parametrize(
    ("spec", "where"),
    [
        ({"command": None}, "spec"),
        ({"servers": ["a"]}, "spec"),
        ({"command": "  "}, "spec.command"),
        ({"command": "a\0b"}, "spec.command"),
        ({"timeout": 90}, "spec.timeout"),
        ({"timeout": "0s"}, "spec.timeout"),
        ({"timezone": "Mars/Base"}, "spec.timezone"),
        # another zone on each machine, and Debian's copies of all of them
        ({"timezone": "localtime"}, "spec.timezone"),
        ({"timezone": "right/Europe/Berlin"}, "spec.timezone"),
        ({"timezone": "../etc/passwd"}, "spec.timezone"),
        ({"timezone": "Europe"}, "spec.timezone"),
        ({"enabled": "yes"}, "spec.enabled"),
        ({"env": {"A-B": "x"}}, "spec.env.A-B.[key]"),
        ({"env": {"A": "x"}, "secrets": {"A": {"env": "X"}}}, "spec"),
        ({"secrets": {"A": {"env": "X", "file": "y"}}}, "spec.secrets.A"),
        ({"secrets": {"A": {"file": "../../etc/shadow"}}}, "spec.secrets.A"),
        ({"runAs": "-u root"}, "spec.runAs"),
        ({"successExitCodes": []}, "spec.successExitCodes"),
        ({"retries": {"factor": 0.5}}, "spec.retries.factor"),
        ({"output": {"maxBytes": "2MiB"}}, "spec.output.maxBytes"),
        ({"colour": "red"}, "spec.colour"),
    ],
)
def test_a_bad_field_is_refused_at_its_place(spec: dict[str, Any], where: str) -> None:
    with pytest.raises(ValidationError) as caught:
        a_task(**spec)
    assert [".".join(map(str, error["loc"])) for error in caught.value.errors()] == [where]


@pytest.mark.parametrize(
    ("spec", "where"),
    [
        ({"port": "22"}, "spec.port"),
        ({"port": 0}, "spec.port"),
        ({"host": "-oProxyCommand=x"}, "spec.host"),
        ({"username": None}, "spec"),
        ({"hostKeys": ["AAAA"]}, "spec.hostKeys.0"),
        ({"auth": {}}, "spec.auth"),
        ({"auth": {"password": {"env": "A"}, "privateKey": {"env": "B"}}}, "spec.auth"),
        ({"auth": {"password": {"env": "A"}, "passphrase": {"env": "B"}}}, "spec.auth"),
    ],
)
def test_a_bad_server_field_is_refused_at_its_place(spec: dict[str, Any], where: str) -> None:
    with pytest.raises(ValidationError) as caught:
        a_server(**spec)
    assert [".".join(map(str, error["loc"])) for error in caught.value.errors()] == [where]


def test_a_local_server_needs_no_username() -> None:
    assert "username" not in server_document(a_server(username=None, connection="local"))["spec"]


def test_the_comment_of_a_host_key_is_no_part_of_it() -> None:
    with_comment = a_server(hostKeys=["ssh-ed25519 AAAAC3Nz root@db-1"])
    assert with_comment.spec.host_keys == ("ssh-ed25519 AAAAC3Nz",)


@pytest.mark.parametrize(
    ("selector", "labels", "holds"),
    [
        ({"matchLabels": {"role": "db"}}, {"role": "db"}, True),
        ({"matchLabels": {"role": "db", "env": "prod"}}, {"role": "db"}, False),
        ({"matchExpressions": [{"key": "env", "operator": "In", "values": ["a", "b"]}]}, {"env": "b"}, True),
        ({"matchExpressions": [{"key": "env", "operator": "In", "values": ["a"]}]}, {}, False),
        ({"matchExpressions": [{"key": "env", "operator": "NotIn", "values": ["a"]}]}, {}, True),
        ({"matchExpressions": [{"key": "env", "operator": "NotIn", "values": ["a"]}]}, {"env": "a"}, False),
        ({"matchExpressions": [{"key": "env", "operator": "Exists"}]}, {"env": ""}, True),
        ({"matchExpressions": [{"key": "env", "operator": "DoesNotExist"}]}, {"env": ""}, False),
    ],
)
def test_a_selector_selects_by_labels(selector: dict[str, Any], labels: dict[str, str], holds: bool) -> None:
    assert Selector.model_validate(selector).matches(labels) is holds


@pytest.mark.parametrize(
    "selector",
    [
        {},
        {"matchLabels": {}},
        {"matchExpressions": [{"key": "a", "operator": "In"}]},
        {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["x"]}]},
    ],
)
def test_an_empty_or_contradictory_selector_is_an_error(selector: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Selector.model_validate(selector)
