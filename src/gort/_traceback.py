"""What is printed when the program dies: panics and fatal errors, in Go's form with Python's frames.

The core calls the hooks here while the interpreter works and all other goroutines still exist. The text about
goroutines comes from the core (src/_core/stacks/traceback.c), which also writes by itself what a signal
causes. All text goes, in one write, to what was standard error when the process started, so that it is not
mixed with the program's own output.

A panic has a time limit from the moment its text is made. If something hangs, such as the program's
excepthook or a flush of a pipe that nobody reads, the core writes the text and ends the process
(`die_within`).

The panic itself loads the module traceback, since few programs panic. If that fails, because no file
descriptor or no memory is left, the interpreter's own printer does the work; it needs no module.
"""

from __future__ import annotations

import io
import os
import stat
import sys

from . import _core, _cpython, _env

TYPE_CHECKING = False
if TYPE_CHECKING:
    import traceback
    from collections.abc import Callable
    from types import FrameType, ModuleType, TracebackType
    from typing import Any


class Level:
    """A value of GOTRACEBACK."""

    __slots__ = ("all", "crash", "frames")

    def __init__(self, frames: int, all: bool, crash: bool) -> None:
        self.frames = frames  # whose frames are shown, as in _env.TRACEBACK_WORDS
        self.all = all  # show every goroutine, not only the one that failed
        self.crash = crash  # abort, so that a core is dumped


_LEVELS = {word: Level(*meaning) for word, meaning in _env.TRACEBACK_WORDS.items()}


def _level_of(text: str) -> Level:
    """What a value of GOTRACEBACK means. For a word that is not one of Go's no stack is shown, as in Go."""
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
    )


def start() -> None:
    """Tells the core which files are the runtime's, and applies what the environment says."""
    here = os.path.dirname(os.path.abspath(__file__)) + os.sep
    _core.set_runtime_files(here, here + "_cli.py")
    _set(_level_of(_env.text("GOTRACEBACK")))


def set_level(text: str) -> None:
    """See debug.set_traceback."""
    if not isinstance(text, str):
        raise TypeError(f"set_traceback() takes a str, not {text!r}")
    if text and not _env.is_traceback_level(text):
        raise ValueError(f"set_traceback(): {text!r} is not {_env.TRACEBACK_LEVELS}")
    asked, least = _level_of(text or "single"), _level_of(_env.text("GOTRACEBACK"))
    _set(Level(asked.frames | least.frames, asked.all or least.all, asked.crash or least.crash))


# -- the hooks ---------------------------------------------------------------------------------


def panic(exc: BaseException) -> int:
    """Prints an exception that escaped this goroutine; returns the status with which the process ends.

    Before it prints, the program's excepthook is called and open files are flushed. SystemExit is the orderly
    end instead: threads are joined, atexit handlers run, and its status is returned.
    """
    if isinstance(exc, SystemExit):
        return _exit(exc)
    text = _panic_text(exc)
    _core.die_within(_PATIENCE, text.encode("utf-8", "backslashreplace"), 2)
    text = _tell_hooks(exc, sys.modules.get("threading")) + text
    _flush()
    _save_files()
    _core.dies_in_time()
    return _say(text)


def main_panics(exc: BaseException, told: bool = False) -> int:
    """The same in main, where the interpreter then ends the program with this status, as without gort.

    told: the program's excepthook has seen the exception.
    """
    text = _panic_text(exc)
    if not told:
        text = _tell_hooks(exc, None) + text
    _flush()
    return _say(text)


def _panic_text(exc: BaseException) -> str:
    _core.begin_panic()
    _load_traceback()
    _core.start_panic()
    return report(exc)


def report(exc: BaseException) -> str:
    """What is said of an exception that escaped this goroutine: its traceback, then goroutines' stacks."""
    _forget_goexit(exc)
    stacks = ""
    if _level.frames > 0:
        stacks = "\n" + _core.traceback(_level.all, calls=_calls(exc.__traceback__))
    return _exception(exc, _level) + stacks


