"""The project's defaults filled in below each object, and script files read.

Mappings merge key by key and the object wins; lists and single values of the object replace the
default's. What excludes each other is one choice: an object's ``command`` displaces a default ``script``.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.manifest.refusal import Refusal, link_out
from reconciler.manifest.source import MAX_SCRIPT, Source
from reconciler.manifest.text import Fault

GROUPS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "Task": (("command", "script"), ("server", "servers", "selector")),
    "Server": (),
    "Calendar": (),
}
"""Fields of a spec that exclude each other."""

Spec = dict[str, Any]


def with_defaults(kind: str, defaults: Mapping[str, Any], spec: Spec) -> Spec:
    """The spec with the defaults below it; neither argument is changed."""
    if not defaults:
        return spec
    merged = dict(spec)
    for key, default in defaults.items():
        if key not in spec:
            if not _is_displaced(kind, key, spec):
                merged[key] = default
        elif isinstance(default, dict) and isinstance(spec[key], dict):
            merged[key] = _merge((key,), default, spec[key])
    return merged


def _is_displaced(kind: str, key: str, spec: Spec) -> bool:
    return any(key in group and any(spec.get(other) is not None for other in group) for group in GROUPS[kind])


def _merge(path: tuple[str, ...], default: Spec, own: Spec) -> Spec:
    if path == ("auth",):
        default = _other_way_in(default, own)
    merged = dict(own)
    for key, value in default.items():
        if key not in own:
            merged[key] = value
        elif isinstance(value, dict) and isinstance(own[key], dict) and not _is_reference((*path, key)):
            merged[key] = _merge((*path, key), value, own[key])
    return merged


def _other_way_in(default: Spec, own: Spec) -> Spec:
    """The default's ``auth`` without the way that the object's own way displaces."""
    gone: tuple[str, ...] = ()
    if own.get("password") is not None:
        gone = ("privateKey", "passphrase")
    elif own.get("privateKey") is not None:
        gone = ("password",)
    return {key: value for key, value in default.items() if key not in gone}


def _is_reference(path: tuple[str, ...]) -> bool:
    """A secret's source is one value: ``{file: …}`` of an object does not join ``{env: …}`` of a default."""
    return len(path) == 2 and path[0] in ("auth", "secrets")


@dataclass(frozen=True, slots=True)
class ScriptText:
    """What came of a script file: its text, or a fault, or both where the fault is only a warning."""

    text: str | None
    fault: Fault | None = None


class Scripts:
    """The script files of a tree, each read once."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._found: dict[str, ScriptText] = {}

    def get(self, file: str) -> ScriptText:
        """A script by its path from the tree's root."""
        found = self._found.get(file)
        if found is None:
            found = self._found[file] = self._read(file)
        return found

    def _read(self, file: str) -> ScriptText:
        try:
            if file.startswith("/") or ".." in file.split("/"):
                raise link_out()
            data = self._source.read(posixpath.normpath(file), MAX_SCRIPT)
        except Refusal as refusal:
            fault = refusal.fault
            return ScriptText(
                None, Fault(f"script-{fault.code}", f"the script {file!r}: {fault.message}", fault.hint)
            )
        return _script_text(file, data)


def _script_text(file: str, data: bytes) -> ScriptText:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        message = f"the script {file!r} is not UTF-8 (line {line})"
        return ScriptText(None, Fault("script-not-utf-8", message, "save it as UTF-8"))
    if "\0" in text:
        message = f"the script {file!r} has a NUL character"
        return ScriptText(None, Fault("script-nul", message, "is it a program? Only text can be sent"))
    if not text.strip():
        return ScriptText(
            None, Fault("script-empty", f"the script {file!r} is empty", "write what is to be run")
        )
    return ScriptText(text, _windows_line_ends(file, text))


def _windows_line_ends(file: str, text: str) -> Fault | None:
    if "\r\n" not in text:
        return None
    line = text[: text.index("\r\n")].count("\n") + 1
    return Fault(
        "script-line-ends",
        f"the script {file!r} has Windows line ends (line {line}); a shell takes \\r for part of a word",
        "save it with Unix line ends",
        severity="warning",
    )
