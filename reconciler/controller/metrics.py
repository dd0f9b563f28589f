"""Figures for Prometheus, made at scrape time from what the rooms know; only here its library is known.

Labels are words of ours, the projects of this process and targets of its settings: never a task's or a
server's name, of which there may be 100,000.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from reconciler import __version__
from reconciler.clock import Clock
from reconciler.controller.http import Request, Response, refusal
from reconciler.controller.service import Service
from reconciler.controller.tally import Histogram

_TURN_SECONDS = 5.0
"""How long a scrape waits for another one: a disk that hangs must not take every thread of the port."""


class Metrics:
    """Answers ``GET /metrics``. ``connections``: how many ssh connections are in which state."""

    def __init__(self, service: Service, clock: Clock, connections: Callable[[], Mapping[str, int]]) -> None:
        self._turn = threading.Lock()
        self._registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._registry.register(_OfService(service, clock, connections))

    def handle(self, request: Request) -> Response:
        """In the form that the caller prefers: Prometheus's text or OpenMetrics."""
        if not self._turn.acquire(timeout=_TURN_SECONDS):
            return refusal(HTTPStatus.SERVICE_UNAVAILABLE, "another scrape is still under way")
        try:
            encode, content_type = choose_encoder(request.headers.get("accept", ""))
            return Response(HTTPStatus.OK, encode(self._registry), content_type)
        finally:
            self._turn.release()


