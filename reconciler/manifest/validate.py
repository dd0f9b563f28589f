"""Each document on its own: defaults below it, the model over it, then what the model cannot know.

A document with mistakes is not the end: it is repaired and checked again (``repair``), so that one run finds
the mistakes that hide behind each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from reconciler.manifest.calendars import CalendarEntry, Calendars
from reconciler.manifest.findings import Document, Findings
from reconciler.manifest.messages import tell
from reconciler.manifest.repair import NEEDED, STAND_IN, is_stand_in, repaired
from reconciler.manifest.resolve import Scripts, with_defaults
from reconciler.manifest.text import Fault
from reconciler.model.calendar import CalendarDeclaration
from reconciler.model.canonical import Document as Canonical
from reconciler.model.canonical import document_hash
from reconciler.model.project import ProjectDeclaration
from reconciler.model.server import ServerDeclaration, server_document
from reconciler.model.state import Definition
from reconciler.model.task import Selector, TaskDeclaration, task_document
from reconciler.schedule.expression import parse as parse_schedule
from reconciler.schedule.invalid import ScheduleInvalid

M = TypeVar("M", bound=BaseModel)

_ROUNDS = 8
"""Each round finds the mistakes that those of the round before hid: fields, then rule after rule."""


@dataclass(slots=True)
class ServerEntry:
    """A server of the tree. Labels and the jump host are those of its canonical document."""

    document: Document
    name: str
    formerly: str | None
    definition: Definition
    labels_whole: bool = True
    """False where a label was wrong and had to be left out."""

    @property
    def labels(self) -> dict[str, str]:
        labels: dict[str, str] = self.definition.document["metadata"].get("labels", {})
        return labels

    @property
    def jump(self) -> str | None:
        jump: str | None = self.definition.document["spec"].get("jump")
        return jump


@dataclass(slots=True)
class TaskEntry:
    """A task of the tree: where it is to run, which is no part of its canonical document, and the rest."""

    document: Document
    name: str
    formerly: str | None
    server: str | None
    servers: Sequence[str]
    selector: Selector | None
    script: str | None
    """The path of the script file; its text is in the document."""
    definition: Definition

    @property
    def after(self) -> Sequence[str]:
        after: Sequence[str] = self.definition.document["spec"].get("after", ())
        return after


class Validator:
    """Checks documents one by one; what is wrong goes to ``findings``."""

    def __init__(self, findings: Findings, scripts: Scripts) -> None:
        self._findings = findings
        self._scripts = scripts
        self._calendars: Calendars | None = None
        self._defaults: Mapping[str, Mapping[str, Any]] = {}
        self._schedules: dict[str, ScheduleInvalid | None] = {}

    def calendar(self, document: Document) -> CalendarEntry | None:
        """A calendar; None where too little is right to go on with."""
        declaration = self._model(CalendarDeclaration, document, document.value)
        return None if declaration is None else CalendarEntry(document, declaration)

    def know(self, calendars: Calendars) -> None:
        """The tree's calendars, which the project and the tasks checked from now on may name."""
        self._calendars = calendars

    def project(self, document: Document) -> ProjectDeclaration | None:
        """The tree's project; its defaults are below every object checked from now on."""
        self._findings.defaults, self._defaults = None, {}
        declaration = self._model(ProjectDeclaration, document, document.value)
        if declaration is not None:
            if self._calendars is not None:
                self._calendars.of_project(document, declaration.spec.calendars)
            self._findings.defaults = document
            defaults = declaration.spec.defaults
            self._defaults = {
                "Task": self._check_defaults(document, "Task", defaults.task),
                "Server": self._check_defaults(document, "Server", defaults.server),
            }
        return declaration

    def server(self, document: Document) -> ServerEntry | None:
        """A server with the defaults below it; None where too little is right to go on with."""
        declaration = self._model(ServerDeclaration, document, self._filled(document))
        if declaration is None:
            return None
        canonical = server_document(declaration)
        return ServerEntry(
            document,
            declaration.metadata.name,
            declaration.metadata.formerly,
            Definition(canonical, document_hash(canonical)),
            _labels_whole(document, declaration),
        )

    def task(self, document: Document) -> TaskEntry | None:
        """A task with the defaults below it; None where too little is right to go on with."""
        declaration = self._model(TaskDeclaration, document, self._filled(document))
        if declaration is None:
            return None
        canonical = self._finish_task(document, declaration)
        spec = declaration.spec
        return TaskEntry(
            document,
            declaration.metadata.name,
            declaration.metadata.formerly,
            spec.server,
            spec.servers or (),
            spec.selector,
            None if spec.script is None else spec.script.file,
            Definition(canonical, document_hash(canonical)),
        )

    def _filled(self, document: Document) -> dict[str, Any]:
        defaults = self._defaults.get(document.kind)
        spec = document.value.get("spec")
        if not defaults or not isinstance(spec, dict):
            return document.value
        return {**document.value, "spec": with_defaults(document.kind, defaults, spec)}

    def _model(self, model: type[M], document: Document, value: dict[str, Any]) -> M | None:
        """The model; every error is reported. None where too little is right to go on with."""
        for _ in range(_ROUNDS):
            try:
                return model.model_validate(value)
            except ValidationError as error:
                errors = _outermost(error)
                self._tell(document, errors, value)
                value = repaired(document.kind, value, errors)
        return None

    def _tell(self, document: Document, errors: list[ErrorDetails], value: dict[str, Any]) -> None:
        for error in errors:
            if self._findings.is_full(document.path):
                return
            told = tell(document.kind, error, value)
            # what is missing in a mapping that comes from the defaults, the object may add
            mine = _is_incomplete(error)
            self._findings.at(document, told.loc, told.fault, key=told.key, field=told.field, mine=mine)

    def _check_defaults(self, project: Document, kind: str, defaults: dict[str, Any]) -> Mapping[str, Any]:
        """The defaults of a kind without their mistakes, each of which is reported here and only here.

        They are checked as the spec of an object that adds the least it must. What is missing in them
        an object may bring, so only what is there can be wrong.
        """
        if not defaults:
            return {}
        # an object without anything of its own: whatever is wrong with it is found in the project's document
        document = Document(project.path, project.index, project.line, kind, {})
        value: dict[str, Any] = {
            "apiVersion": "reconciler/v1",
            "kind": kind,
            "metadata": {"name": STAND_IN},
            "spec": with_defaults(kind, NEEDED[kind], defaults),
        }
        good = value
        for _ in range(_ROUNDS):
            try:
                self._check_object(document, value)
                break
            except ValidationError as error:
                errors = _outermost(error)
                wrong = [each for each in errors if not _is_incomplete(each)]
                self._tell(document, wrong, value)
                good = repaired(kind, good, wrong)
                value = repaired(kind, value, errors)
        return {name: item for name, item in good["spec"].items() if name in defaults}

    def _check_object(self, document: Document, value: dict[str, Any]) -> None:
        """Check an object that is made of defaults alone; raises pydantic.ValidationError."""
        if document.kind == "Task":
            self._finish_task(document, TaskDeclaration.model_validate(value))
        else:
            ServerDeclaration.model_validate(value)

    def _finish_task(self, document: Document, declaration: TaskDeclaration) -> Canonical:
        """What the model cannot know; returns the canonical document."""
        script = declaration.spec.script
        text = self._script(document, script.file) if script is not None else None
        names = declaration.spec.calendars
        calendars = [] if self._calendars is None else self._calendars.of_task(document, names)
        canonical = task_document(declaration, text, calendars)
        if declaration.spec.schedule is not None:
            self._check_schedule(document, declaration.spec.schedule)
        return canonical

    def _script(self, document: Document, file: str) -> str | None:
        if is_stand_in(file):
            return None
        script = self._scripts.get(file)
        if script.fault is not None:
            self._findings.at(document, ("spec", "script", "file"), script.fault)
        return script.text

    def _check_schedule(self, document: Document, expression: str) -> None:
        if expression not in self._schedules:
            self._schedules[expression] = _schedule_error(expression)
        error = self._schedules[expression]
        if error is not None:
            fault = Fault(error.code, error.message, error.hint)
            self._findings.at(document, ("spec", "schedule"), fault, part=error.position)


def _is_incomplete(error: ErrorDetails) -> bool:
    """Whether an object may heal this error of the defaults by what it adds; to a list it cannot add."""
    if error["type"] == "missing":
        return not any(isinstance(step, int) for step in error["loc"])
    return error["type"] in ("auth", "empty_selector", "missing_username")


def _outermost(error: ValidationError) -> list[ErrorDetails]:
    """The errors, without "too few items" of a list whose items are wrong themselves."""
    errors = error.errors(include_url=False)
    inner = {each["loc"][:length] for each in errors for length in range(len(each["loc"]))}
    return [each for each in errors if each["type"] != "too_short" or each["loc"] not in inner]


def _labels_whole(document: Document, declaration: ServerDeclaration) -> bool:
    metadata = document.value.get("metadata")
    labels = metadata.get("labels", {}) if isinstance(metadata, dict) else None
    return isinstance(labels, dict) and len(labels) == len(declaration.metadata.labels)


def _schedule_error(expression: str) -> ScheduleInvalid | None:
    try:
        # an H is checked for all its choices, so any key will do
        parse_schedule(expression, "")
    except ScheduleInvalid as error:
        return error
    return None
