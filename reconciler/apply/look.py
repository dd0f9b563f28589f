"""What an apply of a tree would do as things stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from reconciler.model.state import DesiredState, ObservedState
from reconciler.plan.changes import Plan
from reconciler.plan.diff import make_plan
from reconciler.plan.effect import busy_servers, with_effects
from reconciler.plan.target import Target
from reconciler.store.engine import Database
from reconciler.store.measuring import measure
from reconciler.store.observe import observe


@dataclass(frozen=True, slots=True)
class Surveyed:
    """A plan with its effects, and what it was made on (``plan.planfile.save_plan`` takes both)."""

    plan: Plan
    observed: ObservedState


def survey(db: Database, desired: DesiredState, now: datetime, targets: Sequence[Target] = ()) -> Surveyed:
    """The plan for people, effects included, from one consistent view; ``now`` is aware.

    Raises PlanRefused for contradictions, GuardTripped, NotFound for an unknown target.
    """
    with db.snapshot() as connection:
        observed = observe(connection, desired.project, desired.formerly)
        plan = make_plan(desired, observed, targets=targets)
        own = observed.project.id if observed.project else None
        measured = measure(connection, plan.task_ids(), busy_servers(plan, observed), own, now)
    return Surveyed(with_effects(plan, desired, observed, now, measured), observed)


def look(db: Database, desired: DesiredState, targets: Sequence[Target] = ()) -> Plan:
    """The plan without effects, from one consistent view. Raises as ``survey``."""
    with db.snapshot() as connection:
        return make_plan(desired, observe(connection, desired.project, desired.formerly), targets=targets)
