"""The one thread that writes: what is brought is queued, sent in pipelines, and dropped where that fails.

A rebuilt ZSET is written beside the old one and renamed over it. A HASH is written by a script on the server
that throws away what is older than what is there, so the order in which processes come does not matter.
"""

from __future__ import annotations

import json
import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from reconciler.cache.faults import mapped, unavailable
from reconciler.cache.health import Health, pause_after
from reconciler.cache.place import Place
from reconciler.cache.signals import Kind, LiveState, Message
from reconciler.clock import Clock
from reconciler.errors import CacheUnavailable

if TYPE_CHECKING:
    from redis import Redis

log = logging.getLogger("reconciler.cache")

TTL_SECONDS = 86_400
"""Of a HASH: a task that has not run for a day is asked of the database."""
OPEN_TTL_SECONDS = 15
"""Of one that says running: as long as a lease, and whoever runs it says so again before that."""
WAITING_TTL_SECONDS = 5
"""Of one that says waiting: nobody says so again, and after a flush it may come later than its run's end."""
LINGER = 0.01
"""Seconds that states and messages may wait for others; wake-ups do not wait."""
LOOK_SECONDS = 1.0
"""How often the head of the ZSET is looked at."""
MOST_MESSAGES = 10_000
MOST_STATES = 20_000
MOST_TIMES = 200_000
"""What is kept while Redis is slow, before the rest is dropped."""
PIECE = 500
"""Commands, or members of the ZSET, in one pipeline."""
_IDLE = 3600.0

# KEYS: the HASH. ARGV: stamp, TTL, then fields and values. Stamps are texts of one length: numbers of 63 bits
# are more than Lua's can hold. What is no HASH of ours, and what an earlier execution left, is removed.
_WRITE_STATE = """
local key = KEYS[1]
local kind = redis.call('TYPE', key)['ok']
local known = kind == 'hash' and redis.call('HGET', key, 'stamp')
if known and string.match(known, '^%d+%.%d$') and #known == #ARGV[1] then
  if known > ARGV[1] then return 0 end
  if string.sub(known, 1, 19) ~= string.sub(ARGV[1], 1, 19) then redis.call('DEL', key) end
elseif kind ~= 'none' then
  redis.call('DEL', key)
end
redis.call('HSET', key, 'stamp', ARGV[1], unpack(ARGV, 3))
redis.call('EXPIRE', key, ARGV[2])
return 1
"""


