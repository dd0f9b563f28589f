"""The text of one file: characters to lines and columns, and the line to show with a problem.

libyaml also breaks lines at U+0085, U+2028 and U+2029, which no editor does; so lines are counted here, from
the character index of a node's mark.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from reconciler.manifest.problem import Problem

BOM = b"\xef\xbb\xbf"
_BLOCK = 1 << 16
"""Characters whose line breaks are counted once: so a place near the end of a large file costs no more."""
_EXOTIC_BREAKS = (b"\xc2\x85", b"\xe2\x80\xa8", b"\xe2\x80\xa9")
_EXCERPT = 160
"""Characters of a line that are shown; a longer range may double it."""
_WINDOW = 200
"""Characters beyond the excerpt in which a key such as ``password:`` is looked for."""
_SECRET_KEY = re.compile(
    r"""(?i)\b\w*(?:pas+w|passphrase|secret|token|private_?key|api_?key)\w*["']?\s*[:=]\s*(?=[^\s{])"""
)
_FLOW_END = re.compile(r"[,}]")
_MASK = "*"


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, without a place."""

    code: str
    message: str
    hint: str
    """What to do about it: nobody is told only that something is wrong."""
    severity: Literal["error", "warning"] = "error"


class SourceText:
    """A file's bytes without a byte order mark, and its characters once somebody needs them."""

    __slots__ = ("_breaks", "_text", "data", "foreign", "path", "unread")

    def __init__(self, path: str, data: bytes) -> None:
        self.path = path
        self.data = data.removeprefix(BOM)
        self.unread: list[tuple[int, int]] = []
        """The characters that are not understood: each document with a mistake in YAML's grammar."""
        self.foreign = False
        """Whether nothing of it counts: it is no text, or goes beyond a limit, so it is not meant for us."""
        self._text: str | None = None
        self._breaks: list[int] | None = None

    @property
    def text(self) -> str:
        """The characters; what is not UTF-8 becomes U+FFFD."""
        if self._text is None:
            self._text = self.data.decode("utf-8", "replace")
        return self._text

    def has_exotic_breaks(self) -> bool:
        """Whether libyaml's line numbers differ from an editor's."""
        return any(mark in self.data for mark in _EXOTIC_BREAKS)

    def position(self, index: int) -> tuple[int, int]:
        """Line and column, from 1, of a character index."""
        start, _ = self._line_bounds(index)
        return self._breaks_before(start) + 1, index - start + 1

    def problem(
        self,
        fault: Fault,
        start: int,
        end: int,
        *,
        field: str | None = None,
        hidden: Iterable[tuple[int, int]] = (),
    ) -> Problem:
        """The problem at these characters; a range over several lines is cut at the end of its first.

        ``hidden`` are ranges of characters, such as a password, that the excerpt must not show.
        """
        start = min(start, len(self.text))
        end = self._cut(start, end)
        line, column = self.position(start)
        excerpt, excerpt_column = self._excerpt(start, end, hidden)
        return Problem(
            severity=fault.severity,
            code=fault.code,
            message=fault.message,
            path=self.path,
            line=line,
            column=column,
            end_line=line,
            end_column=column + end - start,
            field=field,
            hint=fault.hint,
            excerpt=excerpt,
            excerpt_column=excerpt_column,
        )

    def _cut(self, start: int, end: int) -> int:
        """The end of a range, at most that of its first line without trailing spaces."""
        _, last = self._line_bounds(start)
        end = max(start, min(end, last))
        while end > start and self.text[end - 1].isspace():
            end -= 1
        return end

    def _excerpt(self, start: int, end: int, hidden: Iterable[tuple[int, int]]) -> tuple[str, int]:
        """The line around a range, and the column it begins at; secrets masked, long lines cut.

        Only a window of the line is looked at: a line may be as long as the file.
        """
        line_start, line_end = self._line_bounds(start)
        first = line_start if start - line_start < _EXCERPT // 2 else start - _EXCERPT // 4
        last = min(line_end, max(first + _EXCERPT, min(end + _EXCERPT // 4, first + 2 * _EXCERPT)))
        window = max(line_start, first - _WINDOW)
        characters = list(self.text[window : min(line_end, last + _WINDOW)])
        for begin, stop in [*hidden, *_secret_ranges("".join(characters), window)]:
            _mask(characters, begin - window, stop - window)
        return "".join(characters[first - window : last - window]).rstrip(), first - line_start + 1

    def _line_bounds(self, index: int) -> tuple[int, int]:
        """First and last (exclusive) character of the line that a character is on; breaks end a line."""
        text = self.text
        if index and text[index - 1 : index + 1] == "\r\n":
            index -= 1
        start, end = text.rfind("\n", 0, index) + 1, text.find("\n", index)
        end = len(text) if end < 0 else end
        return_ = text.find("\r", index, end)
        return max(start, text.rfind("\r", start, index) + 1), end if return_ < 0 else return_

    def _breaks_before(self, index: int) -> int:
        """How many line breaks begin before a character."""
        if self._breaks is None:
            self._breaks = [0]
            for start in range(0, len(self.text) - _BLOCK + 1, _BLOCK):
                self._breaks.append(self._breaks[-1] + self._count(start, start + _BLOCK))
        block = index // _BLOCK
        return self._breaks[block] + self._count(block * _BLOCK, index)

    def _count(self, start: int, end: int) -> int:
        """Line breaks among these characters: line feeds, and carriage returns that none follows."""
        text = self.text
        lone = text.count("\r", start, end) - text.count("\r\n", start, end + 1)
        return text.count("\n", start, end) + lone


def _secret_ranges(line: str, offset: int) -> list[tuple[int, int]]:
    """What stands behind ``password:`` and the like, unless it is a reference such as ``{env: NAME}``."""
    found = []
    for match in _SECRET_KEY.finditer(line):
        # inside {…} a value ends at the next comma or brace; elsewhere it is the rest of the line
        end = _FLOW_END.search(line, match.end()) if "{" in line[: match.start()] else None
        found.append((offset + match.end(), offset + (end.start() if end else len(line))))
    return found


def _mask(line: list[str], start: int, end: int) -> None:
    """Stars instead of characters, one for one: columns stay what they are."""
    for index in range(max(start, 0), min(end, len(line))):
        if not line[index].isspace():
            line[index] = _MASK
