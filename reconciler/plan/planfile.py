"""A saved plan: everything an apply of it needs and everything it was made on, as a JSON value.

Documents hold no secrets, only the names of their sources, so neither does the file. The checksum tells
accidents and edits; it is no signature.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from reconciler.errors import SourceUnreadable
from reconciler.model.canonical import canonical_json
from reconciler.model.instant import rfc3339
from reconciler.model.project import ProjectSpec
from reconciler.model.state import Commit, ObservedState
from reconciler.plan import record
from reconciler.plan.changes import Plan
from reconciler.plan.digest import plan_digest
from reconciler.plan.references import Reference, references_of

FORMAT = 1
KIND = "reconciler/plan"
_AGAIN = "make it again with `reconciler plan --out FILE`"


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """A plan from a file. ``references`` are the objects it does not touch but relies on, as they were.

    ``project_hash`` is the hash of the project's settings, None where the project was new.
    """

    plan: Plan
    references: tuple[Reference, ...]
    project_hash: str | None
    created_at: datetime | None = None


def save_plan(plan: Plan, observed: ObservedState, now: datetime | None = None) -> dict[str, Any]:
    """The JSON value of a plan that was made on ``observed``; ``now`` only tells people when."""
    value: dict[str, Any] = {
        "format": FORMAT,
        "kind": KIND,
        "createdAt": None if now is None else rfc3339(now),
        "project": plan.project,
        "formerProject": plan.former_project,
        "baseRevision": plan.base_revision,
        "baseCommit": plan.base_commit,
        "digest": plan.digest,
        "unchanged": plan.unchanged,
        "declared": plan.declared,
        "targets": list(plan.targets),
        "leftOut": plan.left_out,
        "spec": plan.spec.model_dump(mode="json", by_alias=True),
        "source": plan.source,
        "git": record.commit_value(plan.git),
        "projectHash": observed.project.spec_hash if observed.project else None,
        "changes": [record.change_value(change) for change in plan.changes],
        "drift": [record.drift_value(drift) for drift in plan.drift],
        "settingsDrift": None if plan.settings_drift is None else record.drift_value(plan.settings_drift),
        "references": [record.reference_value(one) for one in references_of(plan, observed)],
        "guard": record.guard_value(plan.guard),
    }
    return {**value, "checksum": _checksum(value)}


def load_plan(value: object) -> SavedPlan:
    """The plan in a JSON value; raises SourceUnreadable for anything that ``save_plan`` did not make."""
    content = _checked(value)
    try:
        plan = _plan(content)
        references = tuple(record.reference_of(one) for one in content["references"])
        created = content["createdAt"]
        saved = SavedPlan(
            plan, references, content["projectHash"], None if created is None else record.moment_of(created)
        )
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise SourceUnreadable("this saved plan has an impossible content", hint=_AGAIN) from error
    if plan_digest(plan) != plan.digest:
        raise SourceUnreadable(
            "this saved plan was edited: its changes are not those of its digest", hint=_AGAIN
        )
    return saved


def is_plan(value: object) -> bool:
    """Whether a JSON value claims to be a saved plan."""
    return isinstance(value, Mapping) and value.get("kind") == KIND


def _checked(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or value.get("kind") != KIND:
        raise SourceUnreadable(
            "this is not a saved plan of reconciler", hint="`reconciler plan --out FILE` writes one"
        )
    version = value.get("format")
    if version != FORMAT:
        raise SourceUnreadable(
            f"this saved plan has format {version!r}, and this program reads format {FORMAT}",
            hint=f"use the version of reconciler that wrote it, or {_AGAIN}",
        )
    content = {name: item for name, item in value.items() if name != "checksum"}
    try:
        whole = value.get("checksum") == _checksum(content)
    except (TypeError, ValueError):
        whole = False
    if not whole:
        raise SourceUnreadable(
            "this saved plan was edited or cut off: its checksum does not fit its content", hint=_AGAIN
        )
    return content


def _plan(content: Mapping[str, Any]) -> Plan:
    git, settings = content["git"], content["settingsDrift"]
    return Plan(
        project=str(content["project"]),
        changes=tuple(record.change_of(one) for one in content["changes"]),
        drift=tuple(record.drift_of(one) for one in content["drift"]),
        unchanged=int(content["unchanged"]),
        guard=record.guard_of(content["guard"]),
        digest=str(content["digest"]),
        former_project=content["formerProject"],
        base_revision=content["baseRevision"],
        base_commit=content["baseCommit"],
        spec=ProjectSpec.model_validate(content["spec"]),
        source=str(content["source"]),
        git=None if git is None else Commit(**git),
        targets=tuple(content["targets"]),
        left_out=int(content["leftOut"]),
        declared=int(content["declared"]),
        settings_drift=None if settings is None else record.drift_of(settings),
    )


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(content).encode("utf-8", "surrogatepass")).hexdigest()