class Writer(threading.Thread):
    """``next_due`` is told the earliest due time after now that the ZSET knows."""

    def __init__(
        self,
        place: Place,
        client: Redis,
        clock: Clock,
        health: Health,
        owner: str,
        next_due: Callable[[datetime], None],
        *,
        watch: bool,
    ) -> None:
        """``watch``: look at the ZSET now and then, and want it rebuilt where it is gone."""
        super().__init__(name="redis-write", daemon=True)
        self._place = place
        self._client = client
        self._clock = clock
        self._health = health
        self._owner = owner
        self._next_due = next_due
        self._watch = watch
        self._lock = threading.Lock()
        self._bell = threading.Event()
        self._kinds: dict[Kind, None] = {}
        self._messages: deque[Message] = deque()
        self._states: dict[int, LiveState] = {}
        self._times: dict[int, datetime | None] = {}
        self._all_times: dict[int, datetime] | None = None
        self._wants_times = watch
        self._stale: set[int] = set()
        self._failures = 0
        self._down_until = float("-inf")
        self._looked_at = float("-inf")
        self._closing = False

    # -- for other threads: none of these waits ------------------------------------------------

    def tell(self, kind: Kind) -> None:
        """Send a wake-up."""
        with self._lock:
            self._kinds[kind] = None
        self._bell.set()

    def happened(self, message: Message, state: LiveState | None) -> None:
        """Queue a message, and the state that goes with it."""
        with self._lock:
            if state is not None:
                self._queue(state)
            if self._down() or len(self._messages) >= MOST_MESSAGES:
                return
            self._messages.append(message)
        self._bell.set()

    def still(self, state: LiveState) -> None:
        """Queue a state that was told before and still holds."""
        with self._lock:
            self._queue(state)
        self._bell.set()

    def _queue(self, state: LiveState) -> None:
        """What is not going to be written makes the HASH stale: it will go, so that nobody believes it."""
        if self._down() or len(self._states) >= MOST_STATES:
            self._stale.add(state.task_id)
            return
        known = self._states.get(state.task_id)
        if known is None or _stamp(known) <= _stamp(state):
            self._states[state.task_id] = state

    def due(self, times: Iterable[tuple[int, datetime | None]]) -> None:
        """Queue members of the ZSET."""
        with self._lock:
            self._times.update(times)
            if len(self._times) > MOST_TIMES:
                self._times.clear()
                self._wants_times = self._watch
        self._bell.set()

    def wants_due_times(self) -> bool:
        """Whether a rebuild would be welcome, and could be written."""
        return self._wants_times and not self._down()

    def rebuild(self, times: Iterable[tuple[int, datetime]]) -> None:
        """Queue a whole ZSET."""
        whole = dict(times)
        with self._lock:
            self._all_times = whole
            self._times.clear()
            self._wants_times = False
        self._bell.set()

    def close(self, seconds: float) -> None:
        """Write what is pending, then end; give up after ``seconds``."""
        self._closing = True
        self._bell.set()
        if self.ident is not None:
            self.join(seconds)

    # -- the thread -----------------------------------------------------------------------------

    def run(self) -> None:
        """The thread's body."""
        while True:
            self._clock.wait(self._bell, self._pause())
            closing = self._closing
            self._bell.clear()
            if self._down():
                self._drop()
            else:
                self._once(linger=not closing)
            if closing:
                return

    def _pause(self) -> float:
        now = self._clock.monotonic()
        if self._down():
            return max(0.0, self._down_until - now)
        return max(0.0, self._looked_at + LOOK_SECONDS - now) if self._watch else _IDLE

    def _down(self) -> bool:
        return self._clock.monotonic() < self._down_until

    def _once(self, *, linger: bool) -> None:
        try:
            with mapped(self._place.shown):
                if self._failures:
                    # there may be nothing to send, and that is no sign of life
                    self._client.ping()
                self._send_kinds()
                self._remove_stale()
                if linger and self._pending():
                    self._clock.wait(threading.Event(), LINGER)
                self._send_states()
                self._send_messages()
                self._send_times()
                self._look()
            self._failures = 0
            self._health.succeeded("connection")
        except CacheUnavailable as error:
            self._fail("connection", error)

    def _fail(self, part: str, error: CacheUnavailable) -> None:
        self._failures += 1
        self._down_until = self._clock.monotonic() + pause_after(self._failures)
        self._health.failed(part, error)
        self._drop()

    def _drop(self) -> None:
        """It is a cache: what cannot be written now is not written. The ZSET is made anew afterwards."""
        with self._lock:
            self._kinds.clear()
            self._messages.clear()
            self._stale |= self._states.keys()
            self._states.clear()
            self._times.clear()
            self._all_times = None
            self._wants_times = self._watch

    def _pending(self) -> bool:
        return bool(self._messages or self._states or self._times or self._all_times is not None)

    def _send_kinds(self) -> None:
        with self._lock:
            kinds, self._kinds = list(self._kinds), {}
        if kinds:
            self._publish([{"kind": kind.value} for kind in kinds])

    def _send_messages(self) -> None:
        while self._messages:
            with self._lock:
                some = [self._messages.popleft() for _ in range(min(PIECE, len(self._messages)))]
            self._publish(some)

    def _publish(self, messages: list[Message]) -> None:
        text = json.dumps({"from": self._owner, "events": messages}, separators=(",", ":"))
        self._client.publish(self._place.channel, text)

    def _remove_stale(self) -> None:
        """A HASH that is not there is asked of the database; one that is behind would be believed."""
        with self._lock:
            stale, self._stale = sorted(self._stale), set()
        for start in range(0, len(stale), PIECE):
            try:
                self._client.unlink(*(self._place.state_key(task) for task in stale[start : start + PIECE]))
            except Exception:
                self._stale.update(stale[start:])
                raise

    def _send_states(self) -> None:
        with self._lock:
            states, self._states = self._states, {}
        try:
            self._write_states(states)
        except Exception:
            # some are there and some are not: all of them go
            self._stale.update(states)
            raise

    def _write_states(self, states: Mapping[int, LiveState]) -> None:
        waiting = iter(states.values())
        now = f"{self._clock.now():%Y-%m-%dT%H:%M:%S.%fZ}"
        while some := list(islice(waiting, PIECE)):
            pipe = self._client.pipeline(transaction=False)
            for state in some:
                words = _pairs({**state.fields, "writtenAt": now})
                key = self._place.state_key(state.task_id)
                ttl = _TTLS.get(state.progress, TTL_SECONDS)
                pipe.eval(_WRITE_STATE, 1, key, _stamp(state), ttl, *words)
            if not self._judge(pipe.execute(raise_on_error=False)):
                with self._lock:
                    self._stale.update(state.task_id for state in some)

    def _send_times(self) -> None:
        with self._lock:
            whole, self._all_times = self._all_times, None
            times, self._times = self._times, {}
        key = self._place.due_key
        if whole is not None:
            self._replace(key, whole)
        moved = iter(times.items())
        while some := list(islice(moved, PIECE)):
            pipe = self._client.pipeline(transaction=False)
            added = {str(task): _ms(at) for task, at in some if at is not None}
            gone = [str(task) for task, at in some if at is None]
            if added:
                pipe.zadd(key, added)
            if gone:
                pipe.zrem(key, *gone)
            if not self._judge(pipe.execute(raise_on_error=False)):
                self._wants_times = self._watch
        if times or whole is not None:
            self._looked_at = float("-inf")

    def _replace(self, key: str, whole: Mapping[int, datetime]) -> None:
        """Beside the old one first: readers never see half of it, and what is no ZSET goes with it."""
        new = f"{key}:{self._owner}"
        self._client.delete(new)
        members = iter(whole.items())
        good = True
        while good and (some := list(islice(members, PIECE))):
            pipe = self._client.pipeline(transaction=False)
            pipe.zadd(new, {str(task): _ms(at) for task, at in some})
            pipe.expire(new, 60)
            good = self._judge(pipe.execute(raise_on_error=False))
        if not good:
            self._client.delete(new)
            self._wants_times = self._watch
            return
        pipe = self._client.pipeline(transaction=True)
        if whole:
            pipe.persist(new)
            pipe.rename(new, key)
        else:
            pipe.delete(key)
        self._judge(pipe.execute(raise_on_error=False))

    def _look(self) -> None:
        """At the head of the ZSET: what is due soonest, or that there is none any more."""
        now = self._clock.monotonic()
        if not self._watch or now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        pipe = self._client.pipeline(transaction=False)
        now_ms = f"({_ms(self._clock.now())}"
        pipe.zrangebyscore(self._place.due_key, now_ms, "+inf", start=0, num=1, withscores=True)
        pipe.exists(self._place.due_key)
        head, there = pipe.execute(raise_on_error=False)
        self._judge([head, there], part="reads")
        if isinstance(head, Exception) or not there:
            # not ours, or emptied; or nothing is scheduled, then a rebuild reads and writes nothing
            with self._lock:
                # one may have been brought since we looked
                self._wants_times = self._all_times is None
        elif head and (at := _moment(head[0][1])) is not None:
            self._next_due(at)

    def _judge(self, answers: list[Any], part: str = "writes") -> bool:
        """Whether no command was refused; a refused one is told once, and the others go on."""
        refused = next((answer for answer in answers if isinstance(answer, Exception)), None)
        if refused is None:
            self._health.succeeded(part)
            return True
        self._health.failed(part, unavailable(self._place.shown, refused))
        return False


_TTLS = {0: WAITING_TTL_SECONDS, 1: OPEN_TTL_SECONDS}


def _stamp(state: LiveState) -> str:
    return f"{state.execution_id:019d}.{state.progress:d}"


def _pairs(fields: Mapping[str, str]) -> list[str]:
    return [word for pair in fields.items() for word in pair]


def _ms(at: datetime) -> int:
    """Rounded up: whoever wakes then finds it due."""
    return math.ceil(at.timestamp() * 1000)


def _moment(score: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(score / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