def _say(text: str) -> int:
    write(text)
    if _level.crash:
        _core.crash()
    return 2


# How long a program that dies may take, in seconds, for what its own code does then.
_PATIENCE = 5.0


def _forget_goexit(exc: BaseException) -> None:
    """Takes Goexit out of the contexts of exc: what was raised while it unwound was not caused by it."""
    one: BaseException | None = exc
    seen: set[int] = set()
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        if isinstance(one.__context__, _core.Goexit):
            one.__context__ = one.__context__.__context__
        one = one.__cause__ or one.__context__


# The exception that the program's hook is being told of.
_told: BaseException | None = None


def _tell_hooks(exc: BaseException, threading: ModuleType | None) -> str:
    """Calls the program's own threading.excepthook, else its sys.excepthook: error trackers set one of them.

    The hook sees the exception as if it had escaped a thread or main. The result is a report of what went
    wrong in the hook, or empty.
    """
    global _told
    _told = exc
    try:
        if threading is not None and threading.excepthook is not threading.__excepthook__:
            thread = threading.current_thread()
            threading.excepthook(threading.ExceptHookArgs([type(exc), exc, exc.__traceback__, thread]))
        elif sys.excepthook not in (excepthook, sys.__excepthook__):
            sys.excepthook(type(exc), exc, exc.__traceback__)
    except BaseException as trouble:
        return "Error in the program's excepthook:\n" + _exception(trouble, _LEVELS["single"]) + "\n"
    finally:
        _told = None
    return ""


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


def fatal(text: str) -> None:
    """Prints `fatal error: text` and, unless GOTRACEBACK is none, every goroutine."""
    _core.start_panic()
    stacks = _core.traceback(True) if _level.frames > 0 else ""
    name = _core.session_name()
    text = f"fatal error: {text}\n" + (name and f"[{name}]\n") + (stacks and "\n" + stacks)
    _core.die_within(_PATIENCE, text.encode("utf-8", "backslashreplace"), 2)
    _flush()
    _save_files(False)
    _core.dies_in_time()
    write(text)
    if _level.crash:
        _core.crash()


# -- the end of main ---------------------------------------------------------------------------

_python_excepthook = sys.excepthook


def excepthook(kind: type[BaseException], exc: BaseException, trace: TracebackType | None) -> None:
    """gort's sys.excepthook: a Goexit that leaves the main thread's last frame ends only main.

    The program's own hook may call this one as the previous hook: a panic is not printed twice.
    """
    if isinstance(exc, _core.Goexit) and _core.is_main() and not _core.at_prompt():
        _outlive_main()
    elif exc is _told:
        pass
    elif exc is _launched[0]:
        _flush()
        write(_launched[1])
    elif _owns_main and trace is not None and _has_left_main(trace):
        _end_main(exc, trace)
    else:
        _python_excepthook(kind, exc, trace)


def _outlive_main() -> None:
    """Lets the other goroutines go on; an exception that a signal handler raises ends the process."""
    try:
        _core.main_goexit()
    except KeyboardInterrupt as exc:
        _interrupted(exc)
    except SystemExit:
        raise  # The interpreter, which called this hook, ends the program with it.
    except BaseException as exc:
        sys.exit(main_panics(exc))


# The KeyboardInterrupt that leaves a program that `gort run` has started, and its text.
_launched: tuple[BaseException | None, str] = None, ""


def leaves_main(exc: KeyboardInterrupt) -> None:
    """Called before Python ends the program through sys.excepthook, which must not show the runtime's frames.

    The text is made now, because an eval() in the hook would make CPython forget that it has to die by
    SIGINT, and loading a module that makes a named tuple calls eval().
    """
    global _launched
    if sys.excepthook is excepthook:
        _launched = exc, _exception(exc, _LEVELS["single"])


# What leaves main is reported as under `gort run`, although python runs the program. (Without a traceback it
# is a SyntaxError: the program never began.)
_owns_main = False


