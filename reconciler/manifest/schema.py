"""JSON Schemas of the manifest language, made from the models, for editors.

Draft-07, because that is what yaml-language-server (VS Code, Neovim, JetBrains by plugin) checks in full. A
schema cannot know a tree: what defaults may supply is not required, and references are not followed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic.json_schema import models_json_schema

from reconciler.manifest.docs import field_docs
from reconciler.manifest.fields import MODELS
from reconciler.manifest.resolve import GROUPS
from reconciler.model.base import Model
from reconciler.model.calendar import DAY_NAMES, WEEKDAYS
from reconciler.model.names import MAX_NAME
from reconciler.model.quantity import format_duration, format_size

Schema = dict[str, Any]

DRAFT = "http://json-schema.org/draft-07/schema#"
API_VERSION = "reconciler/v1"
ANY = "reconciler.json"
"""The file for a document of any kind: what a folder's editor settings should name."""

_NO_NAME = r"/@\x00-\x1f\x7f"
_NAME = rf"[^\s{_NO_NAME}]([^{_NO_NAME}]*[^\s{_NO_NAME}])?"
_VARIABLE = r"^(?!RECONCILER_)[A-Za-z_][A-Za-z0-9_]*$"
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_MOMENT = rf"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00|{_DATE}([T ][0-9]{{2}}:[0-9]{{2}})?)$"
_ANY_CASE = "|".join("".join(f"[{letter.upper()}{letter}]" for letter in day) for day in DAY_NAMES)
_WEEKDAY = {"anyOf": [{"enum": list(WEEKDAYS)}, {"type": "string", "pattern": f"^({_ANY_CASE})$"}]}
_PLAIN_VALUE = ["string", "number", "boolean"]

# What validators know and types do not: (definition, property) → keywords
_ADDITIONS: Mapping[tuple[str, str], Schema] = {
    ("Metadata", "name"): {"pattern": f"^{_NAME}$", "maxLength": MAX_NAME},
    ("ServerMetadata", "name"): {"pattern": f"^{_NAME}$", "maxLength": MAX_NAME},
    ("ServerMetadata", "formerly"): {"pattern": f"^{_NAME}$", "maxLength": MAX_NAME},
    ("ProjectMetadata", "name"): {"pattern": f"^{_NAME}$", "maxLength": MAX_NAME},
    ("ProjectMetadata", "formerly"): {"pattern": f"^{_NAME}$", "maxLength": MAX_NAME},
    ("Metadata", "formerly"): {"pattern": f"^{_NAME}(@{_NAME})?$"},
    ("CalendarMetadata", "name"): {"pattern": f"^{_NAME}$", "maxLength": MAX_NAME},
    ("Window", "from"): {"pattern": _MOMENT},
    ("Window", "until"): {"pattern": _MOMENT},
    ("Window", "dates"): {"items": {"type": "string", "pattern": f"^{_DATE}$"}},
    ("Window", "weekdays"): {"items": _WEEKDAY},
    ("ServerSpec", "jump"): {"pattern": f"^({_NAME}/)?{_NAME}$"},
    ("ServerSpec", "host"): {"pattern": r"^[^-\s]\S*$"},
    ("ServerSpec", "username"): {"pattern": r"^[^-\s]\S*$"},
    ("TaskDeclarationSpec", "server"): {"pattern": f"^({_NAME}/)?{_NAME}$"},
    ("TaskDeclarationSpec", "command"): {"pattern": r"\S"},
    ("TaskDeclarationSpec", "env"): {
        "propertyNames": {"pattern": _VARIABLE},
        "additionalProperties": {"type": _PLAIN_VALUE},
    },
    ("TaskDeclarationSpec", "secrets"): {"propertyNames": {"pattern": _VARIABLE}},
}


_OUTER = {"apiVersion": "The version of the language.", "kind": "What the document declares."}


def schemas() -> dict[str, Schema]:
    """File name → schema: one for each kind and one for a document of any kind."""
    definitions = _definitions()
    files = {
        f"{kind.lower()}.json": _file(definitions[model.__name__], definitions)
        for kind, model in MODELS.items()
    }
    return {ANY: _any(definitions), **files}


