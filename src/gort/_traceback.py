"""What is printed when the program dies: panics and fatal errors, in Go's form with Python's frames.

The hooks here are called by the core with a healthy interpreter, while every other goroutine is still there.
All text goes to file descriptor 2 in one write, so that it is not mixed with the program's own.
"""

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
import tokenize  # noqa: F401  # linecache needs it, and a dying process may have no file descriptor left
import traceback
from collections.abc import Iterable, Iterator
from types import CodeType, FrameType, TracebackType
from typing import NamedTuple

from . import _core, _env

_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_LAUNCHER = _HERE + "_cli.py"
_BOOTSTRAP = ("<frozen runpy>", "<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>")

_MAX_FRAMES = 100

# The wait reason of a main goroutine that has ended by goexit: it is no goroutine any more.
_GONE = "goexit"


class Level(NamedTuple):
    """A value of GOTRACEBACK."""

    frames: int  # 0: no goroutine is shown; 1: the program's frames; 2: those of the runtime too
    all: bool  # show every goroutine, not only the one that failed
    crash: bool  # abort, so that a core is dumped


_LEVELS = {
    "none": Level(0, False, False),
    "single": Level(1, False, False),
    "all": Level(1, True, False),
    "system": Level(2, True, False),
    "crash": Level(2, True, True),
}


def _level() -> Level:
    text = _env.text("GOTRACEBACK")
    return _LEVELS.get(text) or Level(int(text), True, False)


def is_runtime_file(filename: str) -> bool:
    """True for files whose frames belong to the runtime and not to the program."""
    return filename.startswith(_HERE) or filename in _BOOTSTRAP


# -- the hooks ---------------------------------------------------------------------------------


def panic(exc: BaseException, goid: int) -> int:
    """An exception escaped goroutine `goid`. Prints it and returns the exit status of the process.

    SystemExit is the orderly end: threads are joined, atexit runs, and its status is returned.
    """
    if isinstance(exc, SystemExit):
        return _exit(exc)
    level = _level()
    infos = {info.goid: info for info in _core.goroutines()}
    own = infos.pop(goid, None)
    # The traceback, outermost call first, is the stack from where exc was caught to where it was raised.
    calls = list(traceback.walk_tb(exc.__traceback__))[::-1]
    if calls and calls[-1][0].f_back is not None:
        calls += traceback.walk_stack(calls[-1][0].f_back)
    stacks = []
    if level.frames > 0:
        stacks.append(_goroutine(goid, "running", own, calls, level))
        if level.all:
            stacks += [_parked(infos[other], level) for other in sorted(infos)]
    _print(_exception(exc, level), stacks)
    if level.crash:
        os.abort()
    return 2


def fatal(text: str) -> None:
    """Prints `fatal error: text` and, unless GOTRACEBACK is none, every goroutine."""
    level = _level()
    stacks = []
    if level.frames > 0:
        infos = [info for info in _core.goroutines() if info.wait_reason != _GONE]
        infos.sort(key=lambda info: (info.status != "running", info.goid))
        stacks = [_parked(info, level) for info in infos]
    _print(f"fatal error: {text}\n", stacks)
    if level.crash:
        os.abort()


# -- the end of main ---------------------------------------------------------------------------

_python_excepthook = sys.excepthook


def excepthook(kind: type[BaseException], exc: BaseException, trace: TracebackType | None) -> None:
    """gort's sys.excepthook: a goexit that leaves the main thread's last frame ends main and nothing else."""
    if isinstance(exc, _core.Goexit) and _core.is_main():
        _outlive_main()
    else:
        _python_excepthook(kind, exc, trace)


def _outlive_main() -> None:
    """Lets the other goroutines go on; an exception of a signal handler ends the process."""
    try:
        _core.main_goexit()
    except KeyboardInterrupt as exc:
        interrupted(exc)
    except BaseException as exc:
        os._exit(panic(exc, _core.goid()))


def interrupted(exc: KeyboardInterrupt) -> None:
    """Ends the process as Python does when Ctrl-C ends main: a traceback, atexit, and death by SIGINT.

    Shells stop a script for that, and not for an exit status.
    """
    if sys.excepthook in (excepthook, sys.__excepthook__):
        _print(_exception(exc, _LEVELS["single"]), [])
    else:
        sys.excepthook(type(exc), exc, exc.__traceback__)
    _finish()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.raise_signal(signal.SIGINT)


# Taken by the first goroutine that ends the process, never given back: a second one waits for the end.
_exit_right = _core.Sema(1)


