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
    """The version of gort, such as `gort0.1.0`: Go's runtime.Version, which returns one such as `go1.13`."""
    from importlib.metadata import version as installed_version

    return f"gort{installed_version('gort')}"


def callers(skip: int, limit: int | None = None) -> list[int]:
    """The return PCs of the calls on the running goroutine's stack, innermost first: Go's runtime.Callers.

    With a skip of 0 they begin with callers() itself, with 1 with its caller. There are at most `limit` of
    them; None sets no limit. callers_frames() says what they mean. Functions that are written in C are left
    out. Raises TypeError if skip or limit is not an int, and ValueError if it is negative.
    """
    return _core.callers(skip, limit)


def caller(skip: int) -> Caller:
    """Where a function on the running goroutine's stack is: Go's runtime.Caller.

    A skip of 0 means the place that calls caller(), 1 the place that calls that function, and so on. The
    result is (pc, file, line, ok). If the stack is not that deep, it is (0, "", 0, False). Raises TypeError
    if skip is not an int, and ValueError if it is negative.
    """
    pcs = _core.callers(skip, None) if not isinstance(skip, int) or skip < 0 else _core.callers(skip + 1, 1)
    frame, _ = Frames(pcs).next()
    if frame.func is None:
        return Caller(0, "", 0, False)
    return Caller(pcs[0], frame.file, frame.line, True)


def stack(all: bool = False) -> str:
    """The running goroutine's stack, or those of all goroutines, as Go's dumps show it: Go's runtime.Stack.

    GOTRACEBACK says which frames are shown, GODEBUG=tracebackancestors how many creators. With `all`,
    threading.Threads follow the goroutines. Frames are Python's; those of C functions are shown only if
    set_cgo_traceback() has been called.
    """
    return _core.traceback(all)


def breakpoint() -> None:
    """Executes a breakpoint trap, SIGTRAP, for a debugger such as gdb: Go's runtime.Breakpoint.

    Without a debugger this ends the process. Python's own breakpoint() starts pdb instead.
    """
    signal.raise_signal(signal.SIGTRAP)


def set_cgo_traceback(version: int, traceback: Any, context: Any, symbolizer: Any) -> None:
    """Sets the C functions that describe C code in tracebacks: Go's runtime.SetCgoTraceback.

    version must be 0. The others are addresses, function pointers of ctypes or cffi, or None for no function.
    They are called with pointers to the structs of Go's documentation, and must not call Python: `context`
    for each callback that was made with gort.cgo.callback, `traceback` and `symbolizer` for what is printed.
    gort.cgo.enable_traceback() sets functions of gort's own.

    Raises runtime.Error if other functions are already set, ValueError for another version, for an address
    where there is no code and for a function that calls Python, and TypeError for anything else that is not
    accepted.
    """
    _cgo.set_traceback(version, traceback, context, symbolizer)


class _Runtime(GoModule):
    """The module, with its variable mem_profile_rate."""

    @property
    def mem_profile_rate(self) -> int:
        """How many bytes are allocated per sample of the memory profile: Go's runtime.MemProfileRate.

        0 turns sampling off. Set it once, as early as possible; GODEBUG=memprofilerate=N sets it at the
        start. Raises TypeError if it is not an int, and ValueError if it is negative or more than 2**63 - 1.
        There is no memory profile yet.
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
