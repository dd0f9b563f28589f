"""A source of manifests to a ``DesiredState``, or to every problem at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TypeVar

from reconciler.collector import without_collector
from reconciler.manifest.calendars import Calendars
from reconciler.manifest.construct import shorten
from reconciler.manifest.findings import Document, Findings, NoFindings, Unexpected
from reconciler.manifest.memory import Known, Memory, meanings_of, sum_of, world_of
from reconciler.manifest.parse import parse
from reconciler.manifest.problem import Problem, manifests_invalid
from reconciler.manifest.references import MAX_ROWS, Entries, References, former_names, name_of
from reconciler.manifest.refusal import Refusal
from reconciler.manifest.resolve import Scripts
from reconciler.manifest.selection import IGNORE_FILE
from reconciler.manifest.source import MAX_FILE, Source
from reconciler.manifest.suggest import closest, one_of
from reconciler.manifest.text import Fault, SourceText
from reconciler.manifest.validate import ServerEntry, TaskEntry, Validator
from reconciler.model.names import DEFAULT_PROJECT
from reconciler.model.project import ProjectDeclaration, ProjectSpec
from reconciler.model.state import DesiredServer, DesiredState, DesiredTask, Origin, TaskKey

E = TypeVar("E")

API_VERSION = "reconciler/v1"
KINDS = ("Project", "Calendar", "Server", "Task")
COUNTED = ("Server", "Task", "Calendar")
REMEMBERED = ("Server", "Task")
"""Kinds of which a memory keeps what they mean; the others, on which these depend, it keeps as written."""
MAX_TREE = 256 * 1024 * 1024
"""Bytes of all files of a tree: 100,000 tasks have about 40 MB."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What came of a tree.

    ``state`` is None if any problem is an error. ``files`` are the manifests in path order, read or not;
    ``resources`` counts the declared objects, right or wrong: ``{"Server": n, "Task": n, …}``.
    """

    state: DesiredState | None
    problems: tuple[Problem, ...]
    resources: Mapping[str, int]
    files: tuple[str, ...]

    def valid_state(self) -> DesiredState:
        """The state; raises ManifestsInvalid with all problems if there is none."""
        if self.state is None:
            raise manifests_invalid(self.problems)
        return self.state


def load_tree(source: Source, memory: Memory | None = None) -> Loaded:
    """Read, resolve and check all manifests of a source.

    With a ``memory`` only files that it does not know are parsed, as long as there is no problem anywhere.
    """
    try:
        with without_collector():
            return _Tree(source).load() if memory is None else _remembered(source, memory)
    finally:
        source.close()


def _remembered(source: Source, memory: Memory) -> Loaded:
    known = memory.recall()
    if known is not None:
        tree = _Tree(source, known)
        # a problem needs all texts for its place and words: then the tree is read as if for the first time
        with suppress(Unexpected):
            loaded = tree.load()
            tree.remember(memory)
            return loaded
    tree = _Tree(source)
    loaded = tree.load()
    if not loaded.problems:
        tree.remember(memory)
    return loaded


class _Tree:
    """One load: the stages in their order, and what they hand on."""

    def __init__(self, source: Source, known: Known | None = None) -> None:
        self._source = source
        self._known = known
        self._findings = Findings() if known is None else NoFindings()
        self._scripts = Scripts(source)
        self._digests: dict[str, str] = {}
        """SHA-256 of each file by its path."""
        self._recalled: dict[str, bytes] = {}
        """What files meant before, and mean now, by their SHA-256."""
        self._documents: dict[str, list[Document]] = {kind: [] for kind in KINDS}
        self._files: list[str] = []
        self._unread: list[SourceText | None] = []
        """Files that were not understood to their end; None for one that was not read at all."""
        self._bytes = 0
        self._entered: list[ServerEntry | TaskEntry] = []

    def load(self) -> Loaded:
        self._read()
        if self._known is not None and self._known.world != world_of(self._world()):
            raise Unexpected
        validator = Validator(self._findings, self._scripts)
        calendars = self._entries("Calendar", validator.calendar)
        validator.know(Calendars(self._findings, calendars.named, self._is_unread))
        project = self._project(validator)
        servers = self._entries("Server", validator.server)
        tasks = self._entries("Task", validator.task)
        self._entered = [*servers.all, *tasks.all]
        name = project.metadata.name if project is not None else self._project_name()
        references = References(self._findings, name, servers, tasks, self._is_unread)
        references.check_servers()
        placements = [(entry, references.placements(entry)) for entry in tasks.all]
        references.check_after(placements)
        rows = self._rows(tasks, placements)
        self._check_former_names(servers, rows)
        problems = self._findings.problems()
        state = None
        if all(problem.severity == "warning" for problem in problems):
            state = self._state(name, project, servers, rows)
        resources = {kind: len(self._documents[kind]) for kind in COUNTED}
        return Loaded(state, problems, resources, tuple(self._files))

    def _read(self) -> None:
        for path, refusal in self._source.manifests():
            self._files.append(path)
            try:
                if refusal is not None:
                    raise refusal
                text = self._text(path)
            except Refusal as reason:
                self._findings.in_file(path, reason.fault)
                self._unread.append(None)
                continue
            if self._recall(path, text):
                continue
            self._findings.remember(text)
            documents = [
                Document(path, raw.index, raw.line, "", raw.value)
                for raw in parse(text, partial(self._findings.in_text, text))
            ]
            if text.unread or text.foreign:
                self._unread.append(text)
            if not text.foreign:
                for document in documents:
                    self._take(document)

    def _recall(self, path: str, text: SourceText) -> bool:
        """Whether the file's documents are known; then they are taken."""
        digest = self._digests[path] = sum_of(text.data)
        found = None if self._known is None else self._known.documents(path, digest, self._scripts)
        if self._known is None or found is None:
            return False
        self._recalled[digest] = self._known.meanings[digest]
        for document in found:
            self._documents[document.kind].append(document)
        return True

    def remember(self, memory: Memory) -> None:
        """Keep what the files mean for the next time, unless the memory says just that already."""
        files = set(self._digests.values())
        if self._known is not None and self._recalled.keys() == self._known.meanings.keys() == files:
            return
        world = world_of(self._world())
        if world is not None:
            memory.keep(world, meanings_of(self._digests, self._world(), self._entered, self._recalled))

    def _world(self) -> list[Document]:
        """What all others depend on."""
        own = (documents for kind, documents in self._documents.items() if kind not in REMEMBERED)
        return list(chain.from_iterable(own))

    def _text(self, path: str) -> SourceText:
        data = self._source.read(path, MAX_FILE)
        self._bytes += len(data)
        if self._bytes > MAX_TREE:
            raise Refusal(
                "tree-too-large",
                f"with this file the tree has more than {MAX_TREE // 1024**2} MiB; it is not read",
                "divide it into several projects, each with its own folder",
            )
        return SourceText(path, data)

    def _take(self, document: Document) -> None:
        """File a document under its kind; of an unknown one under the kind that was probably meant."""
        kind = document.value.get("kind")
        if kind not in KINDS:
            kind = self._probable_kind(document, kind)
            if kind is None:
                return
            document.value = {**document.value, "kind": kind}
        document.kind = kind
        self._documents[kind].append(document)

    def _probable_kind(self, document: Document, kind: object) -> str | None:
        ours = document.value.get("apiVersion") == API_VERSION
        foreign = f"if this is another program's file, name it in {IGNORE_FILE}"
        if "kind" not in document.value:
            hint = (
                f"write kind: {one_of(KINDS)}"
                if ours
                else f"begin it with apiVersion: {API_VERSION}; {foreign}"
            )
            self._findings.at(
                document, (), Fault("missing-field", "the field `kind` is missing", hint), field=("kind",)
            )
            return None
        near = closest(kind, KINDS) if isinstance(kind, str) else None
        hint = f"did you mean `{near}`?" if near else f"write {one_of(KINDS)}"
        shown = f"unknown kind `{shorten(kind)}`" if isinstance(kind, str) else "the kind is not a text"
        self._findings.at(
            document, ("kind",), Fault("unknown-kind", shown, hint if ours or near else foreign)
        )
        return near

    def _project(self, validator: Validator) -> ProjectDeclaration | None:
        declaration = None
        # the first comes last: its defaults are those of the tree, and each one's own mistakes are told
        for document in reversed(self._documents["Project"]):
            declaration = validator.project(document)
            first = self._documents["Project"][0]
            if document is first:
                break
            fault = Fault(
                "duplicate-project",
                f"a tree has one Project, and it is declared at {first.path}:{first.line}",
                "remove one of the two, or give each a folder of its own",
            )
            self._findings.at(document, ("kind",), fault)
        return declaration

    def _project_name(self) -> str:
        documents = self._documents["Project"]
        return (name_of(documents[0]) if documents else None) or DEFAULT_PROJECT

    def _entries(self, kind: str, check: Callable[[Document], E | None]) -> Entries[E]:
        entries: Entries[E] = Entries(kind)
        for document in self._documents[kind]:
            entry = document.entry
            if entry is None and not self._findings.is_full(document.path):
                entry = check(document)
            entries.add(self._findings, document, entry)
        return entries

    def _is_unread(self, name: str) -> bool:
        return any(text is None or _hides(text, name) for text in self._unread)

    def _rows(
        self, tasks: Entries[TaskEntry], placements: Sequence[tuple[TaskEntry, tuple[str, ...]]]
    ) -> dict[TaskKey, tuple[TaskEntry, DesiredTask]]:
        rows: dict[TaskKey, tuple[TaskEntry, DesiredTask]] = {}
        for entry, servers in placements:
            name = entry.name
            if tasks.named.get(name) is not entry:
                continue
            if len(rows) + len(servers) > MAX_ROWS:
                message = f"the tree has more than {MAX_ROWS:,} tasks, each counted on each of its servers"
                self._findings.at(
                    entry.document,
                    ("spec",),
                    Fault("too-many-rows", message, "divide it into several projects"),
                )
                break
            formerly, at, former_server = (entry.formerly or "").partition("@")
            if at and len(servers) > 1:
                message = f"`{formerly}@{former_server}` is one row, and this task has {len(servers)}"
                fault = Fault(
                    "formerly-one-row",
                    message,
                    "write the name alone: each row goes on with that of its server",
                )
                self._findings.at(entry.document, ("metadata", "formerly"), fault)
            origin = Origin(entry.document.path, entry.document.line)
            for server in servers:
                task = DesiredTask(
                    name, server, entry.definition, origin, formerly or None, former_server or None
                )
                rows[name, server] = entry, task
        return rows

    def _check_former_names(
        self,
        servers: Entries[ServerEntry],
        rows: Mapping[TaskKey, tuple[TaskEntry, DesiredTask]],
    ) -> None:
        renamed = ((entry.document, name, None, entry.formerly, None) for name, entry in servers.pairs())
        former_names(self._findings, "Server", renamed)
        moved = (
            (entry.document, task.name, task.server, task.formerly, task.formerly_server)
            for entry, task in rows.values()
        )
        former_names(self._findings, "Task", moved)

    def _state(
        self,
        name: str,
        project: ProjectDeclaration | None,
        servers: Entries[ServerEntry],
        rows: Mapping[TaskKey, tuple[TaskEntry, DesiredTask]],
    ) -> DesiredState:
        declared = self._documents["Project"]
        return DesiredState(
            project=name,
            spec=project.spec if project is not None else ProjectSpec(),
            servers={name: _desired_server(name, entry) for name, entry in servers.pairs()},
            tasks={key: task for key, (_, task) in rows.items()},
            origin=Origin(declared[0].path, declared[0].line) if declared else None,
            formerly=project.metadata.formerly if project is not None else None,
            commit=self._source.commit,
        )


def _hides(text: SourceText, name: str) -> bool:
    """Whether a name stands in what was not understood of a file."""
    spans = [(0, len(text.text))] if text.foreign else text.unread
    return any(name in text.text[start:end] for start, end in spans)


def _desired_server(name: str, entry: ServerEntry) -> DesiredServer:
    origin = Origin(entry.document.path, entry.document.line)
    return DesiredServer(name, entry.definition, origin, entry.formerly)
