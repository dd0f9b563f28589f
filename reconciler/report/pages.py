"""The status report in any form, as text for a terminal's pipe or a file that is always whole."""

from __future__ import annotations

import contextlib
import os
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

from reconciler.collector import without_collector
from reconciler.errors import Refused
from reconciler.report.build import status_report
from reconciler.report.status import StatusReport
from reconciler.store.engine import Database
from reconciler.store.overview import KnownRows
from reconciler.store.strips import last_states

FORMS = ("text", "json", "markdown", "junit", "html")
_SUFFIXES = {
    ".txt": "text",
    ".json": "json",
    ".md": "markdown",
    ".xml": "junit",
    ".html": "html",
    ".htm": "html",
}


def form_of(path: Path) -> str:
    """The form that a file's name asks for; text where it asks for none."""
    return _SUFFIXES.get(path.suffix.lower(), "text")


def status_page(
    db: Database, form: str, now: datetime, late_after: timedelta, rows: KnownRows | None = None
) -> str:
    """The report as it is at ``now``, in one of `FORMS`; ends in a newline."""
    with without_collector():
        return _written(db, status_report(db, now, late_after, rows), form)


def _written(db: Database, report: StatusReport, form: str) -> str:
    # each form is loaded only by those who ask for it
    if form == "json":
        from reconciler.report.json_text import items_json
        from reconciler.report.shapes import status_json

        shape = status_json(report)
        objects = shape.pop("objects")
        return "".join(items_json(shape, "objects", objects, {}))
    if form == "markdown":
        from reconciler.report.status_markdown import status_markdown

        return status_markdown(report)
    if form == "junit":
        from reconciler.report.status_junit import status_junit

        return status_junit(report)
    if form == "html":
        from reconciler.report.status_html import MOST_LISTED, RUNS, status_html

        shown = [item.task_id for item in report.objects if item.task_id is not None]
        with db.read() as conn:
            strips = last_states(conn, shown[: 4 * MOST_LISTED], RUNS)
        return status_html(report, strips)
    from reconciler.report.status_text import status_text

    return "\n".join(status_text(report)) + "\n"


def write_page(path: Path, text: str) -> None:
    """Replace the file at once: whoever reads it finds the old page or the new one, whole.

    Raises Refused with what the file system says; the old page is left then.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with open(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
                # a page to be served: readable as any file its writer makes
                os.fchmod(file.fileno(), 0o666 & ~_umask())
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
    except OSError as error:
        raise Refused(
            f"the report cannot be written to {str(path)!r}: {error.strerror}",
            hint="check the folder, its rights and the free space",
        ) from error


def _umask() -> int:
    # asking means setting; Linux tells it in /proc without that, which is safe beside other threads
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return int(next(line for line in lines if line.startswith("Umask:")).split()[1], 8)
    return 0o077
