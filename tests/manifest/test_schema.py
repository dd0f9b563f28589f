"""The JSON Schemas: current, and of one mind with `validate` about what is right and wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from jsonschema import Draft7Validator

from reconciler.cli.main import main
from reconciler.manifest.schema import ANY, render, schemas
from tests.manifest.trees import SERVER, documents, load, project, server, task

ROOT = Path(__file__).parents[2]
TREES = [ROOT / "manifests", *sorted(path for path in (ROOT / "examples").glob("*") if path.is_dir())]


def validator(name: str) -> Draft7Validator:
    return Draft7Validator(schemas()[name])


class _Editor(yaml.SafeLoader):
    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, pattern) for tag, pattern in found if not tag.endswith(":timestamp")]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def parsed(text: str) -> list[Any]:
    """The documents as an editor reads them: by YAML 1.2, to which a date is a text."""
    return [document for document in yaml.load_all(text, Loader=_Editor) if document is not None]


@pytest.mark.parametrize("name", list(schemas()))
def test_the_schemas_are_draft_07_and_those_in_the_repository_are_current(name: str) -> None:
    schema = schemas()[name]
    Draft7Validator.check_schema(schema)
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    assert (ROOT / "schemas" / name).read_text(encoding="utf-8") == render(schema), "run `reconciler schema`"


@pytest.mark.parametrize("tree", TREES, ids=lambda tree: tree.name)
def test_our_own_manifests_are_right_to_schema_and_program(tree: Path) -> None:
    found = 0
    for path in sorted([*tree.rglob("*.yaml"), *tree.rglob("*.yml")]):
        for document in parsed(path.read_text(encoding="utf-8")):
            assert list(validator(ANY).iter_errors(document)) == []
            assert list(validator(f"{document['kind'].lower()}.json").iter_errors(document)) == []
            found += 1
    assert found
    assert load(tree).state is not None


def test_every_field_says_what_it_is_for() -> None:
    def check(schema: Any, path: str) -> None:
        for name, field in schema.get("properties", {}).items():
            described = (
                field if "$ref" not in field else schemas()[ANY]["definitions"][field["$ref"].split("/")[-1]]
            )
            assert described.get("description"), f"{path}.{name}"

    for name, definition in schemas()[ANY]["definitions"].items():
        check(definition, name)


def test_every_field_of_the_language_is_right_to_the_schema() -> None:
    for document in parsed(EVERYTHING):
        assert list(validator(ANY).iter_errors(document)) == []


RIGHT = {
    "numbers and truths in env": task("server: a\ncommand: x\nenv: {A: 1, B: yes, C: 1.5, D: x}"),
    "nothing where it may be": task("server: a\ncommand: x\nscript: ~\nschedule: null"),
    "what defaults may supply is not required": task("timeout: 1h"),
    "defaults of every kind": project(
        "defaults: {task: {timezone: UTC, env: {A: 1}}, server: {username: u}}"
    ),
    "a server of another project": task("server: other/a\ncommand: x"),
    "a name of any script": server("备份数据库"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_the_program_takes_the_schema_takes(name: str) -> None:
    for document in parsed(RIGHT[name]):
        assert list(validator(ANY).iter_errors(document)) == []


WINDOW = """\
apiVersion: reconciler/v1
kind: Calendar
metadata: {name: c}
spec: {deny: [{weekdays: [mon], from: "22:00", until: "06:00"}]}
"""
WRONG = {
    "an unknown field": task("server: a\ncommand: x\nshedule: '@daily'"),
    "an unknown field of defaults": project("defaults: {task: {timout: 1h}}"),
    "a number for a duration": task("server: a\ncommand: x\ntimeout: 5"),
    "a text that is no duration": task("server: a\ncommand: x\ntimeout: 5 minutes"),
    "a text for a number": server("a", 'port: "22"'),
    "a port that is none": server("a", "port: 70000"),
    "a truth for a text": server("a", labels="env: no"),
    "server and selector": task("server: a\nselector: {matchLabels: {a: b}}\ncommand: x"),
    "command and script": task("server: a\ncommand: x\nscript: {file: y}"),
    "a place in a server's former name": server("a").replace("labels", "formerly: x@y, labels"),
    "a password itself": server("a", "auth: {password: hunter2}"),
    "two sources of a secret": task("server: a\ncommand: x\nsecrets: {A: {env: B, file: c}}"),
    "a weekday that is none": WINDOW.replace("mon", "moon"),
    "a time that is none": WINDOW.replace("22:00", "22.00"),
    "a date that is none": WINDOW.replace("weekdays: [mon]", "dates: [1.1.2026]"),
    "an unknown field of a window": WINDOW.replace("from", "start"),
    "an unknown word": task("server: a\ncommand: x\ndst: sometimes"),
    "a text for a list": task("servers: a\ncommand: x"),
    "an address for a name": server("a@b"),
    "a name with a space at its end": server('"a "'),
    "a variable that is none": task("server: a\ncommand: x\nenv: {A-B: c}"),
    "a variable of the program": task("server: a\ncommand: x\nenv: {RECONCILER_TASK: c}"),
    "an empty command": task("server: a\ncommand: ' '"),
    "no host": SERVER.replace("host: 10.0.0.11, ", ""),
    "no name": SERVER.replace("name: db-1, ", ""),
    "no spec": "apiVersion: reconciler/v1\nkind: Task\nmetadata: {name: a}\n",
    "an unknown kind": SERVER.replace("Server", "Sever"),
    "another version": SERVER.replace("v1", "v2"),
    "no kind": SERVER.replace("kind: Server\n", ""),
}


@pytest.mark.parametrize("name", WRONG)
def test_typical_mistakes_are_wrong_to_schema_and_program(name: str, tmp_path: Path) -> None:
    (document,) = parsed(WRONG[name])
    assert list(validator(ANY).iter_errors(document))
    assert load(tmp_path, {"x.yaml": WRONG[name]}).state is None


def test_the_command_writes_the_schemas_and_checks_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new" / "schemas"
    assert main(["schema", "--check", "--output", str(folder)]) == 1
    assert len(capsys.readouterr().out.splitlines()) == len(schemas())
    assert main(["schema", "--output", str(folder)]) == 0
    assert main(["schema", "--check", "--output", str(folder)]) == 0
    written = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in folder.iterdir()}
    assert written == schemas()
    (folder / "task.json").write_text("{}", encoding="utf-8")
    capsys.readouterr()
    assert main(["schema", "--check", "--output", str(folder)]) == 1
    assert capsys.readouterr().out == f"{folder / 'task.json'} is not current\n"
    assert main(["schema", "--output", str(tmp_path / "new" / "schemas" / "task.json")]) == 1
    assert "cannot be written" in capsys.readouterr().err


EVERYTHING = documents(
    """\
