"""Archives in a folder and in a bucket: one behaviour, on the real thing."""

from __future__ import annotations

import gzip
import hashlib
import os
import random
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.clock import SystemClock
from reconciler.errors import ArchiveUnavailable, NotFound, SettingsInvalid
from reconciler.model.execution import Job
from reconciler.record import bucket, folder
from reconciler.record.archive import Archives, name_of
from reconciler.store.ids import first_id_at
from tests.dispatch.fleet import START
from tests.record.runs import job
from tests.services.s3 import S3Server

CLOCK = SystemClock()
ID = first_id_at(START) + 5
NAME = name_of(ID)


class Kept:
    """An archive and a way around it to what is really there."""

    def __init__(self, place: str, server: S3Server | None = None) -> None:
        self.place = place
        self.server = server
        self.archives = Archives(place, CLOCK)

    def files(self) -> dict[str, bytes]:
        """Every file or object below the place."""
        if self.server is None:
            root = Path(self.place)
            return {
                str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
            }
        client = self.server.client()
        name, _, prefix = self.place.removeprefix("s3://").partition("/")
        found = client.list_objects_v2(Bucket=name).get("Contents", [])
        return {
            item["Key"].removeprefix(f"{prefix}/"): client.get_object(Bucket=name, Key=item["Key"])[
                "Body"
            ].read()
            for item in found
        }


@pytest.fixture(params=["folder", "s3"])
def kept(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kept]:
    if request.param == "folder":
        yield Kept(str(tmp_path / "archive"))
        return
    server: S3Server = request.getfixturevalue("s3_server")
    for name, value in server.variables.items():
        monkeypatch.setenv(name, value)
    yield Kept(f"s3://{server.new_bucket()}/runs/of/us", server)


@pytest.fixture
def in_folder(tmp_path: Path) -> Kept:
    return Kept(str(tmp_path / "archive"))


def the_job(execution_id: int = ID) -> Job:
    return job(execution_id, slot=START)


def write(kept: Kept, out: bytes, err: bytes = b"", of: Job | None = None) -> str | None:
    run = kept.archives.open(of or the_job())
    for start in range(0, len(out), 100_000):
        run.write("stdout", out[start : start + 100_000])
    if err:
        run.write("stderr", err)
    return run.finish()


def read(kept: Kept, place: str, stream: str = "stdout") -> bytes:
    with kept.archives.read(place, stream) as found:  # type: ignore[arg-type]
        return b"".join(found.bytes_from(0))


def test_the_whole_of_both_streams_comes_back(kept: Kept) -> None:
    out = b"".join(b"line %d\n" % number for number in range(60_000))
    place = write(kept, out, b"\xff\xfe no text\n")
    assert place == f"{kept.place}/{NAME}"
    assert read(kept, place) == out
    assert read(kept, place, "stderr") == b"\xff\xfe no text\n"
    files = kept.files()
    assert sorted(files) == [f"{NAME}.err.gz", f"{NAME}.out.gz"]
    assert gzip.decompress(files[f"{NAME}.out.gz"]) == out


def test_a_run_without_output_leaves_nothing(kept: Kept) -> None:
    assert write(kept, b"") is None
    assert kept.files() == {}


def test_a_stream_without_output_has_no_file(kept: Kept) -> None:
    place = write(kept, b"x\n")
    assert place is not None
    assert list(kept.files()) == [f"{NAME}.out.gz"]
    with pytest.raises(NotFound):
        read(kept, place, "stderr")


def test_nothing_is_seen_of_an_archive_before_it_is_whole_and_nothing_of_one_given_up(kept: Kept) -> None:
    run = kept.archives.open(the_job())
    run.write("stdout", random.Random(1).randbytes(11_000_000))
    run.write("stderr", b"x")
    assert not any(name.endswith(".gz") for name in kept.files())
    run.abandon()
    assert kept.files() == {}


def test_a_second_owner_replaces_what_the_first_one_left(kept: Kept) -> None:
    kept.archives.open(the_job()).write("stdout", b"the first half\n")
    attached = replace(the_job(), started_at=START)
    place = write(kept, b"the first half\nthe second\n", of=attached)
    assert place is not None
    assert read(kept, place) == b"the first half\nthe second\n"
    assert write(kept, b"again\n", of=attached) == place
    assert read(kept, place) == b"again\n"


