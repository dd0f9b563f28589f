"""Where in the forge a line stands. Pure."""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit

_SCP = re.compile(r"(?:[^@/]+@)?([^/:]+):(?!//)(.+)")
_FORMS = {
    "gitlab": "{repository}/-/blob/{commit}/{path}#L{line}",
    "github": "{repository}/blob/{commit}/{path}#L{line}",
    "gitea": "{repository}/src/commit/{commit}/{path}#L{line}",
}
_KNOWN = {"gitlab": "gitlab", "github": "github", "gitea": "gitea", "forgejo": "gitea", "codeberg": "gitea"}
"""A word of the host's name → its form; a forge under another name gets no link."""


def line_link(source: str, commit: str | None, path: str, line: int) -> str | None:
    """The page of a line as it was in ``commit``; None without a commit, or for a forge that is not known.

    ``source`` is a project's: ``REPOSITORY//FOLDER``, below which ``path`` is.
    """
    repository, folder = _split(source)
    host, name = _place(repository)
    form = next((_FORMS[kind] for word, kind in _KNOWN.items() if word in host), None)
    if commit is None or form is None or not name:
        return None
    whole = "/".join(part for part in (folder, path) if part)
    return form.format(
        repository=f"https://{host}/{quote(name)}", commit=quote(commit), path=quote(whole), line=line
    )


def line_text(commit: str | None, path: str, line: int) -> str:
    """``path:line``, and at which commit."""
    return f"{path}:{line}" + (f" at commit {commit[:12]}" if commit else "")


def _split(source: str) -> tuple[str, str]:
    scheme, mark, rest = source.partition("://")
    place, _, folder = rest.partition("//") if mark else source.partition("//")
    return f"{scheme}{mark}{place}" if mark else place, folder.strip("/")


def _place(repository: str) -> tuple[str, str]:
    """The host, with its port where that is of the web, and the repository's path."""
    scp = _SCP.fullmatch(repository)
    if scp is not None:
        return scp[1].lower(), scp[2].strip("/").removesuffix(".git")
    try:
        parts = urlsplit(repository)
        port = f":{parts.port}" if parts.port and parts.scheme in ("http", "https") else ""
    except ValueError:
        return "", ""
    return f"{(parts.hostname or '').lower()}{port}", parts.path.strip("/").removesuffix(".git")
