"""Pydantic's errors in the manifest's own words, with the traps of YAML explained."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import available_timezones

from pydantic_core import ErrorDetails
from yaml.nodes import MappingNode, Node, ScalarNode

from reconciler.manifest.construct import shorten
from reconciler.manifest.fields import about_unknown, choices_of, description_of
from reconciler.manifest.findings import Explain, Loc, is_secret
from reconciler.manifest.scalars import Ambiguous
from reconciler.manifest.suggest import did_you_mean, one_of
from reconciler.manifest.text import Fault
from reconciler.model.quantity import DURATION_HINT, SIZE_HINT, format_duration, format_size
from reconciler.model.zone import NO_ZONES

KEY = "[key]"
"""Pydantic's last step of the path of an error about a key of a mapping."""
_SECRET_HINT = "name its source, such as {env: NAME} or {file: NAME}; the value itself never stands in git"

_WANTED = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "tuple_type": "a list",
    "list_type": "a list",
}
_BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}
_CODES = {
    "exactly_one": "exactly-one",
    "missing_username": "missing-field",
    "env_and_secret": "env-and-secret",
    "empty_selector": "empty-selector",
    "selector_values": "selector-values",
    "auth": "auth",
    "calendar_window": "calendar-window",
}
_SIZE = re.compile(r"\d+[KMG]?i?B", re.ASCII)
_QUOTED = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
# `'x' is not a duration: write …`: the sentence, and after it the advice ({env: NAME} is no border)
_SENTENCE = re.compile(rf"({_QUOTED}?.*?)[:;] (?![A-Z]+\}})(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class WrongType:
    """A value of another type than ``wanted``; explains how YAML came to read it so.

    ``form`` says how such a value is written, for where there is nothing better to say.
    """

    wanted: str
    form: str
    secret: bool = False

    def __call__(self, node: Node | None) -> Fault:
        if isinstance(node, ScalarNode):
            return self._scalar(node)
        given = "a mapping" if isinstance(node, MappingNode) else "a list"
        hint = _SECRET_HINT if self.secret else self.form
        return Fault("wrong-type", f"{self.wanted} is expected here, not {given}", hint)

    def _scalar(self, node: ScalarNode) -> Fault:
        mark = node.style if node.style in ("'", '"') else ""
        text = f"`{mark}{shorten(node.value)}{mark}` "
        if self.secret:
            return Fault("wrong-type", f"{self.wanted} is expected here", _SECRET_HINT)
        if node.tag is None:
            return Fault(
                "wrong-type",
                f"{self.wanted} is expected here, and there is nothing",
                _NOTHING.get(self.wanted, _REMOVE),
            )
        if isinstance(node.tag, Ambiguous):
            return ambiguous(node.tag, self.wanted)
        if isinstance(node.tag, bool):
            word = "true" if node.tag else "false"
            hint = f'put it in quotes: "{node.value}"' if self.wanted == "a text" else self.form
            return Fault("yaml-boolean", f"YAML reads {text}as {word}; {self.wanted} is expected here", hint)
        if isinstance(node.tag, int | float):
            hint = f'put it in quotes: "{node.value}"' if self.wanted == "a text" else self.form
            return Fault("wrong-type", f"{text}is a number; {self.wanted} is expected here", hint)
        return Fault(
            "wrong-type", f"{text}is a text; {self.wanted} is expected here", self._hint_for_text(node)
        )

    def _hint_for_text(self, node: ScalarNode) -> str:
        if self.wanted == "a list":
            return f"write [{shorten(node.value)}]"
        if node.style in ("'", '"') and self.wanted != "a mapping":
            return "write it without quotes"
        return self.form


_REMOVE = "write a value, or remove the key"
_NOTHING = {"a text": 'write a value, or "" for an empty text, or remove the key'}
_WITH_UNIT = {"a duration": DURATION_HINT, "a size": SIZE_HINT}
_FORMS = {
    **_WITH_UNIT,
    "a text": "write one text here, in quotes where it holds anything but letters and digits",
    "a whole number": "write digits only, such as 3",
    "a number": "write a number, such as 2 or 1.5",
    "true or false": "write true or false",
    "a mapping": "write `key: value`, indented on the lines below",
    "a list": "begin each item with `- `",
}


def ambiguous(scalar: Ambiguous, wanted: str = "a text") -> Fault:
    """The fault of a plain scalar that YAML 1.1 and 1.2 read differently."""
    first, second = scalar.readings()
    hint = f'put it in quotes: "{scalar.text}"'
    if wanted in ("a whole number", "a number"):
        numbers = [reading for reading in (first, second) if reading != "text"]
        hint = f"write {' or '.join(dict.fromkeys(numbers))}"
    elif wanted in _WITH_UNIT:
        hint = _WITH_UNIT[wanted]
    return Fault(
        "yaml-ambiguous",
        f"`{scalar.text}` is {first} to YAML 1.1 and {second} to YAML 1.2",
        hint,
    )


@dataclass(frozen=True, slots=True)
class Told:
    """A pydantic error as a finding: where, at the key or the value, and what."""

    loc: Loc
    fault: Fault | Explain
    key: bool = False
    field: Loc | None = None


def _wrong_type(kind: str, loc: Loc, wanted: str) -> WrongType:
    fields = choices_of(kind, loc) if wanted == "a mapping" else ""
    form = (
        f"write `key: value`; the keys here are {fields}" if fields else _FORMS.get(wanted, f"write {wanted}")
    )
    return WrongType(wanted, form, is_secret(loc))


def tell(kind: str, error: ErrorDetails, value: Mapping[str, Any]) -> Told:
    """What to report for an error in ``value``, the document of that kind that was validated."""
    loc: Loc = error["loc"]
    context = error.get("ctx", {})
    name = error["type"]
    given = error["input"]
    if loc and loc[-1] == KEY:
        return Told(loc[:-1], _sentence(kind, "invalid-key", error, loc), key=True)
    if name == "extra_forbidden":
        return Told(
            loc,
            Fault("unknown-field", f"unknown field `{shorten(str(loc[-1]))}`", about_unknown(kind, loc)),
            key=True,
        )
    if name == "missing":
        return Told(loc[:-1], _missing(kind, loc), key=True, field=loc)
    if isinstance(given, Ambiguous):
        return Told(loc, _wrong_type(kind, loc, _WANTED.get(name, _quantity(error))))
    if name in _WANTED:
        return Told(loc, _wrong_type(kind, loc, _WANTED[name]))
    if name in ("enum", "literal_error"):
        return Told(loc, _choice(kind, loc, context, given))
    if name in _BOUNDS:
        return Told(loc, _bound(name, context, given))
    if name == "value_error" and not isinstance(given, str | dict | list):
        return Told(loc, _wrong_type(kind, loc, _quantity(error)))
    if name == "exactly_one":
        return _exactly_one(loc, context, value)
    if name == "env_and_secret":
        loc = (*loc, "secrets", context["name"])
        return Told(loc, Fault("env-and-secret", error["msg"], "keep one of the two"), key=True)
    if name == "calendar_window":
        field = context["field"]
        where: Loc = loc if field is None else (*loc, field)
        return Told(where, _sentence(kind, "calendar-window", error, where))
    if name == "missing_username":
        return Told(loc, _missing(kind, (*loc, "username")), key=True, field=(*loc, "username"))
    return Told(loc, _sentence(kind, _CODES.get(name, "invalid-value"), error, loc), key=name in _CODES)


def _missing(kind: str, loc: Loc) -> Fault:
    return Fault("missing-field", f"the field `{loc[-1]}` is missing", _about(kind, loc))


def _about(kind: str, loc: Loc) -> str:
    """What a field is for."""
    about = description_of(kind, loc)
    if about:
        return f"{loc[-1]}: {about[0].lower()}{about[1:].rstrip('.')}"
    if loc == ("apiVersion",):
        return "write apiVersion: reconciler/v1"
    fields = choices_of(kind, loc)
    return f"{loc[-1]}: a mapping of {fields}" if fields else f"docs/manifest.md tells what `{loc[-1]}` takes"


def _exactly_one(loc: Loc, context: Mapping[str, Any], value: Mapping[str, Any]) -> Told:
    given = set(context["given"])
    if not given:
        text = f"exactly one of {context['names']} is needed, and there is none"
        return Told(loc, Fault("exactly-one", text, "add one of them"), key=True)
    spec: Any = value
    for step in loc:
        spec = spec[step]
    # the second in the author's order is the one too many
    names = [name for name in spec if name in given]
    text = f"`{names[1]}` and `{names[0]}` exclude each other"
    hint = f"exactly one of {context['names']} is needed: keep one of them"
    return Told((*loc, names[1]), Fault("exactly-one", text, hint), key=True)


def _choice(kind: str, loc: Loc, context: Mapping[str, Any], given: object) -> Fault | Explain:
    options = re.findall(r"'([^']*)'", str(context.get("expected", "")))
    if isinstance(given, str):
        shown = "this" if is_secret(loc) else f"`{shorten(given)}`"
        near = did_you_mean(given, options) if len(options) > 1 else None
        hint = near or f"write {one_of(options)}"
        return Fault("invalid-value", f"{shown} is none of the possible values: {', '.join(options)}", hint)
    return _wrong_type(kind, loc, f"one of {', '.join(options)}" if len(options) > 1 else f"`{options[0]}`")


def _bound(name: str, context: Mapping[str, Any], given: object) -> Fault:
    key, words = _BOUNDS[name]
    bound = context[key]
    shown = f"{bound:g}" if isinstance(bound, float) else str(bound)
    if isinstance(given, str):
        shown = format_size(bound) if _SIZE.fullmatch(given) else format_duration(bound)
    text = shorten(str(given))
    return Fault("out-of-range", f"`{text}` is out of range", f"write {words} {shown}")


def _quantity(error: ErrorDetails) -> str:
    message = error["msg"]
    if "not a duration" in message:
        return "a duration"
    return "a size" if "not a size" in message else "another value"


def _sentence(kind: str, code: str, error: ErrorDetails, loc: Loc) -> Fault:
    """The words of a validator of ours: a sentence, and often advice behind a colon."""
    cause = error.get("ctx", {}).get("error")
    message = str(cause) if cause is not None else _own_words(error)
    if is_secret(loc):
        message = re.sub(f"^{_QUOTED}", "the text here", message)
    if message.startswith("it ") and loc:
        message = f"`{loc[-1]}` {message.removeprefix('it ')}"
    found = _SENTENCE.fullmatch(message)
    hint = None
    if found:
        message, hint = found.groups()
    if is_secret(loc) and code == "invalid-value":
        hint = hint or _SECRET_HINT
    if loc and loc[-1] == "timezone" and hint is None:
        hint = _zone_hint(str(error["input"]))
    return Fault(code, shorten(message, 200), hint or _about(kind, loc))


def _zone_hint(name: str) -> str:
    near = did_you_mean(name, sorted(available_timezones() - NO_ZONES))
    return near or "write a name of the IANA database, such as Europe/Berlin or UTC"


def _own_words(error: ErrorDetails) -> str:
    context: Mapping[str, Any] = error.get("ctx", {})
    match error["type"]:
        case "string_too_long":
            length, limit = len(str(error["input"])), context["max_length"]
            return f"the text has {length:,} characters, at most {limit:,} are allowed; shorten it"
        case "string_too_short" | "too_short" if isinstance(error["input"], str):
            return (
                "the text is empty; write one, or remove the key"
                if not error["input"]
                else "the text is too short"
            )
        case "too_short":
            return "there must be at least one item; add one, or remove the key"
        case "finite_number":
            return "a finite number is expected here; write one such as 2"
        case _:
            return error["msg"]