apiVersion: reconciler/v1
kind: Project
metadata: {name: billing, formerly: bills}
spec:
  prune: true
  selfHeal: true
  guard: {maxDeletions: 10, maxDeletionPercent: 20}
  history: {maxAge: 90d, maxCount: 1000}
  calendars: [holidays]
  defaults:
    task: {timezone: Europe/Berlin, timeout: 1h}
    server: {username: deploy}
""",
    """\
apiVersion: reconciler/v1
kind: Calendar
metadata: {name: holidays, labels: {a: b}, annotations: {why: rest}}
spec:
  timezone: Europe/Berlin
  deny:
    - {from: 2026-12-24T18:00, until: 2027-01-02}
    - {weekdays: [sat, Sunday], from: "22:00", until: "06:00"}
    - {dates: [2026-12-24]}
  allow: [{dates: [2026-12-31], from: "09:00", until: "24:00"}]
""",
    """\
apiVersion: reconciler/v1
kind: Server
metadata:
  name: db-1
  labels: {role: db, env: prod}
  annotations: {owner: team-data}
  protected: false
  formerly: database-1
spec:
  host: 10.0.0.11
  port: 22
  username: deploy
  environment: production
  enabled: true
  connection: ssh
  auth: {privateKey: {file: id_ed25519}, passphrase: {env: DB1_PASSPHRASE}}
  hostKeys: ["ssh-ed25519 AAAA"]
  jump: bastion-1
  maxConcurrentRuns: 8
  durable: true
""",
    """\
apiVersion: reconciler/v1
kind: Task
metadata: {name: nightly-backup, labels: {tier: gold}, protected: true}
spec:
  server: db-1
  maxParallel: 0
  command: pg_dump app | gzip > /backup/app.gz
  schedule: "0 2 * * *"
  timezone: Europe/Berlin
  dst: cron
  enabled: true
  catchUp: latest
  catchUpWindow: 1h
  concurrency: forbid
  jitter: 5m
  timeout: 1h
  killGrace: 10s
  retries: {limit: 2, backoff: 30s, factor: 2, maxBackoff: 10m}
  after: [extract]
  calendars: [holidays]
  runAs: postgres
  workingDirectory: /srv/app
  env: {PGDATABASE: app}
  secrets: {PGPASSWORD: {env: APP_PGPASSWORD}}
  successExitCodes: [0]
  output: {maxBytes: 64KiB, archive: true}
  notify: [{"on": [failure, recovery, overdue], to: ops}]
  history: {maxAge: 1d, maxCount: 5}
""",
    """\
apiVersion: reconciler/v1
kind: Task
metadata: {name: selected, formerly: old@db-9}
spec:
  selector: {matchLabels: {role: db}, matchExpressions: [{key: env, operator: In, values: [prod]}]}
  script: {file: scripts/backup.sh, interpreter: /bin/bash}
""",
)