def test_deleting_leaves_nothing_and_may_be_repeated(kept: Kept) -> None:
    place, other = write(kept, b"x", b"y"), write(kept, b"z", of=the_job(ID + 1))
    assert place is not None
    assert other is not None
    kept.archives.delete(place)
    assert list(kept.files()) == [f"{name_of(ID + 1)}.out.gz"]
    kept.archives.delete(other)
    kept.archives.delete(other)
    assert kept.files() == {}
    with pytest.raises(NotFound, match="gone, or not on this machine"):
        read(kept, place)


def test_a_large_output_is_written_in_bounded_memory(kept: Kept) -> None:
    # noise, the worst case: nothing of it becomes smaller
    piece = random.Random(2).randbytes(100_000)
    digest = hashlib.sha256()
    write(kept, b"warm up", of=the_job(ID + 9))
    run = kept.archives.open(the_job())
    tracemalloc.start()
    try:
        for _ in range(300):
            run.write("stdout", piece)
            digest.update(piece)
        place = run.finish()
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < (5_000_000 if kept.server is None else 25_000_000)
    assert place is not None
    with kept.archives.read(place, "stdout") as found:
        back = hashlib.sha256()
        for part in found.bytes_from(0):
            back.update(part)
    assert back.digest() == digest.digest()


@pytest.mark.parametrize(
    "place",
    [
        "/etc/passwd",
        "2026/01/01/0000/../../../../etc/passwd",
        "/x/2026/01/01/0000/1",
        "s3://b/../secret",
        f"/x/../{NAME}/..",
        f"{NAME}\n",
        "",
    ],
)
def test_only_places_of_our_own_making_are_touched(in_folder: Kept, place: str) -> None:
    with pytest.raises(NotFound, match="is not the place of an archive"):
        in_folder.archives.delete(place)
    with pytest.raises(NotFound, match="is not the place of an archive"):
        read(in_folder, place)


def test_damage_is_told_with_the_place(in_folder: Kept) -> None:
    place = write(in_folder, b"".join(b"line %d\n" % number for number in range(100_000)))
    assert place is not None
    file = Path(place + ".out.gz")
    data = bytearray(file.read_bytes())
    data[5000] ^= 0xFF
    file.write_bytes(data)
    with pytest.raises(ArchiveUnavailable, match=r"out\.gz cannot be read: a part of it is damaged"):
        read(in_folder, place)
    file.write_bytes(data[:-1])
    with pytest.raises(ArchiveUnavailable, match="cannot be read"):
        read(in_folder, place)


def test_archives_that_were_moved_are_found_where_the_settings_say(in_folder: Kept, tmp_path: Path) -> None:
    place = write(in_folder, b"x\n")
    assert place is not None
    os.rename(in_folder.place, tmp_path / "moved")
    assert read(Kept(str(tmp_path / "moved")), place) == b"x\n"


def test_folders_are_their_owners_alone(in_folder: Kept) -> None:
    place = write(in_folder, b"x\n")
    assert Path(f"{place}.out.gz").stat().st_mode & 0o777 == 0o600
    assert {path.stat().st_mode & 0o777 for path in Path(in_folder.place).rglob("*") if path.is_dir()} == {
        0o700
    }


