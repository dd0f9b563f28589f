"""Records on the disk: whole or not at all, one owner, bounded, and nothing dropped that cannot be read."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from reconciler.errors import DatabaseRejected, SpoolFull
from reconciler.model.execution import CapturedStream
from reconciler.record import box
from reconciler.record.batch import Ended, Record, Started
from reconciler.record.frames import HEAD
from reconciler.record.spool import Spool
from tests.dispatch.fleet import at
from tests.record.runs import ended, job
from tests.services.clock import FakeClock

ROOT = Path(__file__).resolve().parents[2]

Open = Callable[..., Spool]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "state" / "spool"


@pytest.fixture
def spool_of(root: Path, fake_clock: FakeClock) -> Open:
    def open_spool(owner: str = "me", **options: int) -> Spool:
        return Spool(root, owner, fake_clock, **options)

    return open_spool


def drained(spool: Spool) -> list[int]:
    """The executions of all records, in the order in which they come; they are gone then."""
    found: list[int] = []
    while (batch := spool.oldest()) is not None:
        found += [record.job.execution_id for record in batch.records]
        spool.written(batch)
    return found


def left_by_a_dead_process(spool_of: Open, numbers: range, owner: str = "dead") -> Path:
    """The one file that a process left; its lock ended with it."""
    spool = spool_of(owner)
    for number in numbers:
        spool.keep([ended(number)])
    spool.close()
    (file,) = (spool.root / owner).iterdir()
    return file


def test_records_come_back_in_order_and_leave_nothing(spool_of: Open, root: Path) -> None:
    spool = spool_of()
    assert not root.exists()
    spool.keep([Started(job(1), at(1)), ended(1)])
    spool.keep([ended(2), ended(3)])
    assert (spool.state.records, spool.waits) == (4, True)
    assert drained(spool) == [1, 1, 2, 3]
    assert spool.state.records == spool.state.bytes == 0
    spool.close()
    assert list(root.iterdir()) == []


def test_what_comes_while_others_are_replayed_is_a_file_of_its_own(spool_of: Open) -> None:
    spool = spool_of()
    spool.keep([ended(1)])
    first = spool.oldest()
    assert first is not None
    spool.keep([ended(2)])
    assert [record.job.execution_id for record in first.records] == [1]
    spool.written(first)
    assert drained(spool) == [2]


def test_files_have_a_size_and_come_in_order(
    spool_of: Open, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(box, "FILE_BYTES", 2_000)
    spool = spool_of()
    for number in range(1, 30):
        spool.keep([ended(number)])
    spool.close()
    assert len(list((root / "me").iterdir())) > 5
    heir = spool_of("heir")
    assert heir.adopt() == 29
    assert drained(heir) == list(range(1, 30))


def test_files_and_folders_are_their_owners_alone(spool_of: Open, root: Path) -> None:
    before = os.umask(0)
    try:
        spool = spool_of()
        spool.keep([ended(1)])
        spool.refuse(ended(2), DatabaseRejected("no"))
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [root, *root.rglob("*")]}
    assert set(modes.values()) == {0o700, 0o600}
    assert {name for name, mode in modes.items() if mode == 0o700} == {"spool", "me", "refused"}


def test_the_state_tells_how_much_and_since_when(spool_of: Open, fake_clock: FakeClock) -> None:
    spool = spool_of()
    assert spool.state.oldest is None
    spool.keep([ended(1)])
    since = fake_clock.now()
    fake_clock.advance(90)
    spool.keep([ended(2)])
    spool.refuse(ended(3), DatabaseRejected("no"))
    state = spool.state
    assert (state.records, state.refused) == (2, 1)
    assert state.bytes > 500
    assert state.oldest is not None
    assert abs(state.oldest - since) < timedelta(milliseconds=1)


# -- dead processes -------------------------------------------------------------------------------


def test_what_a_living_process_holds_is_not_touched(spool_of: Open) -> None:
    living = spool_of("living")
    living.keep([ended(1)])
    heir = spool_of("heir")
    assert heir.adopt() == 0
    assert drained(heir) == []
    assert drained(living) == [1]


def test_what_dead_processes_left_comes_before_what_is_new(spool_of: Open, root: Path) -> None:
    left_by_a_dead_process(spool_of, range(1, 4), "dead-1")
    left_by_a_dead_process(spool_of, range(4, 6), "dead-2")
    heir = spool_of("heir")
    heir.keep([ended(9)])
    assert heir.adopt() == 5
    assert heir.adopt() == 0
    found = drained(heir)
    assert sorted(found) == [1, 2, 3, 4, 5, 9]
    assert found[-1] == 9
    assert found.index(1) < found.index(2) < found.index(3)
    assert heir.gone() == {"dead-1", "dead-2"}
    assert [path.name for path in root.iterdir()] == ["heir"]


def test_of_many_that_take_over_at_once_one_gets_each(spool_of: Open) -> None:
    owners = [f"dead-{number}" for number in range(6)]
    for number, owner in enumerate(owners):
        left_by_a_dead_process(spool_of, range(number * 10, number * 10 + 10), owner)
    heirs = [spool_of(f"heir-{number}") for number in range(8)]
    barrier = threading.Barrier(len(heirs))

    def adopt(heir: Spool) -> list[int]:
        barrier.wait(20)
        heir.adopt()
        return drained(heir)

    with ThreadPoolExecutor(len(heirs)) as pool:
        found = [number for numbers in pool.map(adopt, heirs) for number in numbers]
    assert sorted(found) == list(range(60))


KEEPS = """
import sys
from pathlib import Path
from reconciler.clock import SystemClock
from reconciler.record.spool import Spool
from tests.record.runs import ended

