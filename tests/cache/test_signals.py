"""What one process tells, the others hear; what is kept is what the design says, and heals by itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from reconciler.cache.place import Place
from reconciler.cache.signals import Kind, LiveState, News
from reconciler.cache.writer import OPEN_TTL_SECONDS, TTL_SECONDS, WAITING_TTL_SECONDS
from reconciler.clock import SystemClock
from tests.cache.conftest import Process
from tests.controller.conftest import eventually
from tests.services.redis import RedisServer

pytestmark = pytest.mark.redis
NOON = datetime(2031, 3, 1, 12, tzinfo=UTC)
Start = Callable[..., Process]


def state(execution: int, progress: int, **fields: str) -> LiveState:
    return LiveState(7, execution, progress, {"execution": str(execution), **fields})


@pytest.fixture
def place(redis_server: RedisServer, request: pytest.FixtureRequest) -> Place:
    return Place(redis_server.url, f"t:{request.node.name}")


def test_others_hear_what_is_told_and_oneself_does_not(place: Place, process: Start) -> None:
    one, other = process(place.url, place.prefix), process(place.url, place.prefix)
    eventually(lambda: one.listens() and other.listens())
    one.signals.tell(Kind.CHANGED)
    eventually(lambda: any(news.changed for news in other.heard))
    one.signals.tell(Kind.WAITING)
    eventually(lambda: any(news.waiting for news in other.heard))
    other.signals.happened({"kind": "ended"}, None)
    eventually(lambda: any(news.ended for news in one.heard))
    assert [news for news in one.heard if news.changed or news.waiting] == []


def test_another_prefix_is_another_world(place: Place, process: Start) -> None:
    one, other = process(place.url, place.prefix), process(place.url, f"{place.prefix}-2")
    third = process(place.url, place.prefix)
    eventually(lambda: one.listens() and other.listens() and third.listens())
    one.signals.tell(Kind.CHANGED)
    eventually(lambda: any(news.changed for news in third.heard))
    assert not any(news.changed for news in other.heard)


def test_what_is_no_message_wakes_nobody_and_ends_nothing(place: Place, process: Start) -> None:
    one = process(place.url, place.prefix)
    eventually(one.listens)
    client = place.client()
    for text in ("", "nonsense", "[]", "{}", '{"events": 3}', '{"events": [{}]}', b"\xff\xfe", "[" * 50_000):
        client.publish(place.channel, text)
    client.publish(place.channel, json.dumps({"from": "x", "events": [{"kind": "changed"}]}))
    eventually(lambda: any(news.changed for news in one.heard))
    assert [news for news in one.heard if not news.missed] == [News(changed=True)]


def test_the_hash_has_the_newest_state_whatever_the_order(place: Place, process: Start) -> None:
    one = process(place.url, place.prefix)
    client = place.client()
    key = place.state_key(7)
    one.signals.happened({"kind": "started"}, state(20, 1, state="running"))
    eventually(lambda: client.hget(key, "state") == b"running")
    assert 0 < client.ttl(key) <= TTL_SECONDS
    for late in (state(20, 0, state="waiting"), state(19, 3, state="success", reason="completed")):
        one.signals.happened({"kind": "x"}, late)
        one.signals.happened({"kind": "x"}, LiveState(8, late.execution_id, 0, {"state": "told"}))
        eventually(lambda: client.hget(place.state_key(8), "state") == b"told")
        client.delete(place.state_key(8))
        assert client.hget(key, "state") == b"running"
    one.signals.happened({"kind": "ended"}, state(20, 3, state="failed", reason="exit-code"))
    eventually(lambda: client.hget(key, "state") == b"failed")
    one.signals.happened({"kind": "claimed"}, state(21, 0, state="waiting"))
    eventually(lambda: client.hget(key, "state") == b"waiting")
    # nothing of the execution before is left beside it
    assert client.hget(key, "reason") is None


@pytest.mark.parametrize("spoilt", ["list", "text", "stamp", "long"])
def test_a_key_that_somebody_spoilt_becomes_ours_again(place: Place, process: Start, spoilt: str) -> None:
    client = place.client()
    key = place.state_key(7)
    if spoilt == "list":
        client.rpush(key, "x")
        client.rpush(place.due_key, "x")
    elif spoilt == "text":
        client.set(key, "x")
        client.set(place.due_key, "x")
    else:
        client.hset(key, "stamp", "zzz" if spoilt == "stamp" else "9" * 21)
    one = process(place.url, place.prefix)
    one.signals.happened({"kind": "started"}, state(20, 1, state="running"))
    one.signals.rebuild([(7, NOON)])
    eventually(lambda: client.type(key) == b"hash" and client.hget(key, "state") == b"running")
    eventually(lambda: client.type(place.due_key) == b"zset")


def test_the_due_times_are_rebuilt_moved_and_looked_at(place: Place, process: Start) -> None:
    one = process(place.url, place.prefix)
    client = place.client()
    assert one.signals.wants_due_times()
    client.zadd(place.due_key, {"9999": 1.0})
    one.signals.rebuild((task, NOON + timedelta(minutes=task)) for task in range(1, 1201))
    eventually(lambda: client.zcard(place.due_key) == 1200)
    assert client.zscore(place.due_key, "9999") is None
    assert client.zscore(place.due_key, "1") == (NOON + timedelta(minutes=1)).timestamp() * 1000
    assert client.ttl(place.due_key) == -1
    eventually(lambda: NOON + timedelta(minutes=1) in one.due)
    assert not one.signals.wants_due_times()
    one.signals.due([(1, None), (2, NOON)])
    eventually(lambda: one.due[-1] == NOON)
    assert client.zscore(place.due_key, "1") is None
    assert list(client.scan_iter(f"{place.due_key}:*")) == []


def test_what_was_due_is_no_reason_to_wake(place: Place, process: Start) -> None:
    one = process(place.url, place.prefix)
    later = SystemClock().now().replace(microsecond=0) + timedelta(hours=1)
    one.signals.rebuild([(1, NOON - timedelta(days=9000)), (2, later)])
    eventually(lambda: one.due)
    assert set(one.due) == {later}


def test_emptied_due_times_are_wanted_again(place: Place, process: Start) -> None:
    one = process(place.url, place.prefix)
    one.signals.rebuild([(1, NOON)])
    eventually(lambda: one.due)
    place.client().delete(place.due_key)
    eventually(one.signals.wants_due_times)


def test_a_state_that_has_not_ended_is_soon_forgotten_unless_it_is_told_again(
    place: Place, process: Start
) -> None:
    one = process(place.url, place.prefix)
    client = place.client()
    key = place.state_key(7)
    running = state(20, 1, state="running")
    one.signals.happened({"kind": "claimed"}, state(20, 0, state="waiting"))
    eventually(lambda: client.hget(key, "state") == b"waiting")
    # nobody says it again, and after a flush it may come when the run is long over
    assert 0 < client.ttl(key) <= WAITING_TTL_SECONDS < OPEN_TTL_SECONDS
    one.signals.happened({"kind": "started"}, running)
    eventually(lambda: client.hget(key, "state") == b"running")
    assert 0 < client.ttl(key) <= OPEN_TTL_SECONDS
    client.delete(key)
    one.signals.still(running)
    eventually(lambda: client.hget(key, "state") == b"running")
    one.signals.happened({"kind": "ended"}, state(20, 3, state="success"))
    eventually(lambda: client.ttl(key) > OPEN_TTL_SECONDS)
    # late, from a thread that looked before the end
    one.signals.still(running)
    one.signals.happened({"kind": "x"}, LiveState(8, 1, 3, {"state": "told"}))
    eventually(lambda: client.exists(place.state_key(8)))
    assert client.hget(key, "state") == b"success"
