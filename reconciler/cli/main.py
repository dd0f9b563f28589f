"""The entry point: find the command, load only its module, run it, turn errors into exit codes."""

from __future__ import annotations

import argparse
import difflib
import gc
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from types import ModuleType
from typing import Never

from reconciler import __version__
from reconciler.cli.console import Console, error_shape
from reconciler.errors import EXIT_USAGE, ReconcilerError, UsageError

COMMANDS = {
    "validate": "check manifests; every problem at once, with its line",
    "plan": "show what an apply would do",
    "apply": "make the database what the manifests say, in one transaction",
    "status": "the status report: every object's conditions",
    "get": "list servers, tasks, executions, revisions or projects",
    "describe": "everything about one object",
    "logs": "the output of a run",
    "run": "run tasks now",
    "cancel": "end executions",
    "suspend": "let nothing of it run by itself for a while",
    "resume": "end suspensions before their time",
    "explain": "why a task ran, or did not, at a time",
    "schedule": "what will run when",
    "up": "everything in one process: reconcile on change, schedule, execute",
    "controller": "reconcile, schedule and (unless --no-execute) execute",
    "worker": "execute waiting runs",
    "doctor": "examine servers: reached, entered, fit to run what is declared",
    "db": "upgrade or check the database's schema",
    "settings": "what is in force, and where each value came from",
    "schema": "write the JSON Schemas of the manifests",
    "version": "print the version",
}
"""Name → summary; the module of a command is ``reconciler.cli.<name>``."""


STAYING = frozenset({"controller", "up", "worker"})
"""Commands that run for days; only they collect garbage."""

FOLLOWING = STAYING | {"logs", "run"}
"""Commands whose output may come for long; they end when nobody reads it any more."""


class _Parser(argparse.ArgumentParser):
    """argparse that raises instead of exiting with 2: our 2 means "there are changes"."""

    def error(self, message: str) -> Never:
        raise UsageError(message, hint=f"`{self.prog} --help` shows how it is used")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code of the table in the README."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    console = Console.of_process()
    collecting = gc.isenabled()
    # modules and the rows of a fleet are no garbage, and a collector would walk them again and again
    gc.disable()
    try:
        code = _run(arguments, console)
        console.out.flush()
    except ReconcilerError as error:
        return _report(error, arguments, console)
    except KeyboardInterrupt:
        console.note("interrupted")
        return 130
    except BrokenPipeError:
        # the reader (head, less) of what is followed went away: nothing more to say, and nothing to say it to
        _say_no_more()
        return 0
    except Exception as error:  # the last line of defence: a person never sees a traceback
        return _report(_internal(error), arguments, console)
    finally:
        if argv is None:
            # the process ends: without this Python looks for garbage a last time, which takes 0.1 s
            gc.freeze()
        elif collecting:
            gc.enable()
    return code


def _run(arguments: list[str], console: Console) -> int:
    place = _place_of_command(arguments)
    if place is None:
        parser = _program()
        parser.parse_args(arguments)
        console.out.write(parser.format_help())
        return EXIT_USAGE
    command = _known(arguments[place])
    module: ModuleType = importlib.import_module(f"reconciler.cli.{command}")
    parser = _parser_of(command)
    module.configure(parser)
    args = _options().parse_args(arguments[:place])
    if command in STAYING:
        collect_calmly()
    if command not in FOLLOWING:
        console.outlive_readers()
    return int(module.run(_parse(parser, arguments[place + 1 :], args), console))


def collect_calmly() -> None:
    """Collect garbage as suits a process that stays: what is loaded by now is none, and most of what comes is
    freed without the collector.

    Python looks after every 700 new objects, of which a run has dozens, and now and then at all that live: a
    sixth of the CPU time of 10,000 runs, in pauses of up to 0.1 s.
    """
    gc.freeze()
    gc.set_threshold(*_GARBAGE)
    gc.enable()


_GARBAGE = (20_000, 20, 20)
"""New objects between two looks at the youngest; such looks to one at the middle-aged; and so on."""


