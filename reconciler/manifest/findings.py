"""Findings: problems that know their document and path in it, and get line and column at the end.

Values are checked after their YAML nodes are gone. A file with findings is composed once more to look up
the places; files without any, which is nearly all of them, cost nothing.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode

from reconciler.manifest.construct import entries
from reconciler.manifest.parse import descend, extent, mappings
from reconciler.manifest.problem import Problem, in_order
from reconciler.manifest.text import Fault, SourceText

MAX_PROBLEMS = 1000
"""Per file: who has more wants to repair the first thousand before reading on."""

Loc = tuple[str | int, ...]
Explain = Callable[[Node | None], Fault]
"""Makes the fault from the node, where the words depend on what the author typed; hashable by meaning."""


@dataclass(slots=True)
class Document:
    """A document of the tree; ``value`` is as written, without defaults."""

    path: str
    index: int
    line: int
    kind: str
    value: dict[str, Any]
    entry: Any = None
    """What it means, where that is remembered (``memory``); then there is no ``value``."""


@dataclass(slots=True)
class _Finding:
    index: int
    loc: Loc
    fault: Fault | Explain
    key: bool
    part: tuple[int, int] | None
    field: str | None
    secret: bool


class Findings:
    """Everything wrong with a tree, gathered from all stages."""

    def __init__(self) -> None:
        self.defaults: Document | None = None
        """The project's document, once known: what an object does not have itself comes from there."""
        self._texts: dict[str, SourceText] = {}
        self._placed: list[Problem] = []
        self._pending: dict[str, dict[tuple[object, ...], _Finding]] = defaultdict(dict)
        self._counts: dict[str, int] = defaultdict(int)

    def in_text(self, text: SourceText, start: int, end: int, fault: Fault) -> None:
        """A problem at known characters of a file."""
        if self._room(text.path):
            self._placed.append(text.problem(fault, start, end))

    def in_file(self, path: str, fault: Fault) -> None:
        """A problem of a file that could not be read."""
        shown = path.encode("utf-8", "backslashreplace").decode() or "."
        if self._room(shown):
            self._placed.append(Problem(fault.severity, fault.code, fault.message, shown, hint=fault.hint))

    def at(
        self,
        document: Document,
        loc: Loc,
        fault: Fault | Explain,
        *,
        key: bool = False,
        part: tuple[int, int] | None = None,
        field: Loc | None = None,
        mine: bool = False,
    ) -> None:
        """A problem at the value (or with ``key`` at the key) that ``loc`` leads to.

        ``part`` are characters inside the value's text. Where the document itself has nothing at ``loc``
        it came from the project's defaults, and the problem is reported there, once. Where nobody has it,
        the nearest key above is the place. ``mine``: it is the document's in any case.
        """
        owner, path = (document, loc) if mine else self._owner(document, loc)
        found = path
        while found and not _has(owner.value, found):
            found, key = found[:-1], True
        name = dotted(field if field is not None and owner is document else path)
        identity = (owner.index, found, key, part, name, fault)
        pending = self._pending[owner.path]
        if identity not in pending and self._room(owner.path):
            pending[identity] = _Finding(owner.index, found, fault, key, part, name, is_secret(path))

    def remember(self, text: SourceText) -> None:
        """Keep a file's text, to look places up in."""
        self._texts[text.path] = text

    def is_full(self, path: str) -> bool:
        """Whether a file has more problems than are listed: what else is wrong in it is not looked for."""
        return self._counts[path] > MAX_PROBLEMS

    def problems(self) -> tuple[Problem, ...]:
        """Everything found, placed and in order."""
        placed = list(self._placed)
        for path, pending in self._pending.items():
            placed += _place(self._texts[path], list(pending.values()))
        return in_order(placed)

    def _room(self, path: str) -> bool:
        self._counts[path] += 1
        if self._counts[path] == MAX_PROBLEMS + 1:
            message = f"the file has more than {MAX_PROBLEMS:,} problems; the others are not listed"
            hint = "mend these first"
            self._placed.append(Problem("error", "too-many-problems", message, path, hint=hint))
        return self._counts[path] <= MAX_PROBLEMS

    def _owner(self, document: Document, loc: Loc) -> tuple[Document, Loc]:
        project = self.defaults
        if project is None or project is document or loc[:1] != ("spec",) or _has(document.value, loc):
            return document, loc
        there = ("spec", "defaults", document.kind.lower(), *loc[1:])
        return (project, there) if len(loc) > 1 and _has(project.value, there) else (document, loc)


