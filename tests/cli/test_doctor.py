"""The command `doctor` on the servers of a database."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.cli.main import main
from reconciler.store.engine import Database
from tests.dispatch.fleet import Fleet
from tests.services.process import free_port
from tests.services.sshd import Sshd
from tests.store.conftest import DIALECTS, Migrated, db, migrated, migrated_mariadb, migrated_mysql

__all__ = ["db", "migrated", "migrated_mariadb", "migrated_mysql"]

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def url(request: pytest.FixtureRequest, migrated: Migrated, tmp_path: Path) -> str:
    return migrated.url(getattr(request, "param", "sqlite"), tmp_path / "state.db")


@pytest.fixture
def fleet(db: Database, sshd: Sshd) -> Fleet:
    """One server that answers, and one that does not."""
    found = Fleet(db)
    for name, port in (("web-1", sshd.port), ("web-2", free_port())):
        found.server(name, auth={"privateKey": {"file": "client"}}, hostKeys=[sshd.host_key])
        found.change_server(name, host=sshd.host, port=port, username=sshd.user)
    found.task("backup", "web-1")
    return found


@pytest.fixture
def doctor(
    fleet: Fleet, url: str, sshd: Sshd, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Command:
    monkeypatch.setenv("RECONCILER_SECRETS_DIR", str(sshd.folder))

    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["doctor", *words, "--database", url])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.mark.ssh
def test_every_server_is_examined_and_json_has_the_documented_shape(doctor: Command) -> None:
    code, out, _ = doctor("-o", "json")
    shape = json.loads(out)
    assert code == 1
    assert list(shape) == ["items"]
    assert [item["server"] for item in shape["items"]] == ["web-1", "web-2"]
    for item in shape["items"]:
        assert list(item) == ["server", "checks"]
        assert all(list(check) == ["name", "ok", "detail", "milliseconds"] for check in item["checks"])
    well, ill = shape["items"]
    assert all(check["ok"] is True for check in well["checks"])
    first, *rest = ill["checks"]
    assert (first["name"], first["ok"]) == ("reach", False)
    assert "Connection refused" in first["detail"]
    assert {(check["ok"], check["milliseconds"]) for check in rest} == {(None, None)}


@pytest.mark.ssh
def test_servers_named_are_examined_alone_and_in_full(doctor: Command) -> None:
    code, out, _ = doctor("web-1")
    assert code == 0
    assert "web-2" not in out
    lines = out.splitlines()
    assert lines[0].split() == ["SERVER", "CHECK", "TIME", "SEEN"]
    assert [line.split()[-1] for line in lines[-1:]] == ["well"]
    for name in ("reach", "host-key", "login", "shell", "tools", "clock", "place"):
        assert name in out


@pytest.mark.ssh
def test_text_says_what_to_do_about_each_fault_and_sums_up(doctor: Command) -> None:
    code, out, _ = doctor()
    assert code == 1
    assert "web-2, reach: " in out
    assert "next: is the host up" in out
    assert "not run: reach failed" in out
    assert out.rstrip().endswith("1 of 2 servers needs attention")


def test_a_name_that_no_server_has_is_an_error_with_the_nearest(doctor: Command) -> None:
    code, out, err = doctor("web-3")
    assert (code, out) == (1, "")
    assert "there is no server 'web-3'" in err
    assert "did you mean 'web-" in err


@pytest.mark.ssh
def test_accounts_and_ways_come_from_the_rows(fleet: Fleet, doctor: Command) -> None:
    fleet.server("db-1", jump="shop/gone", auth={"privateKey": {"file": "client"}})
    fleet.server("db-2")
    fleet.change_server("db-2", spec={"spec": {"durable": "perhaps"}})
    fleet.task("dump", "web-1", runAs="no-such-account")
    _, out, _ = doctor("-o", "json")
    items = {item["server"]: item["checks"] for item in json.loads(out)["items"]}
    assert items["web-1"][-1]["name"] == "sudo no-such-account"
    assert items["web-1"][-1]["ok"] is False
    assert "the jump to 'db-1', is not there" in items["db-1"][0]["detail"]
    assert "holds no valid spec" in items["db-2"][0]["detail"]


@pytest.mark.ssh
@pytest.mark.parametrize("url", DIALECTS, indirect=True)
def test_the_servers_of_each_database_are_found(fleet: Fleet, doctor: Command) -> None:
    fleet.task("dump", "web-1", runAs="nobody")
    _, out, _ = doctor("web-1", "-o", "json")
    (item,) = json.loads(out)["items"]
    assert item["checks"][-1]["name"] == "sudo nobody"


@pytest.mark.ssh
def test_what_it_proved_is_the_condition_of_each_server(
    doctor: Command, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    doctor()
    assert main(["status", "-o", "json", "--database", url]) == 0
    objects = {item["name"]: item for item in json.loads(capsys.readouterr().out)["objects"]}
    found = {
        name: next(c for c in objects[name]["conditions"] if c["type"] == "Reachable")
        for name in ("web-1", "web-2")
    }
    assert (found["web-1"]["status"], found["web-1"]["reason"]) == ("True", "Answered")
    assert (found["web-2"]["status"], found["web-2"]["reason"]) == ("False", "Unreachable")
    assert "Connection refused" in found["web-2"]["message"]
    assert found["web-2"]["lastTransitionTime"] is not None
    assert objects["web-2"]["health"] == "Degraded"
