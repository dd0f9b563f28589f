"""What people read: links, single messages, digests, and the pace at which they come."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.notify.link import line_link, line_text
from reconciler.notify.note import Fact, Run, digest, last_lines, single
from reconciler.notify.pace import AT_ONCE, MINUTE, Pace

AT = datetime(2026, 11, 26, 2, 0, tzinfo=UTC)
COMMIT = "1a2b3c4d5e6f" + "0" * 28
RUN = Run(
    7, 3, AT, AT + timedelta(seconds=30), AT + timedelta(seconds=31), AT + timedelta(seconds=40), 3,
    ("pg_dump: no space\x1b[31m", "second\u202eline"), "error output",
)  # fmt: skip
WHERE = "https://github.com/acme/fleet/blob/1a2b/tasks.yaml#L12"
FAILURE = Fact("failure", "billing", "backup", "db-1", "exit-code", "exit code 3", AT, WHERE, RUN)


@pytest.mark.parametrize(
    ("source", "link"),
    [
        ("https://github.com/acme/fleet.git//manifests", "https://github.com/acme/fleet/blob/{c}/manifests/t/a%20b.yaml#L12"),
        ("git@github.com:acme/fleet.git//", "https://github.com/acme/fleet/blob/{c}/t/a%20b.yaml#L12"),
        ("ssh://git@gitlab.acme.example:2222/ops/sub/fleet.git//m", "https://gitlab.acme.example/ops/sub/fleet/-/blob/{c}/m/t/a%20b.yaml#L12"),
        ("https://gitea.acme.example:3000/ops/fleet//", "https://gitea.acme.example:3000/ops/fleet/src/commit/{c}/t/a%20b.yaml#L12"),
        ("https://codeberg.org/ops/fleet.git", "https://codeberg.org/ops/fleet/src/commit/{c}/t/a%20b.yaml#L12"),
        ("https://git.acme.example/ops/fleet.git//m", None),
        ("/srv/git/fleet//manifests", None),
        ("file:///srv/github/fleet//manifests", None),
        ("https://[::1/broken//m", None),
        ("", None),
    ],
)  # fmt: skip
def test_a_line_is_linked_in_the_forges_that_are_known(source: str, link: str | None) -> None:
    expected = None if link is None else link.replace("{c}", COMMIT)
    assert line_link(source, COMMIT, "t/a b.yaml", 12) == expected
    assert line_link(source, None, "t/a b.yaml", 12) is None


def test_elsewhere_the_place_is_said() -> None:
    assert line_text(COMMIT, "tasks.yaml", 12) == "tasks.yaml:12 at commit 1a2b3c4d5e6f"
    assert line_text(None, "tasks.yaml", 12) == "tasks.yaml:12"


def test_a_failure_tells_all_that_whoever_is_on_call_needs() -> None:
    note = single("1", FAILURE)
    assert note.title == "FAILED backup@db-1 (billing): exit code 3"
    assert note.text == (
        "Task backup on server db-1, project billing, failed: exit code 3, attempt 3.\n"
        "Was due 2026-11-26 02:00:30 UTC, started 2026-11-26 02:00:31 UTC, ended 2026-11-26 02:00:40 UTC.\n"
        "\n"
        "Last lines of its error output:\n"
        "  pg_dump: no space\\x1b[31m\n"
        "  second\\u202eline\n"
        "\n"
        "Declared at: https://github.com/acme/fleet/blob/1a2b/tasks.yaml#L12\n"
        "\n"
        "Next:\n"
        "  reconciler logs 7    all that it wrote\n"
        "  reconciler explain backup@db-1    why it ran, or did not\n"
        "  reconciler run backup@db-1    runs it now"
    )
    assert note.data["execution"]["exitCode"] == 3


@pytest.mark.parametrize("event", ["recovery", "overdue", "drift", "stalled", "guard"])
def test_every_event_has_a_title_a_reason_and_a_next_step(event: str) -> None:
    task = None if event in ("stalled", "guard") else "backup"
    note = single("1", Fact(event, "billing", task, "db-1" if task else None, "Word", "said so", AT))
    assert "billing" in note.title
    assert "said so" in note.text
    assert "\nNext:\n  " in note.text
    assert len(note.title) <= 120


def test_a_digest_counts_and_shows_the_worst_first() -> None:
    facts = [
        FAILURE if n % 10 else Fact("overdue", "shop", f"t{n}", "web-1", "NotClaimed", "late", AT)
        for n in range(500)
    ]
    note = digest("d", facts, AT, more=False)
    assert note.title == "500 events: 50 overdue, 450 failure"
    listed = [line for line in note.text.splitlines() if line.startswith(("OVERDUE", "FAILED"))]
    assert len(listed) == 20
    assert all(line.startswith("OVERDUE") for line in listed)
    assert "… and 480 more" in note.text
    assert "By project: billing 450, shop 50" in note.text
    assert note.data["events"] == {"overdue": 50, "failure": 450}


@given(st.text(), st.text(), st.text())
def test_nothing_that_a_command_wrote_leaves_its_line_or_hides(task: str, said: str, output: str) -> None:
    run = Run(7, 1, AT, AT, None, None, None, last_lines(output, 10))
    fact = Fact("failure", "p", task, "s", "lost", said, AT, None, run)
    for note in (single("1", fact), digest("2", [fact, fact], AT, more=True)):
        assert len(note.title) <= 120
        for one in note.title + note.text.replace("\n", ""):
            assert unicodedata.category(one) not in ("Cc", "Cf", "Cs", "Zl", "Zp")


def test_the_first_few_go_at_once_and_a_burst_is_one_digest_a_minute() -> None:
    pace, now, single_ones, digests = Pace(), 1000.0, 0, []
    pending = 500
    for second in range(200):
        count, together = pace.plan(pending, now)
        for _ in range(count):
            pace.sent(now)
        single_ones += count
        pending -= count
        if together:
            pace.sent(now, digest=True)
            digests.append((second, pending))
            pending = 0
        now += 1
        if 100 <= second < 110:
            pending += 10
    assert single_ones == AT_ONCE
    assert digests == [(60, 495), (120, 100)]


def test_a_few_an_hour_are_never_held_back() -> None:
    pace = Pace()
    for n in range(100):
        assert pace.plan(1, n * 20.0) == (1, False)
        pace.sent(n * 20.0)


@given(st.lists(st.tuples(st.integers(0, 30), st.floats(0, 40)), max_size=60))
def test_nothing_waits_longer_than_a_minute_and_few_come_one_by_one(
    arrivals: list[tuple[int, float]],
) -> None:
    pace, now, pending, oldest = Pace(), 0.0, 0, 0.0
    sent: list[float] = []
    for more, pause in [*arrivals, *[(0, 30.0)] * 6]:
        if more and not pending:
            oldest = now
        pending += more
        count, together = pace.plan(pending, now)
        for _ in range(count):
            pace.sent(now)
            sent.append(now)
        pending -= count
        if together:
            pace.sent(now, digest=True)
            pending = 0
        if pending:
            assert now - oldest <= MINUTE + 40
        assert len([at for at in sent if now - at < MINUTE]) <= 2 * AT_ONCE
        now += pause
    assert pending == 0


def test_a_dead_target_is_asked_ever_more_seldom() -> None:
    pace, now, asked = Pace(), 0.0, 0
    while now < 3600:
        wait = pace.wait(now)
        if wait:
            now += wait
            continue
        asked += 1
        pace.failed(now)
    assert asked < 25
    pace.sent(now)
    assert pace.wait(now) == 0
