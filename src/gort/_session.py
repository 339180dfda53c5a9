"""Sessions: what happens at a prompt where a program would end, and who the session's own threads are.

At a prompt (python's, IPython's, a notebook's) an uncaught exception ends a statement, not the process. So an
exception that escapes a goroutine is printed in full, and the goroutine alone ends; a deadlock raises
runtime.Error in main, where the user sees it. GORT_INTERACTIVE=0 asks for Go's strictness; 1 says that there
is a prompt where gort does not see one. Under a test runner (pytest_gort.py) a deadlock is found in the same
way.

The threads of a session, which read the user's input, send output or keep a time limit, wake no goroutine of
the program; without that knowledge nothing would ever be called a deadlock in a notebook. They are known by
the module of their outermost Python function, or by the name that a C library gave them. All others count: a
deadlock that is not found can be interrupted, one that is none must not be reported.
"""

from __future__ import annotations

import os
import sys

from . import _core, _cpython, _env, _traceback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

# Packages whose threads and signal handlers serve the session.
_OWN = frozenset(
    (
        "IPython",
        "debugpy",
        "execnet",
        "idlelib",
        "ipykernel",
        "ipyparallel",
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


def start() -> None:
    """Called once, while gort is imported."""
    given = os.environ.get("GORT_INTERACTIVE", "")
    if given not in ("", "0", "1"):
        _env.report(f"gort: GORT_INTERACTIVE={given!r} is not 0 or 1; gort looks for a prompt")
    always = given == "1" or (given != "0" and sys.flags.inspect)
    _core.set_session(takes=print_panic, asleep=asleep, prompts=0 if given == "0" else 2 if always else 1)


def print_panic(exc: BaseException) -> None:
    """Prints what a panic would say, where the user of a prompt sees it."""
    text = _traceback.report(exc)
    try:
        sys.stderr.write(text.rstrip("\n") + "\n")
        sys.stderr.flush()
    except Exception:  # It may be None, closed, or an object of the program's.
        _traceback.write(text)


def asleep() -> BaseException | None:
    """Called in main's wait when all goroutines sleep: what the wait raises if nobody else can wake one."""
    handled, by_program = _handlers()
    if by_program or _core.could_be_woken(*_own_threads(), handled):
        return None
    error = _core.Error("all goroutines are asleep - deadlock!")
    if _core.at_prompt() and _core.num_goroutine() > 1:
        stacks = _core.traceback(True).rstrip("\n").split("\n\n")[1:]  # the first is main's
        error.add_note("\n" + "\n\n".join(stack for stack in stacks if stack.startswith("goroutine ")))
    return error


def _handlers() -> tuple[int, bool]:
    """The signals that Python handles, bit N-1 for signal N; and whether a handler is the program's.

    Such a handler may send on a channel.
    """
    import signal

    handled, by_program = 0, False
    for number in signal.valid_signals():
        handler = signal.getsignal(number)
        if callable(handler):
            handled |= 1 << (number - 1)
            module = getattr(handler, "__module__", None)
            # asyncio's wakes main's event loop, which main does not run while it waits.
            if handler is not signal.default_int_handler and module != "asyncio.unix_events":
                by_program = by_program or not _is_own(module)
    return handled, by_program


def _is_own(module: str | None) -> bool:
    return isinstance(module, str) and module.partition(".")[0] in _OWN


def _own_threads() -> tuple[list[int], int]:
    """The session's own threads, as the system numbers them, and how many of them have a thread state.

    They are not taken from threading, since some are started without it.
    """
    frames = _cpython.current_frames()
    timers = _own_timers()
    tids = [tid for ident, tid in _core.threads() if ident in timers or _serves(frames.get(ident))]
    known = len(tids)
    for tid in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{tid}/comm") as file:
                if file.read().startswith(_OWN_IN_C):
                    tids.append(int(tid))
        except OSError:
            pass  # It has ended.
    return tids, known


def _own_timers() -> set[int | None]:
    """The identifiers of threading.Timers that will call a function of the session's."""
    threading = sys.modules.get("threading")
    if threading is None:
        return set()
    return {
        thread.ident
        for thread in threading.enumerate()
        if isinstance(thread, threading.Timer) and _is_own(getattr(thread.function, "__module__", None))
    }


def _serves(frame: FrameType | None) -> bool:
    """True if the outermost function of a thread, beside those of threading, is the session's."""
    first = None
    while frame is not None:
        module = frame.f_globals.get("__name__")
        if module != "threading":
            first = module
        frame = frame.f_back
    return _is_own(first)
