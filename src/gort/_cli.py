"""The command `gort`: run, env and version."""

import argparse
import builtins
import importlib.machinery
import io
import json
import os
import pkgutil
import runpy
import sys
import traceback
from collections.abc import Callable, Sequence
from types import CodeType, ModuleType
from typing import Any

from . import _core, _env, _memstats, _traceback, runtime


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; the result is the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog="gort", description="Go's runtime for CPython.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    run = commands.add_parser(
        "run",
        help="run a program as python does, with its main thread as the main goroutine",
        usage="gort run [-h] SCRIPT | -m MODULE | -c CODE  [ARGUMENTS]",
        description="Runs a program as python does. An exception that escapes the main goroutine is a "
        "panic: traceback, `goroutine 1 [running]:`, exit status 2.",
    )
    # Each takes what follows, options of the program too.
    run.add_argument("-m", dest="module", nargs=argparse.REMAINDER, help="run a module")
    run.add_argument("-c", dest="code", nargs=argparse.REMAINDER, help="run the code given")
    run.add_argument(
        "script", metavar="SCRIPT", nargs=argparse.REMAINDER, help="run a file, a directory or a zip file"
    )
    run.set_defaults(command=_run)

    env = commands.add_parser("env", help="show every setting of the environment, its value and its meaning")
    env.add_argument("--json", action="store_true", help="a JSON list of objects")
    env.set_defaults(command=_show_env)

    version = commands.add_parser("version", help="show the version")
    version.set_defaults(command=_show_version)

    arguments = parser.parse_args(_separated(words))
    status: int = arguments.command(arguments)
    return status


def _separated(words: list[str]) -> list[str]:
    """`run -mMODULE` and `run -cCODE`, which python takes too, as two words each."""
    if words[:1] == ["run"] and len(words) > 1 and words[1][:2] in ("-m", "-c") and len(words[1]) > 2:
        return [words[0], words[1][:2], words[1][2:], *words[2:]]
    return words


# -- gort run ------------------------------------------------------------------------------------


def _run(arguments: argparse.Namespace) -> int:
    for option, words, start in (
        ("-m", arguments.module, _run_module),
        ("-c", arguments.code, _run_code),
        ("", arguments.script, _run_script),
    ):
        if words:
            return start(words)
        if words is not None and option:
            return _complain(f"gort run: {option} needs an argument", 2)
    return _complain("gort run: give a SCRIPT, -m MODULE or -c CODE", 2)


def _run_script(words: list[str]) -> int:
    if words[0] == "--" and len(words) > 1:
        words = words[1:]
    name = words[0]
    if name == "-":
        module = _new_main([name, *words[1:]], "")
        return _execute_code(lambda: compile(sys.stdin.read(), "<stdin>", "exec", dont_inherit=True), module)
    path = os.path.join(os.getcwd(), name)
    if pkgutil.get_importer(path) is not None:
        # A directory or a zip file: its __main__ module is the program.
        _new_main(words, path)
        return _execute(lambda: _as_main("__main__", False))
    try:
        with io.open_code(path) as file:
            source = file.read()
    except OSError as exc:
        return _complain(f"gort: can't open file {path!r}: [Errno {exc.errno}] {exc.strerror}", 2)
    module = _new_main(words, os.path.dirname(os.path.realpath(path)))
    module.__file__ = path
    compiled = pkgutil.read_code(io.BytesIO(source))
    machinery = importlib.machinery
    loader = machinery.SourceFileLoader if compiled is None else machinery.SourcelessFileLoader
    module.__loader__ = loader("__main__", path)
    return _execute_code(lambda: compiled or compile(source, path, "exec", dont_inherit=True), module)


def _run_code(words: list[str]) -> int:
    module = _new_main(["-c", *words[1:]], "")
    module.__loader__ = importlib.machinery.BuiltinImporter
    return _execute_code(lambda: compile(words[0], "<string>", "exec", dont_inherit=True), module)


def _run_module(words: list[str]) -> int:
    _new_main(["-m", *words[1:]], os.getcwd())
    return _execute(lambda: _as_main(words[0], True))


def _as_main(name: str, is_module: bool) -> None:
    """What python does for -m NAME, and for a directory whose __main__ module is the program."""
    runpy._run_module_as_main(name, is_module)  # type: ignore[attr-defined]


def _new_main(argv: list[str], first_path: str) -> ModuleType:
    """A fresh __main__, in which nothing of this command is seen; sets the program's arguments and path."""
    module = ModuleType("__main__")
    module.__dict__["__builtins__"] = builtins
    module.__dict__["__cached__"] = None
    sys.modules["__main__"] = module
    sys.argv[:] = argv
    if not sys.flags.safe_path:
        sys.path[0] = first_path
    return module


def _execute_code(compiled: Callable[[], CodeType], module: ModuleType) -> int:
    try:
        code = compiled()
    except (SyntaxError, ValueError, OverflowError) as exc:
        # The program never began: no panic, but what python prints for it.
        report = traceback.TracebackException(type(exc), exc, None)
        print("".join(report.format()), end="", file=sys.stderr)
        return 1
    return _execute(lambda: exec(code, module.__dict__))


def _execute(program: Callable[[], Any]) -> int:
    """Runs the program in the main goroutine. An exception that escapes it is a panic.

    SystemExit has its status, as in python, and a KeyboardInterrupt ends the process by SIGINT.
    """
    try:
        _memstats.begin()
        program()
    except (SystemExit, _core.Goexit):
        raise
    except KeyboardInterrupt as exc:
        _traceback.interrupted(exc)
    except BaseException as exc:
        os._exit(_traceback.panic(exc, _core.goid()))
    return 0


# -- gort env, gort version ----------------------------------------------------------------------


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
    # A long path stands out of its column rather than making the column wide.
    widths = [max(len(line[column]) for line in table if len(line[column]) <= 24) for column in range(3)]
    for line in table:
        print("  ".join(word.ljust(width) for word, width in zip(line, [*widths, 0], strict=True)))
    return 0


def _show_version(arguments: argparse.Namespace) -> int:
    python = ".".join(map(str, sys.version_info[:3]))
    print(f"gort version {runtime.version()} {runtime.GOOS}/{runtime.GOARCH} CPython {python}")
    return 0


def _complain(sentence: str, status: int) -> int:
    print(sentence, file=sys.stderr)
    return status
