"""Lines of the log: their form, whom they concern, and what they never hold."""

from __future__ import annotations

import io
import json
import logging
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from reconciler.cli.loglines import set_up_logging
from reconciler.controller.subject import FIELDS, concerning
from reconciler.errors import SourceUnavailable
from tests.acceptance.driver import Program, eventually, write_tree
from tests.services.git import GitRepository

LOG = logging.getLogger("reconciler.controller")
SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "docs/log-line.schema.json").read_text())
RUN = {
    "execution": "37",
    "task": "backup",
    "server": "db-1",
    "project": "ops",
    "commit": "0123456789abcdef" * 2,
}
TREE = """\
apiVersion: reconciler/v1
kind: Project
metadata: {name: logged}
---
apiVersion: reconciler/v1
kind: Server
metadata: {name: here}
spec: {host: localhost, connection: local}
---
apiVersion: reconciler/v1
kind: Task
metadata: {name: short}
spec:
  server: here
  command: echo "$PIN"
  secrets: {PIN: {env: PIN}}
  schedule: "@every 1s"
"""


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    names = ("reconciler", "paramiko")
    levels = {name: logging.getLogger(name).level for name in names}
    yield io.StringIO()
    root.handlers[:] = before
    root.setLevel(level)
    for name in names:
        logging.getLogger(name).setLevel(levels[name])


def objects(text: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in text.splitlines()]
    for each in found:
        jsonschema.validate(each, SCHEMA)
    return found


def test_a_line_of_text_ends_with_whom_it_concerns(stream: io.StringIO) -> None:
    set_up_logging("text", stream)
    with concerning(RUN):
        LOG.warning("slow")
    LOG.warning("quiet")
    first, second = stream.getvalue().splitlines()
    subject = r"  \[execution=37 task=backup server=db-1 project=ops commit=0123456789ab\]"
    assert re.fullmatch(
        rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{6}}Z warning controller: slow{subject}", first
    )
    assert second.endswith("quiet")


def test_every_json_line_has_every_field_and_fits_the_schema(stream: io.StringIO) -> None:
    set_up_logging("json", stream)
    with concerning(RUN):
        LOG.warning("two\nlines", extra={"task": "said by the call"})
        logging.getLogger("some.library").warning("heard")
    LOG.info("nothing in particular")
    said, heard, plain = objects(stream.getvalue())
    assert {name: said[name] for name in FIELDS} == RUN | {"task": "said by the call"}
    assert heard["execution"] == "37"
    assert [plain[name] for name in FIELDS] == [None] * 5


def test_threads_do_not_mix_up_whom_they_work_for(stream: io.StringIO) -> None:
    set_up_logging("json", stream)
    together = threading.Barrier(8)

    def work(number: int) -> None:
        with concerning({"execution": str(number)}):
            together.wait(10)
            LOG.warning("%d", number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    found = objects(stream.getvalue())
    assert len(found) == 8
    assert all(line["execution"] == line["message"] for line in found)


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_fault_tells_its_place_and_kind_and_never_its_values(
    stream: io.StringIO, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RECONCILER_DEBUG", raising=False)
    set_up_logging(form, stream)
    secret = "hunter" + "22"
    try:
        try:
            raise KeyError(secret)
        except KeyError as error:
            raise SourceUnavailable("the forge does not answer") from error
    except SourceUnavailable:
        LOG.exception("it failed")
    text = stream.getvalue()
    assert secret not in text
    for word in ("KeyError", "SourceUnavailable: the forge does not answer", "test_loglines.py", "caused by"):
        assert word in text
    if form == "json":
        objects(text)


def test_lines_of_a_process_lead_from_a_run_to_its_commit(tmp_path: Path, git_repo: GitRepository) -> None:
    write_tree(git_repo.path, {"fleet.yaml": TREE})
    commit = git_repo.commit("the fleet")
    (tmp_path / "program").mkdir()
    one = Program(
        tmp_path / "program",
        RECONCILER_LOG="json",
        RECONCILER_SECRET_PIN="hunter22",
        RECONCILER_STATE_DIR="state",
    )
    process = one.start("up", str(git_repo.path))
    try:
        eventually(lambda: one.said(process).count('"ended"') >= 2)
        ended = next(line for line in objects(one.said(process)) if line.get("event") == "ended")
    finally:
        one.close()
    assert process.returncode == 0
    said = one.said(process)
    assert "hunter22" not in said
    lines = objects(said)
    applied = next(line for line in lines if line.get("event") == "applied")
    assert (applied["project"], applied["commit"]) == ("logged", commit)
    assert {ended[name] for name in ("task", "server", "project", "commit")} == {
        "short",
        "here",
        "logged",
        commit,
    }