@pytest.mark.parametrize("link", [NAME.split("/")[0], ".unfinished", f"{NAME}.out.gz"])
def test_symbolic_links_lead_nowhere(in_folder: Kept, tmp_path: Path, link: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("untouched")
    path = Path(in_folder.place, link)
    path.parent.mkdir(parents=True)
    path.symlink_to(outside / "file" if link.endswith(".gz") else outside)
    if link.endswith(".gz"):
        with pytest.raises(ArchiveUnavailable, match="symbolic links"):
            read(in_folder, f"{in_folder.place}/{NAME}")
        write(in_folder, b"x")
        assert not path.is_symlink()
    else:
        with pytest.raises(ArchiveUnavailable, match="cannot be written"):
            write(in_folder, b"x")
    assert {file.name: file.read_text() for file in outside.iterdir()} == {"file": "untouched"}


def test_what_killed_writers_left_goes_and_what_others_write_stays(
    in_folder: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive = in_folder.archives.open(the_job())
    alive.write("stdout", b"x")
    unfinished = Path(in_folder.place, ".unfinished")
    (unfinished / "7.out.gz.abc").write_bytes(b"left by a process that is gone")
    (unfinished / "8.out.gz.abc").write_bytes(b"the same, just now")
    for path in unfinished.iterdir():
        if not path.name.startswith("8."):
            os.utime(path, (0, 0))
    write(Kept(in_folder.place), b"y", of=the_job(ID + 1))
    left = {path.name.split(".")[0] for path in unfinished.iterdir()}
    assert left == {str(ID), "8"}
    in_folder.archives.open(replace(the_job(8), started_at=START))
    assert {path.name.split(".")[0] for path in unfinished.iterdir()} == {str(ID)}
    assert alive.finish() is not None


def test_a_folder_that_a_deletion_removes_under_our_hands_is_made_again(
    in_folder: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    moves: list[int] = []
    rename = os.rename

    def removed_first(*names: object, **folders: int) -> None:
        moves.append(1)
        if len(moves) == 1:
            Path(in_folder.place, NAME).parent.rmdir()
        rename(*names, **folders)  # type: ignore[arg-type]

    monkeypatch.setattr(folder.os, "rename", removed_first)
    place = write(in_folder, b"x")
    assert len(moves) == 2
    assert read(in_folder, str(place)) == b"x"


@pytest.mark.parametrize("step", ["create", "write", "fsync", "second"])
def test_a_full_disk_leaves_nothing_half_done(
    in_folder: Kept, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    import errno

    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    kept: list[int] = []

    def full_later(_: int) -> None:
        kept.append(1)
        if len(kept) > 3:
            full()

    run = in_folder.archives.open(the_job())
    call = {"create": "open", "write": "write"}.get(step, "fsync")
    monkeypatch.setattr(folder.os, call, full_later if step == "second" else full)
    with pytest.raises(ArchiveUnavailable, match="cannot be written: No space left on device"):
        run.write("stdout", b"x")
        run.write("stderr", b"y")
        run.finish()
    run.abandon()
    monkeypatch.undo()
    assert in_folder.files() == {}


def test_a_bucket_that_does_not_answer_is_one_clear_error_in_bounded_time(
    start_s3: Callable[[], S3Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_s3()
    for name, value in server.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(bucket, "ATTEMPTS", 2)
    kept = Kept("s3://nobody-made-this/x", server)
    with pytest.raises(ArchiveUnavailable, match=r"s3://nobody-made-this/x cannot be written: NoSuchBucket"):
        write(kept, b"x")
    kept = Kept(f"s3://{server.new_bucket()}", server)
    kept.archives.check()

    silent = kept.archives.open(the_job())
    silent.write("stdout", b"x")
    with monkeypatch.context() as patch:
        patch.setattr(bucket, "PATIENCE_SECONDS", 0.2)
        server.pause()
        with pytest.raises(ArchiveUnavailable, match="did not answer within 0 seconds"):
            silent.finish()
    silent.abandon()
    server.resume()

    run = kept.archives.open(the_job(ID + 1))
    run.write("stdout", random.Random(3).randbytes(6_000_000))
    server.kill()
    with pytest.raises(ArchiveUnavailable, match="cannot be written: Could not connect"):
        run.write("stdout", random.Random(4).randbytes(12_000_000))
        run.finish()
    run.abandon()
    with pytest.raises(ArchiveUnavailable, match="cannot be reached: Could not connect"):
        kept.archives.check()


def test_a_reader_waits_for_a_silent_bucket_in_bounded_time(
    start_s3: Callable[[], S3Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_s3()
    for name, value in server.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(bucket, "READ_PATIENCE_SECONDS", 0.2)
    # what boto3 would wait for by itself: long enough to be told apart, and not for ever
    monkeypatch.setattr(bucket, "READ_SECONDS", 5)
    monkeypatch.setattr(bucket, "ATTEMPTS", 1)
    kept = Kept(f"s3://{server.new_bucket()}", server)
    place = write(kept, b"x")
    assert place is not None
    server.pause()
    silent = r"cannot be read: it did not answer within 0 seconds"
    with pytest.raises(ArchiveUnavailable, match=silent), kept.archives.read(place, "stdout"):
        pass
    server.resume()
    with kept.archives.read(place, "stdout") as found:
        server.pause()
        with pytest.raises(ArchiveUnavailable, match=silent):
            list(found.bytes_from(0))
    server.resume()


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(SettingsInvalid, match="needs boto3") as caught:
        Archives("s3://bucket/x", CLOCK)
    assert caught.value.hint == "pip install 'reconciler[s3]'"
