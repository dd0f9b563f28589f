"""Where Redis is: URL and prefix as a client with short timeouts and no retries of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from reconciler.errors import SettingsInvalid

if TYPE_CHECKING:
    from redis import Redis

CONNECT_SECONDS = 0.5
ANSWER_SECONDS = 0.5
"""Of one answer. Only threads of this room ever wait for it."""


@dataclass(frozen=True, slots=True)
class Place:
    """One Redis and our corner of it. ``url`` may hold a password: it is never shown."""

    url: str = field(repr=False)
    prefix: str

    @property
    def shown(self) -> str:
        """Host and port, or the socket's path."""
        parts = urlsplit(self.url)
        if parts.scheme == "unix":
            return parts.path
        host = parts.hostname or "localhost"
        return f"{f'[{host}]' if ':' in host else host}:{parts.port or 6379}"

    @property
    def due_key(self) -> str:
        """ZSET: task id by due time in ms since 1970."""
        return f"{self.prefix}:task:next_run"

    @property
    def channel(self) -> str:
        """Pub/sub: JSON lists of messages."""
        return f"{self.prefix}:events"

    def state_key(self, task_id: int) -> str:
        """HASH: the current or last execution of a task."""
        return f"{self.state_key_start}{task_id}"

    @property
    def state_key_start(self) -> str:
        """What all ``state_key``s begin with."""
        return f"{self.prefix}:task:execution:"

    def client(self) -> Redis:
        """A client that has not connected yet; raises SettingsInvalid for options that there are not."""
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        try:
            made = Redis.from_url(
                self.url,
                socket_connect_timeout=CONNECT_SECONDS,
                socket_timeout=ANSWER_SECONDS,
                socket_keepalive=True,
                retry=Retry(NoBackoff(), 0),
                protocol=2,
            )
            # unknown options are noticed by a connection only, and this one is not opened
            made.connection_pool.connection_class(**made.connection_pool.connection_kwargs)
        except Exception:  # not quoted: the library's words may hold the URL
            raise SettingsInvalid(
                "redis_url: its options are not ones that the Redis library knows",
                hint="write redis://user:password@host:6379/0, rediss:// for TLS, or unix:///path/to/socket",
            ) from None
        return made
