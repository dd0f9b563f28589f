"""`reconciler run` and `reconciler cancel`, typed while a process works on the same database."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from reconciler.cli import logtext
from reconciler.cli.main import main
from reconciler.clock import SystemClock
from reconciler.model.execution import Reason
from tests.controller.conftest import Start, eventually
from tests.controller.executors import Patient, Quick, Talker
from tests.dispatch.fleet import Fleet

pytestmark = pytest.mark.parametrize("url", ["sqlite"], indirect=True)

Type = Callable[..., tuple[int, str, str]]


@pytest.fixture
def type_in(url: str, capsys: pytest.CaptureFixture[str]) -> Type:
    """Runs a command; exit code, standard output, standard error."""

    def run(*words: str) -> tuple[int, str, str]:
        code = main(["--database", url, *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def items(text: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(text)["items"]
    return found


def test_a_run_is_accepted_at_once(fleet: Fleet, start: Start, type_in: Type) -> None:
    fleet.task(schedule=None, due=None)
    start(Quick())
    code, out, _ = type_in("run", "backup", "-o", "json")
    (item,) = items(out)
    assert code == 0
    assert item == {
        "id": item["id"],
        "task": "backup",
        "server": "web-1",
        "state": "waiting",
        "reason": None,
        "exitCode": None,
    }
    assert item["id"].isdigit()
    eventually(lambda: fleet.states() == {"completed": 1})


@pytest.mark.parametrize(
    ("reason", "code", "state"),
    [(Reason.COMPLETED, 0, "success"), (Reason.EXIT_CODE, 1, "failed")],
)
def test_waiting_gives_the_verdict(
    fleet: Fleet, start: Start, type_in: Type, reason: Reason, code: int, state: str
) -> None:
    fleet.tasks(["a", "b"], schedule=None, due=None)
    start(Quick(0.1, reason=reason))
    found, out, _ = type_in("run", "a", "b@web-1", "--wait", "-o", "json")
    assert found == code
    assert [(item["task"], item["state"], item["reason"]) for item in items(out)] == [
        ("a", state, reason.value),
        ("b", state, reason.value),
    ]


def test_a_run_that_its_predecessor_forbids_is_no_success(fleet: Fleet, start: Start, type_in: Type) -> None:
    fleet.task(schedule=None, due=None, concurrency="forbid")
    patient = Patient()
    start(patient)
    type_in("run", "backup")
    eventually(lambda: fleet.states()["running"])
    code, out, _ = type_in("run", "backup", "--wait")
    assert code == 1
    assert "skipped  overlap" in out
    patient.released.set()


def test_following_prints_what_the_run_left(fleet: Fleet, start: Start, type_in: Type) -> None:
    fleet.task(schedule=None, due=None)
    start(Quick(0.05, output="it is done\n"))
    code, out, err = type_in("run", "backup", "--follow")
    assert (code, out) == (0, "it is done\n")
    assert "success" in err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["run", "nothing"], 1, "there is no task 'nothing'"),
        (["run", "everywhere"], 1, "shop/everywhere@web-1, shop/everywhere@web-2"),
        (["run", "idle"], 1, "server 'off' is disabled"),
        (["run"], 64, "TASK"),
        (["cancel", "77"], 1, "there is no execution 77"),
        (["cancel", "backup"], 64, "is not the id of an execution"),
    ],
)
def test_what_cannot_be_is_said_exactly(
    fleet: Fleet, start: Start, type_in: Type, words: list[str], code: int, said: str
) -> None:
    fleet.server("off", enabled=False)
    fleet.task("everywhere", "web-1")
    fleet.task("everywhere", "web-2")
    fleet.task("idle", "off")
    start(Quick(), schedule=False)
    found, out, err = type_in(*words)
    assert (found, out) == (code, "")
    assert said in err
    assert fleet.ledger() == []


def test_without_a_worker_nothing_is_asked_for(fleet: Fleet, type_in: Type) -> None:
    fleet.task()
    code, out, _ = type_in("run", "backup", "-o", "json")
    assert code == 1
    assert json.loads(out)["error"]["code"] == "refused"
    assert fleet.ledger() == []


def test_a_running_execution_is_cancelled_by_whoever_runs_it(
    fleet: Fleet, start: Start, type_in: Type
) -> None:
    fleet.task(schedule=None, due=None)
    start(Patient())
    type_in("run", "backup")
    eventually(lambda: fleet.states()["running"])
    number = str(fleet.ledger()[0]["id"])
    code, out, _ = type_in("cancel", number)
    assert code == 0
    assert "its owner is told to end it" in out
    eventually(lambda: fleet.states() == {"cancelled": 1}, 5)
    code, out, _ = type_in("cancel", number, "-o", "json")
    assert (code, items(out)[0]["state"], items(out)[0]["reason"]) == (0, "failed", "cancelled")


def test_a_person_who_waits_sees_a_cancel(fleet: Fleet, start: Start, type_in: Type) -> None:
    fleet.task(schedule=None, due=None)
    start(Patient())

    def cancel() -> None:
        from reconciler.dispatch.manual import cancel_executions

        eventually(lambda: fleet.states()["running"])
        cancel_executions(fleet.db, SystemClock(), [fleet.ledger()[0]["id"]], "bob@desk")

    thread = threading.Thread(target=cancel)
    thread.start()
    code, out, _ = type_in("run", "backup", "--wait")
    thread.join()
    assert code == 1
    assert "failed  cancelled" in out


def test_following_several_tells_them_apart(fleet: Fleet, start: Start, type_in: Type) -> None:
    fleet.tasks(["a", "b"], schedule=None, due=None)
    start(Quick(0.05, output="one\ntwo\n"))
    code, out, err = type_in("run", "a", "b", "--follow")
    assert code == 0
    assert sorted(out.splitlines()) == [f"{name}@web-1 | {word}" for name in "ab" for word in ("one", "two")]
    assert err.count("success") == 2


def test_following_shows_every_attempt_of_a_run(fleet: Fleet, start: Start, type_in: Type) -> None:
    fleet.task(schedule=None, due=None, retries={"limit": 1, "backoff": "1s"})
    start(Quick(0.05, reason=Reason.EXIT_CODE, output="no luck\n"))
    code, out, _ = type_in("run", "backup", "--follow")
    assert (code, out) == (1, "no luck\nno luck\n")
    assert fleet.states() == {"exit-code": 2}


def test_following_shows_output_while_the_run_goes_on(
    fleet: Fleet, start: Start, type_in: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.task(schedule=None, due=None)
    talker = Talker()
    start(talker)
    write = logtext.Output.write

    def heard(output: logtext.Output, data: bytes) -> None:
        write(output, data)
        talker.heard.set()

    monkeypatch.setattr(logtext.Output, "write", heard)
    code, out, _ = type_in("run", "backup", "--follow")
    assert (code, out) == (0, "live 0\nlive 1\nlive 2\n")
    assert talker.unheard == 0, "a line was only shown at the end"
