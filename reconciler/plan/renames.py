"""Which ``formerly`` act: plain renames, chains and swaps in one commit, and those that are long done."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Renames(Generic[K]):
    """``active`` maps a new name to the old one; ``still_declared`` are new names whose old one stays."""

    active: Mapping[K, K]
    still_declared: tuple[K, ...]


def resolve(
    former: Mapping[K, K], declared: Collection[K], live: Collection[K], done: Mapping[K, K]
) -> Renames[K]:
    """Decide every ``formerly`` of a tree at once.

    ``former`` maps each declared name to the one it says it had, ``declared`` are all names of the
    tree, ``live`` all live rows, and ``done`` what each live row was last renamed from. A rename
    acts while its old name is live and its new name is not, or the row that holds the new name is
    itself renamed by another. A tree of swaps says the same before and after it was applied; only
    ``done`` tells the two apart.
    """
    active = {new: old for new, old in former.items() if old in live and done.get(new) != old and new != old}
    still_declared: list[K] = []
    while True:
        leaving = set(active.values())
        blocked = {
            new: old
            for new, old in active.items()
            if (new in live and new not in leaving) or (old in declared and old not in active)
        }
        if not blocked:
            return Renames(active, tuple(still_declared))
        for new, old in blocked.items():
            if new not in live and old in declared:
                still_declared.append(new)
            del active[new]
