"""YAML's traps: each is one problem, at its place, with a way out."""

from __future__ import annotations

import re
from bisect import bisect_right
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.manifest.problem import Problem
from reconciler.manifest.text import SourceText
from tests.manifest.trees import SERVER, briefs, codes, documents, load, marked, task


def only(folder: Path, text: str | bytes) -> Problem:
    """The one problem of a tree that has a good server and this file."""
    loaded = load(folder, {"servers.yaml": SERVER, "x.yaml": text})
    assert loaded.state is None
    (problem,) = loaded.problems
    return problem


SYNTAX = {
    "an unquoted star": ("a: */5 * * * *\n", (1, 4), "quotes"),
    "an unquoted at sign": ("a: @daily\n", (1, 4), "quotes"),
    "a colon in a text": ("a: echo b: c\n", (1, 10), "quotes"),
    "a tab as indentation": ("a:\n\tb: 1\n", (2, 1), "spaces"),
    "an open bracket": ("a: [1, 2\nb: 3\n", (1, 4), "close it with `]`"),
    "an open brace": ("a: {b: 1\nc: 3\n", (1, 4), "close it with `}`"),
    "an open quotation mark": ('a: "b\n\nc: d\n', (1, 4), "close it"),
    "an unknown escape": ('a: "\\q"\n', (1, 5), "single quotes"),
    "an unknown alias": ("a: *b\n", (1, 4), "quotes"),
    "a text after a quoted one": ("a: 'b' c\n", (1, 8), "quotes"),
    "a key without a colon": ("a: 1\nb\nc: 2\n", (3, 1), "key: value"),
    "an exclamation mark": ("a: !foo!bar x\n", (1, 4), "quotes"),
    "a list where keys are": ("a: 1\n- b\n", (2, 1), "same column"),
}


@pytest.mark.parametrize("name", SYNTAX)
def test_a_mistake_in_the_grammar_is_shown_where_it_is(name: str, tmp_path: Path) -> None:
    text, place, hint = SYNTAX[name]
    problem = only(tmp_path, text)
    assert problem.code in ("yaml-syntax", "yaml-tab")
    assert (problem.line, problem.column) == place
    assert hint in (problem.hint or "")


def test_documents_before_a_mistake_in_the_grammar_are_still_checked(tmp_path: Path) -> None:
    loaded = load(tmp_path, {"x.yaml": documents(SERVER, task("server: db-2\ncommand: x"), "a: [\n")})
    assert briefs(loaded) == ["x.yaml:10:11 unknown-server", "x.yaml:13:4 yaml-syntax"]


def test_a_name_that_stands_in_an_unreadable_part_is_not_called_unknown(tmp_path: Path) -> None:
    broken = SERVER.replace("db-1", "db-2") + "  @\n"
    loaded = load(tmp_path, {"s.yaml": broken, "t.yaml": task("server: db-2\ncommand: x")})
    assert codes(loaded) == ["yaml-syntax"]


def test_documents_after_a_mistake_in_the_grammar_are_checked_too(tmp_path: Path) -> None:
    unknown = task("server: db-2\ncommand: x")
    open_quote = task("server: db-1\ncommand: 'x", "备份")
    loaded = load(
        tmp_path, {"x.yaml": documents("a: [\n", SERVER, unknown, open_quote, unknown, "b: c: d\n")}
    )
    assert briefs(loaded) == [
        "x.yaml:2:1 yaml-syntax",
        "x.yaml:12:11 unknown-server",
        "x.yaml:20:12 yaml-syntax",
        "x.yaml:24:18 duplicate-name",
        "x.yaml:26:11 unknown-server",
        "x.yaml:29:5 yaml-syntax",
    ]
    assert loaded.resources == {"Server": 1, "Task": 2, "Calendar": 0}


def test_what_is_broken_is_passed_over_twenty_times_a_file(tmp_path: Path) -> None:
    loaded = load(tmp_path, {"x.yaml": documents(*["a: [\n"] * 30, "kind: Nothing\n")})
    assert codes(loaded) == ["yaml-syntax"] * 20


def test_a_byte_order_mark_between_documents_is_named(tmp_path: Path) -> None:
    loaded = load(tmp_path, {"x.yaml": SERVER + "\ufeff---\n" + task("server: db-1\ncommand: x")})
    assert [(problem.place, problem.code) for problem in loaded.problems] == [
        ("x.yaml:5:1", "yaml-character")
    ]
    assert "byte order mark" in loaded.problems[0].message


