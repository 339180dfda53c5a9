"""Go's package runtime.

Every name also answers to Go's spelling: `runtime.NumGoroutine is runtime.num_goroutine`.
"""

import signal
import sys
from typing import TYPE_CHECKING, Any, Final

from .. import _env
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
    "num_cpu",
    "num_goroutine",
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


if TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """What `name`, in Go's spelling, means."""

else:
    sys.modules[__name__].__class__ = GoModule
