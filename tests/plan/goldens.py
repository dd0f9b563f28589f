"""Whole outputs, as files in ``golden/``: ``python -m tests.plan.goldens`` writes them anew."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from reconciler.model.measured import Measured
from reconciler.plan.changes import Plan
from reconciler.plan.json import plan_shape
from reconciler.plan.markdown import plan_markdown
from reconciler.plan.target import Target
from reconciler.plan.text import plan_text
from tests.plan.world import NOW, World, applied, server, task, tree

FOLDER = Path(__file__).parent / "golden"
SCRIPT = "#!/bin/sh\nset -e\ncd /srv/backup\n" + "".join(f"step {number}\n" for number in range(12))
BERLIN = {"timezone": "Europe/Berlin"}
SPEC = {"guard": {"maxDeletions": 1}}


def everything() -> Plan:
    """One of each kind of change, with effects, drift and a tripped guard."""
    before = [
        server("db-1"), server("db-2"), server("web-1"),
        task("backup", schedule="0 2 * * *", command=SCRIPT, line=4, **BERLIN),
        task("hashed", "db-2", schedule="H H * * *", jitter="5m", line=9),
        task("备份数据库", schedule="@hourly", line=14),
        *[task("rotate", at, schedule="*/5 * * * *", line=20) for at in ("db-1", "db-2", "web-1")],
        task("hand", line=26), task("both", line=30), task("gone", line=34), task("gone-too", line=38),
    ]  # fmt: skip
    world = applied(*before, task("back", line=42), commit="1a2b3c4d5e6f7890", spec=SPEC)
    world.apply(tree(*before, commit="1a2b3c4d5e6f7890", spec=SPEC))
    world.by_hand(world.task_row("hand", "db-1"), timeout="5m", command="rm -rf /\x1b[2J")
    world.by_hand(world.task_row("both", "db-1"), timeout="5m")
    after = [
        server("db-1", protected=True, labels={"role": "db"}), server("web-1"),
        server("db-two", formerly="db-2", port=2222),
        task("backup", schedule="0 3 * * *", command=SCRIPT.replace("step 5", "step five"), line=4, **BERLIN),
        task("hashed", "db-two", schedule="H H * * *", jitter="5m", line=9),
        task("数据库备份", formerly="备份数据库", command="run 备份数据库", schedule="@hourly",
             successExitCodes=[0, 1], line=14),
        *[task("rotate", at, schedule="*/10 * * * *", line=20) for at in ("db-1", "db-two", "web-1")],
        task("hand", line=26), task("both", env={"LANG": "C"}, line=30), task("back", line=42),
        *[task("fresh", at, schedule="30 2 * * *", line=50, **BERLIN) for at in ("db-1", "web-1")],
    ]  # fmt: skip
    average = {row.id: 400.0 for row in world.tasks.values()}
    running = {world.task_row("backup", "db-1").id: (4711,)}
    desired = tree(*after, commit="5d6e7f8a9b0c1234", spec={**SPEC, "history": {"maxCount": 50}})
    return world.plan(desired, NOW, measured=Measured(average, running))


def protected() -> Plan:
    """A protected task that left the tree."""
    return applied(server("db-1"), task("a", protected=True)).plan(tree(server("db-1")), NOW)


def nothing() -> Plan:
    """The best of all plans."""
    return applied(server("db-1"), task("a"), commit="1a2b3c4d5e6f7890").plan(
        tree(server("db-1"), task("a"), commit="5d6e7f8a9b0c1234"), NOW
    )


def part() -> Plan:
    """What one target asks for."""
    desired = tree(server("db-1"), task("it's", schedule="@every 90s"), task("b"))
    return World().plan(desired, NOW, targets=[Target.parse("Task/it's")])


PLANS: dict[str, Callable[[], Plan]] = {
    "everything": everything, "protected": protected, "nothing": nothing, "part": part,
}  # fmt: skip
FORMS: dict[str, Callable[[Plan], str]] = {
    "txt": plan_text,
    "ansi": lambda plan: plan_text(plan, colour=True, path="my manifests"),
    "md": plan_markdown,
    "json": lambda plan: json.dumps(plan_shape(plan), indent=2, ensure_ascii=False) + "\n",
}

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, make in PLANS.items():
        for form, render in FORMS.items():
            (FOLDER / f"{name}.{form}").write_text(render(make()), encoding="utf-8")