spool = Spool(Path(sys.argv[1]), "victim", SystemClock())
for number in range(1, 1_000_000):
    spool.keep([ended(number)])
    print(number, flush=True)
"""


def test_what_was_kept_survives_sigkill(spool_of: Open, root: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KEEPS, str(root)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as victim:
        assert victim.stdout is not None
        for line in victim.stdout:
            if int(line) >= 50:
                break
        victim.kill()
        promised = [int(line), *map(int, victim.stdout.read().split())]
    heir = spool_of("heir")
    heir.adopt()
    found = drained(heir)
    assert found == list(range(1, len(found) + 1))
    assert len(found) >= promised[-1]


# -- damage ---------------------------------------------------------------------------------------


def test_a_torn_last_record_is_told_and_the_others_come(
    spool_of: Open, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = left_by_a_dead_process(spool_of, range(1, 6))
    os.truncate(file, file.stat().st_size - 7)
    heir = spool_of("heir")
    assert heir.adopt() == 4
    assert drained(heir) == [1, 2, 3, 4]
    assert any("ends in the middle of a record" in line for line in caplog.messages)


def test_a_damaged_record_in_the_middle_is_put_aside_and_the_others_come(
    spool_of: Open, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = left_by_a_dead_process(spool_of, range(1, 6))
    data = bytearray(file.read_bytes())
    place = data.index(b"out of 3")
    data[place] ^= 1
    file.write_bytes(data)
    heir = spool_of("heir")
    assert heir.adopt() == 4
    assert drained(heir) == [1, 2, 4, 5]
    assert any("is damaged" in line and "bytes from byte" in line for line in caplog.messages)
    (aside,) = (root / "refused").iterdir()
    assert aside.read_bytes() in data
    assert bytes(data[place : place + 8]) in aside.read_bytes()


def test_a_record_of_another_version_is_put_aside(
    spool_of: Open, root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    spool = spool_of("dead")
    spool.keep([ended(1)])
    with monkeypatch.context() as patch:
        patch.setattr("reconciler.record.spool.encode", lambda record: b'{"kind":"of-the-future"}')
        spool.keep([ended(2)])
    spool.keep([ended(3)])
    spool.close()
    heir = spool_of("heir")
    heir.adopt()
    assert drained(heir) == [1, 3]
    (aside,) = (root / "refused").iterdir()
    assert aside.read_bytes() == b'{"kind":"of-the-future"}'
    assert any("cannot be read" in line for line in caplog.messages)


def test_strangers_in_the_folder_are_left_alone(spool_of: Open, root: Path) -> None:
    file = left_by_a_dead_process(spool_of, range(1, 3))
    (root / "notes.txt").write_text("hands off")
    (file.parent / "core").write_text("dump")
    (file.parent / "x.records").mkdir()
    heir = spool_of("heir")
    heir.adopt()
    assert drained(heir) == [1, 2]
    assert (root / "notes.txt").exists()
    assert (file.parent / "core").exists()


# -- bounds ---------------------------------------------------------------------------------------


def test_the_spool_is_bounded_and_takes_more_once_there_is_room(spool_of: Open) -> None:
    spool = spool_of(max_bytes=10_000)
    kept = 0
    with pytest.raises(SpoolFull, match="bound of 10000"):
        while True:
            spool.keep([ended(kept + 1)])
            kept += 1
    assert kept > 5
    batch = spool.oldest()
    assert batch is not None
    assert len(batch.records) == kept
    spool.written(batch)
    spool.keep([ended(kept + 1)])
    assert drained(spool) == [kept + 1]


def test_refused_records_are_bounded_too(spool_of: Open) -> None:
    spool = spool_of(max_bytes=5_000)
    with pytest.raises(SpoolFull, match="refused"):
        for number in range(100):
            spool.refuse(ended(number), DatabaseRejected("no"))


@pytest.fixture
def tiny(root: Path) -> Iterator[Path]:
    """The spool's folder on a file system of 256 KiB."""
    root.mkdir(parents=True, mode=0o700)
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k,mode=700", "tmpfs", str(root)],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("only root may mount a file system")
    try:
        yield root
    finally:
        subprocess.run(["umount", "-l", str(root)], check=True)


