"""A source that fails, and how often it is looked at, by a clock that the test moves."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from reconciler.controller.reconcile import LONGEST_PAUSE, News, Reconciler, Report
from reconciler.controller.webhook import Push
from reconciler.errors import SourceUnavailable, SourceUnreadable, SourceUntrusted
from reconciler.manifest.tree import Tree, read_tree
from reconciler.model.enums import Kind
from reconciler.report.build import status_report
from reconciler.store.engine import Database
from reconciler.store.leases import acquire
from tests.services.clock import FakeClock

pytestmark = pytest.mark.parametrize("url", ["sqlite"], indirect=True)

GOOD = """\
apiVersion: reconciler/v1
kind: Project
metadata: {name: shop}
---
apiVersion: reconciler/v1
kind: Server
metadata: {name: here}
spec: {host: localhost, connection: local}
"""


@dataclass
class Source:
    """A repository that does what ``answer`` does; it remembers when it was asked."""

    clock: FakeClock
    answer: Callable[[], Tree]
    place: str | None = "https://git.example/fleet//"
    label: str = "fleet"
    watched: Path | None = None
    signer: str | None = None
    asked: list[float] = field(default_factory=list)

    def read(self, stop: threading.Event) -> Tree:
        self.asked.append(self.clock.monotonic())
        return self.answer()

    def concerns(self, push: Push) -> bool:
        return False

    def is_ancestor(self, older: str, newer: str) -> bool:
        return False


class World:
    def __init__(self, db: Database, folder: Path) -> None:
        self.db = db
        self.folder = folder
        self.clock = FakeClock()
        self.source = Source(self.clock, lambda: read_tree(folder))
        self.told: list[Report] = []
        self.reconciler = self.another("one")

    def another(self, owner: str) -> Reconciler:
        return Reconciler(
            self.db,
            self.source,
            self.clock,
            random.Random(1),
            owner=owner,
            applied_by="ann@laptop",
            interval=30.0,
            tell=self.told.append,
            stop=threading.Event(),
        )

    def live(self, seconds: float) -> int:
        """Let the loop do its steps for so long; how often the source was asked."""
        before, end = len(self.source.asked), self.clock.monotonic() + seconds
        while (left := end - self.clock.monotonic()) > 0:
            self.clock.advance(min(left, max(0.01, self.reconciler.step())))
        return len(self.source.asked) - before

    def fails(self, error: Exception) -> None:
        def answer() -> Tree:
            raise error

        self.source.answer = answer

    def works(self) -> None:
        self.source.answer = lambda: read_tree(self.folder)

    def stalled(self) -> str | None:
        report = status_report(self.db, self.clock.now(), timedelta(seconds=60))
        for item in report.of(Kind.PROJECT):
            for condition in item.conditions:
                if condition.type == "Stalled":
                    return condition.reason
        return None

    def news(self) -> list[News]:
        return [report.news for report in self.told]


@pytest.fixture
def world(db: Database, tmp_path: Path) -> World:
    folder = tmp_path / "tree"
    folder.mkdir()
    (folder / "a.yaml").write_text(GOOD)
    made = World(db, folder)
    made.live(1)
    assert made.news() == [News.APPLIED]
    made.told.clear()
    return made


def test_a_healthy_source_is_looked_at_once_an_interval(world: World) -> None:
    assert world.live(300) == 10
    assert world.told == []


def test_a_repository_that_only_a_person_can_mend_is_asked_under_once_a_minute(world: World) -> None:
    world.fails(SourceUnreadable("no such branch"))
    world.live(60)
    assert world.live(3600) <= 60
    assert (world.news(), world.stalled()) == ([News.STOPPED], "SourceUnreadable")


def test_a_repository_that_does_not_answer_is_asked_later_and_later_and_told_once(world: World) -> None:
    world.fails(SourceUnavailable("does not answer"))
    world.live(3600)
    pauses = [
        after - before for before, after in zip(world.source.asked, world.source.asked[1:], strict=False)
    ]
    assert max(pauses[:6]) < 60
    assert LONGEST_PAUSE * 0.7 <= pauses[-1] <= LONGEST_PAUSE * 1.3
    assert (world.news(), world.stalled()) == ([News.STOPPED], "SourceUnavailable")
    # a webhook does not wait for that
    world.works()
    world.reconciler.changed()
    assert world.live(1) == 1
    assert (world.news(), world.stalled()) == ([News.STOPPED, News.WELL_AGAIN], None)


def test_an_invalid_tree_is_told_once_until_it_changes(world: World) -> None:
    place = world.folder / "a.yaml"
    place.write_text(GOOD.replace("host:", "hots:"))
    world.live(600)
    place.write_text(GOOD.replace("host:", "hst:"))
    world.live(600)
    assert world.news() == [News.INVALID, News.INVALID]
    assert world.stalled() == "ManifestsInvalid"
    place.write_text(GOOD)
    world.live(100)
    assert (world.news()[2:], world.stalled()) == ([News.WELL_AGAIN], None)


def test_an_untrusted_commit_is_told_with_its_reason(world: World) -> None:
    world.fails(SourceUntrusted("commit abc has no signature", details={"reason": "Unsigned"}))
    world.live(100)
    assert (world.news(), world.stalled()) == ([News.STOPPED], "SourceUntrusted")


def test_whoever_stands_by_says_nothing_of_the_project(world: World) -> None:
    with world.db.write() as connection:
        assert acquire(world.db, connection, "leader/shop", "one", 15.0)
    other = world.another("two")
    other.step()
    assert world.news() == [News.STANDING_BY]
    world.fails(SourceUnavailable("does not answer"))
    world.clock.advance(31)
    other.step()
    assert world.stalled() is None


def test_the_clock_jumping_back_or_ahead_delays_nothing(world: World) -> None:
    # only the wall clock jumps; the loop goes by the monotonic one
    world.clock.step(-86_400)
    assert world.live(60) == 2
    world.clock.step(2 * 86_400)
    assert world.live(60) == 2
    assert world.told == []
