"""Go's package runtime.

Every name also answers to Go's spelling: `runtime.NumGoroutine is runtime.num_goroutine`.
"""

import signal
import sys
from typing import TYPE_CHECKING, Any, Final

from .. import _cgo, _env
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
from .._spelling import GoModule
from . import debug

__all__ = [
    "GOARCH",
    "GOOS",
    "Error",
    "TypeAssertionError",
    "breakpoint",
    "compiler",
    "debug",
    "goexit",
    "gomaxprocs",
    "goroot",
    "gosched",
    "keep_alive",
    "lock_os_thread",
    "num_cgo_call",
    "num_cpu",
    "num_goroutine",
    "set_cgo_traceback",
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


def breakpoint() -> None:
    """Executes a breakpoint trap, SIGTRAP, for a debugger such as gdb: Go's runtime.Breakpoint.

    Without a debugger it ends the process. Python's own breakpoint() starts pdb instead.
    """
    signal.raise_signal(signal.SIGTRAP)


def set_cgo_traceback(version: int, traceback: Any, context: Any, symbolizer: Any) -> None:
    """Sets the C functions that tell of C code in tracebacks and CPU profiles: Go's runtime.SetCgoTraceback.

    `version` is 0. The others are addresses, function pointers of ctypes or cffi, or None for no such
    function; they are called with pointers to the structs of Go's documentation, and must not call Python.
    `context` is called for each callback that was made with gort.cgo.callback, `traceback` and `symbolizer`
    for what is printed or sampled. May be called once, or again with the same functions: else
    runtime.Error. ValueError: another version, or an address of no code; TypeError: no pointer.
    `gort.cgo.enable_traceback()` sets functions of gort's own.
    """
    _cgo.set_traceback(version, traceback, context, symbolizer)


if TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """What `name`, in Go's spelling, means."""

else:
    sys.modules[__name__].__class__ = GoModule
