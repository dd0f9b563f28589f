"""Problems that know only where their document begins, at the very values.

A plan compares states, which keep a path and a line of each object; its contradictions are few, so their
files are read and composed once more.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from reconciler.manifest.findings import Document, Findings, Loc
from reconciler.manifest.parse import parse
from reconciler.manifest.problem import Problem, in_order
from reconciler.manifest.refusal import Refusal
from reconciler.manifest.source import MAX_FILE, Source
from reconciler.manifest.text import Fault, SourceText


def placed(source: Source, problems: Iterable[Mapping[str, Any]]) -> tuple[Problem, ...]:
    """The problems (in `validate`'s shape) with line, column and excerpt of the value they are about.

    One whose object is not there (any more) stays at the line it came with.
    """
    findings = Findings()
    documents: dict[tuple[str, int], Document] = {}
    read: set[str] = set()
    unplaced = []
    for problem in problems:
        path, line = problem["path"], problem["line"]
        if path not in read:
            read.add(path)
            documents |= _documents(source, path, findings)
        document = documents.get((path, line))
        loc = None if document is None else _loc(document.value, problem)
        if document is None or loc is None:
            unplaced.append(_as_it_is(problem))
            continue
        findings.at(document, loc, Fault(problem["code"], problem["message"], problem["hint"]), field=loc)
    return in_order([*findings.problems(), *unplaced])


def _documents(source: Source, path: str, findings: Findings) -> dict[tuple[str, int], Document]:
    try:
        text = SourceText(path, source.read(path, MAX_FILE))
    except Refusal:
        return {}
    finally:
        source.close()
    findings.remember(text)
    found = (Document(path, raw.index, raw.line, "", raw.value) for raw in parse(text, lambda *_: None))
    return {(path, document.line): document for document in found}


def _loc(value: Mapping[str, Any], problem: Mapping[str, Any]) -> Loc | None:
    """The field's path; of a task on several servers the item that the message names.

    None where another object stands there now, because the one that the problem is about left the tree.
    """
    loc: Loc = tuple(problem["field"].split("."))
    metadata, spec = value.get("metadata"), value.get("spec")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if not isinstance(name, str):
        return None
    quoted = repr(unicodedata.normalize("NFC", name))
    if quoted not in problem["message"] and f"{quoted[:-1]}@" not in problem["message"]:
        return None
    servers = spec.get("servers") if isinstance(spec, Mapping) else None
    if loc == ("spec", "server") and isinstance(servers, list):
        named = (index for index, server in enumerate(servers) if repr(server) in problem["message"])
        return ("spec", "servers", *list(named)[:1])
    return loc


def _as_it_is(problem: Mapping[str, Any]) -> Problem:
    return Problem(
        problem["severity"],
        problem["code"],
        problem["message"],
        problem["path"],
        problem["line"],
        field=problem["field"],
        end_line=problem["endLine"],
        hint=problem["hint"],
    )
