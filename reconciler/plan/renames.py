"""Which ``formerly`` act: plain renames, chains and swaps in one commit, and those that are long done."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Renames(Generic[K]):
    """``active`` maps a new name to the old one.

    ``held`` are new names that a deleted row holds, so that the rename cannot act; ``clashes`` maps a
    new name to the other one that wants the same old row.
    """

    active: Mapping[K, K]
    held: tuple[K, ...] = ()
    clashes: Mapping[K, K] = field(default_factory=dict)


def resolve(
    former: Mapping[K, K],
    live: Collection[K],
    deleted: Collection[K],
    done: Collection[K],
    otherwise: Collection[K] = (),
) -> Renames[K]:
    """Decide every ``formerly`` of a tree at once, in linear time.

    ``former`` maps each declared name to the one it says it had; ``live`` and ``deleted`` are the names of
    stored rows; ``done`` are the names whose rows remember that very ``formerly``, ``otherwise`` those
    that remember another one. A rename acts while its old name is live and no live row has the new one, or
    that row is itself renamed away. A tree of swaps reads the same before and after it was applied, and
    so does a deleted row that comes back with the ``formerly`` that once named it: only memory tells.
    """
    if not former:
        return Renames({})
    active: dict[K, K] = {}
    held: list[K] = []
    clashes: dict[K, K] = {}
    leaving: dict[K, K] = {}
    for new, old in _by_chance(former, live):
        if new == old or old not in live or (new in deleted and new in done):
            continue
        if new in deleted:
            held.append(new)
        elif old in leaving:
            clashes[new] = leaving[old]
        else:
            active[new] = old
            leaving[old] = new
    _drop_blocked(active, leaving, live)
    _drop_settled_circles(active, live, done, otherwise)
    # a name that is taken and stays would not have acted anyway
    acting = {
        new: other
        for new, other in clashes.items()
        if other in active and (new not in live or new in leaving)
    }
    return Renames(active, tuple(held), acting)


def _by_chance(former: Mapping[K, K], live: Collection[K]) -> list[tuple[K, K]]:
    """Of two that want one row, the one whose name is free comes first, then one whose name may become free.

    Then by name, so that the order of files decides nothing.
    """
    left = set(former.values())

    def rank(pair: tuple[K, K]) -> tuple[int, str]:
        new = pair[0]
        return (0 if new not in live else 1 if new in left else 2), str(new)

    return sorted(former.items(), key=rank)


def _drop_blocked(active: dict[K, K], leaving: dict[K, K], live: Collection[K]) -> None:
    """A name whose row stays is not free; neither is then the name that this one would have left."""
    blocked = [new for new in active if new in live and new not in leaving]
    while blocked:
        new = blocked.pop()
        old = active.pop(new)
        del leaving[old]
        # whoever was to take over the old name finds it occupied
        if old in active:
            blocked.append(old)


def _drop_settled_circles(
    active: dict[K, K], live: Collection[K], done: Collection[K], otherwise: Collection[K]
) -> None:
    """Circles that were applied before: a row remembers its own ``formerly``, and none another.

    Not every row of such a circle remembers: one that did not change when the others came was not written.
    """
    seen: set[K] = set()
    for start in list(active):
        if start in seen or start not in live:
            continue
        circle: list[K] = []
        name = start
        while name in active and name not in seen:
            seen.add(name)
            circle.append(name)
            name = active[name]
        if not circle or name != circle[0]:
            continue
        if any(one in done for one in circle) and not any(one in otherwise for one in circle):
            for one in circle:
                del active[one]
