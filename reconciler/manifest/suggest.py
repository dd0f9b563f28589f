"""What the author probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LONGEST = 60


def closest(word: str, options: Iterable[str]) -> str | None:
    """The option that is most like ``word``, ignoring case, ``_`` and ``-``; None if none is near."""
    if not word or len(word) > _LONGEST:
        return None
    by_shape: dict[str, str] = {}
    for option in options:
        by_shape.setdefault(_shape(option), option)
    found = difflib.get_close_matches(_shape(word), by_shape, n=1, cutoff=0.6)
    return by_shape[found[0]] if found else None


def did_you_mean(word: str, options: Iterable[str]) -> str | None:
    """The hint with the closest option, or None."""
    near = closest(word, options)
    return f"did you mean `{near}`?" if near is not None else None


def one_of(options: Iterable[str]) -> str:
    """``a``, ``a or b``, ``a, b or c``."""
    names = [f"`{option}`" for option in options]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _shape(word: str) -> str:
    return word.casefold().replace("_", "").replace("-", "")
