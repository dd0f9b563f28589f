"""The texts that a host's shell is sent about a durable run's folder. See `execute.script` and ``sh/``.

Every line that comes back begins with a mark that was made for this one shell, so that nothing a command
prints, or a login shell, can be taken for one.
"""

from __future__ import annotations

import secrets as randomness
from collections.abc import Mapping, Sequence

from reconciler.execute.script import exports, locale_chosen, quote, texts, working_directory
from reconciler.model.execution import Job
from reconciler.model.quantity import format_size
from reconciler.settings import OUTPUT_LIMIT

KEPT_DAYS = 7
"""After this time a folder that nobody asked about is removed."""
TRASH_SENT = 50
"""Folders of earlier runs that one start takes along to be removed."""
_OWN_NAMES = ("pid", "out", "err", "exit", "why", "killed", "probe")
_NOTE_BYTES = 160


def new_mark(job: Job) -> bytes:
    """What begins the lines of one shell; the command cannot know it."""
    return b"\x1ereconciler/%d/%s/" % (job.execution_id, randomness.token_hex(8).encode())


def begin_script(
    job: Job, secrets: Mapping[str, bytes], mark: bytes, trash: Sequence[int], limit: int = OUTPUT_LIMIT
) -> bytes:
    """Start the job's command, or say that its folder is there already; afterwards remove ``trash``.

    A run that takes longer than an instant is ended there once it has written more than ``limit`` bytes.
    """
    spec = job.spec
    name, program = "command", b"/bin/sh"
    if spec.script is not None:
        name = spec.script.file.rpartition("/")[2]
        if spec.script.interpreter:
            program = quote(spec.script.interpreter)
    if name in _OWN_NAMES:
        name = "script-" + name
    codes = ",".join(map(str, spec.success_exit_codes))
    lines = [
        b"{",
        b"r_id=%d r_mark=%s" % (job.execution_id, quote(mark)),
        b"r_dir=%s r_spec='%d %d %s'"
        % (quote(working_directory(job)), spec.timeout, spec.kill_grace, codes.encode()),
        b"r_limit=%d r_most=%s r_locale=%s"
        % (limit, format_size(limit).encode(), locale_chosen(job, secrets)),
        b"r_name=%s r_text=%s" % (quote(name), quote(spec.command or "")),
        texts("follow.sh", "guard.sh", "sane.sh", "begin.sh"),
        # from here on the names belong to the command
        *exports(job, secrets),
        b"set -C",
        b'printf \'%s\\n\' "$4" >"$2/pid" || exit 1',
        b"printf '%%sstarted %%s\\n' %s \"$4\" >&3" % quote(mark),
        b'exec >>"$2/out" 2>>"$2/err" 3>&- 4>&-',
        b"trap - PIPE",
        b'exec "$1" %s "$2/$3"' % program,
        texts("finish.sh"),
    ]
    if trash:
        lines.append(b'cd "$r_base" && exec rm -rf ' + _listed(trash))
    return b"\n".join([*lines, b"exit 0", b"}", b""])


def attach_script(job: Job, mark: bytes, out: int, err: int) -> bytes:
    """Say what became of the run, and give its output from these offsets (bytes) on."""
    values = b"r_id=%d r_mark=%s r_out=%d r_err=%d" % (job.execution_id, quote(mark), out, err)
    return b"\n".join([b"{", values, texts("proc.sh", "folder.sh", "follow.sh", "attach.sh"), b"}", b""])


def end_run_script(job: Job, mark: bytes, why: str, grace: float) -> bytes:
    """Note ``why`` it ends, then end every process of the run."""
    note = why.encode("ascii", "replace").replace(b"\n", b" ")[:_NOTE_BYTES]
    values = b"r_id=%d r_mark=%s r_grace=%d r_reason=%s" % (
        job.execution_id,
        quote(mark),
        max(0, round(grace)),
        quote(note),
    )
    return b"\n".join([b"{", values, texts("proc.sh", "folder.sh", "tree.sh", "endrun.sh"), b"}", b""])


def tidy_script(trash: Sequence[int], *, sweep: bool) -> bytes:
    """Remove the folders of these executions, and with ``sweep`` all that are forgotten."""
    lines = [b"{", b"r_id= r_days=%d" % KEPT_DAYS]
    if trash:
        lines.append(b'cd "$HOME/.local/state/reconciler/runs" && rm -rf ' + _listed(trash))
    if sweep:
        lines.append(texts("proc.sh", "folder.sh", "sweep.sh"))
    return b"\n".join([*lines, b"exit 0", b"}", b""])


def _listed(ids: Sequence[int]) -> bytes:
    return b" ".join(b"%d" % execution_id for execution_id in ids)
