"""What becomes of local times that a clock change skips or repeats.

There are three ways to treat them, and Debian cron uses two, one for either kind of entry:

======== ============================== ===================================
way      a skipped time (gap)           a repeated time
======== ============================== ===================================
MOVE     runs once right after the gap  runs once, the first time
FOLLOW   does not run                   runs both times
DROP     does not run                   runs once, the first time
======== ============================== ===================================

``cron``  MOVE for an entry whose hour and minute fields both do not begin with ``*``; else FOLLOW.
``once``  MOVE for every entry: each time of the schedule runs exactly once on each day.
``both``  FOLLOW for every entry: it runs whenever the clock on the wall shows the time, so both times.
``skip``  DROP for every entry: it runs at its own time or not at all, and never twice.

Several skipped times of one gap land on the same instant and are one slot; so are a skipped time and a
regular one.

The limits are Debian cron's (``cron.c``, the four cases of its main loop): only a clock put forward by
less than 3 h or back by at most 3 h is treated so. A greater shift means that the place changed its zone
or its side of the date line: every entry, under every rule, simply follows the new clock. Samoa had no 30
December 2011, and nothing runs for it. Why these readings of the four words: docs/adr/0002-dst-rules.md.
"""

from __future__ import annotations

from enum import Enum

from reconciler.model.enums import Dst

_LIMIT = 3 * 3600


class Way(Enum):
    """How skipped and repeated local times are treated; the table above."""

    MOVE = 1
    FOLLOW = 2
    DROP = 3


def way_of(dst: Dst, wildcard: bool) -> Way:
    """The way of a rule for an entry; ``wildcard``: its hour or minute field begins with ``*``."""
    if dst == Dst.CRON:
        return Way.FOLLOW if wildcard else Way.MOVE
    return _PLAIN[Dst(dst)]


_PLAIN = {Dst.SKIP: Way.DROP, Dst.ONCE: Way.MOVE, Dst.BOTH: Way.FOLLOW}


def moves(way: Way, jump: int) -> bool:
    """Whether times skipped by a clock put forward ``jump`` seconds run right after the gap."""
    return way is Way.MOVE and 0 < jump < _LIMIT


def runs_again(way: Way, jump: int) -> bool:
    """Whether times repeated by a clock put back (``jump`` < 0, seconds) run the second time too."""
    return way is Way.FOLLOW or jump < -_LIMIT
