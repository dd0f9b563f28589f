"""Why a source does not give a file."""

from __future__ import annotations

from reconciler.manifest.text import Fault
from reconciler.model.quantity import format_size


class Refusal(Exception):
    """A file that is not read; becomes a problem at its first line, or where a manifest names it."""

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.fault = Fault(code, message, hint)


def too_large(size: int, limit: int) -> Refusal:
    """The refusal of a file that was not read for its size."""
    megabytes = f"{size / 1024**2:.1f} MiB" if size >= 1024**2 else f"{size:,} bytes"
    return Refusal(
        "file-too-large",
        f"the file has {megabytes}, more than {format_size(limit)}",
        "divide it into several files",
    )


def link_out() -> Refusal:
    """The refusal of a path or a symbolic link that leaves the tree."""
    return Refusal(
        "outside-tree", "this leads out of the tree", "everything a manifest names stays inside the tree"
    )
