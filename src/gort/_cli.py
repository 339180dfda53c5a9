"""The command `gort`, and how it runs programs.

As far as possible, a program that `gort run` starts finds no module loaded that python would not have loaded
as well. So `main` reads the usual command lines of `gort run` itself and leaves all others to _commands.
"""

from __future__ import annotations

import builtins
import io
import os
import sys

from . import _core, _cpython, _heap, _traceback

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from types import CodeType, ModuleType
    from typing import Any


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status. argv: the arguments; None for those of the process."""
    words = _separated(list(sys.argv[1:] if argv is None else argv))
    match words:
        case ["run", "--children", *program]:
            from . import _children

            _children.reach()
            return main(["run", *program])
        case ["run", "-m", _, *_]:
            return _run_module(words[2:])
        case ["run", "-c", _, *_]:
            return _run_code(words[2:])
        case ["run", script, *_] if not script.startswith("-"):
            return _run_script(words[1:])
        case _:
            from . import _commands

            return _commands.parse(words, _run)


def _separated(words: list[str]) -> list[str]:
    """The words, with -mMODULE and -cCODE after `run`, which python accepts too, split in two."""
    if words[:1] == ["run"] and len(words) > 1 and words[1][:2] in ("-m", "-c") and len(words[1]) > 2:
        return [words[0], words[1][:2], words[1][2:], *words[2:]]
    return words


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
        return _execute_code(lambda: _compile(sys.stdin.read(), "<stdin>"), module)
    path = os.path.join(_folder() or "", name)
    if _is_importable(path):
        # A directory or a zip file: its __main__ module is the program.
        _new_main(words, path)
        return _execute(_cpython.module_as_main("__main__", False))
    try:
        with io.open_code(path) as file:
            source = file.read()
    except OSError as exc:
        return _complain(f"gort: can't open file {path!r}: [Errno {exc.errno}] {exc.strerror}", 2)
    module = _new_main(words, os.path.dirname(os.path.realpath(path)))
    module.__file__ = path
    compiled = _compiled(source)
    loader = _cpython.loader_class("SourceFileLoader" if compiled is None else "SourcelessFileLoader")
    module.__loader__ = loader("__main__", path)
    return _execute_code(lambda: compiled or _compile(source, path), module)


def _folder() -> str | None:
    """The current directory; None if it was removed."""
    try:
        return os.getcwd()
    except OSError:
        return None


def _compile(source: str | bytes, filename: str) -> CodeType:
    """What compile() does. compile() itself is called where python, too, would refuse the program."""
    if (0 if isinstance(source, bytes) else "\0") in source:
        return compile(source, filename, "exec", dont_inherit=True)
    return _core.compile(source, filename)


def _is_importable(path: str) -> bool:
    """True for what can be in sys.path: a directory or a zip file."""
    for hook in sys.path_hooks:
        try:
            hook(path)
        except (ImportError, OSError):  # The latter where the current directory was removed.
            continue
        return True
    return False


def _compiled(source: bytes) -> CodeType | None:
    """The code of a compiled file; None if it is the text of a program."""
    if source[2:4] != b"\r\n":  # as every magic number ends
        return None
    import pkgutil

    code: CodeType | None = pkgutil.read_code(io.BytesIO(source))
    return code


def _run_code(words: list[str]) -> int:
    module = _new_main(["-c", *words[1:]], "")
    module.__loader__ = _cpython.loader_class("BuiltinImporter")
    return _execute_code(lambda: _compile(words[0], "<string>"), module)


def _run_module(words: list[str]) -> int:
    _new_main(["-m", *words[1:]], _folder())
    return _execute(_cpython.module_as_main(words[0], True))


def _new_main(argv: list[str], first_path: str | None) -> ModuleType:
    """Makes a fresh __main__ without traces of this command; sets the program's arguments and path."""
    # What python has put into sys.path for this command: nothing for `-m gort` in a removed directory.
    theirs = 0 if sys.modules["__main__"].__spec__ is not None and _folder() is None else 1
    module = type(sys)("__main__")
    module.__dict__["__builtins__"] = builtins
    module.__dict__["__cached__"] = None
    sys.modules["__main__"] = module
    sys.argv[:] = argv
    if not sys.flags.safe_path:
        sys.path[:theirs] = [] if first_path is None else [first_path]
    return module


def _execute_code(compiled: Callable[[], CodeType], module: ModuleType) -> int:
    try:
        code = compiled()
    except (SyntaxError, ValueError, OverflowError) as exc:
        # The program never began: no panic, but what python prints for it.
        import traceback

        report = traceback.TracebackException(type(exc), exc, None)
        print("".join(report.format()), end="", file=sys.stderr)
        return 1
    return _execute(lambda: exec(code, module.__dict__))


def _execute(program: Callable[[], Any]) -> int:
    """Runs the program in the main goroutine. An exception that escapes it is a panic.

    SystemExit sets the status, as in python, and KeyboardInterrupt ends the process by SIGINT. In every case
    the interpreter itself ends the program, with everything that it does at the end.
    """
    try:
        _heap.begin()
        program()
    except (SystemExit, _core.Goexit):
        raise
    except KeyboardInterrupt as exc:
        _traceback.leaves_main(exc)
        raise
    except BaseException as exc:
        return _traceback.main_panics(exc)
    return 0


def _complain(sentence: str, status: int) -> int:
    print(sentence, file=sys.stderr)
    return status
