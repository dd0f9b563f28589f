"""What a host offers, asked through one shell there: sh, tools, clock, a place for runs, accounts."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from reconciler.clock import Clock
from reconciler.execute.fault import Fault
from reconciler.execute.host import Shell
from reconciler.execute.script import quote, texts

ANSWER_SECONDS = 10.0
"""For each line that the host still owes."""
PLAIN_TOOLS = ("grep", "mkdir", "rm", "sleep", "sort", "tr")
"""What the scripts in ``sh/`` call beside what every sh has built in."""
DURABLE_TOOLS = ("cat", "dd", "find", "setsid", "tail")
"""What durable runs need besides."""
CLOCK_SECONDS = 5.0
"""A clock that is off by more is wrong: where all follow time servers it is milliseconds."""
LEAST_BYTES = 64 * 1024 * 1024
"""Free space below which the place for runs is as good as full."""
_LINE = re.compile(rb"([a-z]+)(?: ([^\n]*))?\n")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e\u00a0-\uffff]")
_INSTALL = "install what is missing: `apt-get install coreutils util-linux grep`, or the like"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found there; ``advice`` for what is not ok."""

    name: str
    ok: bool
    detail: str
    advice: str | None = None


class Inspection:
    """Asks one host. ``durable``: its runs need a writable place."""

    def __init__(self, clock: Clock, durable: bool) -> None:
        self._clock = clock
        self._durable = durable

    def findings(self, open_shell: Callable[[str | None], Shell]) -> Iterator[Finding]:
        """The findings, each as soon as it is known: shell, tools, clock, place."""
        mark = b"reconciler/%s/" % secrets.token_hex(8).encode()
        try:
            shell = open_shell(None)
        except Fault as fault:
            yield _no_shell(fault.message)
            return
        try:
            shell.send(self._script(mark))
            lines = Lines(shell, mark, self._clock)
            yield from self._read(lines)
        finally:
            shell.close()

    def _script(self, mark: bytes) -> bytes:
        tools = sorted((*PLAIN_TOOLS, *DURABLE_TOOLS) if self._durable else PLAIN_TOOLS)
        head = b"r_mark=%s r_tools=%s r_durable=%s" % (
            quote(mark),
            quote(" ".join(tools)),
            b"1" if self._durable else b"",
        )
        return b"\n".join([b"{", head, texts("doctor.sh"), b"exit", b"}", b""])

    def _read(self, lines: Lines) -> Iterator[Finding]:
        shell = lines.next("shell")
        if shell is None:
            yield _no_shell(lines.problem)
            return
        yield _shell(shell)
        yield self._or_silence("tools", lines, _tools)
        yield self._or_silence("clock", lines, self._compare)
        if not self._durable:
            yield Finding("place", True, "not needed: `durable: false`")
            return
        place = self._or_silence("place", lines, _place)
        yield _with_disk(place, lines.next("disk")) if place.ok else place

    def _or_silence(self, name: str, lines: Lines, judge: Callable[[str], Finding]) -> Finding:
        text = lines.next(name)
        if text is None:
            return Finding(name, False, lines.problem, "log in there and look: something hangs")
        return judge(text)

    def _compare(self, text: str) -> Finding:
        try:
            whole, _, fraction = text.strip().partition(".")
            there = datetime.fromtimestamp(int(whole), UTC) + timedelta(seconds=float(f"0.{fraction or 5}"))
        except (ValueError, OverflowError, OSError):
            return Finding("clock", False, "the host does not tell the time", "does `date +%s` work there?")
        off = (there - self._clock.now()).total_seconds()
        digits = 2 if fraction else 0
        amount = f"{abs(off):,.{digits}f} s"
        words = f"{amount} {'ahead of' if off > 0 else 'behind'} ours"
        if abs(off) < (0.1 if fraction else 1.0):
            words = "the same as ours"
        advice = "let it follow a time server, as by `timedatectl set-ntp true`; and look at our own clock"
        return Finding("clock", abs(off) <= CLOCK_SECONDS, words, advice)


