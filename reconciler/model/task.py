"""A task as declared, and the part of it that each of its rows keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    PlainSerializer,
    StrictBool,
    StrictInt,
    StrictStr,
    model_validator,
)
from pydantic_core import PydanticCustomError

from reconciler.model.base import LabelKey, Labels, LabelValue, Model, Text, Word, declared, exactly_one
from reconciler.model.calendar import Calendar
from reconciler.model.enums import CatchUp, Concurrency, Dst, NotifyOn
from reconciler.model.fields import Bytes, EnvironmentName, Name, Seconds, ServerReference, TimeZone
from reconciler.model.metadata import IDENTITY, Metadata
from reconciler.model.project import History
from reconciler.model.secret import SecretReference

MAX_SCHEDULE = 50


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("the command is empty: write what is to be run")
    return text


def _sorted(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(sorted(set(values)))


def _plain_number(value: float) -> float | int:
    return int(value) if value == int(value) else value


Command = Annotated[Text, AfterValidator(_not_blank), Field(examples=["pg_dump app | gzip > /backup/app.gz"])]


class Script(Model):
    """A script file of this tree; its text is part of the desired state."""

    file: Annotated[Text, Field(min_length=1, max_length=1000)] = Field(examples=["scripts/backup.sh"])
    """Path from the tree's root; it stays inside the tree."""
    interpreter: Annotated[Word, Field(max_length=255)] = Field(default="/bin/sh", examples=["/bin/bash"])
    """The program that reads the script."""


class Requirement(Model):
    """One expression over labels; all of a selector's must hold."""

    key: LabelKey
    """The label's key."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """How the label's value is compared; NotIn also holds where the label is absent."""
    values: tuple[LabelValue, ...] = ()
    """For In and NotIn: the values; empty for the other two."""

    @model_validator(mode="after")
    def _values_fit(self) -> Self:
        needs = self.operator in ("In", "NotIn")
        if needs != bool(self.values):
            text = (
                "needs at least one value: write values: [one]" if needs else "takes no values: remove them"
            )
            raise PydanticCustomError(
                "selector_values", "{operator} {text}", {"operator": self.operator, "text": text}
            )
        return self


class Selector(Model):
    """Servers by their labels; an empty selector is an error, never everything."""

    match_labels: Labels = Field(default_factory=dict)
    """Labels that must have exactly these values."""
    match_expressions: tuple[Requirement, ...] = ()
    """Expressions that must all hold."""

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.match_labels and not self.match_expressions:
            raise PydanticCustomError(
                "empty_selector", "an empty selector selects nothing; name at least one label"
            )
        return self

    def matches(self, labels: dict[str, str]) -> bool:
        """Whether a server with these labels is selected."""
        return all(labels.get(key) == value for key, value in self.match_labels.items()) and all(
            _holds(requirement, labels) for requirement in self.match_expressions
        )


def _holds(requirement: Requirement, labels: dict[str, str]) -> bool:
    present = requirement.key in labels
    match requirement.operator:
        case "In":
            return present and labels[requirement.key] in requirement.values
        case "NotIn":
            return not present or labels[requirement.key] not in requirement.values
        case "Exists":
            return present
        case "DoesNotExist":
            return not present


class Retries(Model):
    """New attempts of the same slot after a failure, with exponential backoff."""

    limit: Annotated[StrictInt, Field(ge=0, le=100)] = 0
    """How many attempts may follow the first."""
    backoff: Annotated[Seconds, Field(ge=1)] = 30
    """The pause before the first retry."""
    factor: Annotated[float, Field(strict=True, ge=1, le=100), PlainSerializer(_plain_number)] = 2
    """What each further pause is multiplied by."""
    max_backoff: Annotated[Seconds, Field(ge=1)] = 600
    """The longest pause."""


class Output(Model):
    """What is kept of a run's output."""

    max_bytes: Annotated[Bytes, Field(ge=64, le=1024 * 1024)] = 64 * 1024
    """Per stream, kept in the row: head and tail."""
    archive: StrictBool = False
    """True: the whole output goes to the archive (RECONCILER_ARCHIVE), gzipped."""


class Notify(Model):
    """Who is told of what."""

    on: tuple[NotifyOn, ...] = Field(min_length=1)
    """The events."""
    to: Annotated[StrictStr, Field(min_length=1, max_length=100)]
    """A `[notify.NAME]` table of the settings."""


