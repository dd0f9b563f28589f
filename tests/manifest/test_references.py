"""What documents say of each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.model.state import Origin
from tests.manifest.trees import (
    SERVER,
    briefs,
    codes,
    documents,
    load,
    marked,
    project,
    server,
    task,
)


def test_a_task_on_several_servers_is_one_row_for_each_with_one_definition(tmp_path: Path) -> None:
    files = {
        "s.yaml": documents(server("a", labels="role: web"), server("b", labels="role: web"), server("c")),
        "t.yaml": documents(
            task("servers: [c, a]\ncommand: x", "listed"),
            task("selector: {matchLabels: {role: web}}\ncommand: x", "selected"),
            task("server: other/z\ncommand: x", "elsewhere"),
        ),
    }
    state = load(tmp_path, files).valid_state()
    assert list(state.tasks) == [
        ("listed", "c"),
        ("listed", "a"),
        ("selected", "a"),
        ("selected", "b"),
        ("elsewhere", "other/z"),
    ]
    assert state.tasks["listed", "c"].definition is state.tasks["listed", "a"].definition
    assert state.tasks["selected", "b"].origin == Origin("t.yaml", 8)


SELECTORS = {
    "matchLabels: {role: db}": ["a", "b"],
    "matchLabels: {role: db, env: prod}": ["a"],
    "matchExpressions: [{key: env, operator: In, values: [prod, test]}]": ["a", "b"],
    "matchExpressions: [{key: env, operator: NotIn, values: [prod]}]": ["b", "c"],
    "matchExpressions: [{key: env, operator: Exists}]": ["a", "b"],
    "matchExpressions: [{key: env, operator: DoesNotExist}]": ["c"],
    "matchLabels: {role: db}, matchExpressions: [{key: env, operator: NotIn, values: [prod]}]": ["b"],
}


@pytest.mark.parametrize("selector", SELECTORS)
def test_a_selector_selects_the_servers_of_this_tree(selector: str, tmp_path: Path) -> None:
    servers = documents(
        server("a", labels="role: db, env: prod"), server("b", labels="role: db, env: test"), server("c")
    )
    files = {"s.yaml": servers, "t.yaml": task(f"selector: {{{selector}}}\ncommand: x")}
    assert [name for _, name in load(tmp_path, files).valid_state().tasks] == SELECTORS[selector]


WRONG_SELECTORS = {
    "selector: {}": ("empty-selector", "{}"),
    "selector: {matchLabels: {}}": ("empty-selector", "{matchLabels: {}}"),
    "selector: {matchLabels: {role: web}}": ("selector-matches-nothing", "{matchLabels: {role: web}}"),
    "selector: {matchExpressions: [{key: a, operator: In}]}": ("selector-values", "{key: a, operator: In}"),
    "selector: {matchExpressions: [{key: a, operator: Is}]}": ("invalid-value", "Is"),
    "selector: {matchLables: {a: b}}": ("unknown-field", "matchLables"),
}


@pytest.mark.parametrize("line", WRONG_SELECTORS)
def test_a_selector_that_cannot_be_meant_is_a_problem(line: str, tmp_path: Path) -> None:
    loaded = load(tmp_path, {"s.yaml": SERVER, "t.yaml": task(f"{line}\ncommand: x")})
    code, text = WRONG_SELECTORS[line]
    problem = next(problem for problem in loaded.problems if problem.code == code)
    assert problem.line == 5
    assert marked(tmp_path, problem) in (text, "selector")


def test_a_selector_that_matches_nothing_is_told_what_there_is(tmp_path: Path) -> None:
    hints = {
        "{rol: db}": "no server has the label `rol`; did you mean `role`?",
        "{role: web}": "the label `role` has the values `db`",
    }
    for labels, hint in hints.items():
        files = {"s.yaml": SERVER, "t.yaml": task(f"selector: {{matchLabels: {labels}}}\ncommand: x")}
        assert load(tmp_path, files).problems[0].hint == hint


def test_a_selector_is_not_blamed_for_labels_that_are_wrong_themselves(tmp_path: Path) -> None:
    files = {
        "s.yaml": server("a", labels="role: no"),
        "t.yaml": task('selector: {matchLabels: {role: "no"}}\ncommand: x'),
    }
    assert codes(load(tmp_path, files)) == ["yaml-boolean"]


def test_an_unknown_server_is_a_problem_wherever_it_is_named(tmp_path: Path) -> None:
    files = {
        "p.yaml": project("prune: true"),
        "s.yaml": documents(SERVER, server("a", "jump: db-3")),
        "t.yaml": documents(
            task("server: db-2\ncommand: x"),
            task("servers: [db-1, billing/db-9]\ncommand: x", "u"),
            task("server: billing/db-1\ncommand: x", "v"),
        ),
    }
    loaded = load(tmp_path, files)
    assert briefs(loaded) == [
        "s.yaml:9:36 unknown-server",
        "t.yaml:5:11 unknown-server",
        "t.yaml:12:19 unknown-server",
    ]
    assert loaded.problems[1].hint == "did you mean `db-1`?"


def test_a_server_with_mistakes_is_there_all_the_same(tmp_path: Path) -> None:
    files = {"s.yaml": SERVER.replace("host:", "hots:"), "t.yaml": task("server: db-1\ncommand: x")}
    assert codes(load(tmp_path, files)) == ["missing-field", "unknown-field"]


def test_a_name_used_twice_is_reported_at_its_second_place(tmp_path: Path) -> None:
    files = {
        "b.yaml": documents(SERVER, task("server: db-1\ncommand: x", "é")),
        "a.yaml": documents("# first\n" + SERVER, task("server: db-1\ncommand: x", "e\u0301")),
        "c.yaml": task("server: db-1\ncommand: x", "É"),
    }
    loaded = load(tmp_path, files)
    assert briefs(loaded) == ["b.yaml:3:18 duplicate-name", "b.yaml:8:18 duplicate-name"]
    assert loaded.problems[0].message == "the server `db-1` is already declared at a.yaml:2"


def test_an_object_whose_name_is_taken_is_checked_all_the_same(tmp_path: Path) -> None:
    files = {"s.yaml": documents(SERVER, SERVER.replace("host:", "jump: nowhere, host:"))}
    assert codes(load(tmp_path, files)) == ["duplicate-name", "unknown-server"]


def test_a_tree_has_one_project(tmp_path: Path) -> None:
    loaded = load(tmp_path, {"a.yaml": project("prune: true"), "b.yaml": project("prune: true", "other")})
    assert briefs(loaded) == ["b.yaml:2:7 duplicate-project"]


def test_another_project_is_checked_but_its_defaults_are_nobodys(tmp_path: Path) -> None:
    first = project("defaults: {task: {timezone: Europe/Berlin}}")
    second = project("pruned: false\ndefaults: {task: {timezone: Europe/Paris, timeoot: 1h}}", "other")
    loaded = load(
        tmp_path, {"a.yaml": first, "b.yaml": documents(second, SERVER, task("server: db-1\ncommand: x"))}
    )
    assert briefs(loaded) == [
        "b.yaml:2:7 duplicate-project",
        "b.yaml:5:3 unknown-field",
        "b.yaml:6:45 unknown-field",
    ]
    assert "a.yaml:1" in loaded.problems[0].message


def test_the_same_server_twice_in_one_list_is_a_problem(tmp_path: Path) -> None:
    loaded = load(tmp_path, {"s.yaml": SERVER, "t.yaml": task("servers: [db-1, db-1]\ncommand: x")})
    assert briefs(loaded) == ["t.yaml:5:19 duplicate-server"]


def test_jump_hosts_never_lead_in_a_circle(tmp_path: Path) -> None:
    servers = documents(
        server("a", "jump: b"), server("b", "jump: c"), server("c", "jump: b"), server("d", "jump: d")
    )
    loaded = load(tmp_path, {"s.yaml": servers})
    assert briefs(loaded) == ["s.yaml:9:36 jump-cycle", "s.yaml:19:36 jump-cycle"]
    assert "b → c → b" in loaded.problems[0].message


AFTER = {
    "unknown": ("after: [extrakt]", "server: db-1", "unknown-task", "extrakt"),
    "itself": ("after: [t]", "server: db-1", "after-cycle", "t"),
    "elsewhere": ("after: [extract]", "server: db-2", "after-elsewhere", "extract"),
}


@pytest.mark.parametrize("name", AFTER)
def test_after_names_a_task_that_runs_on_the_same_servers(name: str, tmp_path: Path) -> None:
    line, place, code, text = AFTER[name]
    files = {
        "s.yaml": documents(SERVER, server("db-2")),
        "t.yaml": documents(
            task(f"server: db-1\ncommand: x\n{line}"), task(f"{place}\ncommand: x", "extract")
        ),
    }
    loaded = load(tmp_path, files)
    assert codes(loaded) == [code]
    assert marked(tmp_path, loaded.problems[0]) == text


def test_after_may_name_a_task_that_runs_on_more_servers(tmp_path: Path) -> None:
    files = {
        "s.yaml": documents(SERVER, server("db-2")),
        "t.yaml": documents(
            task("server: db-1\ncommand: x\nafter: [extract]"),
            task("servers: [db-1, db-2]\ncommand: x", "extract"),
        ),
    }
    assert load(tmp_path, files).problems == ()


def test_a_long_chain_of_after_is_no_circle_and_a_long_circle_is_one(tmp_path: Path) -> None:
    def chain(last: str) -> str:
        tasks = [
            task(f"server: db-1\ncommand: x\nafter: [t{number + 1}]", f"t{number}") for number in range(3000)
        ]
        return documents(*tasks, task(f"server: db-1\ncommand: x{last}", "t3000"))

    assert load(tmp_path, {"s.yaml": SERVER, "t.yaml": chain("")}).problems == ()
    (problem,) = load(tmp_path, {"t.yaml": chain("\nafter: [t0]")}).problems
    assert (problem.code, problem.line) == ("after-cycle", 7)


RENAMES = {
    "itself": (documents(SERVER.replace("name: db-1", "name: db-1, formerly: db-1")), ["formerly-itself"]),
    "one row twice": (
        documents(
            server("a").replace("name: a", "name: a, formerly: z"),
            server("b").replace("name: b", "name: b, formerly: z"),
        ),
        ["duplicate-formerly"],
    ),
    "a chain and a swap": (
        documents(
            *(
                server(new).replace(f"name: {new}", f"name: {new}, formerly: {old}")
                for new, old in [("a", "b"), ("b", "a"), ("c", "d"), ("d", "e")]
            )
        ),
        [],
    ),
    "rows of one task may part": (
        documents(
            SERVER,
            server("db-2"),
            task("server: db-1\ncommand: x", "b, formerly: a"),
            task("server: db-2\ncommand: x", "c, formerly: a"),
        ),
        [],
    ),
    "a row moves": (documents(SERVER, task("server: db-1\ncommand: x", "a, formerly: a@db-9")), []),
    "a row cannot move to two servers": (
        documents(SERVER, server("db-2"), task("servers: [db-1, db-2]\ncommand: x", "a, formerly: a@db-9")),
        ["formerly-one-row"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RENAMES)
def test_no_two_objects_go_on_with_the_same_row(name: str, tmp_path: Path) -> None:
    text, expected = RENAMES[name]
    assert sorted(set(codes(load(tmp_path, {"x.yaml": text})))) == expected


def test_former_names_are_kept_for_the_plan(tmp_path: Path) -> None:
    text = documents(
        SERVER.replace("name: db-1", "name: db-1, formerly: database-1"),
        task("server: db-1\ncommand: x", "a, formerly: b@db-9"),
        task("server: db-1\ncommand: x", "c, formerly: d"),
        project("prune: true", "billing, formerly: bills"),
    )
    state = load(tmp_path, {"x.yaml": text}).valid_state()
    assert state.formerly == "bills"
    assert state.servers["db-1"].formerly == "database-1"
    moved, renamed = state.tasks.values()
    assert (moved.formerly, moved.formerly_server) == ("b", "db-9")
    assert (renamed.formerly, renamed.formerly_server) == ("d", None)


def test_everything_wrong_with_an_object_is_said_in_one_run(tmp_path: Path) -> None:
    spec = """\
    server: db-9
    selector: {}
    comand: x
    schedule: "* * * *"
    timeout: 5
    env: {A-B: c, D: 1}
    secrets: {D: {env: X}}
    after: [nobody]
    jitter: 2d
    """
    loaded = load(tmp_path, {"s.yaml": SERVER, "t.yaml": task(spec)})
    assert codes(loaded) == [
        "exactly-one",  # neither command nor script
        "unknown-server",
        "empty-selector",
        "exactly-one",  # server and selector
        "unknown-field",
        "schedule-invalid",
        "wrong-type",
        "invalid-key",
        "env-and-secret",
        "unknown-task",
        "out-of-range",
    ]
