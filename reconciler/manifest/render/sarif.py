"""SARIF 2.1.0, the exchange format of static analysis (docs.oasis-open.org/sarif/sarif/v2.1.0).

GitHub code scanning and editors read it. Columns are code points, ends exclusive, as our own.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from reconciler import __version__
from reconciler.manifest.problem import Problem
from reconciler.manifest.render.report import Report

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif(report: Report) -> dict[str, Any]:
    """The log with one run."""
    codes = sorted({problem.code for problem in report.problems})
    index = {code: number for number, code in enumerate(codes)}
    results = [
        _result(problem, index[problem.code], print_)
        for problem, print_ in zip(report.problems, fingerprints(report.problems), strict=True)
    ]
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "reconciler",
                        "semanticVersion": __version__,
                        "rules": [_rule(code) for code in codes],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": results,
            }
        ],
    }


def fingerprints(problems: Iterable[Problem]) -> list[str]:
    """One per problem, made of file, field, code and message: a moved line changes nothing."""
    seen: Counter[str] = Counter()
    prints = []
    for problem in problems:
        identity = "\0".join((problem.path, problem.code, problem.field or "", problem.message))
        seen[identity] += 1
        prints.append(hashlib.sha256(f"{identity}\0{seen[identity]}".encode("utf-8", "replace")).hexdigest())
    return prints


def _rule(code: str) -> dict[str, Any]:
    words = code.replace("-", " ")
    return {
        "id": code,
        "name": "".join(word.capitalize() for word in code.split("-")),
        "shortDescription": {"text": words[0].upper() + words[1:]},
        "defaultConfiguration": {"level": "error"},
    }


def _result(problem: Problem, rule: int, fingerprint: str) -> dict[str, Any]:
    words = f"{problem.message}. Hint: {problem.hint}" if problem.hint else problem.message
    return {
        "ruleId": problem.code,
        "ruleIndex": rule,
        "level": problem.severity,
        "message": {"text": words},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": quote(problem.path, errors="replace")},
                    "region": {
                        "startLine": problem.line,
                        "startColumn": problem.column,
                        "endLine": problem.end_line,
                        "endColumn": problem.end_column,
                    },
                }
            }
        ],
        "partialFingerprints": {"reconciler/v1": fingerprint},
    }