def own_main() -> None:
    """Called in a child that `gort run --children` has reached, before its program begins."""
    global _owns_main
    _owns_main = True


def _has_left_main(trace: TracebackType) -> bool:
    """Is the hook called by the interpreter, or by the program's own hook, because main has failed?

    Consoles and careful programs call it to show an exception, and go on: then main's first frame is still
    there. What embeds Python shows that of a module in the same way as that of main.
    """
    if not _core.is_main() or hasattr(sys, "ps1") or sys.flags.inspect or os.environ.get("PYTHONINSPECT"):
        return False
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
    return _cpython.is_first_frame(trace.tb_frame) and not _cpython.is_first_frame(frame)


def _end_main(exc: BaseException, trace: TracebackType | None) -> None:
    """What _cli does for what leaves main. The interpreter, which called the hook, ends the program."""
    if not isinstance(exc, KeyboardInterrupt):
        sys.exit(main_panics(exc, told=True))
    while trace is not None and _core.is_runtime_file(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    _python_excepthook(type(exc), exc.with_traceback(trace), trace)


def _interrupted(exc: KeyboardInterrupt) -> None:
    """Ends the process as Python does when Ctrl-C ends main: a traceback, atexit, and death by SIGINT.

    Shells stop a script for that, but not for an exit status. Used when main has already ended by goexit().
    """
    if sys.excepthook in (excepthook, sys.__excepthook__):
        _flush()
        write(_exception(exc, _LEVELS["single"]))
    else:
        sys.excepthook(type(exc), exc, exc.__traceback__)
    _finish()
    import signal

    _core.die_within(_PATIENCE, b"", 128 + signal.SIGINT)
    _save_files()

    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.raise_signal(signal.SIGINT)


# This module ends the process; the interpreter does not.
_leaving = False


def ends() -> None:
    """The last atexit handler: from now on nothing is scheduled, and the interpreter takes itself apart.

    What abandoned goroutines refer to, including the globals of modules, is not destroyed, as in a program
    with daemon threads; so what open files still hold is written here.
    """
    try:
        _core.await_panic()
    finally:  # The handler of a signal may raise.
        abandoned = _core.num_goroutine() > 1
        _core.shutdown()
    if abandoned and not _leaving:
        _save_files()


def _exit(exc: SystemExit) -> int:
    """Does what the interpreter does when SystemExit leaves its main thread; returns the exit status."""
    _core.begin_exit()
    code = exc.code
    status = 1
    if code is None:
        status = 0
    elif isinstance(code, int):
        # What does not fit into a C long is -1 to the interpreter.
        status = (code if -(2**63) <= code < 2**63 else -1) & 0xFF
    elif sys.stderr is not None:
        try:
            text = str(code)
        except Exception:
            text = ""
        print(text, file=sys.stderr)
    _finish()
    _core.die_within(_PATIENCE, b"", status)
    _save_files()
    return status


def _finish() -> None:
    """Does what the interpreter does before it ends, as far as a program can see it."""
    global _leaving
    _leaving = True
    if threading := sys.modules.get("threading"):
        # threading._shutdown() would wait for the main thread, which does not end before this process does.
        for function in reversed(_cpython.called_before_joining()):
            function()
        main = threading.main_thread()
        while threads := [one for one in threading.enumerate() if not one.daemon and one is not main]:
            for thread in threads:
                if thread.is_alive():
                    thread.join()
                else:
                    _core.sleep(0.001)  # It is being started, and cannot be joined yet, or has just ended.
    _cpython.run_atexit_handlers()
    _flush()


# -- open files --------------------------------------------------------------------------------

# Classes of the standard library whose finalizers write an end. Temporary files are removed besides.
_CLOSED = (
    ("gzip", "GzipFile"),
    ("bz2", "BZ2File"),
    ("lzma", "LZMAFile"),
    ("zipfile", "ZipFile"),
)


def _save_files(close: bool = True) -> None:
    """Writes what open files still hold, since an interpreter that does not end in the usual way closes none.

    Files on disk come first: a pipe that nobody reads may block for ever. With `close`, compressed files and
    archives get their end, and temporary files are removed.
    """
    calls: list[Callable[[], object]] = []
    try:
        _core.unsignaled(_find_files, calls, close)
    except BaseException:
        pass  # A signal's handler, which ran afterwards, raised.
    # Each comes twice: what is done has nothing left to do, and what a handler's exception left undone has.
    calls.reverse()
    while calls:
        try:
            while calls:
                calls.pop()()
        except BaseException:
            pass  # closed, on a full disk, in the hands of a goroutine that is inside it


def _find_files(calls: list[Callable[[], object]], close: bool) -> None:
    import gc

    kinds = [getattr(sys.modules.get(module), name, None) for module, name in _CLOSED]
    kinds.append(_cpython.temporary_file_class())
    closed = tuple(kind for kind in kinds if isinstance(kind, type))
    texts: list[Any] = []
    endings: list[Any] = []
    buffers: list[Any] = []
    lists: dict[type, list[Any] | None] = {}  # by type, since there are many objects
    for one in gc.get_objects():
        kind = type(one)
        if kind not in lists:
            ancestors = kind.__mro__
            lists[kind] = (
                texts
                if io.TextIOWrapper in ancestors
                else buffers
                if io.BufferedWriter in ancestors or io.BufferedRandom in ancestors
                else endings
                if any(each in ancestors for each in closed)
                else None
            )
        if (found := lists[kind]) is not None:
            found.append(one)
    for step in (
        [one.flush for one in texts if _is_on_disk(one)],
        [one.close for one in endings if close],
        [one.flush for one in sorted(buffers, key=_is_on_disk, reverse=True)],
        [one.flush for one in texts],
    ):
        for call in step:
            calls += (call, call)


def _is_on_disk(file: Any) -> bool:
    try:
        return stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    except BaseException:
        return False


# -- text --------------------------------------------------------------------------------------


def _load_traceback() -> ModuleType | None:
    """The module traceback, with what it needs to show source lines; None if it cannot be loaded."""
    try:
        import tokenize  # noqa: F401  # linecache imports it late
        import traceback
    except BaseException:
        return None
    return traceback


def _exception(exc: BaseException, level: Level) -> str:
    """Python's own traceback; only its last line if no stack is wanted."""
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
    """The same from the interpreter's printer, which shows runtime frames that lie between the program's."""
    trace = exc.__traceback__
    if level.frames == 0:
        exc.__cause__ = trace = None
    while (
        level.frames == 1 and trace is not None and _core.is_runtime_file(trace.tb_frame.f_code.co_filename)
    ):
        trace = trace.tb_next
    stderr, sys.stderr = sys.stderr, io.StringIO()
    try:
        sys.__excepthook__(type(exc), exc.with_traceback(trace), trace)
        return sys.stderr.getvalue()
    finally:
        sys.stderr = stderr


def _hide_runtime(report: traceback.TracebackException) -> None:
    """Removes the runtime's frames from a report and from the reports that it is chained to."""
    pending: list[traceback.TracebackException | None] = [report]
    while pending:
        one = pending.pop()
        if one is not None:
            program: list[traceback.FrameSummary] = []
            for entry in one.stack:
                if _core.is_launcher_file(entry.filename):
                    program.clear()  # What called `gort run` is not the program's either.
                elif not _core.is_runtime_file(entry.filename):
                    program.append(entry)
            one.stack[:] = program
            pending += [one.__cause__, one.__context__, *(one.exceptions or ())]


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        # It can be None, closed, replaced by the program, or held by a goroutine that is inside it.
        try:
            stream.flush()
        except Exception:
            pass


def write(text: str) -> None:
    """Writes text to what was standard error when the process started, whatever sys.stderr is."""
    _core.write_error(text.encode("utf-8", "backslashreplace"))
