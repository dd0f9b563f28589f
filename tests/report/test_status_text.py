"""The report as a person reads it: whole outputs, and what must hold of any."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconciler.model.enums import Kind
from reconciler.report.judge import TaskFacts, judge_project, judge_server, judge_task
from reconciler.report.layout import Style
from reconciler.report.overdue import Overdue
from reconciler.report.status import ObjectStatus, StatusReport
from reconciler.report.status_markdown import LIMIT, status_markdown
from reconciler.report.status_text import status_text
from reconciler.store.views import ProjectView, RevisionView, ServerView, SuspensionView
from tests.report.views import run_view, task_view
from tests.report.world import APPLIED, COMMIT, NOW, SUMMARY

LAST_NIGHT = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)
TONIGHT = LAST_NIGHT + timedelta(days=1)

REVISION = RevisionView(
    12, "shop", COMMIT, "main", "Ann <a@x>", "m", False, "ann@laptop", APPLIED, "d" * 64, None, SUMMARY
)
PROJECT = judge_project(ProjectView(1, "shop", "/srv", {}, COMMIT, APPLIED, APPLIED, REVISION, 1, 1), [])


def server(name: str) -> ServerView:
    document = {"metadata": {}, "spec": {"host": "h"}}
    return ServerView(
        1, name, "shop", "h", 22, "u", "", True, document, False, 1, False, "servers.yaml", 1, 12, "ann",
        APPLIED, APPLIED, None,
    )  # fmt: skip


def report(*objects: ObjectStatus) -> StatusReport:
    return StatusReport(NOW, (PROJECT, *objects))


def nightly(name: str, facts: TaskFacts, **values: Any) -> ObjectStatus:
    given: dict[str, Any] = {"schedule": "0 2 * * *", "next_run": TONIGHT, "next_slot": TONIGHT, **values}
    return judge_task(task_view(name, **given), facts)


def one_of_each() -> StatusReport:
    ok, failed = run_view(LAST_NIGHT), run_view(LAST_NIGHT, status=2, exit_code=12, attempt=2)
    due = NOW - timedelta(hours=3)
    running = run_view(NOW - timedelta(minutes=4), status=0)
    degraded = nightly("restore", TaskFacts(failed, failed), timezone="Europe/Berlin")
    suspension = SuspensionView("migration", "ann", NOW - timedelta(hours=1), NOW + timedelta(hours=2))
    unreachable = run_view(LAST_NIGHT, None, status=2, reason="unreachable", exit_code=None)
    return report(
        judge_server(server("db-1"), ok),
        judge_server(server("db-9"), unreachable),
        nightly("备份数据库", TaskFacts(ok, ok)),
        replace(degraded, error_lines=("rsync: connection closed", "rsync error: code 12")),
        nightly(
            "extract",
            TaskFacts(ok, ok, overdue=Overdue("NotClaimed", due, due, due + timedelta(minutes=1))),
            next_run=due,
        ),
        nightly("report", TaskFacts(ok, ok, suspension=suspension)),
        nightly("fresh", TaskFacts()),
        nightly("manual", TaskFacts(), schedule=None, next_run=None, next_slot=None),
        nightly("busy", TaskFacts(running, ok, (running,))),
        nightly("edited", TaskFacts(ok, ok), drifted=True),
    )


GOLDEN = """\
2 of 8 tasks and 1 server need attention  2026-03-01 12:00:00 UTC
2 servers, 8 tasks: 1 overdue, 1 degraded, 1 suspended, 2 unknown, 3 healthy · 1 running · 1 drifted
project shop: revision 12 of commit 1a2b3c4d5e6f was applied by ann@laptop 3d ago

OVERDUE  extract@db-1  tasks.yaml:3
  the slot of 2026-03-01 09:00:00 UTC was not claimed by any scheduler; is a controller running?
  due 3h ago (09:00 UTC)

DEGRADED  server db-9  servers.yaml:1
  the host could not be reached at 2026-03-01 02:00:00 UTC (execution 7000000000000000001 of backup)

DEGRADED  restore@db-1  tasks.yaml:3
  exit code 12 after 3.2s at 2026-03-01 02:00:03 UTC, attempt 2 (9h ago)
  │ rsync: connection closed
  │ rsync error: code 12
  next run in 14h (Mon 03:00 Europe/Berlin) · reconciler logs 7000000000000000001

Suspended (1)
  report@db-1  suspended: by ann until 2026-03-01 14:00:00 UTC: migration

