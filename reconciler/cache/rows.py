"""Ledger rows that others read before, for reports on thousands of tasks.

They lie beside the live state in each task's HASH, as the texts that they are; what they mean, and whether
they are still the right ones, is the reader's business.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from reconciler.cache.faults import mapped
from reconciler.cache.health import Health
from reconciler.cache.place import Place
from reconciler.cache.writer import TTL_SECONDS
from reconciler.clock import Clock
from reconciler.errors import CacheUnavailable

if TYPE_CHECKING:
    from redis import Redis

READY_SECONDS = 1.0
"""How long a reader waits until the library is loaded and the server has answered once."""
READ_SECONDS = 2.0
"""For all rows of a report; what is not there by then is asked of the database."""
KEEP_SECONDS = 1.0
"""For passing on what was missing, at the end of a command."""
_PIECE = 1000

# KEYS: what all keys begin with. ARGV: task ids. Nil for what is not there, or no HASH.
_READ = """
local found = {}
for i, id in ipairs(ARGV) do
  local row = redis.pcall('HGET', KEYS[1] .. id, 'row')
  found[i] = type(row) == 'string' and row
end
return found
"""
# ARGV: TTL, then ids and rows. A key that is no HASH is left to the writer of states.
_KEEP = """
for i = 2, #ARGV, 2 do
  local done = redis.pcall('HSET', KEYS[1] .. ARGV[i], 'row', ARGV[i + 1])
  if type(done) == 'number' then redis.call('EXPIRE', KEYS[1] .. ARGV[i], ARGV[1]) end
end
return 1
"""


class KnownRows:
    """For one report. Every failure is a miss; no call waits longer than the seconds that stand above."""

    def __init__(self, place: Place, clock: Clock) -> None:
        """Nothing is loaded or connected before the first read."""
        self._place = place
        self._health = Health(clock)
        self._client: Redis | None = None
        self._ready = threading.Event()
        self._connecting: threading.Thread | None = None

    def read(self, task_ids: Sequence[int]) -> dict[int, str]:
        """The row that is known for each of these tasks; absent where none is."""
        if self._connecting is None:
            self._connecting = threading.Thread(target=self._connect, name="redis-read", daemon=True)
            self._connecting.start()
        if not self._ready.wait(READY_SECONDS) or self._client is None:
            return {}
        found: dict[int, str] = {}
        self._within(READ_SECONDS, lambda client: self._read(client, task_ids, found))
        return dict(found)

    def keep(self, rows: Mapping[int, str]) -> None:
        """Let others know these rows, by task id."""
        if rows and self._client is not None:
            self._within(KEEP_SECONDS, lambda client: self._keep(client, rows))

    def _connect(self) -> None:
        try:
            with mapped(self._place.shown):
                client = self._place.client()
                client.ping()
            self._client = client
        except CacheUnavailable as error:
            self._health.failed("reads", error)
        finally:
            self._ready.set()

    def _within(self, seconds: float, work: Any) -> None:
        """A server may send its answer byte by byte: the thread is left behind then."""

        def run() -> None:
            assert self._client is not None
            try:
                with mapped(self._place.shown):
                    work(self._client)
            except CacheUnavailable as error:
                self._health.failed("reads", error)

        thread = threading.Thread(target=run, name="redis-read", daemon=True)
        thread.start()
        thread.join(seconds)

    def _read(self, client: Redis, task_ids: Sequence[int], found: dict[int, str]) -> None:
        for start in range(0, len(task_ids), _PIECE):
            some = task_ids[start : start + _PIECE]
            answers: Any = client.eval(_READ, 1, self._place.state_key_start, *some)
            for task_id, row in zip(some, answers, strict=True):
                if isinstance(row, bytes):
                    found[task_id] = row.decode("utf-8", "replace")

    def _keep(self, client: Redis, rows: Mapping[int, str]) -> None:
        ids = list(rows)
        for start in range(0, len(ids), _PIECE):
            words = [word for key in ids[start : start + _PIECE] for word in (key, rows[key])]
            client.eval(_KEEP, 1, self._place.state_key_start, TTL_SECONDS, *words)
