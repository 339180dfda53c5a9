"""The command line as argparse reads it: help, errors, and the commands that do not run a program."""

import argparse
import json
import sys
from collections.abc import Callable

from . import _env, runtime


def parse(words: list[str], run_program: Callable[[argparse.Namespace], int]) -> int:
    """Reads the command line, runs the command and returns the exit status."""
    parser = argparse.ArgumentParser(prog="gort", description="Go's runtime for CPython.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    run = commands.add_parser(
        "run",
        help="run a program as python does, with its main thread as the main goroutine",
        usage="gort run [-h] [--children] SCRIPT | -m MODULE | -c CODE  [ARGUMENTS]",
        description="Runs a program as python does. An exception that escapes the main goroutine is a "
        "panic: traceback, `goroutine 1 [running]:`, exit status 2.",
        allow_abbrev=False,
    )
    # _cli has carried it out, and taken it away, unless it has a value.
    run.add_argument(
        "--children",
        action="store_true",
        help="run the Python processes that the program starts under gort, too; before SCRIPT, -m or -c",
    )
    # Each takes what follows, options of the program too.
    run.add_argument("-m", dest="module", nargs=argparse.REMAINDER, help="run a module")
    run.add_argument("-c", dest="code", nargs=argparse.REMAINDER, help="run the given code")
    run.add_argument(
        "script", metavar="SCRIPT", nargs=argparse.REMAINDER, help="run a file, a directory or a zip file"
    )
    run.set_defaults(command=run_program)

    env = commands.add_parser("env", help="show every setting of the environment, its value and its meaning")
    env.add_argument("--json", action="store_true", help="print a JSON list of objects")
    env.set_defaults(command=_show_env)

    version = commands.add_parser("version", help="show the version")
    version.set_defaults(command=_show_version)

    if not words:
        parser.print_help(sys.stderr)  # As `go` does, and with its status.
        return 2
    arguments = parser.parse_args(words)
    status: int = arguments.command(arguments)
    return status


def _show_env(arguments: argparse.Namespace) -> int:
    rows = [
        {
            "name": setting.name,
            "variable": "GODEBUG" if setting.godebug else setting.name,
            "value": _env.text(setting.name),
            "default": setting.default,
            "meaning": setting.meaning,
            "built": setting.built,
        }
        for setting in _env.TABLE
    ]
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return 0
    table = [("NAME", "VALUE", "DEFAULT", "MEANING")]
    for row in rows:
        indent = "" if row["name"] == row["variable"] else "  "
        note = "" if row["built"] else " (not built yet)"
        name, value, default = (str(row[column]) for column in ("name", "value", "default"))
        table.append((indent + name, value or '""', default or '""', f"{row['meaning']}{note}"))
    # A long path sticks out of its column rather than making the column wide.
    widths = [max(len(line[column]) for line in table if len(line[column]) <= 24) for column in range(3)]
    for line in table:
        print("  ".join(word.ljust(width) for word, width in zip(line, [*widths, 0], strict=True)))
    return 0


def _show_version(arguments: argparse.Namespace) -> int:
    python = ".".join(map(str, sys.version_info[:3]))
    print(f"gort version {runtime.version()} {runtime.GOOS}/{runtime.GOARCH} CPython {python}")
    return 0
