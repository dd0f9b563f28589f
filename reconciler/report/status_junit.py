"""The status report as JUnit's XML, for a CI page or a test dashboard: one case an object."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from reconciler.model.condition import Health
from reconciler.model.enums import Kind
from reconciler.model.instant import rfc3339
from reconciler.report.status import ObjectStatus, StatusReport
from reconciler.report.status_text import name_of, next_words, place_of, reasons

# what XML 1.0 has no place for (w3.org/TR/xml, production 2)
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SUITES = ((Kind.PROJECT, "projects"), (Kind.SERVER, "servers"), (Kind.TASK, "tasks"))


def status_junit(report: StatusReport) -> str:
    """A suite a kind. What needs attention has failed; what is suspended or has not run yet is skipped."""
    root = ElementTree.Element("testsuites", name="reconciler status", timestamp=rfc3339(report.generated_at))
    _count(root, report.objects)
    for kind, title in _SUITES:
        items = report.of(kind)
        suite = ElementTree.SubElement(root, "testsuite", name=title)
        _count(suite, items)
        for item in items:
            suite.append(_case(item, report, title))
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _count(element: ElementTree.Element, items: Sequence[ObjectStatus]) -> None:
    failures = sum(item.needs_attention for item in items)
    skipped = sum(_skipped(item) for item in items)
    element.set("tests", str(len(items)))
    element.set("failures", str(failures))
    element.set("errors", "0")
    element.set("skipped", str(skipped))


def _skipped(item: ObjectStatus) -> bool:
    return not item.needs_attention and item.health in (Health.SUSPENDED, Health.UNKNOWN)


def _case(item: ObjectStatus, report: StatusReport, title: str) -> ElementTree.Element:
    case = ElementTree.Element("testcase", name=_clean(name_of(item, report)), classname=title)
    if item.path:
        case.set("file", _clean(item.path))
        case.set("line", str(item.line))
    if item.last is not None and item.last.duration_seconds is not None:
        case.set("time", f"{item.last.duration_seconds:.3f}")
    why = reasons(item, report.generated_at)
    if item.needs_attention:
        message = why[0] if why else item.health.value
        failure = ElementTree.SubElement(case, "failure", message=_clean(message), type=item.health.value)
        words = [place_of(item), *why, next_words(item, report.generated_at), *item.error_lines]
        failure.text = _clean("\n".join(filter(None, words)))
    elif _skipped(item):
        ElementTree.SubElement(case, "skipped", message=_clean("; ".join(why) or "has not run yet"))
    return case


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
