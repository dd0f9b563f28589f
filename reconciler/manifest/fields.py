"""The fields of the models by their YAML names: what may stand where, and where a stray one belongs."""

from __future__ import annotations

import types
from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from reconciler.manifest.docs import field_docs
from reconciler.manifest.suggest import closest, one_of
from reconciler.model.calendar import CalendarDeclaration
from reconciler.model.project import ProjectDeclaration
from reconciler.model.server import ServerDeclaration
from reconciler.model.task import TaskDeclaration

MODELS: dict[str, type[BaseModel]] = {
    "Project": ProjectDeclaration,
    "Calendar": CalendarDeclaration,
    "Server": ServerDeclaration,
    "Task": TaskDeclaration,
}

_ALSO_CALLED = {
    "Task": {
        "cron": "schedule", "crontab": "schedule", "cronexpr": "schedule", "cronexpression": "schedule",
        "when": "schedule", "interval": "schedule", "every": "schedule",
        "cmd": "command", "run": "command", "exec": "command", "shell": "command", "args": "command",
        "tz": "timezone", "zone": "timezone", "cwd": "workingDirectory", "workdir": "workingDirectory",
        "directory": "workingDirectory", "user": "runAs", "become": "runAs", "username": "runAs",
        "host": "server", "hosts": "servers", "target": "server", "targets": "servers", "on": "server",
        "environment": "env", "vars": "env", "variables": "env",
        "dependson": "after", "needs": "after", "requires": "after",
        "retry": "retries", "attempts": "retries", "suspend": "enabled", "disabled": "enabled",
        "active": "enabled",
        "concurrencypolicy": "concurrency", "startingdeadlineseconds": "catchUpWindow",
        "overlap": "concurrency",
        "calendar": "calendars", "blackout": "calendars",
        "exitcodes": "successExitCodes", "splay": "jitter", "randomdelay": "jitter", "alert": "notify",
    },
    "Server": {
        "user": "username", "login": "username", "ansibleuser": "username", "address": "host", "ip": "host",
        "hostname": "host", "ansiblehost": "host", "sshport": "port", "proxyjump": "jump", "bastion": "jump",
        "env": "environment", "hostkey": "hostKeys", "knownhosts": "hostKeys", "key": "auth",
        "privatekey": "auth", "password": "auth", "identityfile": "auth", "disabled": "enabled",
        "maxsessions": "maxConcurrentRuns",
    },
    "Project": {"selfheal": "selfHeal", "retention": "history", "limits": "guard", "calendar": "calendars"},
    "Calendar": {
        "tz": "timezone", "zone": "timezone", "forbid": "deny", "block": "deny", "blackout": "deny",
        "except": "allow", "start": "from", "since": "from", "begin": "from", "to": "until", "end": "until",
        "days": "weekdays", "dayofweek": "weekdays", "date": "dates",
    },
}  # fmt: skip


def model_at(kind: str, loc: tuple[str | int, ...]) -> type[BaseModel] | None:
    """The model of the mapping that ``loc`` leads to; None where keys are free or there is no mapping."""
    annotation: Any = MODELS[kind]
    for step in loc:
        annotation = _below(annotation, step)
    annotation = _core(annotation)
    return annotation if _is_model(annotation) else None


def names_of(model: type[BaseModel]) -> list[str]:
    """The YAML names of a model's fields, in their order."""
    return [field.alias or name for name, field in model.model_fields.items()]


def description_of(kind: str, loc: tuple[str | int, ...]) -> str | None:
    """What a field is for, in one sentence."""
    model = model_at(kind, loc[:-1])
    if model is None:
        return None
    docs = field_docs(model)
    for name, field in model.model_fields.items():
        if (field.alias or name) == loc[-1] and name in docs:
            return docs[name].split("\n")[0]
    return None


def about_unknown(kind: str, loc: tuple[str | int, ...]) -> str:
    """The hint for a field that is not known where it stands."""
    word = str(loc[-1])
    model = model_at(kind, loc[:-1])
    names = names_of(model) if model is not None else []
    elsewhere = [place for place, name in _places(kind) if name == word and place != loc[:-1]]
    if elsewhere:
        return f"it belongs in `{'.'.join(elsewhere[0]) or 'the document itself'}`"
    other = _ALSO_CALLED[kind].get(word.casefold().replace("_", "").replace("-", ""))
    if other in names:
        return f"did you mean `{other}`?"
    near = closest(word, names)
    if near is not None:
        return f"did you mean `{near}`?"
    return f"fields here: {', '.join(names)}" if names else "remove it"


def choices_of(kind: str, loc: tuple[str | int, ...]) -> str:
    """``a, b or c`` of a model's fields, for messages."""
    model = model_at(kind, loc)
    return one_of(names_of(model)) if model is not None else ""


@cache
def _places(kind: str) -> tuple[tuple[tuple[str, ...], str], ...]:
    """Every field with the path of the mapping it belongs in, outer ones first."""
    return tuple(sorted(_walk(MODELS[kind], ()), key=lambda item: len(item[0])))


def _walk(model: type[BaseModel], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    for name, field in model.model_fields.items():
        alias = field.alias or name
        yield path, alias
        below = _core(field.annotation)
        if _is_model(below):
            yield from _walk(below, (*path, alias))


def _below(annotation: Any, step: str | int) -> Any:
    annotation = _core(annotation)
    if _is_model(annotation) and isinstance(step, str):
        for name, field in annotation.model_fields.items():
            if (field.alias or name) == step:
                return field.annotation
        return None
    arguments = get_args(annotation)
    if get_origin(annotation) is tuple and isinstance(step, int):
        return arguments[0]
    return arguments[1] if get_origin(annotation) is dict else None


def _core(annotation: Any) -> Any:
    """The type without Annotated and without None."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif get_origin(annotation) in (Union, types.UnionType):
            annotation = next((part for part in get_args(annotation) if part is not type(None)), None)
        else:
            return annotation


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
