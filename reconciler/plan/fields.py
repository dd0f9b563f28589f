"""Two documents → the fields that differ, in the manifest's words."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from itertools import combinations
from typing import Any

from reconciler.model.base import Model
from reconciler.model.canonical import Document, document_hash, flatten
from reconciler.model.enums import Kind
from reconciler.model.project import ACTING_ON_OBJECTS, History, ProjectSpec
from reconciler.model.server import ServerSpec
from reconciler.model.state import Definition
from reconciler.model.task import Script, TaskSpec
from reconciler.plan.changes import FieldChange, Fields

_MOST_SUSPECTS = 10
"""Fields of which any may be git's or a hand's doing: 2**10 hashes are a few milliseconds."""
_MOST_SEARCHES = 500
"""Rows of one plan that are searched so; a hand that changed more of them changed the same field."""

Path = tuple[str, ...]


class Differences:
    """Compares documents; equal pairs once, because the rows of one declaration share theirs."""

    def __init__(self) -> None:
        self._found: dict[tuple[Kind, str, str], dict[str, FieldChange]] = {}
        self._set: dict[str, dict[str, FieldChange]] = {}
        self._searches = 0

    def between(self, kind: Kind, before: Definition, after: Definition) -> dict[str, FieldChange]:
        """Every leaf that differs, defaults written out, in the order of the models.

        Where only the writing differs (a hand wrote a default out), the leaves as they are written.
        """
        key = (kind, before.hash, after.hash)
        found = self._found.get(key)
        if found is None:
            found = differences(kind, before.document, after.document)
            if not found and before.hash != after.hash:
                found = _as_written(kind, before.document, after.document)
            self._found[key] = found
        return found

    def set_by(self, kind: Kind, definition: Definition) -> dict[str, FieldChange]:
        """The fields that a new object sets; what is a default is left out."""
        found = self._set.get(definition.hash)
        if found is None:
            leaves = flatten(definition.document)
            found = self._set[definition.hash] = {
                name: FieldChange(None, leaves[name]) for name in _in_model_order(kind, leaves)
            }
        return found

    def applied(self, now: Definition, desired: Definition, applied_hash: str) -> Definition | None:
        """What was applied last to a row that git and a hand have changed since, if its hash tells.

        Rows keep only the hash. But where each field was changed by one of the two, the applied document
        is made of parts of both, and its hash proves which. None if no such mixture fits.
        """
        if self._searches >= _MOST_SEARCHES:
            return None
        self._searches += 1
        document = _mixture(now.document, desired.document, applied_hash)
        return None if document is None else Definition(document, applied_hash)


def differences(kind: Kind, before: Document, after: Document) -> dict[str, FieldChange]:
    """Every leaf that differs between two canonical documents, defaults written out."""
    old, new = flatten(before), flatten(after)
    names = [name for name in old if name not in new or old[name] != new[name]]
    names += [name for name in new if name not in old]
    if not names:
        return {}
    fill_old, fill_new = _Filled(kind, old), _Filled(kind, new)
    optional = _optional(kind)
    # a whole optional part that comes or goes brings its own defaults along
    for prefix, leaves in optional.items():
        if fill_old.has(prefix) != fill_new.has(prefix):
            names += [name for name in leaves if name not in old and name not in new]
    found = {
        name: FieldChange(fill_old[name], fill_new[name])
        for name in _in_model_order(kind, dict.fromkeys(names))
    }
    return {name: change for name, change in found.items() if change.before != change.after}


def _as_written(kind: Kind, before: Document, after: Document) -> dict[str, FieldChange]:
    old, new = flatten(before), flatten(after)
    names = dict.fromkeys(name for name in {**old, **new} if (name in old) != (name in new))
    return {name: FieldChange(old.get(name), new.get(name)) for name in _in_model_order(kind, names)}


class _Filled:
    """A document's leaves with the defaults of those it leaves out."""

    def __init__(self, kind: Kind, leaves: Mapping[str, Any]) -> None:
        self._kind = kind
        self._leaves = leaves

    def has(self, prefix: str) -> bool:
        return any(name.startswith(prefix) for name in self._leaves)

    def __getitem__(self, name: str) -> Any:
        if name in self._leaves:
            return self._leaves[name]
        for prefix, defaults in _optional(self._kind).items():
            if name.startswith(prefix):
                return defaults.get(name) if self.has(prefix) else None
        return _defaults(self._kind).get(name)


