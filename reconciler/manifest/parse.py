"""YAML text to documents: plain values and the line each begins at, or every problem at its place.

Composed by libyaml; the values are built here, because the standard constructor loses what we must see:
duplicate keys, the text of a number, where something stands. A document's nodes are dropped before the next
is read: kept, they would cost the garbage collector more than the parsing. Whoever later needs the place of
a value composes that file again (``findings``), which only happens to files with problems.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from yaml import YAMLError
from yaml.nodes import MappingNode, Node, ScalarNode
from yaml.reader import ReaderError

from reconciler.manifest.compose import LimitExceeded, documents
from reconciler.manifest.construct import build, find, texts_as_written
from reconciler.manifest.syntax import explain, place_of
from reconciler.manifest.text import Fault, SourceText

MAX_BROKEN = 20
"""Documents of a file with a mistake in the grammar that are passed over: each costs reading up to it."""
_DOCUMENT = re.compile(r"^---(?=[ \t\r\n]|\Z)", re.MULTILINE)
_LINE = re.compile(r"[^\r\n]+")

Report = Callable[[int, int, Fault], None]
"""Called with the first and the last (exclusive) character index of a fault."""


@dataclass(slots=True)
class RawDocument:
    """A document as written. ``index`` counts the mappings of its file, ``line`` is from 1."""

    index: int
    line: int
    value: dict[str, Any]


def parse(text: SourceText, report: Report) -> Iterator[RawDocument]:
    """The documents of a file that are mappings; whatever is wrong goes to ``report``.

    A mistake in YAML's own grammar ends its document; the reading goes on with the next.
    """
    if not _is_utf8(text, report):
        return
    exotic = text.has_exotic_breaks()

    def tell(node: Node, fault: Fault) -> None:
        report(*extent(node), fault)

    for index, node in enumerate(mappings(text, report)):
        line = text.position(node.start_mark.index)[0] if exotic else node.start_mark.line + 1
        value = build(node, tell)
        _keep_texts(node, value)
        yield RawDocument(index, line, value)
        del node


def mappings(text: SourceText, report: Report) -> Iterator[MappingNode]:
    """The nodes of the documents that are mappings; the others are empty or go to ``report``."""
    text.unread = []
    start: int | None = 0
    while start is not None:
        end = start
        try:
            for node in documents(_from(text, start)):
                end = node.end_mark.index
                if isinstance(node, MappingNode):
                    yield node
                elif not (isinstance(node, ScalarNode) and node.tag is None and node.value == ""):
                    report(*extent(node), _not_a_mapping(node))
                del node
            return
        except (YAMLError, LimitExceeded) as error:
            index, fault = explain(error, text)
            report(index, index + 1, fault)
            # where a limit ends the reading, nothing of the file counts: it is not meant for us
            text.foreign = isinstance(error, LimitExceeded)
            start = _next_document(text, error, start)
            text.unread.append((end, len(text.text) if start is None else start))


def _from(text: SourceText, start: int) -> bytes:
    """The file with nothing but blanks up to a character, so that all places in it stay what they are."""
    if not start:
        return text.data
    blank = _LINE.sub(lambda line: " " * len(line[0]), text.text[:start])
    return (blank + text.text[start:]).encode()


def _next_document(text: SourceText, error: YAMLError | LimitExceeded, start: int) -> int | None:
    """Where the document after a broken one begins; None where the reading ends with it.

    ``---`` begins a document wherever it stands in the first column, even inside a text.
    """
    if isinstance(error, LimitExceeded | ReaderError) or len(text.unread) + 1 >= MAX_BROKEN:
        return None
    found = _DOCUMENT.search(text.text, max(place_of(error), start + 3))
    return None if found is None else found.start()


def extent(node: Node) -> tuple[int, int]:
    """First and last (exclusive) character of a node."""
    return node.start_mark.index, node.end_mark.index


def _is_utf8(text: SourceText, report: Report) -> bool:
    try:
        text.data.decode("utf-8")
    except UnicodeDecodeError as error:
        index = len(text.data[: error.start].decode("utf-8"))
        hint = "save the file as UTF-8"
        if text.data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            hint = "this looks like UTF-16: save the file as UTF-8"
        text.foreign = True
        bad = text.data[error.start]
        report(index, index + 1, Fault("not-utf-8", f"the file is not UTF-8: byte 0x{bad:02X}", hint))
        return False
    return True


def _not_a_mapping(node: Node) -> Fault:
    kind = "a single value" if isinstance(node, ScalarNode) else "a list"
    return Fault(
        "not-a-mapping",
        f"a document is a mapping, this one is {kind}",
        "begin it with `apiVersion: reconciler/v1`, or name the file in .reconcilerignore",
    )


def _keep_texts(root: MappingNode, value: dict[str, Any]) -> None:
    """The author's text for the values of ``env``, of a task and of the project's defaults for tasks."""
    for path in (("spec", "env"), ("spec", "defaults", "task", "env")):
        env: Any = value
        for key in path:
            env = env.get(key) if isinstance(env, dict) else None
        if isinstance(env, dict) and not all(item.__class__ is str for item in env.values()):
            texts_as_written(descend(root, path)[1], env)


def descend(root: Node, path: tuple[str | int, ...]) -> tuple[ScalarNode | None, Node | None]:
    """The key node (None for the root and for items) and the value node at a path; (None, None) if absent."""
    key: ScalarNode | None = None
    node: Node | None = root
    for step in path:
        if isinstance(node, MappingNode):
            key, node = find(node, str(step))
        elif node is not None and not isinstance(node, ScalarNode) and isinstance(step, int):
            key, node = None, node.value[step] if 0 <= step < len(node.value) else None
        else:
            return None, None
    return key, node
