"""``logs`` of runs whose row keeps less than they wrote: from the archive, and without it."""

from __future__ import annotations

import hashlib
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.console import Console
from reconciler.cli.logtext import Output
from reconciler.clock import SystemClock
from reconciler.execute.capture import Capture
from reconciler.record.archive import Archives
from reconciler.store.ids import first_id_at
from tests.cli.reading.conftest import Command
from tests.record.runs import job
from tests.report.world import NOW, World

OUT = b"".join(b"out %d\n" % number for number in range(20_000)) + b"no end"
ERR = b"".join(b"err %d\n" % number for number in range(1000))


@pytest.fixture
def task(world: World) -> int:
    world.server("db-1")
    return world.task("backup", "db-1")


def a_run(
    world: World,
    task: int,
    folder: Path,
    out: bytes = OUT,
    err: bytes = ERR,
    message: str = "",
    **columns: Any,
) -> str:
    """A run as the recorder leaves it, with an archive in the folder; the archive's place."""
    number = first_id_at(NOW) + 77
    archive = Archives(str(folder), SystemClock()).open(job(number, slot=NOW))
    kept = {}
    for stream, data in (("stdout", out), ("stderr", err)):
        archive.write(stream, data)  # type: ignore[arg-type]
        capture = Capture(1024)
        capture.write(data)
        kept[stream] = capture.finish()
    place = archive.finish()
    world.run(
        task,
        NOW,
        id=number,
        output=kept["stdout"].text,
        error=(f"{message}\n" if message else "") + kept["stderr"].text,
        output_bytes=len(out),
        error_bytes=len(err),
        output_sha256=hashlib.sha256(out).hexdigest(),
        error_sha256=hashlib.sha256(err).hexdigest(),
        truncated=1,
        archive=place,
        **columns,
    )
    return str(place)


def test_everything_comes_from_the_archive(
    world: World, task: int, reconciler: Command, tmp_path: Path
) -> None:
    a_run(world, task, tmp_path / "archive")
    said = reconciler("logs", "backup", "--stream", "out")
    assert said.out == OUT.decode()
    assert "bytes were kept" not in said.err
    assert reconciler("logs", "backup").out == f"{OUT.decode()}\n{ERR.decode()}"


def test_pages_and_tails_are_those_of_the_whole(
    world: World, task: int, reconciler: Command, tmp_path: Path
) -> None:
    a_run(world, task, tmp_path / "archive")
    said = reconciler("logs", "backup", "--page", "150", "--page-size", "100")
    assert said.out == "".join(f"out {number}\n" for number in range(14_900, 15_000))
    assert "page 150 of 211" in said.err
    across = reconciler("logs", "backup", "--page", "6667", "--page-size", "3").out
    assert across == "out 19998\nout 19999\nno end\n"
    assert reconciler("logs", "backup", "--tail", "2", "--stream", "out").out == "out 19999\nno end\n"
    assert "there is no page 212: 21,001 lines" in (
        reconciler("logs", "backup", "--page", "212", "--page-size", "100").err
    )


def test_the_programs_own_sentence_stands_in_front_of_the_error_output(
    world: World, task: int, reconciler: Command, tmp_path: Path
) -> None:
    told = {"message": "timed out after 1h", "status": 2, "reason": "timed-out", "exit_code": None}
    a_run(world, task, tmp_path / "archive", **told)  # type: ignore[arg-type]
    said = reconciler("logs", "backup", "--stream", "err")
    assert said.out == "timed out after 1h\n" + ERR.decode()


def test_standard_output_gets_the_very_bytes_of_the_run() -> None:
    bytes_of, text_of = BytesIO(), StringIO()
    with_bytes = TextIOWrapper(bytes_of, "ascii")
    for out in (with_bytes, text_of):
        console = Console(out, StringIO(), False, False, 80, False)
        console.print("head")
        output = Output(console)
        for piece in (b"caf\xc3", b"\xa9 \xff", b"\n"):
            output.write(piece)
        output.flush()
    assert bytes_of.getvalue() == b"head\ncaf\xc3\xa9 \xff\n"
    assert text_of.getvalue() == "head\ncafé \N{REPLACEMENT CHARACTER}\n"


@pytest.mark.parametrize("fault", ["gone", "damaged", "cut", "other"])
def test_without_the_archive_the_row_is_shown_and_that_is_said(
    world: World, task: int, reconciler: Command, tmp_path: Path, fault: str
) -> None:
    file = Path(a_run(world, task, tmp_path / "archive") + ".out.gz")
    data = bytearray(file.read_bytes())
    if fault == "gone":
        file.unlink()
    elif fault == "damaged":
        data[100] ^= 0xFF
        file.write_bytes(data)
    elif fault == "cut":
        file.write_bytes(data[:-100])
    else:
        file.write_bytes(file.with_name(file.name.replace(".out.", ".err.")).read_bytes())
    said = reconciler("logs", "backup", "--stream", "out")
    assert said.code == 0
    assert "bytes left out]\n" in said.out
    assert said.out.endswith(OUT.decode()[-450:])
    assert "this is what the row keeps:" in said.err
    assert "out: 999 of 188,896 bytes were kept, head and tail" in said.err
    assert {"gone": "gone, or not on this machine", "other": "another run's"}.get(
        fault, "cannot be read"
    ) in said.err


def test_a_row_that_has_everything_needs_no_archive(
    world: World, task: int, reconciler: Command, tmp_path: Path
) -> None:
    file = Path(a_run(world, task, tmp_path / "archive", out=b"one\n", err=b"two\n") + ".out.gz")
    file.unlink()
    said = reconciler("logs", "backup")
    assert said.out == "one\ntwo\n"
    assert "archive" not in said.err
