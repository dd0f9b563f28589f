"""A run that goes on is no less so because its next owner lacks a secret of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from reconciler.execute.control import Control
from reconciler.execute.executors import Executors
from reconciler.model.execution import Job, Reason, Status
from tests.execute.support import Background, executors, local_hop, make_job, processes, running

KNOWN = {"RECONCILER_SECRET_TOKEN": "hunter2hunter2"}


@pytest.fixture
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.execute.executors.SECRETS_SECONDS", 0.5)


@pytest.fixture
def first() -> Iterator[Executors]:
    with running(environment=KNOWN) as some:
        yield some


def left_running(first: Executors, command: str) -> Job:
    """The job as its next owner gets it: begun, and let go of."""
    secrets = {"TOKEN": {"env": "TOKEN"}}
    job = make_job(local_hop(), command, secrets=secrets, timeout="30s", killGrace="1s")
    background = Background(first, job)
    assert background.listener.started.wait(20)
    background.listener.control.let_go()
    left = background.outcome()
    assert left.status is Status.OPEN
    return replace(job, started_at=left.started_at, start_sent=True)


def test_its_exit_code_is_the_true_one_and_its_output_is_not_kept(
    first: Executors, short_patience: None
) -> None:
    job = left_running(first, "echo $TOKEN; sleep 2; echo $TOKEN >&2; exit 3")
    with running() as later:
        outcome = later.run(job, Control())
        later.recorded(job)
        assert not later._trash._heaps
    assert (outcome.reason, outcome.exit_code, outcome.proven) == (Reason.EXIT_CODE, 3, True)
    assert (outcome.stdout.text, outcome.stderr.text) == ("", "")
    assert "its output is not kept: the secret {env: TOKEN} is not there" in (outcome.message or "")


def test_it_is_waited_for_a_while(first: Executors) -> None:
    job = left_running(first, "sleep 1; echo whole $TOKEN")
    environment: dict[str, str] = {}
    later = executors(environment=environment)
    # the process's own mapping, so that the secret appears while it waits
    later._secrets._environment = environment  # type: ignore[assignment]
    background = Background(later, job)
    background.listener.started.wait(0.5)
    environment.update(KNOWN)
    outcome = background.outcome()
    later.close()
    assert (outcome.status, outcome.stdout.text) == (Status.SUCCESS, "whole ***\n")


def test_it_can_be_cancelled_meanwhile(first: Executors) -> None:
    job = left_running(first, "sleep 300")
    control = Control()
    control.cancel("enough of it")
    with running() as later:
        outcome = later.run(job, control)
    assert outcome.reason is Reason.CANCELLED
    assert not processes(job)


def test_a_start_that_never_arrived_is_not_made_without_it(short_patience: None) -> None:
    job = make_job(local_hop(), "true", secrets={"TOKEN": {"env": "TOKEN"}})
    with running() as some:
        outcome = some.run(replace(job, start_sent=True), Control())
    assert (outcome.reason, outcome.started_at) == (Reason.START_FAILED, None)
    assert (outcome.message or "").startswith("the secret {env: TOKEN} is not there")
