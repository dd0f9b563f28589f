"""The closed vocabularies of the manifest language."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What a manifest document declares."""

    PROJECT = "Project"
    SERVER = "Server"
    TASK = "Task"


class Connection(StrEnum):
    """How commands reach a server."""

    SSH = "ssh"
    LOCAL = "local"


class Dst(StrEnum):
    """What happens to wall-clock times that a zone change skips or repeats."""

    CRON = "cron"
    SKIP = "skip"
    ONCE = "once"
    BOTH = "both"


class CatchUp(StrEnum):
    """Which missed slots still run."""

    NONE = "none"
    LATEST = "latest"
    ALL = "all"


class Concurrency(StrEnum):
    """What a due slot does while an earlier one of the same task is unfinished."""

    FORBID = "forbid"
    ALLOW = "allow"
    QUEUE = "queue"
    REPLACE = "replace"


class NotifyOn(StrEnum):
    """Events that a task may send to people."""

    FAILURE = "failure"
    RECOVERY = "recovery"
    OVERDUE = "overdue"
    DRIFT = "drift"
    STALLED = "stalled"
    GUARD = "guard"
