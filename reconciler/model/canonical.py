"""Canonical documents: one text and one hash for one meaning.

A document is ``{"metadata": {labels, annotations, protected}, "spec": {…}}`` in the manifest's own
words with defaults left out, so that a later version of the program can add a field without
changing the hash of every stored object.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

Document = dict[str, Any]

_encode = json.JSONEncoder(
    sort_keys=True,
    ensure_ascii=False,
    separators=(",", ":"),
    allow_nan=False,
    # what comes out of YAML and JSON has no cycles, and looking for them takes a fifth of the time
    check_circular=False,
).encode


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces, characters as they are."""
    return _encode(value)


def document_hash(document: Mapping[str, Any]) -> str:
    """SHA-256 (64 hex digits) of the canonical JSON."""
    return hashlib.sha256(_encode(document).encode("utf-8", "surrogatepass")).hexdigest()


def flatten(document: Mapping[str, Any]) -> dict[str, Any]:
    """Leaves by dotted path: ``{"spec.retries.limit": 2, "spec.after": ["x"]}``.

    Mappings are descended into, lists are leaves; an empty mapping has no leaves.
    """
    leaves: dict[str, Any] = {}
    _flatten_into(leaves, "", document)
    return leaves


def _flatten_into(leaves: dict[str, Any], prefix: str, value: Mapping[str, Any]) -> None:
    for key, item in value.items():
        path = f"{prefix}{key}"
        if isinstance(item, Mapping):
            _flatten_into(leaves, path + ".", item)
        else:
            leaves[path] = item
