"""From settings to a wired program: the only file that names every room.

Rooms are imported inside the functions, so that a command pays only for what it uses.
"""

from __future__ import annotations

import logging
import os
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.clock import Clock, SystemClock
from reconciler.errors import Temporary
from reconciler.settings import Settings

log = logging.getLogger("reconciler.archive")

if TYPE_CHECKING:
    from reconciler.cache.place import Place
    from reconciler.cache.rows import KnownRows
    from reconciler.cache.signals import Signals
    from reconciler.controller.events import Listener as EventListener
    from reconciler.controller.http import Listener, Route
    from reconciler.controller.notifying import Notifying
    from reconciler.controller.publishing import Publisher
    from reconciler.controller.reconcile import Report
    from reconciler.controller.runtime import Runtime
    from reconciler.controller.service import Service
    from reconciler.controller.sources import TreeSource
    from reconciler.execute.doctor import Doctor
    from reconciler.execute.executors import Executors
    from reconciler.notify.delivery import Delivery
    from reconciler.record.archive import Archives
    from reconciler.record.prune import Pruner
    from reconciler.store.engine import Database


def connect(settings: Settings, clock: Clock | None = None, *, ready: bool = True) -> Database:
    """The database of the settings.

    With ``ready`` its schema is made sure of: SQLite is created and upgraded by itself, a database
    server that is older or newer than the program is refused (DatabaseOutdated, DatabaseTooNew).
    """
    from reconciler.store.engine import Database

    db = Database.open(
        settings.database_url,
        clock or SystemClock(),
        pool_size=settings.database_pool_size,
        recycle=settings.database_pool_recycle,
        ping=settings.database_pool_ping,
    )
    if ready:
        from reconciler.store.schema import ensure

        try:
            ensure(db)
        except BaseException:
            db.close()
            raise
    return db


@contextmanager
def database(settings: Settings, clock: Clock | None = None) -> Iterator[Database]:
    """The database of the settings, ready, for the block."""
    db = connect(settings, clock)
    try:
        yield db
    finally:
        db.close()


def signals(settings: Settings, clock: Clock) -> Signals | None:
    """What processes tell each other through Redis; None without one. Raises SettingsInvalid."""
    place = _redis(settings)
    if place is None:
        return None
    from reconciler.cache.link import RedisSignals

    return RedisSignals(place, clock, _name())


def wake_others(settings: Settings, clock: Clock) -> None:
    """After a command changed something: let the other processes look at once. Takes a second at most.

    Without Redis they look within a second by themselves, and nothing is done here.
    """
    place = _redis(settings)
    if place is not None:
        from reconciler.cache.link import wake_others

        wake_others(place, clock, _name())


def known_rows(settings: Settings, clock: Clock) -> KnownRows | None:
    """Ledger rows that other reports read before; None without Redis."""
    place = _redis(settings)
    if place is None:
        return None
    from reconciler.cache.rows import KnownRows

    return KnownRows(place, clock)


def _redis(settings: Settings) -> Place | None:
    if settings.redis_url is None:
        return None
    from reconciler.cache.place import Place

    return Place(settings.redis_url, settings.redis_prefix)


def _name() -> str:
    """Of this process among those that meet in Redis."""
    return f"{random.Random().getrandbits(64):016x}"


def archives(settings: Settings, clock: Clock) -> Archives:
    """Whole outputs; raises SettingsInvalid for a place that this installation cannot use."""
    from reconciler.record.archive import Archives

    return Archives(settings.archive_place, clock)


def pruner(db: Database, settings: Settings, clock: Clock) -> Pruner:
    """Deletes what ``history`` lets go, at the wish of a person."""
    from reconciler.dispatch.leases import owner_name
    from reconciler.record.prune import Pruner

    owner = owner_name(f"{random.getrandbits(48):012x}")
    return Pruner(db, clock, owner, _remover(settings, clock), rest=0.25)


def _remover(settings: Settings, clock: Clock) -> Callable[[str], None]:
    """Deletes archives; what reaches them is loaded for the first one, and few have any."""
    made: list[Archives] = []

    def delete(place: str) -> None:
        if not made:
            made.append(archives(settings, clock))
        made[0].delete(place)

    return delete


def executors(settings: Settings, clock: Clock) -> Executors:
    """What runs claimed executions here: local (where allowed) and over ssh.

    An archive that was asked for and cannot be used is logged, soon; runs do not wait for it.
    """
    from reconciler.execute.executors import Executors

    kept = archives(settings, clock)
    if settings.archive is not None:
        threading.Thread(target=_check, args=(kept,), name="archive", daemon=True).start()
    return Executors(settings, clock, archive=kept.open, randomness=random.Random())


def _check(archives: Archives) -> None:
    try:
        archives.check()
    except Temporary as error:
        log.warning("%s; until then whole outputs are not kept (%s)", error.message, error.hint)


@contextmanager
def doctor(settings: Settings, clock: Clock) -> Iterator[Doctor]:
    """What examines servers from here, for the block."""
    from reconciler.execute.doctor import Doctor

    one = Doctor(settings, clock, randomness=random.Random())
    try:
        yield one
    finally:
        one.close()