WITHOUT_ADVICE = """\
spec: 5
---
kind: [Task]
---
apiVersion: reconciler/v1
kind: Task
---
apiVersion: reconciler/v1
kind: Task
metadata: {name: " a", labels: {a b: [], "": x}, annotations: {x: "\\x01"}}
spec:
  command: {a: b}
  script: x
  runAs: "-x y"
  enabled: 3
  dst: yes
  maxParallel: 1.5
  timeout: 9999d
  retries: {factor: .inf, limit: [], backoff: true}
  successExitCodes: []
  env: {A: [x], B: "a\\0b"}
  selector: {matchExpressions: [{key: "", operator: In}, {key: a, operator: Exists, values: [b]}]}
  notify: [ops, {on: [], to: ""}]
  output: 5
  history: 5d
---
apiVersion: reconciler/v1
kind: Server
metadata: {name: "a\\tb"}
spec: {host: "", username: "a b", port: "x", auth: {passphrase: {env: A}, privateKey: {X: y}}, hostKeys: [5]}
---
a: "\\ud800"
"""


def test_every_problem_says_what_to_do(tmp_path: Path) -> None:
    loaded = load(tmp_path, {"x.yaml": WITHOUT_ADVICE})
    assert len(loaded.problems) > 30
    assert [problem for problem in loaded.problems if not problem.hint] == []


CHARACTERS: dict[str, tuple[bytes, tuple[int, int], str, str]] = {
    "NUL": (b"a: b\nc: d\0e\n", (2, 5), "yaml-character", "NUL"),
    "an escape": (b"a: \x1b[31m\n", (1, 4), "yaml-character", "U+001B"),
    "not UTF-8": ("é: 1\nb: ".encode() + b"\xff\n", (2, 4), "not-utf-8", "0xFF"),
    "UTF-16": ("a: b\n".encode("utf-16"), (1, 1), "not-utf-8", "0xFF"),
    "a lone surrogate": (b"a: \xed\xa0\x80\n", (1, 4), "not-utf-8", "0xED"),
}


@pytest.mark.parametrize("name", CHARACTERS)
def test_a_character_that_does_not_belong_is_shown_where_it_is(name: str, tmp_path: Path) -> None:
    data, place, code, word = CHARACTERS[name]
    problem = only(tmp_path, data)
    assert (problem.code, (problem.line, problem.column)) == (code, place)
    assert word in problem.message


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    problem = only(tmp_path, b"\xef\xbb\xbf" + task("server: nobody\ncommand: x").encode())
    assert (problem.line, problem.column) == (5, 11)
    assert load(tmp_path, {"x.yaml": b"\xef\xbb\xbf" + SERVER.replace("db-1", "db-2").encode()}).state


@pytest.mark.parametrize("separator", ["\u2028", "\u0085", "\u2029"])
def test_lines_are_counted_as_editors_count_them(separator: str, tmp_path: Path) -> None:
    text = f"--- {{a: 'one{separator}line'}}\n---\n" + task("server: db-1\ncommand: x\ntimeout: 1")
    first, problem = load(tmp_path, {"s.yaml": SERVER, "x.yaml": text}).problems
    assert (first.line, first.column) == (1, 6)
    assert (problem.line, problem.column) == (9, 12)
    text = (
        SERVER.replace("db-1", "db-2").replace("env: prod", f'env: "a{separator}b"')
        + "---\n"
        + task("server: db-1\ncommand: x")
    )
    state = load(tmp_path, {"x.yaml": text}).valid_state()
    assert state.tasks["t", "db-1"].origin.line == 6


def test_windows_line_ends_count_once(tmp_path: Path) -> None:
    text = task("server: db-1\ncommand: x\ntimeout: 1").replace("\n", "\r\n")
    assert (only(tmp_path, text.encode()).line, only(tmp_path, text.encode()).column) == (7, 12)


def test_empty_documents_and_files_of_comments_are_skipped(tmp_path: Path) -> None:
    files = {
        "a.yaml": "---\n---\n" + SERVER + "---\n",
        "b.yaml": "# nothing\n",
        "c.yaml": "",
        "d.yml": b"\xef\xbb\xbf",
        "e.yaml": "---\n# nothing\n...\n",
    }
    loaded = load(tmp_path, files)
    assert loaded.problems == ()
    assert loaded.resources == {"Server": 1, "Task": 0, "Calendar": 0}
    assert loaded.files == ("a.yaml", "b.yaml", "c.yaml", "d.yml", "e.yaml")


@pytest.mark.parametrize(
    ("text", "given"), [("- a\n- b\n", "a list"), ("words\n", "a single value"), ("~\n", "a single")]
)
def test_a_document_that_is_no_mapping_is_a_problem(text: str, given: str, tmp_path: Path) -> None:
    problem = only(tmp_path, text)
    assert problem.code == "not-a-mapping"
    assert given in problem.message


