"""Every error this program raises on purpose, drawn as one tree.

::

    ReconcilerError                      what, where, why and what to do next
    ├── Temporary                        the same call may succeed later: retry
    │   ├── DatabaseUnavailable          cannot be reached, or went away
    │   ├── DatabaseBusy                 deadlock or lock timeout that outlived its retries
    │   ├── CacheUnavailable             Redis; every caller treats it as a miss
    │   ├── ArchiveUnavailable           the place of whole outputs cannot be used; no run fails for it
    │   ├── SpoolFull                    this machine's disk takes no more records
    │   ├── SourceUnavailable            a repository that does not answer
    │   ├── NotDelivered                 a target of notifications did not take a message
    │   └── LockHeld                     someone else applies this project          exit 5
    └── Permanent                        retrying changes nothing: tell the person
        ├── UsageError                   wrong arguments                            exit 64
        ├── SettingsInvalid              every problem of the settings at once
        ├── ManifestsInvalid             every problem of the tree at once
        ├── SourceUnreadable             the path or repository cannot be read
        ├── SourceUntrusted              the commit is not signed as it must be
        ├── DatabaseOutdated             older than the program: `reconciler db upgrade`
        ├── DatabaseTooNew               newer than the program
        ├── DatabaseForbidden            the user lacks a right
        ├── DatabaseRejected             the database refused a statement for good
        ├── PlanRefused                  the desired state contradicts the database
        ├── GuardTripped                 a guard or a protection stopped the apply  exit 3
        ├── PlanStale                    the saved plan, or the commit, is behind   exit 4
        ├── NotFound                     no such object
        ├── Ambiguous                    the address fits several objects
        ├── Refused                      the request is understood and not allowed
        └── SecretUnavailable            a secret's source gives no value

An error's text is its message: one sentence of what and where. ``hint`` says what to do next.
No message is ever built from connection arguments or secret values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

EXIT_FAILED = 1
EXIT_CHANGES = 2
EXIT_GUARD = 3
EXIT_STALE = 4
EXIT_LOCKED = 5
EXIT_USAGE = 64


class ReconcilerError(Exception):
    """The root: carries what the command line prints and the code it exits with.

    ``code`` is a stable kebab-case word for scripts, ``details`` is JSON-ready data
    (camelCase keys) that goes into ``{"error": {"details": …}}``.
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = EXIT_FAILED

    def __init__(
        self, message: str, *, hint: str | None = None, details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details: dict[str, Any] = dict(details or {})


class Temporary(ReconcilerError):
    """The same call may succeed later."""

    code = "temporary"


class DatabaseUnavailable(Temporary):
    """The database cannot be reached, or the connection was lost."""

    code = "database-unavailable"


class DatabaseBusy(Temporary):
    """A deadlock or a lock timeout outlived its retries."""

    code = "database-busy"


class CacheUnavailable(Temporary):
    """Redis did not answer; callers go on without it."""

    code = "cache-unavailable"


class ArchiveUnavailable(Temporary):
    """An archive cannot be written, read or deleted."""

    code = "archive-unavailable"


class SpoolFull(Temporary):
    """This machine's disk, or the spool's bound, takes no more records; they wait in memory."""

    code = "spool-full"


class SourceUnavailable(Temporary):
    """A repository does not answer; the last good state goes on."""

    code = "source-unavailable"


class NotDelivered(Temporary):
    """A target of notifications did not take a message; nothing of its URL is in the words."""

    code = "not-delivered"


class LockHeld(Temporary):
    """Someone else holds the project's lock; ``details`` has ``owner`` and ``until``."""

    code = "lock-held"
    exit_code = EXIT_LOCKED


class Permanent(ReconcilerError):
    """Retrying changes nothing."""

    code = "permanent"


class UsageError(Permanent):
    """The command line does not make sense."""

    code = "usage"
    exit_code = EXIT_USAGE


class SettingsInvalid(Permanent):
    """The settings have problems; the message lists all of them."""

    code = "settings-invalid"


class ManifestsInvalid(Permanent):
    """The manifest tree has problems; ``details["problems"]`` has all of them."""

    code = "manifests-invalid"


class SourceUnreadable(Permanent):
    """A path or repository that should hold manifests cannot be read."""

    code = "source-unreadable"


class SourceUntrusted(Permanent):
    """A commit is unsigned, or its signer is not allowed; ``details["reason"]`` is a `Distrust`."""

    code = "source-untrusted"


class DatabaseOutdated(Permanent):
    """The database has an older schema than the program."""

    code = "database-outdated"


class DatabaseTooNew(Permanent):
    """The database has a newer schema than the program."""

    code = "database-too-new"


class DatabaseForbidden(Permanent):
    """The database user lacks a right, or the login was refused."""

    code = "database-forbidden"


class DatabaseRejected(Permanent):
    """The database refused a statement and would refuse it again."""

    code = "database-rejected"


class PlanRefused(Permanent):
    """The desired state contradicts the database (ownership, a needed server, …).

    ``details["problems"]`` has every contradiction, in the shape of `validate`'s problems.
    """

    code = "plan-refused"


class GuardTripped(Permanent):
    """A deletion guard or a protection stopped the apply; the message says how to release it."""

    code = "guard-tripped"
    exit_code = EXIT_GUARD


class PlanStale(Permanent):
    """The saved plan, or the commit of the tree, is behind what was applied."""

    code = "plan-stale"
    exit_code = EXIT_STALE


class NotFound(Permanent):
    """No object has this name."""

    code = "not-found"


class Ambiguous(Permanent):
    """The address fits several objects; the hint lists them."""

    code = "ambiguous"


class Refused(Permanent):
    """The request is understood and not allowed in the present state."""

    code = "refused"


class SecretUnavailable(Permanent):
    """A secret's source gives no value; the message names the source, never a value."""

    code = "secret-unavailable"
