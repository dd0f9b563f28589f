"""Where a command writes: results to ``out``, everything about the work itself to ``err``."""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

from reconciler.errors import ReconcilerError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

RED = "31"
GREEN = "32"
YELLOW = "33"
BLUE = "34"
CYAN = "36"
BOLD = "1"
DIM = "2"


def paint(text: str, style: str, on: bool) -> str:
    """The text in an ANSI style, or as it is."""
    return f"\x1b[{style}m{text}\x1b[0m" if on and text else text


def _wants_colour(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Colour only on a terminal; NO_COLOR (no-color.org) and TERM=dumb are honoured."""
    return stream.isatty() and not environment.get("NO_COLOR") and environment.get("TERM") != "dumb"


class _Unread(io.FileIO):
    """A pipe that drops what is written once its reader has gone away."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            return memoryview(data).nbytes


def _outliving(stream: TextIO) -> TextIO:
    """The stream; where it is a pipe, one on the same pipe that goes on when nobody reads any more."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):  # a stream in memory
        return stream
    mode = os.fstat(number).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return stream
    stream.flush()
    raw = io.BufferedWriter(_Unread(number, "wb", closefd=False))
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace")


@dataclass(slots=True)
class Console:
    """The two streams of a command and what they can show."""

    out: TextIO = field(default_factory=lambda: sys.stdout)
    err: TextIO = field(default_factory=lambda: sys.stderr)
    colour: bool = False
    colour_err: bool = False
    width: int = 100
    interactive: bool = False

    @classmethod
    def of_process(cls) -> Console:
        """The console of this process; both streams take any text, whatever the locale says.

        A stream that the process was started without (`>&-`) takes everything and shows nothing.
        """
        sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
        sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
        for stream in (sys.stdout, sys.stderr):
            reconfigure = getattr(stream, "reconfigure", None)
            if reconfigure is not None:
                reconfigure(encoding="utf-8", errors="backslashreplace")
        return cls(
            out=sys.stdout,
            err=sys.stderr,
            colour=_wants_colour(sys.stdout, os.environ),
            colour_err=_wants_colour(sys.stderr, os.environ),
            width=shutil.get_terminal_size((100, 24)).columns,
            interactive=sys.stdin is not None and sys.stdin.isatty(),
        )

    def outlive_readers(self) -> None:
        """Go on when whoever reads goes away (head, less): the work is done to its end all the same, and the
        exit code is what came of it. Without this, writing then raises BrokenPipeError."""
        self.out = _outliving(self.out)
        self.err = _outliving(self.err)

    def print(self, text: str = "") -> None:
        """A line of the result."""
        self.out.write(text + "\n")

    def note(self, text: str = "") -> None:
        """A line about the work: progress, warnings, errors."""
        self.err.write(text + "\n")
        self.err.flush()

    def print_json(self, value: Any) -> None:
        """The result as JSON: two spaces, keys in the order given, any script readable."""
        json.dump(value, self.out, indent=2, ensure_ascii=False, allow_nan=False)
        self.out.write("\n")

    def print_error(self, error: ReconcilerError) -> None:
        """What happened, why (the chain of our own errors), and what to do next."""
        self.note(paint("error: ", RED, self.colour_err) + error.message)
        cause = error.__cause__
        while isinstance(cause, ReconcilerError):
            self.note(f"  because: {cause.message}")
            cause = cause.__cause__
        if error.hint:
            self.note(paint("  hint: ", CYAN, self.colour_err) + error.hint)


def error_shape(error: ReconcilerError) -> dict[str, Any]:
    """The JSON of an error: ``{"error": {"code", "message", "hint", "details"}}``."""
    return {
        "error": {
            "code": error.code,
            "message": error.message,
            "hint": error.hint,
            "details": error.details,
        }
    }