def test_a_full_disk_loses_nothing_of_what_was_kept_and_writes_no_half_records(
    spool_of: Open, tiny: Path
) -> None:
    spool = spool_of("dead")
    big = CapturedStream("x" * 20_000, 20_000)
    kept = 0
    with pytest.raises(SpoolFull, match="No space left"):
        while True:
            spool.keep([ended(kept + 1, stdout=big), ended(kept + 2, stdout=big)])
            kept += 2
    assert 4 <= kept <= 14
    with pytest.raises(SpoolFull):
        spool.keep([ended(kept + 1, stdout=big), ended(kept + 2, stdout=big)])
    # a smaller one still fits: nothing is left of those that did not
    spool.keep([ended(99)])
    assert spool.state.records == kept + 1
    spool.close()
    heir = spool_of("heir")
    assert heir.adopt() == kept + 1
    assert drained(heir) == [*range(1, kept + 1), 99]
    heir.keep([ended(1, stdout=big)])
    assert drained(heir) == [1]


def test_a_folder_that_may_not_be_made_is_told(tmp_path: Path, fake_clock: FakeClock) -> None:
    (tmp_path / "file").write_text("")
    spool = Spool(tmp_path / "file" / "spool", "me", fake_clock)
    assert not spool.usable
    with pytest.raises(SpoolFull, match="cannot be written"):
        spool.keep([ended(1)])
    assert spool.adopt() == 0
    good = Spool(tmp_path / "a" / "b" / "spool", "me", fake_clock)
    assert good.usable
    assert not (tmp_path / "a").exists()
    spool.close()


# -- refused records ------------------------------------------------------------------------------


def again(spool: Spool) -> list[Record]:
    """What is tried again now."""
    spool.adopt()
    batch = spool.oldest()
    return [] if batch is None else batch.records


def test_a_refused_record_is_a_file_for_people(
    spool_of: Open, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool_of().refuse(ended(7), DatabaseRejected("refused a value that is too long", hint="shorten it"))
    text = (root / "refused" / "7-ended.json").read_text()
    for words in ("refused a value that is too long", "shorten it", "touch", "out of 7", '"backup"'):
        assert words in text
    assert any("execution 7" in line and "7-ended.json" in line for line in caplog.messages)


def test_a_refused_record_is_tried_again_by_each_start_and_whenever_it_is_touched(
    spool_of: Open, root: Path
) -> None:
    spool = spool_of("first")
    spool.refuse(ended(7), DatabaseRejected("no"))
    assert again(spool) == []
    file = root / "refused" / "7-ended.json"
    os.utime(file, ns=(1, 1))
    assert again(spool) != []
    assert again(spool) == []
    second = spool_of("second")
    second.adopt()
    batch = second.oldest()
    assert batch is not None
    (found,) = batch.records
    assert isinstance(found, Ended)
    assert found.outcome == ended(7).outcome
    second.written(batch)
    assert not file.exists()


def test_a_record_that_is_refused_again_stays_as_it_is(spool_of: Open, root: Path) -> None:
    spool_of("first").refuse(ended(7), DatabaseRejected("no"))
    file = root / "refused" / "7-ended.json"
    before = (file.read_bytes(), file.stat().st_mtime_ns)
    second = spool_of("second")
    second.adopt()
    batch = second.oldest()
    assert batch is not None
    second.refuse(batch.records[0], DatabaseRejected("no"))
    second.written(batch)
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before
    assert again(second) == []


def test_a_file_for_people_that_is_spoilt_stays_and_is_told(
    spool_of: Open, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool_of("first").refuse(ended(7), DatabaseRejected("no"))
    file = root / "refused" / "7-ended.json"
    file.write_text("{")
    assert again(spool_of("second")) == []
    assert file.exists()
    assert any("holds no record" in line for line in caplog.messages)


def test_an_empty_file_of_a_process_that_died_at_once_is_cleared_away(spool_of: Open, root: Path) -> None:
    for number, content in enumerate([b"", HEAD[:5], HEAD]):
        folder = root / f"dead-{number}"
        folder.mkdir(parents=True)
        (folder / "00000001-1700000000000.records").write_bytes(content)
    (root / "dead-9").mkdir()
    heir = spool_of("heir")
    assert heir.adopt() == 0
    assert drained(heir) == []
    assert heir.gone() == {"dead-0", "dead-1", "dead-2", "dead-9"}
