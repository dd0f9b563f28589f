"""``PATH …`` and ``--git URL --branch B --path DIR``: what a long-running command keeps applied."""

from __future__ import annotations

import argparse
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.cli.trees import cache_of
from reconciler.clock import Clock
from reconciler.errors import UsageError
from reconciler.settings import Settings

if TYPE_CHECKING:
    from reconciler.controller.sources import TreeSource
    from reconciler.manifest.clone import GitAccess
    from reconciler.manifest.signature import Trust

DEFAULT_BRANCH = "main"


@dataclass(slots=True)
class GitArgument:
    """One ``--git`` with what was said after it."""

    url: str
    branch: str = DEFAULT_BRANCH
    path: str = ""


class _Git(argparse.Action):
    """Begins a source, or says more about the one before."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option: str | None = None,
    ) -> None:
        found: list[GitArgument] = list(getattr(namespace, "git", None) or [])
        value = str(values)
        if option == "--git":
            found.append(GitArgument(value))
        elif not found:
            parser.error(f"{option} says more about a --git, and there is none before it")
        elif option == "--branch":
            found[-1].branch = value
        else:
            found[-1].path = value
        namespace.git = found


def add_git(parser: argparse.ArgumentParser) -> None:
    """The options of sources in git, and of trust in them."""
    parser.set_defaults(git=[])
    parser.add_argument(
        "--git",
        action=_Git,
        metavar="URL",
        help="keep a branch of this repository applied (https, ssh or a folder)",
    )
    parser.add_argument(
        "--branch",
        action=_Git,
        metavar="B",
        help=f"the branch of the --git before (default: {DEFAULT_BRANCH})",
    )
    parser.add_argument(
        "--path",
        action=_Git,
        metavar="DIR",
        help="the folder with manifests in that repository (default: its root)",
    )
    parser.add_argument(
        "--require-signed",
        metavar="FILE",
        type=Path,
        help="apply only commits signed by a key of this allowed-signers file (see ssh-keygen(1))",
    )
    parser.add_argument(
        "--revoked-keys",
        metavar="FILE",
        type=Path,
        help="keys whose signatures count no more: a KRL or public keys",
    )


def sources_of(
    paths: Sequence[Path], args: argparse.Namespace, settings: Settings, clock: Clock
) -> list[TreeSource]:
    """The sources that were asked for. Raises UsageError, SourceUnreadable and SettingsInvalid."""
    from reconciler.controller.sources import FolderSource, GitSource
    from reconciler.manifest.clone import Clone
    from reconciler.manifest.source import open_source

    trust = _trust(args)
    if trust is not None and paths:
        raise UsageError(
            f"--require-signed is about commits, and {str(paths[0])!r} is a folder of files",
            hint="give the repository with --git",
        )
    cache = cache_of(settings)
    sources: list[TreeSource] = []
    for path in paths:
        open_source(path)
        sources.append(FolderSource(path, clock, cache))
    for one in args.git:
        url = one.url if "://" in one.url or not Path(one.url).exists() else os.path.abspath(one.url)
        clone = Clone(_folder(settings, url, one.branch), url, one.branch, clock, access(settings, url))
        sources.append(GitSource(clone, one.path.strip("/"), trust, cache))
    return sources


def access(settings: Settings, url: str) -> GitAccess:
    """How to get into the repository: by the table [git.NAME] whose ``url`` is its longest beginning."""
    from reconciler.bootstrap import secret
    from reconciler.manifest.clone import GitAccess

    tables = [table for table in settings.git.values() if url.startswith(table.url)]
    if not tables:
        return GitAccess()
    table = max(tables, key=lambda one: len(one.url))
    return GitAccess(table.username, secret(settings, table.password), table.ssh_key, table.known_hosts)


def renew_access(sources: Sequence[TreeSource], settings: Settings) -> Callable[[], None]:
    """What lets these sources use the [git.NAME] tables of ``settings`` from their next look on.

    Raises SecretUnavailable before anything has changed.
    """
    from reconciler.controller.sources import GitSource

    clones = [source.clone for source in sources if isinstance(source, GitSource)]
    found = [(clone, access(settings, clone.url)) for clone in clones]

    def renew() -> None:
        for clone, one in found:
            clone.use(one)

    return renew


def _trust(args: argparse.Namespace) -> Trust | None:
    if args.require_signed is None:
        if args.revoked_keys is not None:
            raise UsageError("--revoked-keys goes with --require-signed")
        return None
    from reconciler.manifest.signature import Trust

    trust = Trust(args.require_signed, args.revoked_keys)
    trust.check()
    return trust


def _folder(settings: Settings, url: str, branch: str) -> Path:
    """A clone's place: one for each repository and branch, whoever asks for it."""
    name = hashlib.sha256(f"{url}\0{branch}".encode()).hexdigest()[:24]
    return settings.state_dir.absolute() / "clones" / name
