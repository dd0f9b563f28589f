"""Lists and overviews read from the database, on all three: the right rows, in order, page by page."""

from __future__ import annotations

from datetime import timedelta

import pytest

from reconciler.errors import Ambiguous, NotFound, UsageError
from reconciler.model.execution import State
from reconciler.report.build import status_report
from reconciler.report.shapes import status_json
from reconciler.store import executions as ledger
from reconciler.store import listing
from reconciler.store.addresses import (
    deleted_tasks,
    parse_address,
    project_ids,
    resolve_one_task,
    resolve_tasks,
    server_ids,
)
from reconciler.store.cursor import encode
from reconciler.store.executions import list_executions
from reconciler.store.listing import ObjectFilter, list_servers, list_tasks
from reconciler.store.overview import recorded_slots, server_contacts, task_runs
from reconciler.store.pages import ExecutionFilter
from reconciler.store.strips import last_states
from reconciler.store.tables import Server, Task
from reconciler.store.views import Page, TaskView
from tests.report.world import NOW, World

HOUR = timedelta(hours=1)
LATE = timedelta(seconds=60)


@pytest.fixture
def fleet(world: World) -> dict[str, int]:
    """Two projects, two servers, four tasks: two of them with one name, one Chinese, one deleted."""
    world.project("billing")
    world.server("db-1", labels={"role": "db", "env": "prod"})
    world.server("web-1", labels={"role": "web", "env": "prod"})
    return {
        "backup@db-1": world.task("backup", "db-1", labels={"tier": "gold"}),
        "backup@web-1": world.task("backup", "web-1", labels={"tier": "gold", "x": 'a"b'}),
        "备份@db-1": world.task("备份", "db-1", project="billing"),
        "gone@db-1": world.task("gone", "db-1", deleted_at=NOW, status=0, next_run=None, next_slot=None),
    }


def pages(world: World, wanted: ExecutionFilter, limit: int) -> list[list[int]]:
    """The ids of every page."""
    found: list[list[int]] = []
    after: str | None = None
    with world.db.read() as conn:
        while True:
            page = list_executions(conn, wanted, limit=limit, after=after)
            found.append([run.id for run in page.items])
            after = page.next
            if after is None:
                return found


def test_pages_of_executions_are_newest_first_and_leave_nothing_out(
    world: World, fleet: dict[str, int]
) -> None:
    task = fleet["backup@db-1"]
    ids = [world.run(task, NOW - n * HOUR) for n in range(5)]
    assert pages(world, ExecutionFilter(), 2) == [ids[:2], ids[2:4], ids[4:]]
    assert pages(world, ExecutionFilter(), 5) == [ids]


def test_a_page_is_the_same_while_new_rows_arrive(world: World, fleet: dict[str, int]) -> None:
    task = fleet["backup@db-1"]
    ids = [world.run(task, NOW - n * HOUR) for n in range(4)]
    with world.db.read() as conn:
        first = list_executions(conn, ExecutionFilter(), limit=2)
    world.run(task, NOW + HOUR)
    with world.db.read() as conn:
        second = list_executions(conn, ExecutionFilter(), limit=2, after=first.next)
    assert [run.id for run in (*first.items, *second.items)] == ids
    assert second.next is None


