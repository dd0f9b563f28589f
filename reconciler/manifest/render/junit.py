"""JUnit's XML: a test per file that is well, and a failed one per problem."""

from __future__ import annotations

import re
from xml.sax.saxutils import escape, quoteattr

from reconciler.manifest.problem import Problem
from reconciler.manifest.render.report import Report

# What XML 1.0 has no place for (w3.org/TR/xml, production 2)
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(report: Report) -> str:
    """One suite; warnings do not fail."""
    faulty = {problem.path for problem in report.problems}
    cases = [_case(path) for path in report.files if path not in faulty]
    cases += [_faulty_case(problem) for problem in report.problems]
    failures = sum(problem.severity == "error" for problem in report.problems)
    counts = f'tests="{len(cases)}" failures="{failures}" errors="0" skipped="0"'
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuites name="reconciler validate" {counts}>',
        f'  <testsuite name="manifests" {counts}>',
        *cases,
        "  </testsuite>",
        "</testsuites>",
    ]
    return "\n".join(lines) + "\n"


def _case(path: str) -> str:
    return f'    <testcase name={_attribute(path)} classname="manifests" file={_attribute(path)}/>'


def _faulty_case(problem: Problem) -> str:
    head = (
        f"    <testcase name={_attribute(f'{problem.place} {problem.code}')}"
        f' classname="manifests" file={_attribute(problem.path)} line="{problem.line}">'
    )
    words = "\n".join(filter(None, [f"{problem.place}: {problem.message}", _hint(problem)]))
    if problem.severity == "error":
        about = f"message={_attribute(problem.message)} type={_attribute(problem.code)}"
        body = f"      <failure {about}>{_text(words)}</failure>"
    else:
        body = f"      <system-out>{_text(words)}</system-out>"
    return f"{head}\n{body}\n    </testcase>"


def _hint(problem: Problem) -> str:
    return f"hint: {problem.hint}" if problem.hint else ""


def _clean(words: str) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", words)


def _text(words: str) -> str:
    return escape(_clean(words))


def _attribute(words: str) -> str:
    return quoteattr(_clean(words), {"\n": "&#10;", "\r": "&#13;", "\t": "&#9;"})
