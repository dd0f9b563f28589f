"""Labels as a condition of a query."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Text, func, type_coerce

from reconciler.model.canonical import canonical_json


def has_labels(column: Any, labels: Mapping[str, str]) -> list[ColumnElement[bool]]:
    """Rows that have all these labels.

    The column holds canonical JSON of one flat mapping of texts: no spaces, quotes inside of a text escaped.
    So ``"key":"value"`` is in it exactly when the label is there, and no JSON functions are needed, which the
    three databases spell differently.
    """
    text = type_coerce(column, Text)
    return [func.instr(text, canonical_json({key: value})[1:-1]) > 0 for key, value in labels.items()]
