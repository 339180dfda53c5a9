"""Sessions: what happens at a prompt where a program would end, and who the session's own threads are.

At a prompt (python's, IPython's, a notebook's) an uncaught exception ends a statement, not the process. So an
exception that escapes a goroutine is printed in full, and the goroutine alone ends; a deadlock raises
runtime.Error in main, where the user sees it. GORT_INTERACTIVE=0 asks for Go's strictness; 1 says that there
is a prompt where gort does not see one. Under a test runner (pytest_gort.py) a deadlock is found in the same
way.

The threads of a session, which read the user's input, send output or keep a time limit, wake no goroutine of
the program; without that knowledge nothing would ever be called a deadlock in a notebook. They are those that
were there when the session began, and whose outermost Python function is in a package of the session's, or
which a C library of its has named. All others count: a deadlock that is not found can be interrupted, one
that is none must not be reported. So do the session's later threads, since shells and test runners run
functions of the user's in some of these.
"""

from __future__ import annotations

import os
import sys

from . import _core, _cpython, _env, _traceback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType

# Packages whose threads and signal handlers serve the session.
_OWN = frozenset(
    (
        "IPython",
        "debugpy",
        "execnet",
        "idlelib",
        "ipykernel",
        "prompt_toolkit",
        "pydevd",
        "_pydevd_bundle",
        "pytest_timeout",
        "xdist",
        "zmq",
    )
)
# Threads that C libraries start for these, by the beginning of the name that the system shows.
_OWN_IN_C = ("ZMQbg/",)

_first: frozenset[int] = frozenset()  # the threads that were there when the session began
_first_in_c: list[int] = []  # and those of them that C libraries have started for it


def start() -> None:
    """Called once, while gort is imported."""
    given = os.environ.get("GORT_INTERACTIVE", "")
    if given not in ("", "0", "1"):
        _env.report(f"gort: GORT_INTERACTIVE={given!r} is not 0 or 1; gort looks for a prompt")
    always = given == "1" or (given != "0" and sys.flags.inspect)
    prompts = 0 if given == "0" else 2 if always else 1
    _core.set_session(takes=print_panic, asleep=asleep, dead=deadlock, prompts=prompts)
    if _core.at_prompt():
        began_with(os.listdir("/proc/self/task"))


def began_with(tids: Iterable[str]) -> None:
    """These threads were there when the session began."""
    global _first
    _first = frozenset(map(int, tids))
    _first_in_c[:] = filter(_is_own_in_c, _first)


def _is_own_in_c(tid: int) -> bool:
    try:
        with open(f"/proc/self/task/{tid}/comm") as file:
            return file.read().startswith(_OWN_IN_C)
    except OSError:
        return False  # It has ended.


def print_panic(exc: BaseException) -> None:
    """Prints what a panic would say, where the user of a prompt sees it."""
    text = _traceback.report(exc)
    try:
        sys.stderr.write(text.rstrip("\n") + "\n")
        sys.stderr.flush()
    except BaseException:  # It may be None, closed, or an object of the program's.
        _traceback.write(text)


def asleep() -> bool:
    """Called in main's wait when all goroutines sleep: tells the core which threads and signals do not count.

    False: a handler of the program's may wake somebody, or that could not be found out.
    """
    return _core.unsignaled(_tell)


def _tell() -> bool:
    # Whatever the program has made of the modules that are used here, its wait goes on.
    try:
        handled, by_program = _handlers()
        if not by_program:
            _core.set_own(_own_threads(), handled)
        return not by_program
    except BaseException:
        return False


def deadlock() -> BaseException:
    """What main's wait raises in a deadlock."""
    error = _core.Error("all goroutines are asleep - deadlock!")
    if _core.at_prompt() and (stacks := others()):
        error.add_note("\n" + stacks)
    return error


_SHOWN = 20  # stacks, of which no two are the same


def others() -> str:
    """The stacks of the goroutines other than the running one."""
    stacks = _core.traceback(True).rstrip("\n").split("\n\n")[1:]  # the first is the running one's
    return summary([stack for stack in stacks if stack.startswith("goroutine ")])


def summary(stacks: list[str]) -> str:
    """Stacks of goroutines as text; of those that are the same one is shown, and the number of the others."""
    alike: dict[str, list[str]] = {}
    for stack in stacks:
        alike.setdefault(stack.partition(" [")[2], []).append(stack)
    shown = [
        same[0] + (f"\n(and {len(same) - 1} more like this one)" if len(same) > 1 else "")
        for same in list(alike.values())[:_SHOWN]
    ]
    if len(alike) > _SHOWN:
        shown.append(f"... and {len(alike) - _SHOWN} more kinds")
    return "\n\n".join(shown)


# -- what is the session's own --------------------------------------------------------------------


def _handlers() -> tuple[int, bool]:
    """The signals that Python handles, bit N-1 for signal N; and whether a handler is the program's.

    Such a handler may send on a channel.
    """
    import signal
    from functools import partial

    handled, by_program = 0, False
    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        if callable(handler):
            handled |= 1 << (number - 1)
            function = handler.func if type(handler) is partial else handler
            module = getattr(function, "__module__", None)
            # asyncio's wake main's event loop, or cancel its task: main does not run it while it waits.
            if function is not signal.default_int_handler and not _is_of(module, ("asyncio",)):
                by_program = by_program or not _is_of(module, _OWN)
    return handled, by_program


def _is_of(module: str | None, packages: Iterable[str]) -> bool:
    return isinstance(module, str) and module.partition(".")[0] in packages


def _own_threads() -> list[int]:
    """The session's own threads, as the system numbers them.

    They are not taken from threading, since some are started without it.
    """
    frames = _cpython.current_frames()
    timers = _own_timers()
    return [
        tid
        for ident, tid in _core.threads()
        if ident in timers or (tid in _first and _serves(frames.get(ident)))
    ] + _first_in_c


def _own_timers() -> set[int | None]:
    """The identifiers of threading.Timers that will call a function of the session's."""
    threading = sys.modules.get("threading")
    if threading is None:
        return set()
    return {
        thread.ident
        for thread in threading.enumerate()
        if isinstance(thread, threading.Timer) and _is_of(getattr(thread.function, "__module__", None), _OWN)
    }


def _serves(frame: FrameType | None) -> bool:
    """True if the outermost function of a thread, beside those of threading, is the session's."""
    first = None
    while frame is not None:
        module = frame.f_globals.get("__name__")
        if module != "threading":
            first = module
        frame = frame.f_back
    return _is_of(first, _OWN)
