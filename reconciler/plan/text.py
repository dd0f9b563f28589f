"""The plan as a reviewer reads it on a terminal."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import Any

from reconciler.model.canonical import canonical_json
from reconciler.plan.changes import Action, Change, Drift, FieldChange, Fields, Guard, Plan

_STYLES = {
    Action.CREATE: ("+", "32"),
    Action.UPDATE: ("~", "33"),
    Action.RENAME: (">", "36"),
    Action.DELETE: ("-", "31"),
    Action.RESTORE: ("^", "32"),
}
_BOLD, _DIM, _RED, _GREEN, _YELLOW = "1", "2", "31", "32", "33"
_CONTEXT = 2
"""Unchanged lines shown around a change of a multi-line text."""
_LONGEST = 100
"""Characters of one value on one line; more is cut with an ellipsis."""


def plan_text(plan: Plan, *, colour: bool = False, path: str = "manifests") -> str:
    """The whole plan: head line, changes with their lines, drift, guard, summary, what to do next.

    ``path`` is the tree, for the last line's command.
    """
    pen = _Pen(colour)
    lines = [_head(plan, pen)]
    if plan.empty:
        lines += ["", f"Nothing to change: {_objects(plan.unchanged)} as declared."]
        return "\n".join(lines) + "\n"
    for change in plan.changes:
        lines += ["", *_change(change, pen)]
    if plan.drift:
        lines += ["", pen("Changed by hand since the last apply; an apply puts it back:", _BOLD)]
        for drift in plan.drift:
            lines += ["", *_drift(drift, pen)]
    lines += ["", *_guard(plan, pen), pen(_summary(plan), _BOLD)]
    lines.append(pen(f"Digest {plan.digest[:12]}. To make it so: reconciler apply {path}", _DIM))
    return "\n".join(lines) + "\n"


class _Pen:
    """Styles text, or leaves it as it is."""

    def __init__(self, on: bool) -> None:
        self._on = on

    def __call__(self, text: str, style: str) -> str:
        return f"\x1b[{style}m{text}\x1b[0m" if self._on and text else text


def _head(plan: Plan, pen: _Pen) -> str:
    name = plan.project
    if plan.former_project:
        name = f"{plan.former_project} → {plan.project}"
    if plan.base_revision is None:
        return f"Project {pen(name, _BOLD)}: new → {_commit(plan.commit)}"
    base = f"revision {plan.base_revision}"
    if plan.base_commit:
        base += f" ({plan.base_commit[:12]})"
    return f"Project {pen(name, _BOLD)}: {base} → {_commit(plan.commit)}"


def _commit(commit: str | None) -> str:
    return f"commit {commit[:12]}" if commit else "these files"


def _objects(count: int) -> str:
    return "1 object is" if count == 1 else f"{count} objects are"


def _change(change: Change, pen: _Pen) -> Iterator[str]:
    sign, style = _STYLES[change.action]
    title = f"{sign} {change.action} {_title(change.kind, change.name, change.server)}"
    place = f"{change.origin.path}:{change.origin.line}" if change.origin.path else ""
    yield f"{pen(title, style)}  {pen(place, _DIM)}".rstrip()
    if change.reason:
        yield f"    {change.reason}"
    yield from _fields(change.fields, pen, new=change.action is Action.CREATE)


def _drift(drift: Drift, pen: _Pen) -> Iterator[str]:
    yield pen(f"! {_title(drift.kind, drift.name, drift.server)}", _YELLOW)
    yield from _fields(drift.fields, pen, new=False)


def _title(kind: str, name: str, server: str | None) -> str:
    return f"{kind} {name}" if server is None else f"{kind} {name}@{server}"


def _fields(fields: Fields, pen: _Pen, *, new: bool) -> Iterator[str]:
    width = max((len(_short(name)) for name in fields), default=0)
    for name, change in fields.items():
        label = f"{_short(name):<{width}}"
        if _is_long(change.before) or _is_long(change.after):
            yield f"    {label.rstrip()}:"
            yield from (f"      {line}" for line in _text_change(change, pen))
        elif new:
            yield f"    {label}  {_value(change.after)}"
        else:
            yield (f"    {label}  {pen(_value(change.before), _RED)} → {pen(_value(change.after), _GREEN)}")


def _short(name: str) -> str:
    """``spec.`` says nothing to a reader; ``metadata.labels.env`` is ``labels.env``."""
    return name.removeprefix("spec.").removeprefix("metadata.")


def _is_long(value: Any) -> bool:
    return isinstance(value, str) and "\n" in value.rstrip("\n")


def _value(value: Any) -> str:
    if value is None:
        return "(none)"
    text = value.rstrip("\n") if isinstance(value, str) else canonical_json(value)
    if text == "" or text != text.strip():
        text = f'"{text}"'
    text = _printable(text)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _printable(text: str) -> str:
    """No control character of a manifest reaches the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else f"\\x{ord(c):02x}" for c in text)


def _text_change(change: FieldChange, pen: _Pen) -> Iterator[str]:
    """A multi-line text: a new one whole, of a changed one the changed lines and their neighbours."""
    after = _lines(change.after)
    if change.before is None:
        yield from (pen(f"+ {line}", _GREEN) for line in after)
        return
    before = _lines(change.before)
    diff = difflib.unified_diff(before, after, n=_CONTEXT, lineterm="")
    for number, line in enumerate(diff):
        if number < 2:
            continue  # the names of the two files
        if line.startswith("@@"):
            if number > 2:
                yield pen("…", _DIM)
            continue
        style = {"+": _GREEN, "-": _RED}.get(line[0], _DIM)
        yield pen(f"{line[0]} {line[1:]}", style)


def _lines(value: Any) -> list[str]:
    text = value if isinstance(value, str) else _value(value)
    return _printable(text).splitlines()


def _guard(plan: Plan, pen: _Pen) -> Iterable[str]:
    guard = plan.guard
    lines = []
    if guard.protected:
        lines.append(pen(f"Protected, so this cannot be applied: {', '.join(guard.protected)}", _RED))
        lines.append("  declare them again, or first apply a commit that sets `protected: false`")
    if guard.tripped:
        lines += _tripped(guard, plan.digest, pen)
    return [*lines, ""] if lines else []


def _tripped(guard: Guard, digest: str, pen: _Pen) -> list[str]:
    return [
        pen("The deletion guard stops this: " + "; ".join(guard.reasons), _RED),
        f"  if it is meant: reconciler apply --allow-deletions {digest[:12]}",
    ]


def _summary(plan: Plan) -> str:
    counts = plan.summary()
    words = {
        "create": "to create",
        "update": "to update",
        "rename": "to rename",
        "delete": "to delete",
        "restore": "to restore",
    }
    parts = [f"{counts[name]} {text}" for name, text in words.items() if counts[name]]
    if plan.drift:
        parts.append(f"{len(plan.drift)} to put back")
    parts.append(f"{counts['unchanged']} unchanged")
    return ", ".join(parts) + "."
