"""Pages of the status report: JUnit and HTML of what is true, and files that are always whole."""

from __future__ import annotations

import json
import os
import re
import threading
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from reconciler.controller.publishing import LOOK_SECONDS, Publisher
from reconciler.errors import Refused
from reconciler.model.execution import State
from reconciler.report.pages import form_of, status_page, write_page
from reconciler.report.status_html import RUNS, strip_of
from tests.report.world import NOW, World
from tests.services.browser import Browser
from tests.services.clock import FakeClock
from tests.store.conftest import Migrated

LATE = timedelta(seconds=60)
HOSTILE = "<script>alert(1)</script> & \"'\x07"


@pytest.fixture
def url(migrated: Migrated, tmp_path: Path) -> str:
    return migrated.url("sqlite", tmp_path / "state.db")


@pytest.fixture
def fleet(world: World) -> World:
    world.server("db-1")
    backup = world.task("backup", "db-1")
    for hours in range(40, 0, -1):
        world.run(backup, NOW - timedelta(hours=hours), status=2 if hours == 1 else 1, error=HOSTILE)
    world.run(world.task("report", "db-1"), NOW - timedelta(hours=10))
    world.task("asleep", "db-1", spec={"schedule": None})
    world.suspend(task=world.task("paused", "db-1"), reason=HOSTILE)
    return world


class Page(HTMLParser):
    """Every tag must be closed in order; collects names, addresses and text."""

    VOID = frozenset({"meta", "br", "path"})

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.addresses: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def page_of(world: World, form: str) -> str:
    return status_page(world.db, form, NOW, LATE)


def test_the_page_says_what_is_wrong_first_with_the_last_words_of_the_failure(fleet: World) -> None:
    page = Page(page_of(fleet, "html"))
    places = [page.text.index(word) for word in ("needs attention", "backup@db-1", "Suspended", "Healthy")]
    assert places == sorted(places)
    assert "exit code 1" in page.text
    assert "reconciler logs" in page.text


def test_the_page_needs_nothing_else_and_stored_text_is_only_text(fleet: World) -> None:
    text = page_of(fleet, "html")
    page = Page(text)
    assert page.addresses == []
    assert "script" not in page.tags
    assert "<script>alert(1)</script>" in page.text
    assert "\x07" not in text


def test_a_strip_shows_the_last_thirty_runs_and_says_them_too(fleet: World) -> None:
    text = page_of(fleet, "html")
    assert 'aria-label="last runs: 29 success, 1 failed"' in text
    strip = strip_of([State.FAILED, *[State.SUCCESS] * 40, State.RUNNING])
    assert strip is not None
    assert sum(path.count("M") for _, path in strip.paths) == RUNS
    assert [name for name, _ in strip.paths] == ["ok", "now"]
    assert strip_of([]) is None


def test_junit_fails_what_needs_attention_and_skips_what_did_not_run(fleet: World) -> None:
    root = ElementTree.fromstring(page_of(fleet, "junit"))
    cases = {case.get("name"): [child.tag for child in case] for case in root.iter("testcase")}
    assert cases == {
        "project shop": [],
        "server db-1": [],
        "asleep@db-1": ["skipped"],
        "backup@db-1": ["failure"],
        "paused@db-1": ["skipped"],
        "report@db-1": [],
    }
    assert (root.get("tests"), root.get("failures"), root.get("skipped")) == ("6", "1", "2")
    failure = root.find(".//failure")
    assert failure is not None
    assert "<script>alert(1)</script>" in (failure.text or "")


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.html", "html"),
        ("a.JSON", "json"),
        ("a.md", "markdown"),
        ("a.xml", "junit"),
        ("a.txt", "text"),
        ("a", "text"),
    ],
)
def test_a_file_gets_the_form_of_its_name(name: str, form: str) -> None:
    assert form_of(Path(name)) == form


def test_a_page_is_replaced_at_once(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    pages = ["a" * 200_000, "b" * 200_000]
    write_page(path, pages[0])
    seen: set[str] = set()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            seen.add(path.read_text())

    reader = threading.Thread(target=look)
    reader.start()
    for turn in range(60):
        write_page(path, pages[turn % 2])
    done.set()
    reader.join()
    assert seen <= set(pages)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["page.html"]
    assert os.stat(path).st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    found = re.search(r"Umask:\s*(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1], 8)


def test_a_page_that_cannot_be_written_is_told_once_and_leaves_the_old_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "pages"
    with pytest.raises(Refused, match="No such file or directory"):
        write_page(folder / "page.txt", "x")
    publisher = Publisher(folder / "page.txt", lambda: "text\n", FakeClock(NOW))
    assert publisher.step() == publisher.step() == LOOK_SECONDS
    assert caplog.text.count("cannot be written") == 1
    folder.mkdir()
    publisher.step()
    assert (folder / "page.txt").read_text() == "text\n"


@pytest.mark.parametrize("width", [320, 412, 1280])
def test_a_real_browser_shows_the_page_without_scrolling_sideways(
    browser: Browser, fleet: World, tmp_path: Path, width: int
) -> None:
    fleet.run(fleet.task("x" * 100, "db-1"), NOW - timedelta(hours=3), status=2, error="y" * 500)
    page = tmp_path / "page.html"
    page.write_text(page_of(fleet, "html"), encoding="utf-8")
    whole, beyond, title = json.loads(browser.measure(page, width))
    assert (whole, beyond) == (width, 0)
    assert title == "2 of 5 tasks need attention"
