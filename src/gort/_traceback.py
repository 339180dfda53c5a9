"""What is printed when the program dies: panics and fatal errors, in Go's form with Python's frames.

The hooks here are called by the core with a healthy interpreter, while every other goroutine is still
there. The core writes what concerns goroutines (src/_core/traceback.c), and by itself what a signal is the
cause of. All text goes to file descriptor 2 in one write, so that it is not mixed with the program's own.

The module traceback is loaded by the panic: few programs have one. If that fails, because no file descriptor
or no memory is left, the interpreter's own printer does the work; it needs no module.
"""

from __future__ import annotations

import atexit
import io
import os
import sys

from . import _core, _env

TYPE_CHECKING = False
if TYPE_CHECKING:
    import traceback
    from types import FrameType, ModuleType, TracebackType

_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_LAUNCHER = _HERE + "_cli.py"
_BOOTSTRAP = ("<frozen runpy>", "<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>")


class Level:
    """A value of GOTRACEBACK."""

    __slots__ = ("all", "crash", "frames")

    def __init__(self, frames: int, all: bool, crash: bool) -> None:
        self.frames = frames  # 0: no goroutine is shown; 1: the program's frames; 2: those of the runtime too
        self.all = all  # show every goroutine, not only the one that failed
        self.crash = crash  # abort, so that a core is dumped


_LEVELS = {
    "none": Level(0, False, False),
    "single": Level(1, False, False),
    "all": Level(1, True, False),
    "system": Level(2, True, False),
    "crash": Level(2, True, True),
}


def _level_of(text: str) -> Level:
    """What a value of GOTRACEBACK means. A word that is none of Go's: nothing is shown, as in Go."""
    if text in _LEVELS:
        return _LEVELS[text]
    return Level(_env.number(text) if _env.is_traceback_level(text) else 0, True, False)


_level = _LEVELS["single"]


def _set(level: Level) -> None:
    global _level
    _level = level
    _core.set_traceback(
        level=min(level.frames, 2**31 - 1),
        all=level.all,
        crash=level.crash,
        ancestors=max(0, _env.integer("tracebackancestors")),
        prefix=_HERE,
    )


def start() -> None:
    """Takes over what the environment says."""
    _set(_level_of(_env.text("GOTRACEBACK")))


def set_level(text: str) -> None:
    """debug.set_traceback."""
    if not isinstance(text, str):
        raise TypeError(f"set_traceback() takes a str, not {text!r}")
    if text and not _env.is_traceback_level(text):
        raise ValueError(f"set_traceback(): {text!r} is not none, single, all, system, crash or a number")
    asked, least = _level_of(text or "single"), _level_of(_env.text("GOTRACEBACK"))
    _set(Level(asked.frames | least.frames, asked.all or least.all, asked.crash or least.crash))


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
    _dying.acquire()
    _load_traceback()
    _core.start_panic()
    level = _level
    stacks = ""
    if level.frames > 0:
        stacks = "\n" + _core.traceback(level.all, calls=_calls(exc.__traceback__))
    _flush()
    write(_exception(exc, level) + stacks)
    if level.crash:
        _core.crash()
    return 2


def _calls(trace: TracebackType | None) -> list[tuple[FrameType, int]]:
    """The frames and lines, innermost first, of the stack on which an exception was raised and caught.

    The traceback, outermost call first, is the part from where it was caught to where it was raised.
    """
    calls = []
    frame = None
    while trace is not None:
        calls.append((trace.tb_frame, trace.tb_lineno))
        trace = trace.tb_next
    calls.reverse()
    if calls:
        frame = calls[-1][0].f_back
    while frame is not None:
        calls.append((frame, frame.f_lineno))
        frame = frame.f_back
    return calls


# Taken by the first goroutine that panics, never given back: a second one waits for the end.
_dying = _core.Sema(1)


def fatal(text: str) -> None:
    """Prints `fatal error: text` and, unless GOTRACEBACK is none, every goroutine."""
    _core.start_panic()
    stacks = _core.traceback(True) if _level.frames > 0 else ""
    _flush()
    write(f"fatal error: {text}\n" + (stacks and "\n" + stacks))
    if _level.crash:
        _core.crash()


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
        _flush()
        write(_exception(exc, _LEVELS["single"]))
    else:
        sys.excepthook(type(exc), exc, exc.__traceback__)
    _finish()
    import signal

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
    if threading := sys.modules.get("threading"):
        # threading._shutdown() would wait for the main thread, which does not end before this process does.
        for function in reversed(threading._threading_atexits):
            function()
        main = threading.main_thread()
        while threads := [one for one in threading.enumerate() if not one.daemon and one is not main]:
            for thread in threads:
                thread.join()
    atexit._run_exitfuncs()
    _flush()


# -- text --------------------------------------------------------------------------------------


def _load_traceback() -> ModuleType | None:
    """The module traceback and what it needs to show lines of the source; None: it cannot be loaded."""
    try:
        import tokenize  # noqa: F401  # linecache imports it late
        import traceback
    except BaseException:
        return None
    return traceback


def _exception(exc: BaseException, level: Level) -> str:
    """Python's own traceback; only its last line when no stack is wanted."""
    try:
        traceback = _load_traceback()
        if traceback is None:
            return _display(exc, level)
        report = traceback.TracebackException(type(exc), exc, exc.__traceback__, compact=True)
        if level.frames == 0:
            return "".join(report.format_exception_only())
        if level.frames == 1:
            _hide_runtime(report)
        return "".join(report.format())
    except BaseException as trouble:  # An exception whose own methods fail must not hide that there was one.
        return f"{type(exc).__qualname__} [{type(trouble).__qualname__} while it was printed]\n"


def _display(exc: BaseException, level: Level) -> str:
    """The same by the interpreter's printer. Of the runtime's frames it shows those inside the program's."""
    trace = exc.__traceback__
    if level.frames == 0:
        exc.__cause__ = trace = None
    while level.frames == 1 and trace is not None and is_runtime_file(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    stderr, sys.stderr = sys.stderr, io.StringIO()
    try:
        sys.__excepthook__(type(exc), exc.with_traceback(trace), trace)
        return sys.stderr.getvalue()
    finally:
        sys.stderr = stderr


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


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        # None, closed, replaced by the program, or held by a goroutine that is inside it: all can be.
        try:
            stream.flush()
        except Exception:
            pass


def write(text: str) -> None:
    """Writes text to file descriptor 2, whatever sys.stderr is."""
    data = text.encode("utf-8", "backslashreplace")
    try:
        while data:
            data = data[os.write(2, data) :]
    except OSError:
        pass