@pytest.mark.parametrize(("few", "looked"), [(200, 5000), (0, 5000), (0, 0)])
def test_each_filter_of_executions_keeps_what_fits(
    world: World, fleet: dict[str, int], few: int, looked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 0: as in a project of very many tasks, whose list is read from the newest row down; or, if none of them
    # is among the newest rows, from those tasks that have run last
    monkeypatch.setattr("reconciler.store.pages.FEW_TASKS", few)
    monkeypatch.setattr("reconciler.store.pages.LOOKED_THROUGH", looked)
    db, web, chinese, gone = fleet.values()
    success = world.run(db, NOW - 5 * HOUR)
    failed = world.run(db, NOW - 4 * HOUR, status=2)
    skipped = world.run(web, NOW - 3 * HOUR, status=3)
    running = world.run(web, NOW - 2 * HOUR, status=0)
    waiting = world.run(chinese, NOW - HOUR, status=0, seconds=None)
    old = world.run(gone, NOW - 60 * HOUR)

    def ids(**wanted: object) -> list[int]:
        (page,) = pages(world, ExecutionFilter(**wanted), 50)  # type: ignore[arg-type]
        return page

    assert ids() == [waiting, running, skipped, failed, success, old]
    assert ids(task_ids=[db]) == [failed, success]
    assert ids(task_ids=[db, web]) == [running, skipped, failed, success]
    assert ids(state=State.WAITING) == [waiting]
    assert ids(state=State.RUNNING) == [running]
    assert ids(state=State.SUCCESS) == [success, old]
    assert ids(state=State.FAILED) == [failed]
    assert ids(state=State.SKIPPED) == [skipped]
    servers = {name: world.id_of(Server, name) for name in ("db-1", "web-1")}
    assert ids(server_id=servers["web-1"]) == [running, skipped]
    assert ids(server_id=servers["db-1"], state=State.FAILED) == [failed]
    assert ids(server_id=servers["db-1"], state=State.WAITING) == [waiting]
    with world.db.read() as conn:
        projects = project_ids(conn, ["shop", "billing"])
    assert ids(project_id=projects["billing"]) == [waiting]
    assert ids(project_id=projects["shop"], state=State.SKIPPED) == [skipped]
    assert ids(labels={"tier": "gold"}) == [running, skipped, failed, success]
    assert ids(labels={"tier": "gold", "x": 'a"b'}) == [running, skipped]
    assert ids(labels={"tier": "gol"}) == []
    assert ids(since=NOW - 4 * HOUR) == [waiting, running, skipped, failed]
    assert ids(task_ids=[db], server_id=servers["web-1"]) == []


def test_an_execution_shows_what_it_was_run_from(world: World, fleet: dict[str, int]) -> None:
    run = world.run(fleet["备份@db-1"], NOW, seconds=1.25, requested_by="bob", trigger="manual", count=3)
    with world.db.read() as conn:
        (view,) = ledger.last_executions(conn, fleet["备份@db-1"])
    assert (view.id, view.task, view.server, view.project) == (run, "备份", "db-1", "billing")
    assert (view.started_at, view.finished_at) == (NOW, NOW + timedelta(seconds=1.25))
    assert (view.duration_seconds, view.requested_by, view.count) == (1.25, "bob", 3)
    assert view.commit is not None
    assert len(view.commit) == 40


def test_the_last_ten_are_the_ten_newest(world: World, fleet: dict[str, int]) -> None:
    task = fleet["backup@db-1"]
    ids = [world.run(task, NOW - n * HOUR) for n in range(12)]
    with world.db.read() as conn:
        assert [run.id for run in ledger.last_executions(conn, task)] == ids[:10]
        server = world.id_of(Server, "db-1")
        assert [run.id for run in ledger.last_of_server(conn, server, 3)] == ids[:3]


def test_the_latest_run_is_neither_skipped_nor_waiting(world: World, fleet: dict[str, int]) -> None:
    task = fleet["backup@db-1"]
    with world.db.read() as conn:
        assert ledger.latest_run(conn, task) is None
    run = world.run(task, NOW - 3 * HOUR)
    world.run(task, NOW - 2 * HOUR, status=3)
    waiting = world.run(task, NOW - HOUR, status=0, seconds=None)
    with world.db.read() as conn:
        latest, with_waiting = ledger.latest_run(conn, task), ledger.latest_run(conn, task, waiting=True)
    assert latest is not None
    assert with_waiting is not None
    assert (latest.id, with_waiting.id) == (run, waiting)


def test_tails_are_cut_by_the_database_also_where_the_text_is_shorter(
    world: World, fleet: dict[str, int]
) -> None:
    run = world.run(fleet["backup@db-1"], NOW, output="ab备份", error="0123456789")
    with world.db.read() as conn:
        tail = ledger.tails(conn, [run], 5)[run]
        assert (tail.output, tail.error) == ("ab备份", "56789")
        assert ledger.read_output(conn, run).error == "0123456789"


def test_an_unknown_execution_is_not_found(world: World) -> None:
    with world.db.read() as conn, pytest.raises(NotFound, match="no execution 42"):
        ledger.get_execution(conn, 42)


def test_tasks_are_listed_by_project_name_and_server_in_pages(world: World, fleet: dict[str, int]) -> None:
    def addresses(page: Page[TaskView]) -> list[str]:
        return [task.address for task in page.items]

    with world.db.read() as conn:
        first = list_tasks(conn, ObjectFilter(), limit=2)
        second = list_tasks(conn, ObjectFilter(), limit=2, after=first.next)
        assert addresses(first) == ["backup@db-1", "backup@web-1"]
        assert addresses(second) == ["备份@db-1"]
        assert second.next is None
        assert addresses(list_tasks(conn, ObjectFilter(deleted=True), limit=5)) == ["gone@db-1"]
        web = world.id_of(Server, "web-1")
        assert addresses(list_tasks(conn, ObjectFilter(server_id=web), limit=5)) == ["backup@web-1"]
        assert addresses(list_tasks(conn, ObjectFilter(labels={"x": 'a"b'}), limit=5)) == ["backup@web-1"]
        assert addresses(list_tasks(conn, ObjectFilter(since=NOW), limit=5)) == []
        assert addresses(list_tasks(conn, ObjectFilter(ids=[]), limit=5)) == []


def test_servers_are_listed_by_name_in_pages(world: World, fleet: dict[str, int]) -> None:
    with world.db.read() as conn:
        first = list_servers(conn, ObjectFilter(), limit=1)
        second = list_servers(conn, ObjectFilter(), limit=1, after=first.next)
        assert [server.name for server in (*first.items, *second.items)] == ["db-1", "web-1"]
        assert second.next is None
        found = list_servers(conn, ObjectFilter(labels={"role": "web"}), limit=5)
        assert [server.name for server in found.items] == ["web-1"]


def test_projects_and_revisions_are_listed_in_pages(world: World, fleet: dict[str, int]) -> None:
    newest = world.revision(message=None, commit=None, author=None, branch=None, changes=[{"action": "x"}])
    with world.db.read() as conn:
        first = listing.list_projects(conn, limit=1)
        second = listing.list_projects(conn, limit=1, after=first.next)
        assert [(item.name, item.servers, item.tasks) for item in (*first.items, *second.items)] == [
            ("billing", 0, 1),
            ("shop", 2, 2),
        ]
        revisions = listing.list_revisions(conn, limit=2)
        assert [item.project for item in revisions.items] == ["shop", "billing"]
        rest = listing.list_revisions(conn, limit=2, after=revisions.next)
        assert [item.project for item in rest.items] == ["shop"]
        assert listing.get_revision(conn, newest).changes == [{"action": "x"}]
        with pytest.raises(NotFound):
            listing.get_revision(conn, newest + 1)


def test_a_cursor_of_another_list_or_none_at_all_is_a_usage_error(
    world: World, fleet: dict[str, int]
) -> None:
    with world.db.read() as conn:
        cursor = list_tasks(conn, ObjectFilter(), limit=1).next
        assert cursor is not None
        huge = encode("executions", (10**30,))
        for wrong in (cursor, "zzz", "", "W10", "备份", cursor[:-2], huge, encode("executions", ("x",))):
            with pytest.raises(UsageError, match="no cursor"):
                list_executions(conn, ExecutionFilter(), limit=1, after=wrong)


def test_an_address_finds_its_rows(world: World, fleet: dict[str, int]) -> None:
    with world.db.read() as conn:
        assert [row.address for row in resolve_tasks(conn, parse_address("backup"))] == [
            "shop/backup@db-1",
            "shop/backup@web-1",
        ]
        for text in ("backup@web-1", "shop/backup@web-1"):
            assert resolve_one_task(conn, parse_address(text)).id == fleet["backup@web-1"]
        assert resolve_one_task(conn, parse_address("备份")).project == "billing"
        assert resolve_one_task(conn, parse_address("gone"), deleted=True).id == fleet["gone@db-1"]
        assert [row.name for row in deleted_tasks(conn, parse_address("gone"))] == ["gone"]


def test_an_address_that_fits_several_rows_is_ambiguous_and_lists_them(
    world: World, fleet: dict[str, int]
) -> None:
    with world.db.read() as conn, pytest.raises(Ambiguous) as caught:
        resolve_one_task(conn, parse_address("backup"))
    assert caught.value.details["candidates"] == ["shop/backup@db-1", "shop/backup@web-1"]
    assert "shop/backup@db-1, shop/backup@web-1" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("address", "message", "hint"),
    [
        ("bakcup", "no task 'bakcup'", "did you mean backup?"),
        ("Backup", "no task 'Backup'", "did you mean backup?"),
        ("backup@db-2", "no task 'backup@db-2'", "shop/backup@db-1"),
        ("gone", "was deleted", "--deleted"),
        ("backup ", "", ""),
        ("quite different", "no task", "`get tasks` lists them"),
    ],
)
def test_an_unknown_address_is_an_error_that_helps(
    world: World, fleet: dict[str, int], address: str, message: str, hint: str
) -> None:
    with world.db.read() as conn, pytest.raises((NotFound, UsageError)) as caught:
        resolve_tasks(conn, parse_address(address))
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")