class _OfService(Collector):
    def __init__(self, service: Service, clock: Clock, connections: Callable[[], Mapping[str, int]]) -> None:
        self._service = service
        self._runtime = service.runtime
        self._clock = clock
        self._connections = connections

    def collect(self) -> Iterator[Metric]:
        """Every figure once."""
        yield InfoMetricFamily("reconciler_build", "The running program.", {"version": __version__})
        yield from self._health()
        yield from self._slots()
        yield from self._runs()
        yield from self._reconciles()
        yield from self._spool()
        yield from self._waiting()
        yield from self._messages()
        yield _gauge(
            "reconciler_ssh_connections",
            "Servers by the state of their connection.",
            "state",
            self._connections(),
        )
        if (publisher := self._service.publisher) is not None:
            yield _count("reconciler_pages_published", "Status pages written.", publisher.written)

    def _health(self) -> Iterator[Metric]:
        health, runtime = self._service.health, self._runtime
        yield _value("reconciler_ready", "1: /readyz says ready.", not health.troubles())
        yield _value("reconciler_database_up", "1: the database answers.", not runtime.outage.present)
        yield _value("reconciler_loops_stuck", "Loops that do not step.", len(health.stuck()))
        if health.works:
            age = self._clock.monotonic() - runtime.keeper.renewed_at
            yield _value(
                "reconciler_lease_renewal_age_seconds", "Since leases were renewed; they last 15 s.", age
            )

    def _slots(self) -> Iterator[Metric]:
        tally, lag = self._runtime.tally, self._runtime.lag
        yield _value(
            "reconciler_schedule_lag_current_seconds",
            "How late the longest due slot is that nobody claimed.",
            lag.seconds,
        )
        yield _count("reconciler_claims", "Claims that found due slots.", lag.claims)
        yield _count("reconciler_slots_claimed", "Slots that this process claimed to run.", lag.waiting)
        with tally.lock:
            yield _histogram(
                "reconciler_schedule_lag_seconds", "From due to claimed, by this process.", tally.claim_lag
            )
            yield _counts(
                "reconciler_slots_skipped", "Slots closed without a run.", ("reason",), tally.skipped
            )

    def _runs(self) -> Iterator[Metric]:
        tally, runs = self._runtime.tally, self._runtime.runs
        with tally.lock:
            yield _histogram(
                "reconciler_start_lag_seconds", "From due to the host's acknowledged start.", tally.start_lag
            )
            yield _histogram(
                "reconciler_run_duration_seconds", "From the start on the host to the end.", tally.duration
            )
            yield _counts("reconciler_runs", "Runs that ended here.", ("status", "reason"), tally.ended)
            yield _count("reconciler_runs_started", "Runs started or attached to here.", tally.started)
            yield _count("reconciler_retries_planned", "Runs that are tried again.", tally.retries)
        if runs is not None:
            yield _value(
                "reconciler_runs_executing", "Runs that keep a thread of ours busy.", len(runs.executing())
            )
            yield _value(
                "reconciler_runs_held",
                "Runs whose lease is ours, until their end is recorded.",
                len(runs.ids()),
            )
            yield _count("reconciler_leases_lost", "Leases lost while their runs went on.", runs.losses)

    def _reconciles(self) -> Iterator[Metric]:
        ended: Counter[tuple[str, str]] = Counter()
        duration = HistogramMetricFamily(
            "reconciler_reconcile_duration_seconds",
            "One look at a source and its apply.",
            labels=("project",),
        )
        seen = set()
        for reconciler in self._service.reconcilers:
            name, passes = reconciler.name, reconciler.passes
            with passes.lock:
                for result, count in passes.ended.items():
                    ended[name, result] += count
                if name not in seen:
                    # two sources of one project is a mistake that a condition tells
                    seen.add(name)
                    _add(duration, (name,), passes.duration)
        if seen:
            yield _counts(
                "reconciler_reconciles", "Looks at a source, by result.", ("project", "result"), ended
            )
            yield duration

    def _spool(self) -> Iterator[Metric]:
        if self._runtime.runs is None:
            return
        state = self._runtime.spool
        age = 0.0 if state.oldest is None else (self._clock.now() - state.oldest).total_seconds()
        yield _value(
            "reconciler_spool_records", "Records on the disk that the database has not taken.", state.records
        )
        yield _value("reconciler_spool_bytes", "Their size.", state.bytes)
        yield _value(
            "reconciler_spool_oldest_age_seconds", "How long the first of them has waited.", max(0.0, age)
        )
        yield _value("reconciler_spool_refused_files", "Records kept for people.", state.refused)
        yield _value("reconciler_records_pending", "Ends that are in memory alone.", self._runtime.pending)

    def _waiting(self) -> Iterator[Metric]:
        """Of the whole database, seen every ten seconds; absent while it is away."""
        survey = self._service.survey
        depth = None if survey is None else survey.depth
        if depth is None:
            return
        age = 0.0 if depth.oldest is None else (self._clock.now() - depth.oldest).total_seconds()
        yield _value(
            "reconciler_queue_waiting_runs", "Runs in the database that are due and not begun.", depth.waiting
        )
        yield _value(
            "reconciler_queue_oldest_age_seconds", "How long the longest due of them is due.", max(0.0, age)
        )
        yield _value("reconciler_outbox_messages", "Messages to people that are not delivered.", depth.outbox)

    def _messages(self) -> Iterator[Metric]:
        """By target: there are as many as [notify.NAME] tables."""
        messages = self._service.messages
        if not messages:
            return
        yield _counts(
            "reconciler_notifications_sent",
            "Messages that a target took.",
            ("target",),
            {target: one.sent for target, one in messages.items()},
        )
        yield _counts(
            "reconciler_notifications_failed",
            "Attempts that failed; they are made again for a day.",
            ("target",),
            {target: one.failed for target, one in messages.items()},
        )
        yield _counts(
            "reconciler_notifications_given_up",
            "Messages that were given up after a day.",
            ("target",),
            {target: one.given_up for target, one in messages.items()},
        )


def _value(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=float(value))


def _count(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=float(value))


def _gauge(name: str, text: str, label: str, values: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=(label,))
    for key, value in sorted(values.items()):
        family.add_metric((key,), value)
    return family


def _counts(
    name: str, text: str, labels: tuple[str, ...], values: Mapping[str, int] | Mapping[tuple[str, str], int]
) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric((key,) if isinstance(key, str) else key, value)
    return family


def _histogram(name: str, text: str, histogram: Histogram) -> Metric:
    family = HistogramMetricFamily(name, text, labels=())
    _add(family, (), histogram)
    return family


def _add(family: HistogramMetricFamily, labels: tuple[str, ...], histogram: Histogram) -> None:
    buckets = [
        ("+Inf" if bound == float("inf") else f"{bound:g}", float(count))
        for bound, count in histogram.cumulated()
    ]
    family.add_metric(labels, buckets, histogram.sum)
