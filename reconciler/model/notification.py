"""Who is to be told of what: the rules of a task, and targets that listen to whole projects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.model.enums import NotifyOn

if TYPE_CHECKING:  # the settings need no models of manifests
    from reconciler.model.task import Notify

Reference = Mapping[str, str]
"""A secret's reference, ``{env = "NAME"}``."""


@dataclass(frozen=True, slots=True)
class Target:
    """A ``[notify.NAME]`` table: one place where messages go, either of ``url`` and ``webhook``.

    ``events``: of which events it is told whatever a task says; ``projects``: of which projects those are,
    empty for all.
    """

    url: str | Reference | None = None
    """An Apprise URL; it usually holds a secret."""
    webhook: str | Reference | None = None
    """Where JSON is posted, signed with ``secret``."""
    secret: Reference | None = None
    events: frozenset[NotifyOn] = frozenset()
    projects: frozenset[str] = frozenset()

    def listens(self, event: NotifyOn, project: str) -> bool:
        """Whether it is told of this without being named."""
        return event in self.events and (not self.projects or project in self.projects)


Targets = Mapping[str, Target]
"""NAME → its table."""


def receivers(event: NotifyOn, project: str, rules: Iterable[Notify], targets: Targets) -> list[str]:
    """The names of all who are told, each once, sorted: those that a rule names, known here or not, and those
    that listen by themselves."""
    named = {rule.to for rule in rules if event in rule.on}
    return sorted(named | {name for name, target in targets.items() if target.listens(event, project)})
