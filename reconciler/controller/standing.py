"""What is written down of how a project's reconciling stands, for status reports made anywhere."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.clock import Clock
from reconciler.model.condition import Condition, ConditionStatus, ConditionType
from reconciler.model.enums import Kind
from reconciler.store import conditions, projects
from reconciler.store.engine import Connection, Database


@dataclass(slots=True)
class Standing:
    """Writes the conditions ``Stalled`` and ``SourceVerified`` of one project; only its leader does.

    A project is found by name, or before its tree could be read by ``place``, its source. One that was never
    applied has no row to write to: then only the log tells. Raises the database's Temporary errors.
    """

    db: Database
    clock: Clock
    place: str | None

    def stalled(self, project: str | None, reason: str, message: str) -> None:
        """The declared state is not applied: why, and what to do."""
        said = Condition(ConditionType.STALLED, ConditionStatus.TRUE, reason, message, None, None)
        self._write(project, ConditionType.STALLED, said)

    def well(self, project: str) -> None:
        """What is declared is applied."""
        self._write(project, ConditionType.STALLED, None)

    def verified(self, project: str | None, signer: str | None) -> None:
        """The applied commit was signed by ``signer``; None: nobody asks for signatures."""
        if signer is None:
            self._write(project, ConditionType.SOURCE_VERIFIED, None)
            return
        message = f"signed by {signer}"
        said = Condition(ConditionType.SOURCE_VERIFIED, ConditionStatus.TRUE, "Signed", message, None, None)
        self._write(project, ConditionType.SOURCE_VERIFIED, said)

    def distrusted(self, project: str | None, reason: str, message: str) -> None:
        """The newest commit is refused for its signature."""
        said = Condition(ConditionType.SOURCE_VERIFIED, ConditionStatus.FALSE, reason, message, None, None)
        self._write(project, ConditionType.SOURCE_VERIFIED, said)

    def _write(self, project: str | None, type: ConditionType, said: Condition | None) -> None:
        now = self.clock.now()

        def write(connection: Connection) -> None:
            found = projects.find_project(connection, project, self.place)
            if found is None:
                return
            if said is None:
                conditions.clear(connection, Kind.PROJECT, found, type)
            else:
                conditions.put(connection, Kind.PROJECT, found, said, now)

        self.db.transact(write)
