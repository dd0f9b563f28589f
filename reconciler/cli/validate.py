"""``reconciler validate``: every problem of one or more trees at once, in the form that the reader wants."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.cli.common import DEFAULT_PATH, folder_argument
from reconciler.cli.console import Console
from reconciler.errors import EXIT_FAILED

if TYPE_CHECKING:
    from reconciler.manifest.render.report import Report

FORMS = ("text", "json", "sarif", "github", "gitlab", "junit")
_FOR_HOSTS = ("sarif", "github", "gitlab")
"""Forms whose readers know the repository, not our PATH."""


def configure(parser: argparse.ArgumentParser) -> None:
    """The trees and the form of the output."""
    parser.add_argument(
        "paths",
        nargs="*",
        metavar="PATH",
        type=folder_argument,
        default=[Path(DEFAULT_PATH)],
        help=f"folder with manifests (default: {DEFAULT_PATH}); several are separate trees",
    )
    parser.add_argument("-o", "--output", choices=FORMS, default="text", help="form of the result")


def run(args: argparse.Namespace, console: Console) -> int:
    """Check the trees and print what is wrong; 1 if anything is (warnings alone are 0)."""
    report = _report(args.paths, repository_paths=args.output in _FOR_HOSTS or len(args.paths) > 1)
    _print(report, args.output, console)
    return EXIT_FAILED if any(problem.severity == "error" for problem in report.problems) else 0


def _report(paths: list[Path], *, repository_paths: bool) -> Report:
    from reconciler.manifest.load import load_tree
    from reconciler.manifest.render.report import Report, merged
    from reconciler.manifest.source import open_source

    reports = []
    for source in [open_source(path) for path in paths]:
        loaded = load_tree(source)
        report = Report(loaded.problems, loaded.files, loaded.resources)
        reports.append(report.below(_prefix(source.path)) if repository_paths else report)
    return merged(reports)


def _prefix(path: Path) -> str:
    """The tree's place in its git work tree, or seen from the current folder where there is none."""
    from reconciler.manifest.source import git_root

    root = git_root(path) or Path.cwd()
    prefix = os.path.relpath(os.path.realpath(path), os.path.realpath(root))
    return "" if prefix == "." else Path(prefix).as_posix()


def _print(report: Report, form: str, console: Console) -> None:
    from reconciler.manifest.problem import problem_json
    from reconciler.manifest.render.hosts import github, gitlab
    from reconciler.manifest.render.junit import junit
    from reconciler.manifest.render.sarif import sarif
    from reconciler.manifest.render.text import text

    match form:
        case "json":
            problems = [problem_json(problem) for problem in report.problems]
            console.print_json({"problems": problems, "resources": dict(report.resources)})
        case "sarif":
            console.print_json(sarif(report))
        case "gitlab":
            console.print_json(gitlab(report))
        case "github":
            console.out.write(github(report))
        case "junit":
            console.out.write(junit(report))
        case _:
            console.out.write(text(report, colour=console.colour))
