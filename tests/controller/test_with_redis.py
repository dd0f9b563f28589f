"""Two processes that meet in a Redis which fails in every way: the database decides all the same."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest

from reconciler.cache.link import RedisSignals
from reconciler.cache.place import Place
from reconciler.cache.signals import News, Silent
from reconciler.clock import SystemClock
from reconciler.controller.events import Event, EventKind
from reconciler.controller.runtime import Runtime
from reconciler.controller.signalling import message_of, state_of_task
from reconciler.model.execution import Reason, State
from tests.controller.conftest import Start, eventually
from tests.controller.executors import Patient, Quick
from tests.dispatch.fleet import START, Fleet
from tests.services.redis import RedisServer

CLOCK = SystemClock()
sqlite_only = pytest.mark.parametrize("url", ["sqlite"], indirect=True)
StartRedis = Callable[..., RedisServer]


def signals(url: str, name: str) -> RedisSignals:
    return RedisSignals(Place(url, "reconciler"), CLOCK, name)


def _kill(server: RedisServer) -> None:
    server.kill()
    CLOCK.sleep(1)
    server.start()


def _pause(server: RedisServer) -> None:
    server.pause()
    CLOCK.sleep(2.5)
    server.resume()


def _flush(server: RedisServer) -> None:
    client = Place(server.url, "").client()
    for _ in range(20):
        client.flushall()
        CLOCK.sleep(0.1)


def _fill(server: RedisServer) -> None:
    client = Place(server.url, "").client()
    client.config_set("maxmemory", "1")
    CLOCK.sleep(2)
    client.config_set("maxmemory", "0")


def _lie(server: RedisServer) -> None:
    """Due times of other tasks, states of other types, messages in a flood."""
    place = Place(server.url, "reconciler")
    client = place.client()
    for number in range(20):
        soon = CLOCK.now().timestamp() * 1000
        client.delete(place.due_key)
        client.zadd(place.due_key, {f"no-{n}": soon + 10 * n for n in range(200)})
        for task in range(1, 6):
            client.set(place.state_key(task), "x")
        for _ in range(200):
            client.publish(place.channel, '{"events": [{"kind": "changed"}, {"kind": "waiting"}]}')
        CLOCK.sleep(0.1)
        if number == 10:
            client.set(place.due_key, "x")


@pytest.mark.redis
@pytest.mark.slow
@sqlite_only
@pytest.mark.parametrize("fault", [_kill, _pause, _flush, _fill, _lie], ids=lambda fault: fault.__name__[1:])
def test_no_run_is_lost_or_doubled_by_what_redis_does(
    fleet: Fleet, start: Start, start_redis: StartRedis, fault: Callable[[RedisServer], None]
) -> None:
    server = start_redis()
    due = CLOCK.now().replace(microsecond=0) + timedelta(seconds=2)
    tasks = fleet.tasks([f"t-{n}" for n in range(5)], due=due, schedule="@every 1s", concurrency="allow")
    quick = Quick()
    claims = start(None, signals=signals(server.url, "a"))
    takes = start(quick, schedule=False, signals=signals(server.url, "b"))
    eventually(lambda: len(quick.ran) >= 5)
    fault(server)
    before = len(quick.ran)
    eventually(lambda: len(quick.ran) >= before + 15, 30)
    place = Place(server.url, "reconciler")
    client = place.client()
    keys = [place.state_key(task) for task in tasks]
    client.delete(*keys)
    # What was claimed before may still be told of as waiting, late and after its end was deleted. Of what is
    # claimed from now on nothing is dropped.
    claimed = max(row["id"] for row in fleet.ledger())
    eventually(lambda: all(int(client.hget(key, "execution") or 0) > claimed for key in keys), 30)
    assert claims.stop(5)
    assert takes.stop(5)
    assert set(quick.slots.values()) == {1}
    assert set(fleet.states()) == {"completed"}
    assert fleet.states()["completed"] == len(quick.ran)
    for task in tasks:
        slots = [row["scheduled_for"] for row in fleet.ledger(task)]
        assert slots == [slots[0] + timedelta(seconds=number) for number in range(len(slots))]
    # and it is as it should be again: each task's last execution, and when it is due
    for task in tasks:
        last = fleet.ledger(task)[-1]
        known = client.hgetall(place.state_key(task))
        assert known[b"execution"] == str(last["id"]).encode()
        assert known[b"state"] == b"success"


class Recorded(Silent):
    """Keeps what a process tells."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def tell(self, kind: str) -> None:
        self.told.append(str(kind))


@sqlite_only
def test_a_claim_an_apply_and_a_dependency_run_are_told(fleet: Fleet, start: Start) -> None:
    told = Recorded()
    fleet.task("first", schedule="@every 1h", due=CLOCK.now() + timedelta(seconds=0.2))
    runtime = start(None, signals=told)
    eventually(lambda: "waiting" in told.told)
    assert "changed" not in told.told
    runtime.changed()
    assert told.told[-1] == "changed"


