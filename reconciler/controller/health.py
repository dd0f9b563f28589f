"""Whether this process lives and can do its work: judged from what its loops know, without waiting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

from reconciler.clock import Clock
from reconciler.controller.http import Request, Response, Route, json_response
from reconciler.controller.outage import Member
from reconciler.controller.runtime import SILENT_SECONDS, Runtime
from reconciler.controller.survey import Survey
from reconciler.dispatch.leases import LEASE_SECONDS, RENEW_SECONDS

_LATE_SECONDS = LEASE_SECONDS - RENEW_SECONDS
"""A renewal that is older has failed once already, and the next one must not."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why this process is not ready: ``code`` for machines, ``message`` without names of places."""

    code: str
    message: str


class Health:
    """Every method may be called from any thread, and none waits."""

    def __init__(self, runtime: Runtime, clock: Clock, survey: Survey | None = None) -> None:
        self._runtime = runtime
        self._clock = clock
        self._survey = survey
        self._begun = False
        self._ending = False

    def begun(self) -> None:
        """Every loop was started."""
        self._begun = True

    def ending(self) -> None:
        """The process ends in order: it is not ready for anything new."""
        self._ending = True

    @property
    def works(self) -> bool:
        """Whether it has begun and does not end."""
        return self._begun and not self._ending

    def stuck(self) -> list[tuple[str, float]]:
        """The loops that do not step, and for how many seconds; those that are ended do not count."""
        now = self._clock.monotonic()
        found = [
            # a source's place is nobody's business here
            (loop.name.partition(" ")[0], loop.busy(now))
            for loop in self._loops()
            if loop.stuck(now)
        ]
        if self.works and not self._runtime.recording:
            found.append(("record", 0.0))
        return found

    def troubles(self) -> list[Trouble]:
        """Everything that keeps this process from its work."""
        if not self.works:
            word = "ends" if self._ending else "begins"
            return [Trouble("ending" if self._ending else "starting", f"the process {word}")]
        found = [*self._database(), *self._leases(), *self._records()]
        return found + [Trouble("stuck", f"the {name} loop does not step") for name, _ in self.stuck()]

    def routes(self) -> dict[tuple[str, str], Route]:
        """``/healthz`` and ``/readyz``: they say little, so they need no token."""
        return {
            ("GET", "/healthz"): Route(self._healthz, guarded=False),
            ("GET", "/readyz"): Route(self._readyz, guarded=False),
        }

    def _healthz(self, request: Request) -> Response:
        stuck = [{"loop": name, "seconds": round(seconds, 1)} for name, seconds in self.stuck()]
        status = HTTPStatus.SERVICE_UNAVAILABLE if stuck else HTTPStatus.OK
        return json_response(status, {"healthy": not stuck, "stuck": stuck})

    def _readyz(self, request: Request) -> Response:
        troubles = self.troubles()
        status = HTTPStatus.SERVICE_UNAVAILABLE if troubles else HTTPStatus.OK
        reasons = [{"code": one.code, "message": one.message} for one in troubles]
        return json_response(status, {"ready": not troubles, "reasons": reasons})

    def _loops(self) -> Sequence[Member]:
        return tuple(self._runtime.outage.loops)

    def _database(self) -> list[Trouble]:
        now = self._clock.monotonic()
        since = self._runtime.outage.since
        silent = self._runtime.silent
        if since is not None:
            return [Trouble("database", f"the database has not answered for {now - since:.0f} s")]
        if silent > SILENT_SECONDS:
            return [Trouble("database", f"the database has not answered for {silent:.0f} s")]
        if self._survey is not None and not self._survey.fits:
            return [
                Trouble("schema", "the database's schema is not this program's; see `reconciler db check`")
            ]
        return []

    def _leases(self) -> list[Trouble]:
        keeper = self._runtime.keeper
        age = self._clock.monotonic() - keeper.renewed_at
        found = []
        if age > _LATE_SECONDS:
            found.append(
                Trouble("leases", f"leases were renewed {age:.0f} s ago; they last {LEASE_SECONDS:g} s")
            )
        if not keeper.numbered:
            found.append(
                Trouble("node-number", "this process holds no node number: no execution can be made")
            )
        return found

    def _records(self) -> list[Trouble]:
        runtime = self._runtime
        if runtime.spool_full:
            return [
                Trouble("spool", "the disk of the state folder takes no records: runs wait to be recorded")
            ]
        if runtime.held:
            return [
                Trouble("spool", f"{runtime.spool_waiting[0]} records wait on the disk: nothing is claimed")
            ]
        return []