def render(schema: Schema) -> str:
    """The text of a schema's file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _definitions() -> dict[str, Schema]:
    _, generated = models_json_schema(
        [(model, "validation") for model in MODELS.values()], ref_template="#/definitions/{model}"
    )
    known: dict[str, Schema] = generated["$defs"]
    for each in _models(Model):
        if each.__name__ in known:
            _describe(known[each.__name__], each)
    definitions = {name: _plain(schema) for name, schema in known.items()}
    for (owner, name), keywords in _ADDITIONS.items():
        definitions[owner]["properties"][name].update(keywords)
    for kind, spec in (("Task", "TaskDeclarationSpec"), ("Server", "ServerSpec")):
        if GROUPS[kind]:
            definitions[spec]["allOf"] = [_not_both(pair) for pair in _pairs(GROUPS[kind])]
        definitions[f"{kind}Defaults"] = _partial(definitions[spec], f"Defaults of every {kind}'s spec.")
        definitions["Defaults"]["properties"][kind.lower()] = {"$ref": f"#/definitions/{kind}Defaults"}
    for kind, model in MODELS.items():
        definitions[model.__name__]["title"] = kind
        for name, description in _OUTER.items():
            definitions[model.__name__]["properties"][name].setdefault("description", description)
    return definitions


def _models(root: type[Model]) -> Iterator[type[Model]]:
    """All that are made from it, each before its own."""
    for model in root.__subclasses__():
        yield model
        yield from _models(model)


def _describe(schema: Schema, model: type[Model]) -> None:
    """Give each property of a model the text behind its field; keywords stay in order."""
    docs, properties = field_docs(model), schema["properties"]
    for name, field in model.model_fields.items():
        if name in docs:
            key = field.alias or name
            properties[key] = dict(sorted({**properties[key], "description": docs[name]}.items()))


def _plain(schema: Schema) -> Schema:
    """A generated schema without what draft-07 or a reader has no use for."""
    kept = {key: _plain_value(key, value) for key, value in schema.items() if key != "title"}
    if kept.get("default", 0) is None or isinstance(kept.get("default"), dict):
        del kept["default"]  # nothing, or an object whose own fields say their defaults
    kept = _written_default(_nullable(kept))
    if "$ref" in kept and len(kept) > 1:  # draft-07 ignores everything beside a $ref
        kept = {"allOf": [{"$ref": kept.pop("$ref")}], **kept}
    return kept


def _plain_value(key: str, value: Any) -> Any:
    if key in ("properties", "patternProperties"):
        return {name: _plain(schema) for name, schema in value.items()}
    if key in ("anyOf", "allOf", "oneOf"):
        return [_plain(schema) for schema in value]
    if key in ("items", "additionalProperties", "propertyNames") and isinstance(value, dict):
        return _plain(value)
    return value


def _nullable(schema: Schema) -> Schema:
    """``anyOf: [X, null]`` as one schema, where X is a plain type: editors explain that better."""
    options = schema.get("anyOf", [])
    if len(options) == 2 and options[1] == {"type": "null"} and isinstance(options[0].get("type"), str):
        rest = {key: value for key, value in schema.items() if key != "anyOf"}
        return {**options[0], **rest, "type": [options[0]["type"], "null"]}
    return schema


def _written_default(schema: Schema) -> Schema:
    """Durations and sizes have integers for defaults in the models; people write texts."""
    default = schema.get("default")
    if schema.get("type") == "string" and isinstance(default, int):
        written = format_size(default) if "KiB" in schema["pattern"] else format_duration(default)
        return {**schema, "default": written}
    return schema


def _pairs(groups: tuple[tuple[str, ...], ...]) -> Iterator[tuple[str, str]]:
    for group in groups:
        for index, first in enumerate(group):
            yield from ((first, second) for second in group[index + 1 :])


def _not_both(pair: tuple[str, str]) -> Schema:
    given = {name: {"not": {"type": "null"}} for name in pair}
    return {
        "not": {"required": list(pair), "properties": given},
        # read by yaml-language-server; other validators ignore it
        "errorMessage": f"{pair[0]} and {pair[1]} exclude each other",
    }


def _partial(spec: Schema, description: str) -> Schema:
    return {**{key: value for key, value in spec.items() if key != "required"}, "description": description}


def _file(schema: Schema, definitions: Mapping[str, Schema]) -> Schema:
    needed = sorted(_needed(schema, definitions))
    return {"$schema": DRAFT, **schema, "definitions": {name: definitions[name] for name in needed}}


def _any(definitions: Mapping[str, Schema]) -> Schema:
    schema: Schema = {
        "title": "reconciler manifest",
        "description": "A document of a reconciler/v1 manifest: a Project, a Calendar, a Server or a Task.",
        "type": "object",
        "required": ["apiVersion", "kind", "metadata"],
        "properties": {
            "apiVersion": {"const": API_VERSION, "description": _OUTER["apiVersion"]},
            "kind": {"enum": list(MODELS), "description": _OUTER["kind"]},
        },
        "allOf": [
            {
                "if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]},
                "then": {"$ref": f"#/definitions/{model.__name__}"},
            }
            for kind, model in MODELS.items()
        ],
    }
    return _file(schema, definitions)


def _needed(schema: Schema, definitions: Mapping[str, Schema]) -> set[str]:
    """The definitions that a schema refers to, directly or through others."""
    found: set[str] = set()
    waiting = list(_references(schema))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(_references(definitions[name]))
    return found


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"].rpartition("/")[2]
        for item in value.values():
            yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)
