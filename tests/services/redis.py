"""A private Redis that keeps nothing: to the program it is a cache."""

from __future__ import annotations

from tests.services.process import HOST, Service, accepts, find_binary


class RedisServer(Service):
    """redis-server without persistence. ``options`` are more words: ``RedisServer("--maxmemory", "1mb")``."""

    name = "redis"

    def __init__(self, *options: str) -> None:
        super().__init__()
        self.options = options

    @property
    def url(self) -> str:
        """What RECONCILER_REDIS_URL takes."""
        return f"redis://{self.host}:{self.port}/0"

    def command(self) -> list[str]:
        return [
            find_binary("redis-server"),
            *("--bind", HOST, "--port", str(self.port), "--dir", str(self.folder)),
            *("--save", "", "--appendonly", "no", "--daemonize", "no"),
            *self.options,
        ]

    def answers(self) -> bool:
        return accepts(self.port)