@sqlite_only
def test_what_others_tell_wakes_the_loop_that_it_concerns(fleet: Fleet, start: Start) -> None:
    fleet.server()
    runtime = start(Quick(), signals=Silent())
    looked: list[str] = []

    class Ears:
        def wake(self) -> None:
            looked.append("take")

        def freed(self) -> None:
            looked.append("freed")

    class Glance:
        def wake(self) -> None:
            looked.append("glance")

    real = runtime._executing, runtime._glance_loop
    runtime._executing, runtime._glance_loop = Ears(), Glance()  # type: ignore[assignment]
    for news, woken in (
        (News(changed=True), ["glance"]),
        (News(waiting=True), ["take"]),
        (News(ended=True), ["freed"]),
        (News(missed=True), ["glance", "take"]),
    ):
        looked.clear()
        runtime._hear(news)
        assert looked == woken
    runtime._executing, runtime._glance_loop = real


@sqlite_only
def test_a_hint_brings_the_look_at_the_database_forward(fleet: Fleet, start: Start) -> None:
    """The row is changed behind the scheduler's back, so without the hint it would look ten seconds later."""
    task = fleet.task("t", schedule="@every 1h", due=CLOCK.now() + timedelta(hours=1))
    quick = Quick()
    runtime: Runtime = start(quick, signals=Silent())
    scheduling = runtime._scheduling
    assert scheduling is not None
    eventually(lambda: scheduling._next is not None)
    at = CLOCK.now() + timedelta(seconds=0.5)
    fleet.change_task(task, next_slot=at, next_run=at)
    runtime._hint(at)
    eventually(lambda: fleet.ledger(task))
    row = fleet.ledger(task)[0]
    assert row["scheduled_for"] == at
    # far under the ten seconds after which it looks anyway
    assert (row["created_at"] - at).total_seconds() < 8


def event(kind: EventKind, state: State | None, reason: Reason | None = None) -> Event:
    return Event(kind, 5, 7, "backup", "web-1", START, state=state, reason=reason, exit_code=None)


@pytest.mark.parametrize(
    ("told", "progress"),
    [
        (event(EventKind.CLAIMED, State.WAITING), 0),
        (event(EventKind.STARTED, State.RUNNING), 1),
        (event(EventKind.ENDED, State.FAILED, Reason.LOST), 2),
        (event(EventKind.ENDED, State.FAILED, Reason.UNREACHABLE), 2),
        (event(EventKind.ENDED, State.FAILED, Reason.EXIT_CODE), 3),
        (event(EventKind.ENDED, State.SUCCESS, Reason.COMPLETED), 3),
        (event(EventKind.SKIPPED, State.SKIPPED, Reason.OVERLAP), None),
        (event(EventKind.RETRYING, None), None),
    ],
    ids=lambda value: f"{value.kind}-{value.reason}" if isinstance(value, Event) else str(value),
)
def test_a_state_goes_forward_only(told: Event, progress: int | None) -> None:
    state = state_of_task(told)
    assert (None if state is None else state.progress) == progress
    if state is not None:
        assert (state.task_id, state.execution_id, state.fields["execution"]) == (7, 5, "5")


def test_a_message_has_no_sentence_and_no_null() -> None:
    message = message_of(event(EventKind.ENDED, State.SUCCESS, Reason.COMPLETED))
    assert message["kind"] == "ended"
    assert message["execution"] == "5"
    assert message["at"] == "2026-03-01T12:00:00.000000Z"
    assert None not in message.values()
    assert "message" not in message


@sqlite_only
def test_no_thread_of_redis_outlives_its_process(
    fleet: Fleet, start: Start, redis_server: RedisServer
) -> None:
    fleet.server()
    before = threading.active_count()
    runtime = start(None, signals=signals(redis_server.url, "a"))
    assert runtime.stop(2)
    eventually(lambda: threading.active_count() <= before)


@pytest.mark.redis
@sqlite_only
def test_a_flushed_state_of_a_long_run_comes_back(
    fleet: Fleet, start: Start, start_redis: StartRedis
) -> None:
    server = start_redis()
    place = Place(server.url, "reconciler")
    client = place.client()
    task = fleet.task(due=CLOCK.now() + timedelta(seconds=0.2), schedule="@every 1h")
    patient = Patient()
    runtime = start(patient, signals=signals(server.url, "a"))
    eventually(lambda: client.hget(place.state_key(task), "state") == b"running")
    client.flushall()
    eventually(lambda: client.hget(place.state_key(task), "state") == b"running")
    patient.released.set()
    eventually(lambda: client.hget(place.state_key(task), "state") == b"success")
    assert runtime.stop(5)