def try_account(account: str, own: str, open_shell: Callable[[str | None], Shell], clock: Clock) -> Finding:
    """Whether a run as ``account`` can start: sudo lets us become it without a password, as runs do it."""
    name = f"sudo {account}"
    mark = b"reconciler/%s/" % secrets.token_hex(8).encode()
    advice = f"allow it in sudoers: `{own or '<our account>'} ALL=({account}) NOPASSWD: ALL`"
    try:
        shell = open_shell(account)
    except Fault as fault:
        return Finding(name, False, fault.message, "is sudo installed there?")
    try:
        shell.send(b"{ printf '%sis %%s\\n' \"$(id -un)\"; exit; }\n" % mark)
        lines = Lines(shell, mark, clock)
        who = lines.next("is")
        if who is None:
            if "unknown user" in lines.problem:
                advice = "make the account on that host, or correct `runAs` of the tasks that name it"
            return Finding(name, False, lines.problem, advice)
        return Finding(name, who == account, f"becomes {who}", advice)
    finally:
        shell.close()


class Lines:
    """The marked lines that a shell prints; what else it prints is kept for messages."""

    def __init__(self, shell: Shell, mark: bytes, clock: Clock) -> None:
        self._shell = shell
        self._mark = mark
        self._clock = clock
        self._text = b""
        self._noise = b""
        self.problem = ""
        """Why a line did not come."""

    def next(self, name: str) -> str | None:
        """What stands in the next line, which is to be ``name``'s; None if it does not come."""
        deadline = self._clock.monotonic() + ANSWER_SECONDS
        while (found := self._found(name)) is None:
            left = deadline - self._clock.monotonic()
            if left <= 0:
                self.problem = f"no answer within {ANSWER_SECONDS:.0f} s"
            elif self._shell.lost is not None:
                self.problem = self._shell.lost
            elif self._shell.drained:
                code = self._shell.exit_code
                self.problem = self._last_words() or f"the shell ended with exit code {code} and said nothing"
            else:
                self._take(left)
                continue
            return None
        return found

    def _take(self, seconds: float) -> None:
        for stream, data in self._shell.receive(seconds):
            if stream == "stdout":
                self._text = (self._text + data)[-65_536:]
            self._noise = (self._noise + data)[-2048:]

    def _found(self, name: str) -> str | None:
        place = self._text.find(self._mark + name.encode())
        match = None if place < 0 else _LINE.match(self._text, place + len(self._mark))
        if match is None:
            return None
        self._text = self._text[match.end() :]
        return _clean(match[2] or b"")

    def _last_words(self) -> str:
        lines = [line for line in self._noise.splitlines() if line.strip() and self._mark not in line]
        return "; ".join(_clean(line) for line in lines[-2:])[-300:]


def _clean(data: bytes) -> str:
    return _UNPRINTABLE.sub("?", data.decode("utf-8", "replace")).strip()


def _no_shell(why: str) -> Finding:
    advice = "the account's login shell must start /bin/sh: see `getent passwd` there, and its start files"
    return Finding("shell", False, why, advice)


def _shell(text: str) -> Finding:
    path, login, who = (*text.split(" "), "", "")[:3]
    name = path.rpartition("/")[2]
    words = "/bin/sh" if name == "sh" else f"/bin/sh is {name}"
    return Finding("shell", True, f"{words}, login shell {login}" + (f", account {who}" if who else ""))


def _tools(text: str) -> Finding:
    missing = text.split()
    if missing:
        return Finding("tools", False, f"missing: {', '.join(missing)}", _INSTALL)
    return Finding("tools", True, "all are there")


def _place(text: str) -> Finding:
    word, _, rest = text.partition(" ")
    if word == "written":
        return Finding("place", True, rest)
    advice = "make it writable for the account; a host that has no such place needs `durable: false`"
    return Finding("place", False, rest, advice)


def _with_disk(place: Finding, line: str | None) -> Finding:
    """The free space beside the place. Format of the line: POSIX ``df -P``, in KiB."""
    words = (line or "").split()
    if len(words) < 6 or not words[3].isdigit() or not words[1].isdigit():
        return Finding("place", True, f"{place.detail} is writable; its free space is not known")
    free, size = int(words[3]) * 1024, int(words[1]) * 1024
    detail = f"{place.detail} is writable, {_size(free)} of {_size(size)} free"
    return Finding("place", free >= LEAST_BYTES, detail, "make room there: a run's output needs it")


def _size(count: int) -> str:
    amount, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if amount < 1024 or unit == "TiB":
            break
        amount /= 1024
    return f"{amount:.0f} {unit}" if amount >= 100 or unit == "B" else f"{amount:.1f} {unit}"