def test_unknown_servers_are_all_named(world: World, fleet: dict[str, int]) -> None:
    with world.db.read() as conn:
        with pytest.raises(NotFound) as caught:
            server_ids(conn, ["db-1", "db-l", "nowhere"])
        assert caught.value.details["names"] == ["db-l", "nowhere"]
        assert "db-1" in (caught.value.hint or "")
        with pytest.raises(NotFound, match="not deleted"):
            server_ids(conn, ["db-1"], deleted=True)


def test_the_overview_finds_the_newest_slot_and_the_newest_verdict_of_each_task(
    world: World, fleet: dict[str, int]
) -> None:
    db, web, chinese, _ = fleet.values()
    world.run(db, NOW - 3 * HOUR)
    verdict = world.run(db, NOW - 2 * HOUR, status=2, attempt=1)
    newest = world.run(db, NOW - HOUR, status=3)
    late = world.run(web, NOW - HOUR)
    world.run(web, NOW - 9 * HOUR, trigger="catch-up", id=late + 1)
    waiting = world.run(web, NOW, status=0, seconds=None)
    with world.db.read() as conn:
        tasks = listing.all_tasks(conn)
        runs = task_runs(conn, tasks, every=True)
        some = task_runs(conn, [task for task in tasks if task.id == db])

    def ids(task: int) -> list[int | None]:
        return [None if run is None else run.id for run in (runs[task].newest, runs[task].finished)]

    assert ids(db) == [newest, verdict]
    assert some == {db: runs[db]}
    assert ids(web) == [waiting, late]
    assert [run.id for run in runs[web].open] == [waiting]
    assert (runs[chinese].newest, runs[chinese].finished, runs[chinese].open) == (None, None, ())


