"""Go's package runtime.

Every name also answers to Go's spelling: `runtime.NumGoroutine is runtime.num_goroutine`.
"""

import signal
import sys
from typing import TYPE_CHECKING, Any, Final

from .. import _cgo, _core, _env, _heap
from .._assert import TypeAssertionError
from .._core import (
    GOARCH,
    GOOS,
    Error,
    goexit,
    gomaxprocs,
    gosched,
    keep_alive,
    lock_os_thread,
    num_cgo_call,
    num_goroutine,
    unlock_os_thread,
)
from .._finalizer import set_finalizer
from .._heap import collect as gc
from .._memstats import BySize, MemStats, read_mem_stats
from .._spelling import GoModule
from .._symtab import Caller, Frame, Frames, Func, callers_frames, func_for_pc
from . import debug

__all__ = [
    "GOARCH",
    "GOOS",
    "BySize",
    "Caller",
    "Error",
    "Frame",
    "Frames",
    "Func",
    "MemStats",
    "TypeAssertionError",
    "breakpoint",
    "caller",
    "callers",
    "callers_frames",
    "compiler",
    "debug",
    "func_for_pc",
    "gc",
    "goexit",
    "gomaxprocs",
    "goroot",
    "gosched",
    "keep_alive",
    "lock_os_thread",
    "mem_profile_rate",
    "num_cgo_call",
    "num_cpu",
    "num_goroutine",
    "read_mem_stats",
    "set_cgo_traceback",
    "set_finalizer",
    "stack",
    "unlock_os_thread",
    "version",
]

# The names of the documentation's index, in Go's spelling.
_INDEX = (
    "BlockProfile",
    "BlockProfileRecord",
    "Breakpoint",
    "CPUProfile",
    "Caller",
    "Callers",
    "CallersFrames",
    "Compiler",
    "Error",
    "Frame",
    "Frames",
    "Func",
    "FuncForPC",
    "GC",
    "GOARCH",
    "GOMAXPROCS",
    "GOOS",
    "GOROOT",
    "Goexit",
    "GoroutineProfile",
    "Gosched",
    "KeepAlive",
    "LockOSThread",
    "MemProfile",
    "MemProfileRate",
    "MemProfileRecord",
    "MemStats",
    "MutexProfile",
    "NumCPU",
    "NumCgoCall",
    "NumGoroutine",
    "ReadMemStats",
    "ReadTrace",
    "SetBlockProfileRate",
    "SetCPUProfileRate",
    "SetCgoTraceback",
    "SetFinalizer",
    "SetMutexProfileFraction",
    "Stack",
    "StackRecord",
    "StartTrace",
    "StopTrace",
    "ThreadCreateProfile",
    "TypeAssertionError",
    "UnlockOSThread",
    "Version",
)

compiler: Final = "cpython"
"""The compiler toolchain that runs the program: Go's runtime.Compiler."""


def num_cpu() -> int:
    """The number of CPUs that the process could use when it imported gort: Go's runtime.NumCPU.

    Later changes of the process's CPU affinity are not reflected.
    """
    return _env.NUM_CPU


def goroot() -> str:
    """The root of the installed gort tree, or GOROOT if that was set at start: Go's runtime.GOROOT."""
    return _env.text("GOROOT")


def version() -> str:
    """The version of gort, as `gort0.1.0`: Go's runtime.Version, which gives `go1.13`."""
    from importlib.metadata import version as installed_version

    return f"gort{installed_version('gort')}"


def callers(skip: int, limit: int | None = None) -> list[int]:
    """The return PCs of the calls on the running goroutine's stack, innermost first: Go's runtime.Callers.

    skip 0 begins with callers() itself, 1 with its caller. At most `limit` PCs; None: all. callers_frames()
    says what they mean. Calls of functions that are written in C are not among them. Raises TypeError and
    ValueError for a skip or a limit that is no int of at least 0.
    """
    return _core.callers(skip, limit)


def caller(skip: int) -> Caller:
    """Where a function on the running goroutine's stack is: Go's runtime.Caller.

    skip 0 is the place that calls caller(), 1 that function's caller and so on. The result is (pc, file,
    line, ok); ok is False, and the others are zero, when the stack is not that deep. Raises TypeError and
    ValueError for a skip that is no int of at least 0.
    """
    pcs = _core.callers(skip, None) if not isinstance(skip, int) or skip < 0 else _core.callers(skip + 1, 1)
    frame, _ = Frames(pcs).next()
    if frame.func is None:
        return Caller(0, "", 0, False)
    return Caller(pcs[0], frame.file, frame.line, True)


def stack(all: bool = False) -> str:
    """The running goroutine's stack in the form of Go's dumps, with `all` those of all goroutines: Go's
    runtime.Stack.

    GOTRACEBACK decides how much is shown of each, tracebackancestors of their creators. threading.Threads
    follow the goroutines. Frames are those of Python; C functions have none, unless
    runtime.set_cgo_traceback says so.
    """
    return _core.traceback(all)


def breakpoint() -> None:
    """Executes a breakpoint trap, SIGTRAP, for a debugger such as gdb: Go's runtime.Breakpoint.

    Without a debugger it ends the process. Python's own breakpoint() starts pdb instead.
    """
    signal.raise_signal(signal.SIGTRAP)


def set_cgo_traceback(version: int, traceback: Any, context: Any, symbolizer: Any) -> None:
    """Sets the C functions that tell of C code in tracebacks: Go's runtime.SetCgoTraceback.

    `version` is 0. The others are addresses, function pointers of ctypes or cffi, or None for no such
    function; they are called with pointers to the structs of Go's documentation, and must not call Python.
    `context` is called for each callback that was made with gort.cgo.callback, `traceback` and `symbolizer`
    for what is printed or sampled. May be called once, or again with the same functions: else
    runtime.Error. ValueError: another version, or an address of no code; TypeError: no pointer.
    `gort.cgo.enable_traceback()` sets functions of gort's own.
    """
    _cgo.set_traceback(version, traceback, context, symbolizer)


class _Runtime(GoModule):
    """The module, with its variable."""

    @property
    def mem_profile_rate(self) -> int:
        """One allocation in so many bytes is sampled for the memory profile, 0: none: Go's
        runtime.MemProfileRate.

        Set it once, as early as possible; GODEBUG=memprofilerate=N sets it at the start. TypeError,
        ValueError: no int of 64 bits that is not negative. There is no memory profile yet.
        """
        return _heap.profile_rate()

    @mem_profile_rate.setter
    def mem_profile_rate(self, rate: int) -> None:
        _heap.set_profile_rate(rate)


if TYPE_CHECKING:
    mem_profile_rate: int

    # Go's spellings, as tools/go_names.py writes them.
    Breakpoint = breakpoint
    Callers = callers
    CallersFrames = callers_frames
    Compiler: Final = compiler
    FuncForPC = func_for_pc
    GC = gc
    GOMAXPROCS = gomaxprocs
    GOROOT = goroot
    Goexit = goexit
    Gosched = gosched
    KeepAlive = keep_alive
    LockOSThread = lock_os_thread
    MemProfileRate: int
    NumCPU = num_cpu
    NumCgoCall = num_cgo_call
    NumGoroutine = num_goroutine
    ReadMemStats = read_mem_stats
    SetCgoTraceback = set_cgo_traceback
    SetFinalizer = set_finalizer
    Stack = stack
    UnlockOSThread = unlock_os_thread
    Version = version
    # End of Go's spellings.

else:
    sys.modules[__name__].__class__ = _Runtime
