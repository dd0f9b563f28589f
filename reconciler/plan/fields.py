"""Two documents → the fields that differ, in the manifest's words."""

from __future__ import annotations

from reconciler.model.canonical import Document, flatten
from reconciler.model.enums import Kind
from reconciler.model.state import full_document
from reconciler.plan.changes import FieldChange


def differences(kind: Kind, before: Document, after: Document) -> dict[str, FieldChange]:
    """Every leaf that differs, defaults written out, in the order of the models."""
    return plain_differences(_full(kind, before), _full(kind, after))


def plain_differences(before: Document, after: Document) -> dict[str, FieldChange]:
    """Every leaf that differs between two documents as they are."""
    old, new = flatten(before), flatten(after)
    names = [*old, *(name for name in new if name not in old)]
    return {
        name: FieldChange(old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)
    }


def settings(document: Document) -> dict[str, FieldChange]:
    """The fields that a new object sets; what is a default is left out."""
    return {name: FieldChange(None, value) for name, value in flatten(document).items()}


def _full(kind: Kind, document: Document) -> Document:
    """With defaults; a row that was spoilt by hand may not fit the model, then as it is."""
    try:
        return full_document(kind, document)
    except ValueError:
        return document