def test_the_last_contact_of_a_server_is_its_newest_run_that_ended(
    world: World, fleet: dict[str, int]
) -> None:
    contact = world.run(fleet["backup@db-1"], NOW - 2 * HOUR, status=2)
    world.run(fleet["backup@db-1"], NOW - HOUR, status=3)
    with world.db.read() as conn:
        servers = listing.all_servers(conn)
        found = server_contacts(conn, servers, every=True)
        assert found == server_contacts(conn, servers)
    assert {key: run.id for key, run in found.items()} == {world.id_of(Server, "db-1"): contact}


def test_a_slot_counts_as_recorded_by_rows_of_the_schedule_only(world: World, fleet: dict[str, int]) -> None:
    db, web, chinese, _ = fleet.values()
    world.run(db, NOW)
    world.run(web, NOW, trigger="manual")
    world.run(chinese, NOW - HOUR)
    with world.db.read() as conn:
        assert recorded_slots(conn, {db: NOW, web: NOW, chinese: NOW}) == {db}
        assert recorded_slots(conn, {}) == set()


def test_the_status_report_is_the_same_on_every_database(world: World, fleet: dict[str, int]) -> None:
    db, web, chinese, _ = fleet.values()
    world.run(db, NOW - HOUR)
    world.run(web, NOW - HOUR, status=2, error="boom\n")
    world.suspend(task=chinese)
    world.change(Task, db, next_run=NOW - HOUR / 2, next_slot=NOW - HOUR / 2)
    shape = status_json(status_report(world.db, NOW, LATE))
    assert [(item["kind"], item["name"], item["server"], item["health"]) for item in shape["objects"]] == [
        ("Project", "billing", None, "Healthy"),
        ("Project", "shop", None, "Healthy"),
        ("Server", "db-1", None, "Healthy"),
        ("Server", "web-1", None, "Healthy"),
        ("Task", "备份", "db-1", "Suspended"),
        ("Task", "backup", "db-1", "Overdue"),
        ("Task", "backup", "web-1", "Degraded"),
    ]
    assert shape["objects"][-1]["errorLines"] == ["boom"]


def test_the_states_of_many_tasks_are_read_oldest_first(world: World) -> None:
    world.server("db-1")
    ids = [world.task(f"many-{number}", "db-1") for number in range(110)]
    for key in ids[::20]:
        world.run(key, NOW - 2 * HOUR, status=2)
        world.run(key, NOW - HOUR, None, status=0)
    with world.db.read() as conn:
        found = last_states(conn, ids, 30)
        newest = last_states(conn, ids, 1)
    assert set(found) == set(ids[::20])
    assert set(found.values()) == {(State.FAILED, State.WAITING)}
    assert set(newest.values()) == {(State.WAITING,)}