@cache
def _defaults(kind: Kind) -> dict[str, Any]:
    """The leaves of an object that sets nothing."""
    metadata = {"metadata.protected": False}
    if kind is Kind.PROJECT:
        return flatten(
            {"spec": ProjectSpec().model_dump(mode="json", by_alias=True, exclude=set(ACTING_ON_OBJECTS))}
        )
    if kind is Kind.SERVER:
        spec = ServerSpec(host="x", username="x").model_dump(mode="json", by_alias=True)
        return {**metadata, **flatten({"spec": {**spec, "host": None, "username": None}})}
    return {**metadata, **flatten({"spec": TaskSpec().model_dump(mode="json", by_alias=True)})}


@cache
def _optional(kind: Kind) -> dict[str, dict[str, Any]]:
    """Parts that may be absent as a whole: prefix → the defaults inside once it is there."""
    if kind is Kind.TASK:
        script = Script(file="x").model_dump(mode="json", by_alias=True, exclude={"file"})
        history = History().model_dump(mode="json", by_alias=True)
        return {
            "spec.script.": flatten({"spec": {"script": script}}),
            "spec.history.": flatten({"spec": {"history": history}}),
        }
    return {}


@cache
def _model_order(kind: Kind) -> dict[str, int]:
    """Rank of each field: metadata, placement, then the spec in the order of the model."""
    specs: dict[Kind, type[Model]] = {
        Kind.PROJECT: ProjectSpec,
        Kind.SERVER: ServerSpec,
        Kind.TASK: TaskSpec,
    }
    names = ["metadata.name", "metadata", "spec.server"]
    names += [f"spec.{info.alias or name}" for name, info in specs[kind].model_fields.items()]
    return {name: rank for rank, name in enumerate(names)}


def _in_model_order(kind: Kind, names: Mapping[str, Any]) -> list[str]:
    order = _model_order(kind)

    def rank(name: str) -> tuple[int, str]:
        room, _, rest = name.partition(".")
        top = room if room == "metadata" else f"{room}.{rest.partition('.')[0]}"
        return order.get(name, order.get(top, len(order))), name

    return sorted(names, key=rank)


def _mixture(now: Document, desired: Document, wanted: str) -> Document | None:
    """The document made of leaves of both whose hash is ``wanted``."""
    left, right = _leaves(now), _leaves(desired)
    suspects = [
        path
        for path in {**left, **right}
        if path not in left or path not in right or left[path] != right[path]
    ]
    if len(suspects) > _MOST_SUSPECTS:
        return None
    # the least that a hand may have done first
    for count in range(1, len(suspects)):
        for by_hand in combinations(suspects, count):
            document = _mixed(left, right, set(by_hand))
            if document is not None and document_hash(document) == wanted:
                return document
    return None


def _mixed(now: Mapping[Path, Any], desired: Mapping[Path, Any], by_hand: set[Path]) -> Document | None:
    """The row's leaves, but git's where a hand was; None where the two do not fit into one document."""
    document: Document = {"metadata": {}, "spec": {}}
    for source, mine in ((now, False), (desired, True)):
        for path, value in source.items():
            if (path in by_hand) is mine and not _put(document, path, value):
                return None
    return document


def _put(document: Document, path: Path, value: Any) -> bool:
    inner: Any = document
    for key in path[:-1]:
        inner = inner.setdefault(key, {})
        if not isinstance(inner, dict):
            return False
    inner[path[-1]] = value
    return True


def _leaves(document: Mapping[str, Any], prefix: Path = ()) -> dict[Path, Any]:
    """Leaves by path: keys may have dots of their own, so no dotted text."""
    leaves: dict[Path, Any] = {}
    for key, value in document.items():
        if isinstance(value, Mapping):
            leaves |= _leaves(value, (*prefix, key))
        else:
            leaves[*prefix, key] = value
    return leaves


def merged(names: Fields, fields: Fields) -> Fields:
    """The fields of a rename in front of the others; the shared mapping itself where there is no rename."""
    return {**names, **fields} if names else fields
