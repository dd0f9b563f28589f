"""What one shell says of a durable run, line by line. ADR 0005 has the words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from reconciler.execute.control import Stream
from reconciler.execute.verdict import Found


@dataclass(frozen=True, slots=True)
class Start:
    """How a run that is attached to was started; that holds, whatever its task says by now.

    ``age``: seconds since then, None on another boot. ``timeout``, ``grace``: seconds. ``why``: somebody is
    ending it, as its note says.
    """

    age: float | None
    timeout: int
    grace: int
    codes: tuple[int, ...]
    why: str


@dataclass(slots=True)
class Telling:
    """Takes the lines of one shell. ``on_started`` and ``on_attached`` are called as those come."""

    on_started: Callable[[], None]
    on_attached: Callable[[Start], None]
    word: str | None = field(default=None, init=False)
    """The last word that it said."""
    found: Found | None = field(default=None, init=False)
    """What became of the run, once it said so."""
    _ends: set[Stream] = field(default_factory=set, init=False)
    _killed: list[str] = field(default_factory=list, init=False)

    @property
    def whole(self) -> bool:
        """The run has ended, and both streams came to their ends."""
        return len(self._ends) == 2

    def line(self, stream: Stream, words: list[bytes]) -> None:
        """The words of one line of ours."""
        if not words or stream == "stderr":
            if words[:1] == [b"end"]:
                self._ends.add(stream)
            return
        word, *rest = (item.decode("ascii", "replace") for item in words)
        self.word = word
        if word == "started":
            self.on_started()
        elif word == "attached" and len(rest) >= 4:
            self.on_attached(_start(rest[0], rest[1], rest[2], rest[3], " ".join(rest[4:])))
        elif word == "killed" and len(rest) >= 2:
            self._killed.append(f"{' '.join(rest[1:])[:32]} ({rest[0]})")
        elif word == "ended" and len(rest) >= 4:
            self._ended(rest[0], rest[1], rest[2], rest[3], " ".join(rest[4:]))

    def _ended(self, streams: str, code: str, flag: str, ago: str, why: str) -> None:
        self._ends.add("stdout")
        if streams == "out":
            # nothing was printed to the other one, which has no line of its own then
            self._ends.add("stderr")
        self.found = Found(
            exit_code=int(code) if code.isdigit() else None,
            rebooted=code == "rebooted",
            full=flag == "full",
            ago=int(ago) if ago.isdigit() else 0,
            why=why,
            killed=tuple(self._killed),
        )


def _start(age: str, timeout: str, grace: str, codes: str, why: str) -> Start:
    seconds = None if age == "-" else max(0.0, float(age))
    return Start(seconds, int(timeout), int(grace), tuple(map(int, codes.split(","))), why)
