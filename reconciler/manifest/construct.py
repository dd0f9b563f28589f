"""Nodes to plain values: dict, list, str, int, float, bool, None and ``Ambiguous``.

Rules of ours on top of YAML's: keys are the text the author wrote (so ``on:`` is the key ``on``), each at
most once; ``<<`` merges as in YAML 1.1, what stands in the mapping itself wins; tags other than ``!!str``,
``!!map`` and ``!!seq`` are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from reconciler.manifest.text import Fault

MERGE = "<<"
_PREFIX = "tag:yaml.org,2002:"
_ALLOWED = {ScalarNode: _PREFIX + "str", MappingNode: _PREFIX + "map", SequenceNode: _PREFIX + "seq"}

Report = Callable[[Node, Fault], None]


def build(node: Node, report: Report) -> Any:
    """The value of a node; what is wrong with it goes to ``report``, and the rest is built."""
    tag: Any = node.tag
    if isinstance(node, ScalarNode):
        if tag.__class__ is str and tag is not node.value:
            _check_tag(node, report)
            return node.value
        return tag
    if tag is not node.__class__:
        _check_tag(node, report)
    if isinstance(node, MappingNode):
        return _mapping(node, report)
    return [build(item, report) for item in node.value]


def _mapping(node: MappingNode, report: Report) -> dict[str, Any]:
    try:
        value = {key.value: build(item, report) for key, item in node.value}
    except TypeError:  # a key that is a list of nodes is not hashable
        return _careful_mapping(node, report)
    if len(value) != len(node.value) or MERGE in value:
        return _careful_mapping(node, report)
    return value


def _careful_mapping(node: MappingNode, report: Report) -> dict[str, Any]:
    """The slow way, for a mapping with something unusual in it: say what is wrong, build the rest."""
    first: dict[str, Node] = {}
    for key, item in node.value:
        if not isinstance(key, ScalarNode):
            report(
                key, Fault("yaml-key", "a list or a mapping cannot be a key", "only texts can be keys here")
            )
        elif is_merge(key):
            _check_merge(item, report)
        elif key.value in first:
            report(key, _duplicate(key, first[key.value]))
        else:
            first[key.value] = key
    return {name: build(item, report) for name, (_, item) in entries(node).items()}


def entries(node: MappingNode) -> dict[str, tuple[ScalarNode, Node]]:
    """Key and value nodes by the key's text: the first of a duplicate, then what is merged in."""
    found: dict[str, tuple[ScalarNode, Node]] = {}
    for key, item in node.value:
        if isinstance(key, ScalarNode) and not is_merge(key):
            found.setdefault(key.value, (key, item))
    for key, item in _merged(node):
        found.setdefault(key.value, (key, item))
    return found


def is_merge(key: ScalarNode) -> bool:
    """Whether a key is the merge key; in quotes it is a key like any other."""
    return key.value == MERGE and not key.style


def _merged(node: MappingNode) -> Iterator[tuple[ScalarNode, Node]]:
    """What comes in by ``<<``: earlier mappings of a list win over later ones."""
    for key, item in node.value:
        if isinstance(key, ScalarNode) and is_merge(key):
            for source in item.value if isinstance(item, SequenceNode) else [item]:
                if isinstance(source, MappingNode):
                    yield from entries(source).values()


def _check_merge(item: Node, report: Report) -> None:
    for source in item.value if isinstance(item, SequenceNode) else [item]:
        if not isinstance(source, MappingNode):
            hint = "write <<: *anchor, or <<: [*one, *two]"
            report(source, Fault("yaml-merge", "only mappings can be merged with <<", hint))


def _duplicate(key: ScalarNode, first: Node) -> Fault:
    line = first.start_mark.line + 1
    return Fault(
        "duplicate-key",
        f"the key `{shorten(key.value)}` is already on line {line}",
        "remove one of the two: other programs silently use the last",
    )


def _check_tag(node: Node, report: Report) -> None:
    if node.tag not in ("!", _ALLOWED[node.__class__]):
        tag = node.tag.replace(_PREFIX, "!!", 1)
        report(
            node,
            Fault(
                "yaml-tag",
                f"the tag `{shorten(tag)}` is not supported",
                "remove it; !!str is the only one of use",
            ),
        )


def texts_as_written(node: Node | None, value: dict[str, Any]) -> None:
    """Put the author's text in place of numbers and truths in ``value``, the mapping built from ``node``.

    For ``env``: ``PORT: 8080`` and ``DEBUG: yes`` mean these characters. Nothing (``PORT:``) stays nothing.
    """
    if isinstance(node, MappingNode):
        for name, given in value.items():
            if given is not None and given.__class__ is not str:
                item = find(node, name)[1]
                if isinstance(item, ScalarNode):
                    value[name] = item.value


def find(node: MappingNode, name: str) -> tuple[ScalarNode | None, Node | None]:
    """The key and value nodes of a key, also of one that is merged in; (None, None) if it is not there."""
    for key, item in node.value:
        if key.value == name and isinstance(key, ScalarNode) and not is_merge(key):
            return key, item
    return next(((key, item) for key, item in _merged(node) if key.value == name), (None, None))


def shorten(text: str, length: int = 60) -> str:
    """At most that many characters of a text, for messages."""
    return text if len(text) <= length else text[: length - 1] + "…"