def _parse(parser: argparse.ArgumentParser, words: list[str], args: argparse.Namespace) -> argparse.Namespace:
    """Options may stand between names, as in `get executions --limit 5 backup`."""
    try:
        return parser.parse_intermixed_args(words, args)
    except TypeError:
        # argparse cannot do that for commands with subcommands (`db upgrade`), and says so before it parses
        return parser.parse_args(words, args)


def _place_of_command(arguments: Sequence[str]) -> int | None:
    """Where the first word stands that is no option of the program itself; None for ``--help`` alone."""
    skip = False
    for place, word in enumerate(arguments):
        if skip:
            skip = False
        elif word == "--database":
            skip = True
        elif not word.startswith("-"):
            return place
    return None


def _known(word: str) -> str:
    if word in COMMANDS:
        return word
    near = difflib.get_close_matches(word, COMMANDS, n=1)
    hint = f"did you mean `reconciler {near[0]}`?" if near else "`reconciler --help` lists the commands"
    raise UsageError(f"there is no command {word!r}", hint=hint)


def _program() -> argparse.ArgumentParser:
    """The parser that explains the whole program; a command's arguments are parsed by its own."""
    parser = _Parser(
        prog="reconciler",
        usage="reconciler [--help] [--version] [--database URL] COMMAND …",
        description="Servers and scheduled commands as YAML in git: validated, planned, applied and run.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="commands:\n"
        + "\n".join(f"  {name:<12}{summary}" for name, summary in COMMANDS.items())
        + "\n\nEvery command explains itself: reconciler COMMAND --help",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"reconciler {__version__}")
    _add_database(parser, None)
    return parser


def _options() -> argparse.ArgumentParser:
    """What may stand in front of a command."""
    parser = _Parser(prog="reconciler", allow_abbrev=False)
    _add_database(parser, None)
    return parser


def _parser_of(command: str) -> argparse.ArgumentParser:
    summary = COMMANDS[command]
    parser = _Parser(
        prog=f"reconciler {command}",
        description=summary[0].upper() + summary[1:] + ".",
        allow_abbrev=False,
    )
    _add_database(parser, argparse.SUPPRESS)
    return parser


def _add_database(parser: argparse.ArgumentParser, default: object) -> None:
    parser.add_argument(
        "--database",
        metavar="URL",
        default=default,
        help="database URL; wins over RECONCILER_DATABASE_URL (default: sqlite:///.reconciler/state.db)",
    )


def _report(error: ReconcilerError, arguments: Sequence[str], console: Console) -> int:
    """Print an error in the form that the arguments ask for; returns its exit code."""
    try:
        if _asks_for_json(arguments):
            console.print_json(error_shape(error))
        console.out.flush()
    except BrokenPipeError:
        _say_no_more()
    with suppress(BrokenPipeError):
        console.print_error(error)
    return error.exit_code


def _say_no_more() -> None:
    """Let what is still to be written to standard output go nowhere: Python flushes it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _asks_for_json(arguments: Sequence[str]) -> bool:
    """Whether ``-o json`` was meant, also where the rest of the command line is wrong."""
    joined = {"-ojson", "-o=json", "--output=json"}
    pairs = pairwise(arguments)
    return any(word in joined for word in arguments) or any(
        first in ("-o", "--output") and second == "json" for first, second in pairs
    )


def _internal(error: Exception) -> ReconcilerError:
    """A fault of the program itself: its kind and place, and how to see more."""
    if os.environ.get("RECONCILER_DEBUG") == "1":
        traceback.print_exception(error)
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""
    if isinstance(error, OSError) and error.strerror:
        name = f": {error.filename}" if error.filename else ""
        return ReconcilerError(
            f"{error.strerror}{name}", hint="check the path, its rights and the free space"
        )
    return ReconcilerError(
        f"this is a fault of reconciler itself: {type(error).__name__}{place}",
        hint="please report it; RECONCILER_DEBUG=1 shows the details (they may hold data of yours)",
    )
