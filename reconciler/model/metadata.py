"""The part that all objects share: name, labels, protection, former name."""

from __future__ import annotations

from pydantic import Field, StrictBool, StrictStr

from reconciler.model.base import LabelKey, Labels, Model
from reconciler.model.fields import FormerName, Name


class Metadata(Model):
    """Who an object is."""

    name: Name
    """1 to 100 characters of any script; no control characters, no `/` or `@`, no space at either end."""
    labels: Labels = Field(default_factory=dict, examples=[{"role": "db", "env": "prod"}])
    """Words to select objects by."""
    annotations: dict[LabelKey, StrictStr] = Field(default_factory=dict, examples=[{"owner": "team-data"}])
    """Free text: kept, never interpreted."""
    protected: StrictBool = False
    """Cannot be deleted until a commit of its own takes the protection away."""
    formerly: FormerName | None = Field(default=None, examples=["database-1"])
    """Rename: the earlier name (of a task also `name@server`); the row, its id and its history stay."""


class ServerMetadata(Metadata):
    """Who a server is."""

    formerly: Name | None = Field(default=None, examples=["database-1"])
    """Rename: the earlier name; the row, its id and its history stay."""


IDENTITY = {"name", "formerly"}
"""What says which object a document is of, and is not part of the document."""


class ProjectMetadata(Model):
    """Who a project is."""

    name: Name
    """The project that owns every object of this tree."""
    formerly: Name | None = None
    """The project's earlier name."""
