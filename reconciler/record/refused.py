"""What can be recorded by no means now: refused for good by the database, or damaged on the disk. Kept in
files for people, one each, never dropped.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from reconciler.clock import Clock
from reconciler.errors import ReconcilerError
from reconciler.record.batch import Ended, Record
from reconciler.record.box import make_folder, write_whole
from reconciler.record.codec import record_of, shape, text_of

log = logging.getLogger("reconciler.record")

FOLDER = "refused"


class Refused:
    """The folder of these files; shared by processes, and safe for threads. Raises OSError of the disk.

    A file is tried again once by every process that starts, and whenever it was touched or changed since.
    """

    def __init__(self, root: Path, clock: Clock) -> None:
        self.folder = root / FOLDER
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: dict[Path, int] = {}
        self._refused: set[Path] = set()

    def keep(self, record: Record, error: ReconcilerError) -> Path:
        """Write down a record that the database refuses, and why."""
        execution_id = record.job.execution_id
        what = "ended" if isinstance(record, Ended) else "started"
        document = {
            "refused": error.message,
            "hint": error.hint,
            "refusedAt": self._clock.now().isoformat(),
            "howTo": "mend the cause, then `touch` this file or start a process: it is tried again",
            "record": shape(record),
        }
        file = self.folder / f"{execution_id}-{what}.json"
        if self._told_before(file) != error.message:
            self._write(file, (text_of(document, indent=1) + "\n").encode("utf-8", "surrogatepass"))
        with self._lock:
            self._refused.add(file)
        log.error(
            "the database refuses the %s of execution %d of task %s@%s for good (%s); it is kept in %s",
            "end" if what == "ended" else "start",
            execution_id,
            record.job.task,
            record.job.server.name,
            error.message,
            file,
        )
        return file

    def put_aside(self, source: Path, place: int, data: bytes) -> Path:
        """Keep bytes of a spool's file that are no record of this version; ``place`` is where they began."""
        file = self.folder / f"unreadable-{source.parent.name}-{source.stem}-{place}"
        self._write(file, data)
        return file

    def again(self) -> Iterator[tuple[Path, Record]]:
        """The records that are to be tried again, each with its file."""
        if not self.folder.is_dir():
            return
        for file in sorted(self.folder.glob("[0-9]*.json")):
            try:
                changed = file.stat().st_mtime_ns
                with self._lock:
                    if self._seen.get(file) == changed:
                        continue
                    self._seen[file] = changed
                    self._refused.discard(file)
                document = json.loads(file.read_bytes().decode("utf-8", "surrogatepass"))
                yield file, record_of(document["record"])
            except FileNotFoundError:
                continue  # another process had it, and it went well
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                log.error("%s holds no record that can be read (%s); it stays there", file, error)

    def tried(self, file: Path) -> None:
        """A record of ``again`` was written again; its file goes unless it was refused again."""
        with self._lock:
            if file in self._refused:
                return
            self._seen.pop(file, None)
        file.unlink(missing_ok=True)

    def files(self) -> list[Path]:
        """Everything that is there."""
        if not self.folder.is_dir():
            return []
        return [file for file in self.folder.iterdir() if not file.name.startswith(".")]

    @property
    def size(self) -> int:
        """What they take on the disk."""
        total = 0
        for file in self.files():
            with suppress(FileNotFoundError):
                total += file.stat().st_size
        return total

    def _told_before(self, file: Path) -> str | None:
        """What the file says already: written anew, it would be tried again by every other process."""
        try:
            return str(json.loads(file.read_bytes().decode("utf-8", "surrogatepass"))["refused"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _write(self, file: Path, data: bytes) -> None:
        make_folder(self.folder)
        write_whole(file, data)
        with self._lock:
            self._seen[file] = file.stat().st_mtime_ns
