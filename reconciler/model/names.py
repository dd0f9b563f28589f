"""Names of objects, and the addresses people use for tasks."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

MAX_NAME = 100
DEFAULT_PROJECT = "default"


def normalise_name(text: str) -> str:
    """The NFC form of a name; raises ValueError saying what is wrong with it.

    1 to 100 characters of any script, no control characters, no ``/`` or ``@`` (they build
    addresses), no space at either end (the databases' collation would ignore it).
    """
    if _is_plain(text):
        return text
    name = unicodedata.normalize("NFC", text)
    if not name:
        raise ValueError("a name needs at least one character: write one")
    if len(name) > MAX_NAME:
        raise ValueError(f"a name has at most {MAX_NAME} characters, this one has {len(name)}: shorten it")
    if name != name.strip():
        raise ValueError("a name neither begins nor ends with a space: remove it")
    for character in name:
        if character in "/@":
            raise ValueError(f"a name has no {character!r}: addresses are written project/name@server")
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
            raise ValueError(
                f"a name has no control characters, this one has U+{ord(character):04X}: remove it"
            )
    return name


def _is_plain(text: str) -> bool:
    """Whether a name is plainly well: nearly all are, and each is looked at several times."""
    return (
        text.isascii()
        and text.isprintable()
        and "/" not in text
        and "@" not in text
        and 0 < len(text) <= MAX_NAME
        and text[0] != " "
        and text[-1] != " "
    )


@lru_cache(maxsize=8192)
def normalise_server_reference(text: str) -> str:
    """``name`` or ``project/name``, each part a name; raises ValueError."""
    project, slash, name = text.rpartition("/")
    if not slash:
        return normalise_name(name)
    return f"{normalise_name(project)}/{normalise_name(name)}"


def normalise_former_name(text: str) -> str:
    """``name`` or ``name@server``; raises ValueError."""
    name, at, server = text.partition("@")
    if not at:
        return normalise_name(name)
    return f"{normalise_name(name)}@{normalise_name(server)}"


@dataclass(frozen=True, slots=True)
class Address:
    """A task as a person names it: ``name``, ``name@server`` or ``project/name@server``."""

    name: str
    server: str | None = None
    project: str | None = None

    @classmethod
    def parse(cls, text: str) -> Address:
        """Take an address apart; raises ValueError for an impossible one."""
        rest = text
        project: str | None = None
        if "/" in rest:
            project, _, rest = rest.partition("/")
            project = normalise_name(project)
        name, at, server = rest.partition("@")
        return cls(normalise_name(name), normalise_name(server) if at else None, project)

    def __str__(self) -> str:
        text = self.name if self.server is None else f"{self.name}@{self.server}"
        return text if self.project is None else f"{self.project}/{text}"


_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def environment_name(text: str) -> str:
    """A POSIX variable name; raises ValueError. RECONCILER_* belongs to the program."""
    if not _ENV_NAME.fullmatch(text):
        raise ValueError(f"{text!r} is not a variable name: letters, digits and _, no digit first")
    if text.startswith("RECONCILER_"):
        raise ValueError(f"{text!r} is taken: names that begin with RECONCILER_ are set by the program")
    return text