def dotted(loc: Loc) -> str | None:
    """``spec.servers[1]``; None for the document itself."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in loc)
    return text.removeprefix(".") or None


class Unexpected(Exception):
    """There is a problem in a tree that was taken to have none."""


class NoFindings(Findings):
    """For a tree that had no problem before: raises Unexpected instead of gathering any."""

    def _room(self, path: str) -> bool:
        raise Unexpected(path)


def _has(value: Any, loc: Loc) -> bool:
    for step in loc:
        if isinstance(value, list):
            present = isinstance(step, int) and step < len(value)
        else:
            present = isinstance(value, dict) and step in value
        if not present:
            return False
        value = value[step]
    return True


def is_secret(loc: Loc) -> bool:
    """Whether an author may have put a secret itself where its source belongs."""
    return "secrets" in loc or ("auth" in loc and loc[-1] != "auth")


def _place(text: SourceText, findings: list[_Finding]) -> list[Problem]:
    waiting: dict[int, list[_Finding]] = defaultdict(list)
    for finding in findings:
        waiting[finding.index].append(finding)
    problems = []
    for index, root in enumerate(mappings(text, lambda start, end, fault: None)):
        problems += [_problem(text, root, finding) for finding in waiting.pop(index, [])]
        if not waiting:
            break
        del root
    return problems


def _problem(text: SourceText, root: MappingNode, finding: _Finding) -> Problem:
    key, node = descend(root, finding.loc)
    fault = finding.fault if isinstance(finding.fault, Fault) else finding.fault(node)
    start, end = _extent(text, root, key, node, finding)
    hidden = _hidden(node) if finding.secret else []
    return text.problem(fault, start, end, field=finding.field, hidden=hidden + _bare_secrets(root))


def _extent(
    text: SourceText, root: MappingNode, key: ScalarNode | None, node: Node | None, finding: _Finding
) -> tuple[int, int]:
    """The characters to mark: the key where the value has none of its own or begins on a later line."""
    if node is None or not finding.loc:
        return extent(root.value[0][0]) if root.value else extent(root)
    if key is not None and (finding.key or _is_spread(node)):
        return extent(key)
    start, end = extent(node)
    if finding.part is not None and isinstance(node, ScalarNode):
        # a text with escapes or folded lines is not in the file as such: then mark all of it
        offset = text.text[start:end].find(node.value)
        if offset >= 0:
            first, last = finding.part
            return start + offset + first, start + offset + max(last, first + 1)
    return start, end


def _is_spread(node: Node) -> bool:
    if isinstance(node, ScalarNode):
        return node.start_mark.index == node.end_mark.index
    return isinstance(node, CollectionNode) and not node.flow_style


_VARIABLE = re.compile(r"\w+", re.ASCII)
_SECRETS = (
    ("spec", "auth"),
    ("spec", "secrets"),
    ("spec", "defaults", "server", "auth"),
    ("spec", "defaults", "task", "secrets"),
)


def _bare_secrets(root: MappingNode) -> list[tuple[int, int]]:
    """What stands where a secret's source belongs and is none: it may be the secret itself."""
    found = []
    for path in _SECRETS:
        node = descend(root, path)[1]
        if isinstance(node, MappingNode):
            for _, item in entries(node).values():
                found += [] if _is_reference(item) else _hidden(item)
        elif node is not None:
            found += _hidden(node)
    return found


def _is_reference(node: Node) -> bool:
    """Whether this names a source, and not with a text that no variable is called."""
    if not isinstance(node, MappingNode):
        return False
    name = entries(node).get("env")
    return name is None or _VARIABLE.fullmatch(str(name[1].value)) is not None


def _hidden(node: Node | None) -> list[tuple[int, int]]:
    """The texts in a value, keys apart."""
    if node is None:
        return []
    if isinstance(node, ScalarNode):
        return [extent(node)]
    parts = [item for _, item in node.value] if isinstance(node, MappingNode) else node.value
    return [span for part in parts for span in _hidden(part)]