Changed by hand (1)
  edited@db-1  drifted: the row is not what was applied; the next apply puts it back

Healthy (3)
  TASK             LAST RUN  TOOK  NEXT RUN
  备份数据库@db-1   10h ago  3.2s    in 14h
  busy@db-1         running    4m    in 14h
  edited@db-1       10h ago  3.2s    in 14h

Not run yet (2)
  TASK         LAST RUN  TOOK    NEXT RUN
  fresh@db-1          -     -      in 14h
  manual@db-1         -     -  when asked
"""


def test_the_text_has_trouble_first_and_everything_once() -> None:
    assert "\n".join(status_text(one_of_each())) + "\n" == GOLDEN


def test_the_colours_say_what_is_bad() -> None:
    painted: dict[Style, list[str]] = {}

    def paint(text: str, style: Style) -> str:
        painted.setdefault(style, []).append(text)
        return text

    assert "\n".join(status_text(one_of_each(), paint)) + "\n" == GOLDEN
    assert painted[Style.BAD][:2] == ["2 of 8 tasks and 1 server need attention", "OVERDUE"]


@pytest.mark.parametrize(
    ("objects", "headline"),
    [
        ((), "0 tasks, nothing needs attention"),
        ((nightly("a", TaskFacts(run_view(NOW), run_view(NOW))),), "1 task, nothing needs attention"),
        ((nightly("a", TaskFacts()),), "1 task, nothing needs attention, 1 of them has not run yet"),
        (
            (nightly("a", TaskFacts(), drifted=True),),
            "1 task, nothing failed, 1 of them has not run yet; but 1 object was changed by hand",
        ),
        (
            (nightly("a", TaskFacts(run_view(NOW, status=2), run_view(NOW, status=2))),),
            "1 of 1 task needs attention",
        ),
    ],
)
def test_the_headline_says_whether_one_may_go_back_to_sleep(
    objects: tuple[ObjectStatus, ...], headline: str
) -> None:
    assert next(status_text(report(*objects))).startswith(headline)


def test_an_empty_database_says_how_to_begin() -> None:
    text = "\n".join(status_text(StatusReport(NOW, ())))
    assert "reconciler apply" in text


def test_markdown_escapes_what_would_become_markup() -> None:
    failed = run_view(LAST_NIGHT, status=2)
    item = replace(
        nightly("a|b*c<d>`e`", TaskFacts(failed, failed)),
        error_lines=("``` not the end ```", "<script>"),
    )
    page = status_markdown(report(item, nightly("x|y", TaskFacts(run_view(NOW), run_view(NOW)))))
    assert "### Degraded: `` a|b*c<d>`e`@db-1 ``" in page
    assert "````text\n``` not the end ```\n<script>\n````" in page
    assert "| `x\\|y@db-1` |" in page


def test_markdown_of_any_size_fits_a_comment_and_counts_the_rest() -> None:
    failed, ok = run_view(LAST_NIGHT, status=2), run_view(LAST_NIGHT)
    many = [nightly(f"失败-{n}", TaskFacts(failed, failed)) for n in range(2000)]
    many += [nightly(f"good-{n}", TaskFacts(ok, ok)) for n in range(5000)]
    page = status_markdown(report(*many))
    assert len(page) <= LIMIT
    assert "more that need attention" in page
    shown = page.count("### Degraded")
    assert f"and {2000 - shown} more that need attention" in page


def test_the_text_of_very_many_objects_stays_readable() -> None:
    failed, ok = run_view(LAST_NIGHT, status=2), run_view(LAST_NIGHT)
    many = [nightly(f"bad-{n}", TaskFacts(failed, failed)) for n in range(1000)]
    many += [nightly(f"good-{n}", TaskFacts(ok, ok)) for n in range(1000)]
    lines = list(status_text(report(*many)))
    assert len(lines) < 400
    assert "  … 880 more: `reconciler status -o json` has all" in lines
    assert "  … 900 more: `reconciler get tasks` lists them" in lines


def test_a_message_from_the_database_cannot_move_the_cursor() -> None:
    bad = run_view(LAST_NIGHT, status=2, reason="cancelled", cancel_requested_by="\x1b[2Jbob\n")
    text = "\n".join(status_text(report(nightly("a", TaskFacts(bad, bad)))))
    assert "\x1b" not in text
    assert "cancelled by \\x1b[2Jbob⏎" in text


def test_summaries_count_by_kind() -> None:
    assert one_of_each().summary["servers"] == 2
    assert len(one_of_each().of(Kind.TASK)) == 8
