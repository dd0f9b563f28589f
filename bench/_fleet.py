"""Made-up fleets: trees of manifests as teams write them, and the same number of Terraform resources.

Everything follows from the numbers, so two runs measure the same bytes.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SCHEDULES = (
    "0 2 * * *",
    "30 2 * * *",
    "17 3 * * *",
    "*/5 * * * *",
    "*/15 8-18 * * mon-fri",
    "0 * * * *",
    "30 4 1 * *",
    "0 6 * * mon",
    "15,45 9-17 * * *",
    "@daily",
    "H H * * *",
    "@every 10m",
)
ZONES = ("Europe/Berlin", "America/New_York", "Asia/Tokyo", "Australia/Sydney", None, None)
"""Two of six tasks name none: UTC."""
SERVERS_OF_TASKS = 20
"""One server for so many tasks: 5 %."""
RESOURCES_PER_FILE = 100


@dataclass(frozen=True, slots=True)
class Written:
    """What lies on the disk."""

    files: int
    bytes: int


def write_tree(folder: Path, tasks: int, files: int) -> Written:
    """Manifests of so many tasks in so many files, and of the servers beside them.

    ``files`` counts those of tasks; servers have one for each hundred, or each its own where tasks do.
    A commit is made where git is installed: that is where trees come from.
    """
    servers = tasks // SERVERS_OF_TASKS
    own_files = files == tasks
    size = count = 0
    documents = {
        "tasks": ([_task(number, servers) for number in part] for part in _parts(tasks, files)),
        "servers": (
            [_server(number) for number in part]
            for part in _parts(servers, servers if own_files else max(1, servers // 100))
        ),
    }
    for kind, parts in documents.items():
        for index, part in enumerate(parts):
            path = folder / f"team-{index % 37:02}" / kind / f"{index:06}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            text = "---\n".join(part)
            path.write_text(text, encoding="utf-8")
            size += len(text.encode())
            count += 1
    if shutil.which("git"):
        who = ("-c", "user.name=bench", "-c", "user.email=bench@example.org")
        for words in (("init", "--quiet"), ("add", "."), (*who, "commit", "--quiet", "-m", "a fleet")):
            subprocess.run(("git", *words), cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return Written(count, size)


def _parts(total: int, parts: int) -> Iterator[range]:
    for index in range(parts):
        yield range(total * index // parts, total * (index + 1) // parts)


def _server(number: int) -> str:
    key = f"AAAAC3NzaC1lZDI1NTE5AAAA{number:044d}"
    return f"""\
apiVersion: reconciler/v1
kind: Server
metadata:
  name: web-{number:05}
  labels: {{role: {("web", "db", "cache", "batch")[number % 4]}, env: {("prod", "test")[number % 2]}}}
spec:
  host: 10.{number // 65536}.{number // 256 % 256}.{number % 256}
  username: deploy
  environment: {("production", "staging")[number % 2]}
  hostKeys: ["ssh-ed25519 {key}"]
"""


def _task(number: int, servers: int) -> str:
    """Of twenty tasks twelve are short, five name their surroundings, three have a whole script."""
    kind = number % 20
    zone = ZONES[number % 7 % len(ZONES)]
    labels = f"{{tier: {('gold', 'silver', 'bronze')[number % 3]}, team: team-{number % 37:02}}}"
    lines = [
        "apiVersion: reconciler/v1",
        "kind: Task",
        "metadata:",
        f"  name: job-{number:06}",
        f"  labels: {labels}",
    ]
    if kind >= 17:
        lines += [
            "  annotations:",
            f"    owner: team-{number % 37:02}@example.org",
            "    runbook: https://wiki.example.org/jobs",
        ]
    lines += [
        "spec:",
        f"  server: web-{number * 7919 % servers:05}",
        f'  schedule: "{SCHEDULES[number % 13 % len(SCHEDULES)]}"',
    ]
    if zone:
        lines.append(f"  timezone: {zone}")
    if kind < 12:
        lines.append(f"  command: /usr/local/bin/job --number {number} --quiet")
    else:
        lines += [
            f"  timeout: {('30m', '2h')[number % 2]}",
            "  workingDirectory: /srv/app",
            f"  env: {{PGDATABASE: app_{number % 211}, LANG: C.UTF-8}}",
        ]
    if 12 <= kind < 17:
        lines.append(f"  command: pg_dump app_{number % 211} | gzip > /backup/app-{number}.gz")
    elif kind >= 17:
        lines += [
            "  killGrace: 30s",
            "  command: |",
            "    set -eu",
            f"    cd /srv/app/releases/{number}",
            "    ./bin/rotate --keep 14 --compress",
            "    find . -name '*.tmp' -mtime +2 -delete",
            "    ./bin/report --to ops@example.org > /var/log/rotate.log 2>&1",
        ]
    return "\n".join(lines) + "\n"


def write_terraform(folder: Path, resources: int) -> None:
    """As many trivial resources, and a state that says they are all there: a plan finds no change.

    ``terraform_data`` is built in, so there is no provider to fetch and no other process to ask.
    """
    state = []
    for number in range(resources):
        value = {"value": f"job --number {number}", "type": "string"}
        state.append(
            {
                "mode": "managed",
                "type": "terraform_data",
                "name": f"job_{number:06}",
                "provider": 'provider["terraform.io/builtin/terraform"]',
                "instances": [
                    {
                        "schema_version": 0,
                        "attributes": {
                            "id": str(uuid.UUID(int=number)),
                            "input": value,
                            "output": value,
                            "triggers_replace": None,
                        },
                        "sensitive_attributes": [],
                    }
                ],
            }
        )
    folder.mkdir(parents=True, exist_ok=True)
    head = {"version": 4, "serial": 1, "lineage": str(uuid.UUID(int=0)), "outputs": {}, "resources": state}
    (folder / "terraform.tfstate").write_text(json.dumps(head))
    for index, part in enumerate(_parts(resources, max(1, resources // RESOURCES_PER_FILE))):
        blocks = (
            f'resource "terraform_data" "job_{number:06}" {{\n  input = "job --number {number}"\n}}\n'
            for number in part
        )
        (folder / f"jobs-{index:04}.tf").write_text("".join(blocks))
