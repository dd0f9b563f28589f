"""The texts that a host's /bin/sh is sent: to start a run, and to end one. See the files in ``sh/``.

A text goes to a fresh ``sh`` on its stdin as one ``{ … }`` group, which shells read whole before they
begin: so nothing of it is ever on a command line, and what the command reads is /dev/null.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from reconciler.model.execution import Job
from reconciler.model.instant import rfc3339

_TEMPORARY = (
    b"r_id r_mark r_dir r_grace r_tree r_parent r_name r_text r_start r_session r_place r_try r_line r_locale"
)
_COMMENT = re.compile(r"^\s*(#.*)?\n|^[ ]+", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Root:
    """The shell of a run on its host: process number, start time and own session, as the host words them."""

    pid: str
    start: str
    session: str


def mark(job: Job) -> bytes:
    """What begins each line that is ours; it tells them from what login shells print."""
    return b"reconciler/%d/" % job.execution_id


def quote(value: bytes | str) -> bytes:
    """As one word of sh, whatever the bytes (no NUL)."""
    data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    return b"'" + data.replace(b"'", b"'\\''") + b"'"


def run_environment(job: Job) -> dict[str, str]:
    """The variables that every run has."""
    return {
        "RECONCILER_EXECUTION_ID": str(job.execution_id),
        "RECONCILER_TASK": job.task,
        "RECONCILER_SERVER": job.server.name,
        "RECONCILER_SCHEDULED_FOR": rfc3339(job.scheduled_for),
        "RECONCILER_ATTEMPT": str(job.attempt),
    }


def exports(job: Job, secrets: Mapping[str, bytes]) -> list[bytes]:
    """The lines that make the command's environment."""
    environment: dict[str, str | bytes] = {**run_environment(job), **job.spec.env, **secrets}
    return [b"export %s=%s" % (key.encode(), quote(value)) for key, value in environment.items()]


def locale_chosen(job: Job, secrets: Mapping[str, bytes]) -> bytes:
    """For ``r_sane``: not empty where the manifest names a locale of its own."""
    return b"1" if {"LANG", "LC_ALL", "LC_CTYPE"} & {*job.spec.env, *secrets} else b""


def start_script(job: Job, secrets: Mapping[str, bytes]) -> bytes:
    """Start the job's command with its environment; ``secrets`` are values by variable."""
    spec = job.spec
    text = spec.command or ""
    interpreter = spec.script.interpreter if spec.script is not None else None
    name = spec.script.file.rpartition("/")[2] if spec.script is not None else ""
    lines = [
        b"{",
        b"r_id=%d r_mark=%s" % (job.execution_id, quote(mark(job))),
        b"r_dir=%s r_grace=%d" % (quote(working_directory(job)), spec.kill_grace),
        b"r_locale=" + locale_chosen(job, secrets),
        b"r_tree=" + quote(texts("proc.sh", "tree.sh")),
        b"r_parent=$PPID" if spec.run_as is not None else b"r_parent=",
        b"r_name=%s r_text=%s" % (quote(name), quote(text if interpreter else "")),
        texts("sane.sh", "start.sh"),
        # from here on the names belong to the command
        b'set -- "$$" "${r_start:--}" "${r_session:--}" "$r_place"',
        b"unset " + _TEMPORARY,
    ]
    lines += exports(job, secrets)
    announce = b'printf \'%sstarted %%s %%s %%s\\n\' "$1" "$2" "$3"' % mark(job)
    lines += [announce, announce + b" >&2"]
    if interpreter is not None:
        lines.append(b'exec %s "$4"/%s' % (quote(interpreter), quote(name)))
    else:
        lines += [b"set --", b"eval " + quote(text), b"exit"]
    return b"\n".join([*lines, b"}", b""])


def end_script(job: Job, root: Root | None, grace: float) -> bytes:
    """End every process of the job's run; without ``root`` those found by the execution's id."""
    assignments = b"r_id=%d r_mark=%s r_grace=%d" % (job.execution_id, quote(mark(job)), max(0, round(grace)))
    known = root or Root("", "", "")
    values = [b"" if value == "-" else value.encode() for value in (known.pid, known.start, known.session)]
    found = b"r_root=%s r_start=%s r_session=%s" % tuple(map(quote, values))
    return b"\n".join([b"{", assignments, found, texts("proc.sh", "tree.sh", "end.sh"), b"}", b""])


def working_directory(job: Job) -> str:
    """As a word for cd: empty for the account's home, and never an option."""
    folder = job.spec.working_directory or ""
    return "./" + folder if folder and not folder.startswith("/") else folder


@cache
def texts(*names: str) -> bytes:
    """Scripts without comments and indents: shells that read byte by byte have less to read."""
    folder = resources.files("reconciler.execute").joinpath("sh")
    whole = "\n".join(folder.joinpath(name).read_text(encoding="utf-8") for name in names)
    return _COMMENT.sub("", whole).strip().encode()