def listener(
    settings: Settings, clock: Clock, service: Service, executor: Executors | None = None
) -> Listener | None:
    """The port of a long-running process; None where the settings ask for none.

    Raises SettingsInvalid and SecretUnavailable.
    """
    if settings.listen is None:
        return None
    from reconciler.controller.http import Listener, Route
    from reconciler.controller.webhook import Webhooks

    routes = service.health.routes()
    routes["GET", "/metrics"] = _metrics(clock, service, executor)
    shared = secret(settings, settings.webhook_secret)
    if shared is not None:
        routes["POST", "/hooks/git"] = Route(Webhooks(shared, clock, service.pushed).handle, guarded=False)
    return Listener(settings.listen, routes, secret(settings, settings.token))


def _metrics(clock: Clock, service: Service, executor: Executors | None) -> Route:
    from reconciler.controller.http import Route, refusal

    try:
        from reconciler.controller.metrics import Metrics
    except ModuleNotFoundError as error:
        if error.name != "prometheus_client":
            raise
        lacks = "metrics need the extra `metrics`: pip install 'reconciler[metrics]'"
        logging.getLogger("reconciler.http").warning("%s; /metrics answers 501", lacks)
        return Route(lambda request: refusal(HTTPStatus.NOT_IMPLEMENTED, lacks))
    connections = executor.connections if executor is not None else dict[str, int]
    return Route(Metrics(service, clock, connections).handle)


def secret(settings: Settings, reference: Mapping[str, str] | None) -> str | None:
    """The value behind a reference of the settings."""
    if reference is None:
        return None
    from reconciler.execute.secrets import SecretResolver

    return os.fsdecode(
        SecretResolver(os.environ, settings.secrets_dir, settings.providers).resolve(reference)
    )


def publisher(db: Database, settings: Settings, clock: Clock, path: Path | None) -> Publisher | None:
    """What keeps the status report in that file; None without one."""
    if path is None:
        return None
    from reconciler.controller.publishing import Publisher
    from reconciler.report.pages import form_of, status_page

    form = form_of(path)
    late_after = timedelta(seconds=settings.late_after)
    return Publisher(path, lambda: status_page(db, form, clock.now(), late_after), clock)


def deliveries(db: Database, settings: Settings, clock: Clock, owner: str) -> list[Delivery]:
    """What brings messages to the targets of the settings. Raises SettingsInvalid without Apprise."""
    from reconciler.notify import through_apprise
    from reconciler.notify.delivery import Delivery, Sender
    from reconciler.notify.webhook import Webhook

    def value(given: str | Mapping[str, str] | None) -> Callable[[], str]:
        return lambda: given if isinstance(given, str) else secret(settings, given) or ""

    found = []
    for name, target in sorted(settings.notify.items()):
        sender: Sender
        if target.webhook is not None:
            sender = Webhook(value(target.webhook), value(target.secret), clock)
        else:
            through_apprise.require()
            sender = through_apprise.Apprise(value(target.url))
        found.append(Delivery(db, clock, random.Random(), owner, name, sender))
    return found


def notifying(db: Database, settings: Settings, clock: Clock, runtime: Runtime) -> Notifying:
    """What sees exceptions begin, and tells people."""
    from reconciler.controller.notifying import Notifying
    from reconciler.controller.observing import Observer

    late_after = timedelta(seconds=settings.late_after)
    observer = Observer(db, clock, runtime.owner, late_after, settings.notify)
    return Notifying(observer, deliveries(db, settings, clock, runtime.owner), clock, runtime.outage)


def service(
    db: Database,
    settings: Settings,
    clock: Clock,
    *,
    person: str,
    sources: Sequence[TreeSource] = (),
    interval: float = 30.0,
    schedule: bool = True,
    executor: Executors | None = None,
    on_event: EventListener | None = None,
    on_report: Callable[[Report], None] | None = None,
    write_to: Path | None = None,
) -> Service:
    """A long-running process: keeps ``sources`` applied, schedules, and executes where ``executor`` is given.

    ``person`` (user@host) is written as who applied; ``interval`` is in seconds; ``write_to`` is a file that
    always holds the status report.
    """
    from reconciler.controller.reconcile import Reconciler
    from reconciler.controller.runtime import Runtime
    from reconciler.controller.service import Service
    from reconciler.controller.survey import Survey

    randomness = random.Random()
    end = threading.Event()
    runtime = Runtime(
        db,
        settings,
        clock,
        executor,
        randomness,
        schedule=schedule,
        on_event=on_event,
        signals=signals(settings, clock),
        delete_archive=_remover(settings, clock),
    )
    if executor is not None:
        executor.listen(runtime.reachability.heard)

    def tell(report: Report) -> None:
        if report.applied is not None:
            runtime.changed()
        if on_report is not None:
            on_report(report)

    reconcilers = [
        Reconciler(
            db,
            source,
            clock,
            randomness,
            owner=runtime.owner,
            applied_by=person,
            interval=interval,
            tell=tell,
            stop=end,
        )
        for source in sources
    ]
    survey = None if settings.listen is None else Survey(db, clock, runtime.outage)
    return Service(
        runtime,
        reconcilers,
        clock,
        end,
        publisher(db, settings, clock, write_to),
        survey,
        notifying(db, settings, clock, runtime) if schedule else None,
    )