def _exit(exc: SystemExit) -> int:
    """What the interpreter does for a SystemExit that reaches its main thread's top."""
    _exit_right.acquire()
    code = exc.code
    status = 1
    if code is None:
        status = 0
    elif isinstance(code, int):
        status = code & 0xFF
    elif sys.stderr is not None:
        print(code, file=sys.stderr)
    _finish()
    return status


def _finish() -> None:
    """What the interpreter does before it ends, as far as a program can see it."""
    # threading._shutdown() would wait for the main thread, which does not end before this process does.
    for function in reversed(vars(threading)["_threading_atexits"]):
        function()
    main = threading.main_thread()
    while threads := [one for one in threading.enumerate() if not one.daemon and one is not main]:
        for thread in threads:
            thread.join()
    atexit._run_exitfuncs()
    _flush()


# -- text --------------------------------------------------------------------------------------


def _exception(exc: BaseException, level: Level) -> str:
    """Python's own traceback; only its last line when no stack is wanted."""
    try:
        report = traceback.TracebackException(type(exc), exc, exc.__traceback__, compact=True)
        if level.frames == 0:
            return "".join(report.format_exception_only())
        if level.frames == 1:
            _hide_runtime(report)
        return "".join(report.format())
    except BaseException as trouble:  # An exception whose own methods fail must not hide that there was one.
        return f"{type(exc).__qualname__} [{type(trouble).__qualname__} while it was printed]\n"


def _hide_runtime(report: traceback.TracebackException) -> None:
    """Takes the runtime's frames out of a report and of those that it is chained to."""
    pending: list[traceback.TracebackException | None] = [report]
    while pending:
        one = pending.pop()
        if one is not None:
            program: list[traceback.FrameSummary] = []
            for entry in one.stack:
                if entry.filename == _LAUNCHER:
                    program.clear()  # What called `gort run` is not the program's either.
                elif not is_runtime_file(entry.filename):
                    program.append(entry)
            one.stack[:] = program
            pending += [one.__cause__, one.__context__, *(one.exceptions or ())]


def _parked(info: _core.GoroutineInfo, level: Level) -> str:
    """A goroutine as it stands."""
    status = (info.wait_reason or info.status) if info.status == "waiting" else info.status
    calls = traceback.walk_stack(info.frame) if info.frame is not None else ()
    return _goroutine(info.goid, status, info, calls, level)


def _goroutine(
    goid: int,
    status: str,
    info: _core.GoroutineInfo | None,
    calls: Iterable[tuple[FrameType, int]],
    level: Level,
) -> str:
    """A goroutine in Go's form: its state, its calls innermost first, and what created it."""
    if info is not None:
        if info.status in ("waiting", "syscall") and info.wait_since:
            minutes = int(time.monotonic() - info.wait_since) // 60
            if minutes >= 1:
                status += f", {minutes} minutes"
        if info.locked:
            status += ", locked to thread"
    lines = [f"goroutine {goid} [{status}]:\n"]
    for count, (frame, line) in enumerate(_shown(calls, level)):
        if count == _MAX_FRAMES:
            lines.append("...additional frames elided...\n")
            break
        code = frame.f_code
        module = frame.f_globals.get("__name__", "?")
        lines.append(f"{module}.{code.co_qualname}(...)\n\t{code.co_filename}:{line}\n")
    if info is not None and info.parent and info.created_code is not None:
        code = info.created_code
        lines.append(f"created by {_module_of(code)}.{code.co_qualname} in goroutine {info.parent}\n")
        lines.append(f"\t{code.co_filename}:{info.created_line}\n")
    return "".join(lines)


def _shown(calls: Iterable[tuple[FrameType, int]], level: Level) -> Iterator[tuple[FrameType, int]]:
    """The calls that the level shows."""
    for frame, line in calls:
        filename = frame.f_code.co_filename
        if level.frames >= 2 or not is_runtime_file(filename):
            yield frame, line
        elif filename == _LAUNCHER:
            return  # Below `gort run` there is only the script that started it.


def _module_of(code: CodeType) -> str:
    """The name of the module that the code was compiled for; `?` when no module has its file."""
    if code.co_filename in ("<string>", "<stdin>"):
        return "__main__"
    for name, module in list(sys.modules.items()):
        if getattr(module, "__file__", None) == code.co_filename:
            return name
    return "?"


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        # None, closed, replaced by the program, or held by a goroutine that is inside it: all can be.
        with contextlib.suppress(Exception):
            stream.flush()


def _print(first: str, stacks: list[str]) -> None:
    _flush()
    data = "\n".join([first, *stacks]).encode("utf-8", "backslashreplace")
    with contextlib.suppress(OSError):
        while data:
            data = data[os.write(2, data) :]
