"""libyaml's composer with the limits that hostile input needs.

The only hooks that the compiled parser offers are the resolver's methods, called for each node: they do all
the work here. A scalar's ``tag`` is its value (see ``scalars``), so building values later is a mere walk; a
collection's is its node class; only where the author wrote a tag (``!!str``) it is that tag.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from yaml._yaml import CParser
from yaml.error import MarkedYAMLError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from reconciler.manifest.scalars import NUMBER_START, WORDS, number

MAX_DEPTH = 50
"""Nested collections; a manifest needs about seven."""
MAX_NODES = 100_000
"""Values in one document, those that aliases repeat included; 60 MB of nodes at most."""
MAX_DOCUMENTS = 25_000
"""Documents in one file, as many as a file of the largest size usually holds; empty ones cost time too."""

_ANCHOR = re.compile(rb"&[0-9A-Za-z_-]")
_NEVER_BEFORE_AN_ANCHOR = re.compile(rb"[0-9A-Za-z_&>]")
# libyaml compares each %TAG line with all others: 100,000 of them take 13 s
_DOCUMENT = re.compile(rb"^---(?=[ \t\r\n]|\Z)", re.MULTILINE)
"""Begins a document wherever it stands, even inside a text."""
_TAG_DIRECTIVE = re.compile(rb"^%TAG\b", re.MULTILINE)


class LimitExceeded(Exception):
    """A document is too deep or too large; ``index`` is the character where that shows."""

    def __init__(self, code: str, message: str, hint: str, index: int) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.index = index


class _Composer(CParser):
    """Nodes whose tags are values, counted as they arise.

    The hooks are closures and not methods, and one is a list's own ``pop``: with two or three calls for each
    node this is a fifth of the time of composing.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        open_nodes: list[None] = []
        push, depth = open_nodes.append, open_nodes.__len__
        nodes = 0
        above: Node | None = None

        def descend(parent: Node | None, index: object) -> None:
            nonlocal above
            above = parent
            push(None)
            if depth() > MAX_DEPTH:
                raise _limit(MAX_DEPTH + 1, _index(above))

        def resolve(kind: type[Node], value: Any, implicit: tuple[bool, bool]) -> Any:
            nonlocal nodes
            nodes += 1
            if nodes > MAX_NODES:
                raise _limit(0, _index(above))
            if kind is ScalarNode:
                if implicit[0]:
                    if value in WORDS:
                        return WORDS[value]
                    if value[0] in NUMBER_START:
                        found = number(value)
                        # a text stays this very object: that is how an author's own tag is told from it
                        return value if found is None else found
                return value
            return kind

        def begin() -> None:
            nonlocal nodes
            nodes = 0

        self.descend_resolver = descend
        self.ascend_resolver = open_nodes.pop
        self.resolve = resolve
        self.begin = begin


def documents(data: bytes) -> Iterator[Node]:
    """The root node of each document; raises yaml.YAMLError or LimitExceeded.

    Do not hold on to a node while asking for the next (see the package's parse module).
    """
    directive = _TAG_DIRECTIVE.search(data) if b"%TAG" in data else None
    if directive:
        index = len(data[: directive.start()].decode("utf-8", "replace"))
        raise LimitExceeded("yaml-tag", "%TAG directives are not supported", "remove the line", index)
    if data.count(b"\n---") > MAX_DOCUMENTS:
        # nothing of such a file counts, so no document of it needs to be read
        excess = next(islice(_DOCUMENT.finditer(data), MAX_DOCUMENTS, None), None)
        if excess:
            raise _too_many(len(data[: excess.start()].decode("utf-8", "replace")))
    composer = _Composer(data)
    aliases = _may_have_anchors(data)
    number_of_documents = 0
    while (node := _next(composer)) is not None:
        number_of_documents += 1
        if number_of_documents > MAX_DOCUMENTS:
            raise _too_many(_index(node))
        if aliases:
            _check_expansion(node)
        yield node
        del node


def _too_many(index: int) -> LimitExceeded:
    message = f"a file has at most {MAX_DOCUMENTS:,} documents"
    return LimitExceeded("too-many-documents", message, "spread them over several files", index)


def _next(composer: _Composer) -> Node | None:
    """The next document's root node; None after the last one."""
    try:
        if not composer.check_node():
            return None
        composer.begin()
        return composer.get_node()
    except MarkedYAMLError as error:
        # libyaml's scanner reads up to 1,000 brackets ahead, and since 0.2.6 no further
        if "exceeded maximum nesting depth" not in str(error.problem):
            raise
        raise _limit(MAX_DEPTH + 1, error.problem_mark.index if error.problem_mark else 0) from None


def _may_have_anchors(data: bytes) -> bool:
    """Whether anything looks like an anchor. The shell's `a && b`, `2>&1` and a URL's `?a=1&b=2` do not."""
    starts = (match.start() for match in _ANCHOR.finditer(data))
    return any(not start or not _NEVER_BEFORE_AN_ANCHOR.match(data, start - 1) for start in starts)


def children(node: Node) -> list[Node]:
    """The nodes directly below: keys and values of a mapping, items of a sequence."""
    if isinstance(node, MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, SequenceNode) else []


def _check_expansion(root: Node) -> None:
    """Refuse a document whose aliases, written out, would be endless, too deep or too large.

    ``sizes`` holds (nodes, depth) of each collection once all below it is known; None while it is open.
    """
    sizes: dict[int, tuple[int, int] | None] = {}
    stack: list[tuple[Node, bool]] = [(root, False)]
    while stack:
        node, closing = stack.pop()
        # an alias may name a large node a hundred thousand times: it is looked into once
        if isinstance(node, ScalarNode) or (not closing and id(node) in sizes):
            continue
        below = children(node)
        if closing:
            nodes, depth = 1 + len(below), 1
            for part in below:
                size = sizes.get(id(part))
                if size is not None:
                    nodes += size[0]
                    depth = max(depth, size[1] + 1)
            if nodes > MAX_NODES or depth > MAX_DEPTH:
                raise _limit(depth, _index(node))
            sizes[id(node)] = nodes, depth
            continue
        sizes[id(node)] = None
        stack.append((node, True))
        for part in below:
            if isinstance(part, ScalarNode):
                continue
            if id(part) not in sizes:
                stack.append((part, False))
            elif sizes[id(part)] is None:
                raise LimitExceeded(
                    "yaml-alias",
                    "an alias stands inside its own anchor",
                    "write the values out",
                    _index(part),
                )


def _limit(depth: int, index: int) -> LimitExceeded:
    if depth > MAX_DEPTH:
        return LimitExceeded(
            "yaml-depth",
            f"values are nested more than {MAX_DEPTH} deep",
            "no manifest needs more than about seven levels",
            index,
        )
    return LimitExceeded(
        "yaml-size",
        f"a document has at most {MAX_NODES:,} values, those that aliases repeat included",
        "divide it, or write fewer aliases",
        index,
    )


def _index(node: Node | None) -> int:
    return node.start_mark.index if node is not None else 0