class TaskSpec(Model):
    """What a task does and when: the part that each of its rows (one per server) keeps."""

    max_parallel: Annotated[StrictInt, Field(ge=0, le=100_000)] = 0
    """On several servers: how many may run at once; 0: no limit."""
    command: Command | None = None
    """What /bin/sh runs; of a script: its text."""
    script: Script | None = None
    """Instead of a command: a file of this tree."""
    schedule: Annotated[StrictStr, Field(min_length=1, max_length=MAX_SCHEDULE)] | None = Field(
        default=None, examples=["0 2 * * *", "H H * * *", "@daily", "@every 90s"]
    )
    """Five cron fields, `@daily` and its like, `@every 10s`; absent: runs when asked, or `after` another."""
    timezone: TimeZone = "UTC"
    """The zone the schedule's fields are read in."""
    dst: Dst = Dst.CRON
    """What happens to times that a zone change skips or repeats."""
    enabled: StrictBool = True
    """False: no slots arise."""
    calendars: tuple[Calendar, ...] = ()
    """Calendars of this tree: what they forbid does not run; the project's own come first."""
    catch_up: CatchUp = CatchUp.LATEST
    """Which missed slots still run, within `catchUpWindow`."""
    catch_up_window: Seconds = 3600
    """How old a missed slot may be."""
    concurrency: Concurrency = Concurrency.FORBID
    """What a due slot does while an earlier one is unfinished."""
    jitter: Annotated[Seconds, Field(le=86_400)] = 0
    """A stable delay per task and server, from 0 to less than this."""
    timeout: Annotated[Seconds, Field(ge=1)] = 3600
    """Counted from the start on the host; then TERM, and after `killGrace` KILL."""
    kill_grace: Annotated[Seconds, Field(le=3600)] = 10
    """The time between TERM and KILL."""
    retries: Retries = Retries()
    """New attempts after a failure."""
    after: tuple[Name, ...] = ()
    """Tasks of this project whose successes make this one run."""
    run_as: Annotated[Word, Field(max_length=100)] | None = Field(default=None, examples=["postgres"])
    """The account on the server, through `sudo -n`."""
    working_directory: Annotated[Text, Field(min_length=1, max_length=4096)] | None = Field(
        default=None, examples=["/srv/app"]
    )
    """The folder the command starts in; absent: the account's home."""
    env: dict[EnvironmentName, Text] = Field(default_factory=dict, examples=[{"PGDATABASE": "app"}])
    """Environment variables of the command."""
    secrets: dict[EnvironmentName, SecretReference] = Field(
        default_factory=dict, examples=[{"PGPASSWORD": {"env": "APP_PGPASSWORD"}}]
    )
    """Environment variables whose values are resolved at run time and masked in the output."""
    success_exit_codes: Annotated[
        tuple[Annotated[StrictInt, Field(ge=0, le=255)], ...], Field(min_length=1), AfterValidator(_sorted)
    ] = (0,)
    """Exit codes that mean success."""
    output: Output = Output()
    """What is kept of the output."""
    notify: tuple[Notify, ...] = ()
    """Who is told of what."""
    history: History | None = None
    """Executions kept of this task; absent: as the project says."""

    @model_validator(mode="after")
    def _env_or_secret(self) -> Self:
        both = sorted(self.env.keys() & self.secrets.keys())
        if both:
            raise PydanticCustomError("env_and_secret", "{name} is in env and in secrets", {"name": both[0]})
        return self


class TaskDeclarationSpec(TaskSpec):
    """What a task does, when, and on which servers."""

    # declared by name; the rows keep what the calendars say, as they keep a script's text
    calendars: tuple[Name, ...] = Field(default=(), examples=[["holidays"]])  # type: ignore[assignment]
    """Calendars of this tree by name: what they forbid does not run. The project's come first."""
    server: ServerReference | None = Field(default=None, examples=["db-1"])
    """The server that runs it; another project's is written `project/name`."""
    servers: Annotated[tuple[ServerReference, ...], Field(min_length=1)] | None = None
    """Several servers: one row each."""
    selector: Selector | None = None
    """All servers of this tree that match."""

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if (self.command is None) == (self.script is None):
            self._exactly_one("command", "script")
        if (self.server is None) + (self.servers is None) + (self.selector is None) != 2:
            self._exactly_one("server", "servers", "selector")
        return self

    def _exactly_one(self, *names: str) -> None:
        exactly_one((name for name in names if getattr(self, name) is not None), names)


class TaskDeclaration(Model):
    """A command and when it runs."""

    api_version: Literal["reconciler/v1"]
    kind: Literal["Task"]
    metadata: Metadata
    spec: TaskDeclarationSpec


_ELSEWHERE = {"server", "servers", "selector", "calendars"}


def task_document(
    declaration: TaskDeclaration,
    script_text: str | None = None,
    calendars: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """The canonical document of a task's rows: what is diffed, hashed and stored; defaults left out.

    Servers are not part of it (they are the rows' identity), so all rows of a task share one
    document. ``spec.command`` is what runs: of a script it is ``script_text``. ``spec.calendars`` is what
    they say (``calendar_document``), so that a calendar's change is one of each task that names it.
    """
    spec = declared(declaration.spec, _ELSEWHERE)
    if calendars:
        spec["calendars"] = list(calendars)
    if script_text is not None:
        spec["command"] = script_text
    return {"metadata": declared(declaration.metadata, IDENTITY), "spec": spec}
