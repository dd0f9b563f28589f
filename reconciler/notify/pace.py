"""How many messages a target gets: the first few at once, then one digest a minute. Pure.

Times are monotonic seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field

AT_ONCE = 5
"""Messages of one minute that go out one by one."""
MINUTE = 60.0
FIRST_PAUSE = 5.0
LONGEST_PAUSE = 300.0
"""Between attempts at a target that takes nothing."""


@dataclass(slots=True)
class Pace:
    """Of one target. In memory: after a change of process a few more may go out one by one."""

    _sent: list[float] = field(default_factory=list)
    _digest_at: float | None = None
    _failures: int = 0
    _not_before: float = float("-inf")

    def plan(self, pending: int, now: float) -> tuple[int, bool]:
        """Of ``pending`` messages: how many to send one by one, and whether all others go as a digest."""
        self._sent = [at for at in self._sent if now - at < MINUTE]
        left = AT_ONCE - len(self._sent)
        if self._digest_at is not None:
            if now < self._digest_at:
                return 0, False
            if pending > left:
                return 0, True
            self._digest_at = None
        if pending <= left:
            return pending, False
        # the rest waits for what else comes within the minute
        self._digest_at = min([*self._sent, now]) + MINUTE
        return max(0, left), False

    def wait(self, now: float) -> float:
        """Seconds until anything may be sent at all."""
        return max(0.0, self._not_before - now)

    def sent(self, now: float, *, digest: bool = False) -> None:
        """The target took one."""
        self._failures, self._not_before = 0, float("-inf")
        if digest:
            self._digest_at = now + MINUTE
            self._sent = []
        else:
            self._sent.append(now)

    def failed(self, now: float) -> None:
        """It did not: longer and longer pauses."""
        self._not_before = now + pause_after(self._failures, LONGEST_PAUSE)
        self._failures += 1


def pause_after(failures: int, longest: float) -> float:
    """Seconds after so many failures before this one."""
    return float(min(longest, FIRST_PAUSE * 2.0 ** min(failures, 16)))
