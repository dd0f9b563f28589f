"""What the files of a tree meant when it was last read: files that did not change are not parsed again.

One file for each tree, in a folder of the user's own (ADR 0013). It only holds trees without any problem or
warning, and everything that decides what a file means is compared before it is believed: the file's bytes,
the program, the project and the calendars, scripts and zones. Whatever is wrong with it is a miss, and an
error while writing it is nobody's business: the tree was read without it.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic
import yaml

from reconciler import __version__
from reconciler.manifest.findings import Document
from reconciler.manifest.resolve import Scripts
from reconciler.manifest.validate import ServerEntry, TaskEntry
from reconciler.model.state import Definition
from reconciler.model.task import Selector
from reconciler.model.zone import zone

FORMAT = 1
LARGEST = 64 * 1024 * 1024
"""Bytes of one tree's memory: 100,000 tasks have about 45 MB."""
ALL = 256 * 1024 * 1024
"""Bytes of all of them; the ones unused for longest go first."""
UNUSED = 30 * 86_400
"""Seconds after which one that nobody used goes."""
_ABANDONED = 3600
"""Seconds after which an unfinished one goes: whoever wrote it has died."""
_ROOMS = ("manifest", "model", "schedule")
"""Whose code decides what a file means."""

Entry = ServerEntry | TaskEntry
World = Sequence[Document]
"""Documents on which all others depend (project, calendars): kept as written, and checked each time."""


def own_folder(environment: Mapping[str, str]) -> Path | None:
    """``reconciler`` in the user's folder for caches; None where others might put something into it."""
    base = environment.get("XDG_CACHE_HOME", "")
    home = environment.get("HOME", "")
    # a relative one would lead into the working folder, where somebody else's files may lie
    if not os.path.isabs(base):
        if not os.path.isabs(home):
            return None
        base = os.path.join(home, ".cache")
    folder = Path(os.path.realpath(base)) / "reconciler"
    # whoever may propose a change to a repository could bring such a file along
    if any(os.path.lexists(above / ".git") for above in folder.parents):
        return None
    # under sudo it may be another's, who would be left with folders of root's
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    return folder if existing.stat().st_uid == os.geteuid() else None


