"""The forms of code hosts: GitHub's workflow commands and GitLab's code quality report."""

from __future__ import annotations

from typing import Any

from reconciler.manifest.problem import Problem
from reconciler.manifest.render.report import Report, summary
from reconciler.manifest.render.sarif import fingerprints


def github(report: Report) -> str:
    """Workflow commands, which a GitHub Actions job prints to annotate a pull request, and the summary.

    Form and escapes: docs.github.com, "Workflow commands"; actions/toolkit, packages/core/src/command.ts.
    """
    return "\n".join([*(_command(problem) for problem in report.problems), _data(summary(report))]) + "\n"


def _command(problem: Problem) -> str:
    properties = {
        "file": problem.path,
        "line": str(problem.line),
        "endLine": str(problem.end_line),
        "col": str(problem.column),
        # inclusive here
        "endColumn": str(max(problem.column, problem.end_column - 1)),
        "title": problem.code,
    }
    words = f"{problem.message}\nhint: {problem.hint}" if problem.hint else problem.message
    listed = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{problem.severity} {listed}::{_data(words)}"


def _data(words: str) -> str:
    return words.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(words: str) -> str:
    return _data(words).replace(":", "%3A").replace(",", "%2C")


def gitlab(report: Report) -> list[dict[str, Any]]:
    """A code quality report (docs.gitlab.com, "Code Quality", report format)."""
    return [
        {
            "description": f"{problem.message} ({problem.hint})" if problem.hint else problem.message,
            "check_name": problem.code,
            "fingerprint": fingerprint,
            "severity": "major" if problem.severity == "error" else "minor",
            "location": {
                "path": problem.path,
                "lines": {"begin": problem.line, "end": problem.end_line},
            },
        }
        for problem, fingerprint in zip(report.problems, fingerprints(report.problems), strict=True)
    ]
