"""Whatever is in a tree, the answer is a state or problems: never another error."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.manifest.load import Loaded
from reconciler.manifest.render.hosts import github, gitlab
from reconciler.manifest.render.junit import junit
from reconciler.manifest.render.report import Report
from reconciler.manifest.render.sarif import sarif
from reconciler.manifest.render.text import text
from tests.manifest.trees import documents, load

SEED = documents(
    """\
apiVersion: reconciler/v1
kind: Project
metadata: {name: billing}
spec:
  guard: {maxDeletions: 10, maxDeletionPercent: 20}
  defaults:
    task: {timezone: Europe/Berlin, timeout: 1h, env: {PORT: 8080, DEBUG: yes}}
    server: {username: deploy}
""",
    """\
apiVersion: reconciler/v1
kind: Server
metadata:
  name: db-1
  labels: &labels {role: db, env: prod}
  annotations: {owner: "team\\ndata"}
spec:
  host: 10.0.0.11
  auth: {privateKey: {file: id_ed25519}, passphrase: {env: DB1_PASSPHRASE}}
  hostKeys: ["ssh-ed25519 AAAA"]
""",
    """\
apiVersion: reconciler/v1
kind: Task
metadata: {name: 备份数据库, labels: {tier: gold}, protected: true}
spec:
  selector: {matchLabels: {role: db}, matchExpressions: [{key: env, operator: In, values: [prod]}]}
  command: |
    pg_dump app | gzip > /backup/app.gz
  schedule: "0 2 * * 1-5"
  secrets: {PGPASSWORD: {env: APP_PGPASSWORD}}
  successExitCodes: [0, 1]
  output: {maxBytes: 64KiB}
  notify: []
""",
)

_PIECES = st.sampled_from(
    [
        *(
            "\t",
            "*",
            "&a ",
            "*a",
            "<<: *labels",
            "{",
            "}",
            "[",
            "]",
            ": ",
            "- ",
            "---\n",
            "...\n",
            "!!str ",
            "!x ",
        ),
        *(
            '"',
            "'",
            "|\n",
            ">\n",
            "\0",
            "\ufeff",
            "\u2028",
            "~",
            "yes",
            "012",
            "1e3",
            "#",
            "%",
            "@",
            "`",
            "\r",
        ),
        *("备", "\ud7ff", "9" * 50),
    ]
)


def _shown(loaded: Loaded) -> None:
    """Every form can show it, and the places are places."""
    assert (loaded.state is None) == any(problem.severity == "error" for problem in loaded.problems)
    for problem in loaded.problems:
        assert problem.line >= 1
        assert 1 <= problem.column <= problem.end_column
        assert problem.message
    report = Report(loaded.problems, loaded.files, loaded.resources)
    for render in (text, sarif, github, gitlab, junit):
        str(render(report)).encode("utf-8")


def _check(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _shown(load(Path(folder), {"x.yaml": data}))


@given(st.binary(max_size=200))
@settings(max_examples=150, deadline=None)
def test_random_bytes_are_problems(data: bytes) -> None:
    _check(data)


@given(st.lists(st.tuples(st.integers(0, len(SEED)), st.integers(0, 12), _PIECES), min_size=1, max_size=4))
@settings(max_examples=300, deadline=None)
def test_a_good_tree_with_random_edits_is_a_state_or_problems(edits: list[tuple[int, int, str]]) -> None:
    mutated = SEED
    for place, length, piece in edits:
        mutated = mutated[:place] + piece + mutated[place + length :]
    _check(mutated.encode("utf-8", "replace"))


_KEYS = st.sampled_from(
    [
        *("apiVersion", "kind", "metadata", "spec", "name", "labels", "server", "servers", "selector"),
        *("matchLabels", "command", "script", "file", "env", "secrets", "schedule", "after", "timeout"),
        *("retries", "limit", "notify", "on", "to", "auth", "password", "host", "jump", "defaults", "task"),
        *("guard", "history", "<<"),
    ]
)
_WORDS = ["reconciler/v1", "Task", "Server", "db-1", "a", "1h", "@daily", "", "~", "yes", "012", "5"]
_TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=5)
_SCALARS = st.one_of(
    st.sampled_from(_WORDS),
    st.integers(-5, 5).map(str),
    _TEXTS.map(lambda words: "'" + words.replace("'", "''") + "'"),
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: "[" + ", ".join(items) + "]"),
        st.dictionaries(_KEYS, inner, max_size=4).map(
            lambda entries: "{" + ", ".join(f"{key}: {value}" for key, value in entries.items()) + "}"
        ),
    ),
    max_leaves=12,
)


@given(st.sampled_from(["Task", "Server", "Project"]), _VALUES, _VALUES)
@settings(max_examples=300, deadline=None)
def test_documents_of_the_right_kind_and_any_shape_are_a_state_or_problems(
    kind: str, metadata: str, spec: str
) -> None:
    text = f"apiVersion: reconciler/v1\nkind: {kind}\nmetadata: {metadata}\nspec: {spec}\n"
    _check(text.encode())