def sum_of(data: bytes) -> str:
    """SHA-256, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True, slots=True)
class Known:
    """A tree as it was: of each file's bytes (their SHA-256) what they meant, and in which world."""

    world: str
    meanings: Mapping[str, bytes]

    def documents(self, path: str, digest: str, scripts: Scripts) -> list[Document] | None:
        """A file's documents with their entries, those of the world without; None if they are not known."""
        meaning = self.meanings.get(digest)
        if meaning is None:
            return None
        said = json.loads(meaning)
        as_before = all(map(_is_zone, said["zones"])) and all(
            _script(scripts, name) == text for name, text in said["scripts"].items()
        )
        return [_document(path, *each) for each in said["documents"]] if as_before else None


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory of the tree at ``place`` (whatever tells it from others) below ``folder``."""

    folder: Path
    place: str

    @property
    def _file(self) -> Path:
        return self.folder / f"{sum_of(self.place.encode('utf-8', 'surrogateescape'))[:32]}.tree"

    def recall(self) -> Known | None:
        """What was kept by this very program; None if there is nothing, or nothing to rely on."""
        try:
            data = _read(self.folder, self._file)
            digest, _, body = data.partition(b"\n")
            if digest.decode() != sum_of(body):
                return None
            program, world, *lines = body.split(b"\n")
            if program.decode() != _program():
                return None
            return Known(world.decode(), {line[:64].decode(): line[64:] for line in lines})
        except (OSError, ValueError):
            return None

    def keep(self, world: str, meanings: Mapping[str, bytes]) -> None:
        """Write it for the next time; a full disk or a folder that is not writable changes nothing."""
        lines = (digest.encode() + meaning for digest, meaning in meanings.items())
        body = b"\n".join([_program().encode(), world.encode(), *lines])
        if len(body) > LARGEST:
            return
        unfinished = self._file.with_suffix(f".{os.getpid()}-{os.urandom(4).hex()}")
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _must_be_ours(os.stat(self.folder, follow_symlinks=False))
            descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(sum_of(body).encode() + b"\n" + body)
            os.replace(unfinished, self._file)
            _prune(self.folder, self._file)
        except OSError:
            with suppress(OSError):
                unfinished.unlink()


def world_of(documents: World) -> str | None:
    """What all files depend on, as one digest; None for values that cannot be kept."""
    try:
        return sum_of(_json([[each.kind, each.value] for each in documents]))
    except (TypeError, ValueError):
        return None


def meanings_of(
    digests: Mapping[str, str], world: World, entries: Iterable[Entry], before: Mapping[str, bytes]
) -> dict[str, bytes]:
    """SHA-256 of a file → what it means, of a tree without problems.

    ``digests``: path → SHA-256. ``before``: the meanings that were recalled, and still hold.
    """
    said: dict[str, list[Any]] = defaultdict(list)
    scripts: dict[str, dict[str, str]] = defaultdict(dict)
    zones: dict[str, set[str]] = defaultdict(set)
    for document in world:
        said[document.path].append([document.kind, document.line, document.value])
    for entry in entries:
        path = entry.document.path
        if digests[path] not in before:
            said[path].append(_entry(entry))
            spec = entry.definition.document["spec"]
            zones[path].update([spec["timezone"]] if "timezone" in spec else [])
            if isinstance(entry, TaskEntry) and entry.script is not None:
                scripts[path][entry.script] = sum_of(spec["command"].encode())
    return {
        digest: before.get(digest)
        or _json({"documents": said[path], "scripts": scripts[path], "zones": sorted(zones[path])})
        for path, digest in digests.items()
    }


def _entry(entry: Entry) -> list[Any]:
    """The arguments of ``_document``, but for the path."""
    document, known = entry.document, entry.definition
    said = [document.kind, document.line, None, entry.name, entry.formerly, known.document, known.hash]
    if isinstance(entry, TaskEntry):
        chosen = entry.selector
        selector = None if chosen is None else chosen.model_dump(by_alias=True, exclude_unset=True)
        said += [entry.server, entry.servers, selector, entry.script]
    return said


def _document(
    path: str,
    kind: str,
    line: int,
    value: dict[str, Any] | None,
    name: str = "",
    formerly: str | None = None,
    canonical: dict[str, Any] | None = None,
    digest: str = "",
    server: str | None = None,
    servers: Sequence[str] = (),
    selector: dict[str, Any] | None = None,
    script: str | None = None,
) -> Document:
    document = Document(path, 0, line, kind, value or {})
    if canonical is None:
        return document
    definition = Definition(canonical, digest)
    if kind == "Server":
        document.entry = ServerEntry(document, name, formerly, definition)
    else:
        chosen = None if selector is None else Selector.model_validate(selector)
        document.entry = TaskEntry(document, name, formerly, server, servers, chosen, script, definition)
    return document


def _is_zone(name: str) -> bool:
    try:
        zone(name)
    except ValueError:
        return False
    return True


def _script(scripts: Scripts, name: str) -> str | None:
    """The digest of a script's text; None where anything is to be said about it."""
    found = scripts.get(name)
    return None if found.text is None or found.fault is not None else sum_of(found.text.encode())


def _json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


def _program() -> str:
    """What reads manifests: its versions, and the sizes and times of its files, while it is worked on."""
    parts: list[object] = [FORMAT, __version__, sys.version, pydantic.VERSION, yaml.__version__]
    for room in _ROOMS:
        with suppress(OSError), os.scandir(Path(__file__).parent.parent / room) as files:
            stats = ((each.name, each.stat()) for each in files if each.name.endswith(".py"))
            parts += sorted((name, status.st_size, status.st_mtime_ns) for name, status in stats)
    return sum_of(repr(parts).encode())


def _must_be_ours(status: os.stat_result) -> None:
    """Raise OSError for what somebody else could have written."""
    if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH | stat.S_IRWXO):
        raise PermissionError("others may write here")


def _read(folder: Path, file: Path) -> bytes:
    _must_be_ours(os.stat(folder, follow_symlinks=False))
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as opened:
        status = os.fstat(descriptor)
        _must_be_ours(status)
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST + 100:
            raise OSError("this is none of ours")
        data = opened.read(LARGEST + 101)
        # its time tells when it was of use
        with suppress(OSError):
            os.utime(descriptor)
    return data


def _prune(folder: Path, newest: Path) -> None:
    """Remove what is old, abandoned or too much. Ages count from the one just written: no clock is asked."""
    now = newest.stat().st_mtime
    total = 0
    for modified, size, path in sorted(_found(folder), reverse=True):
        total += size
        finished = path.suffix == ".tree"
        if now - modified > (UNUSED if finished else _ABANDONED) or (total > ALL and path != newest):
            path.unlink(missing_ok=True)


def _found(folder: Path) -> Iterator[tuple[float, int, Path]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    yield status.st_mtime, status.st_size, Path(entry.path)