KINDS = {
    "no kind": ("apiVersion: reconciler/v1\n", "missing-field", (1, 1)),
    "a strange document": ("services: {web: {image: x}}\n", "missing-field", (1, 1)),
    "an unknown kind": ("apiVersion: v1\nkind: ConfigMap\n", "unknown-kind", (2, 7)),
    "a kind that is no text": ("apiVersion: reconciler/v1\nkind: [Task]\n", "unknown-kind", (2, 7)),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_document_of_no_known_kind_is_one_problem(name: str, tmp_path: Path) -> None:
    text, code, place = KINDS[name]
    problem = only(tmp_path, text)
    assert (problem.code, (problem.line, problem.column)) == (code, place)


def test_a_slip_in_the_kind_is_checked_as_what_was_meant(tmp_path: Path) -> None:
    text = task("server: db-1\ncommand: x\ntimeout: 5").replace("kind: Task", "kind: task")
    loaded = load(tmp_path, {"s.yaml": SERVER, "x.yaml": text})
    assert briefs(loaded) == ["x.yaml:2:7 unknown-kind", "x.yaml:7:12 wrong-type"]
    assert loaded.problems[0].hint == "did you mean `Task`?"


def test_another_version_of_the_language_is_refused(tmp_path: Path) -> None:
    problem = only(tmp_path, task("server: db-1\ncommand: x").replace("reconciler/v1", "reconciler/v2"))
    assert (problem.line, problem.column) == (1, 13)
    assert problem.hint == "write `reconciler/v1`"


def test_a_duplicate_key_is_reported_at_its_second_place_naming_the_first(tmp_path: Path) -> None:
    problem = only(tmp_path, task("server: db-1\ncommand: a\nenv:\n  A: b\n  A: c\n"))
    assert (problem.code, problem.line, problem.column) == ("duplicate-key", 9, 5)
    assert problem.message == "the key `A` is already on line 8"


def test_a_list_cannot_be_a_key(tmp_path: Path) -> None:
    problem = only(tmp_path, task("server: db-1\ncommand: a\nenv:\n  ? [a]\n  : b"))
    assert (problem.code, problem.line, problem.column) == ("yaml-key", 8, 7)


ENVIRONMENT = {
    "8080": "8080", "yes": "yes", "On": "On", "false": "false", "012": "012", "0o17": "0o17", "0x1F": "0x1F",
    "1e3": "1e3", "1.50": "1.50", "1_000": "1_000", "1:30": "1:30", "2024-01-01": "2024-01-01", "+5": "+5",
    ".inf": ".inf", '"012"': "012", "'yes'": "yes", '""': "", "a b": "a b", "!!str 012": "012", "08": "08",
}  # fmt: skip


@pytest.mark.parametrize("written", ENVIRONMENT)
def test_the_environment_holds_the_text_that_the_author_wrote(written: str, tmp_path: Path) -> None:
    files = {"s.yaml": SERVER, "x.yaml": task(f"server: db-1\ncommand: x\nenv: {{A: {written}}}")}
    state = load(tmp_path, files).valid_state()
    spec = state.tasks["t", "db-1"].definition.document["spec"]
    assert spec["env"] == {"A": ENVIRONMENT[written]}


def test_nothing_is_no_text_for_the_environment(tmp_path: Path) -> None:
    for nothing in ("", "~", "null"):
        problem = only(tmp_path, task(f"server: db-1\ncommand: x\nenv:\n  A: {nothing}"))
        assert problem.code == "wrong-type"
        assert '""' in (problem.hint or "")


AMBIGUOUS = ["012", "08", "0o17", "1_000", "0b11", "1e3", "1.5e3", "1:30", "1:2:3:4", "-.5"]


@pytest.mark.parametrize("written", AMBIGUOUS)
def test_what_yaml_parsers_read_differently_is_refused_with_both_readings(
    written: str, tmp_path: Path
) -> None:
    text = SERVER.replace("db-1", "db-2").replace("env: prod", f"env: {written}")
    problem = only(tmp_path, text)
    assert problem.code == "yaml-ambiguous"
    assert marked(tmp_path, problem) == written
    assert problem.hint == f'put it in quotes: "{written}"'
    number = only(tmp_path, SERVER.replace("db-1", "db-2").replace("host:", f"port: {written}, host:"))
    assert number.code == "yaml-ambiguous"
    assert "write " in (number.hint or "")


@pytest.mark.parametrize("written", ["yes", "no", "on", "Off", "TRUE"])
def test_a_truth_where_a_text_is_meant_is_explained(written: str, tmp_path: Path) -> None:
    problem = only(tmp_path, SERVER.replace("db-1", "db-2").replace("env: prod", f"env: {written}"))
    assert problem.code == "yaml-boolean"
    assert f"YAML reads `{written}` as " in problem.message
    assert problem.hint == f'put it in quotes: "{written}"'


@pytest.mark.parametrize(
    "written", ["2024-01-01", "2024-01-01T00:00:00Z", "1.2.3", "y", "N", "=", "10.0.0.1"]
)
def test_a_text_that_is_one_to_every_reader_of_ours_needs_no_quotes(written: str, tmp_path: Path) -> None:
    state = load(tmp_path, {"x.yaml": SERVER.replace("env: prod", f"env: {written}")}).valid_state()
    assert state.servers["db-1"].definition.document["metadata"]["labels"]["env"] == written


def test_keys_are_texts_whatever_yaml_makes_of_them(tmp_path: Path) -> None:
    text = SERVER.replace("env: prod", "on: a, 1: b, yes: c, null: d, 012: e")
    state = load(tmp_path, {"x.yaml": text}).valid_state()
    labels = state.servers["db-1"].definition.document["metadata"]["labels"]
    assert labels == {"role": "db", "on": "a", "1": "b", "yes": "c", "null": "d", "012": "e"}


def test_truths_may_be_written_in_every_way_of_yaml_where_they_are_meant(tmp_path: Path) -> None:
    for written, value in {"yes": True, "off": False, "True": True, "FALSE": False}.items():
        state = load(
            tmp_path, {"x.yaml": SERVER.replace("host:", f"enabled: {written}, host:")}
        ).valid_state()
        assert state.servers["db-1"].definition.document["spec"].get("enabled", True) is value


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system", "!foo", "!!int", "!!binary", "!!set"])
def test_tags_are_refused(tag: str, tmp_path: Path) -> None:
    problem = only(tmp_path, task(f"server: db-1\ncommand: {tag} 'x'"))
    assert problem.code == "yaml-tag"
    assert (problem.line, problem.column) == (6, 12)


def test_the_tag_of_texts_makes_a_text(tmp_path: Path) -> None:
    text = SERVER.replace("env: prod", "env: !!str 012, a: !!str yes")
    state = load(tmp_path, {"x.yaml": text}).valid_state()
    labels = state.servers["db-1"].definition.document["metadata"]["labels"]
    assert (labels["env"], labels["a"]) == ("012", "yes")


def test_mappings_merge_and_what_stands_there_itself_wins(tmp_path: Path) -> None:
    spec = """\
    server: db-1
    command: x
    secrets: &secrets {S: {env: A}}
    env:
      <<: [{A: 1, B: 2}, {B: 3, C: yes}]
      A: 0
    """
    state = load(tmp_path, {"s.yaml": SERVER, "x.yaml": task(spec)}).valid_state()
    assert state.tasks["t", "db-1"].definition.document["spec"]["env"] == {"A": "0", "B": "2", "C": "yes"}


def test_a_mistake_in_what_is_merged_in_is_shown_where_it_is_written(tmp_path: Path) -> None:
    text = (
        "apiVersion: reconciler/v1\nkind: Server\nmetadata: {name: db-2}\n"
        "spec:\n  <<: {host: h, username: u, port: x}\n"
    )
    problem = only(tmp_path, text)
    assert marked(tmp_path, problem) == "x"


def test_only_mappings_can_be_merged(tmp_path: Path) -> None:
    problem = only(tmp_path, task("server: db-1\ncommand: x\nenv: {<<: [a], A: b}"))
    assert problem.code == "yaml-merge"
    assert marked(tmp_path, problem) == "a"


def test_aliases_repeat_what_their_anchor_holds(tmp_path: Path) -> None:
    spec = "server: db-1\ncommand: &c echo\nworkingDirectory: *c\nenv: {A: *c}"
    state = load(tmp_path, {"s.yaml": SERVER, "x.yaml": task(spec)}).valid_state()
    assert state.tasks["t", "db-1"].definition.document["spec"] == {
        "command": "echo",
        "workingDirectory": "echo",
        "env": {"A": "echo"},
    }


@given(st.text(alphabet="ab\r\n\u2028é", max_size=40), st.integers(1, 50))
def test_places_are_counted_as_editors_do_it_whatever_the_line_breaks(characters: str, block: int) -> None:
    ends = [0, *(match.end() for match in re.finditer(r"\r\n|\r|\n", characters))]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("reconciler.manifest.text._BLOCK", block)
        text = SourceText("a.yaml", characters.encode())
        for index in range(len(characters) + 1):
            line = bisect_right(ends, index)
            assert text.position(index) == (line, index - ends[line - 1] + 1)
