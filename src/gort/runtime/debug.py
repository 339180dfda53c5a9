"""Go's package runtime/debug.

Every name also answers to Go's spelling: `debug.SetMaxThreads is debug.set_max_threads`.
"""

import sys
from typing import TYPE_CHECKING, Any

from .. import _core, _traceback
from .._core import set_max_stack, set_max_threads
from .._spelling import GoModule

__all__ = ["print_stack", "set_max_stack", "set_max_threads", "set_traceback", "stack"]

# The package's functions, in Go's spelling.
_INDEX = (
    "FreeOSMemory",
    "PrintStack",
    "ReadGCStats",
    "SetGCPercent",
    "SetMaxStack",
    "SetMaxThreads",
    "SetMemoryLimit",
    "SetTraceback",
    "Stack",
    "WriteHeapDump",
)


def stack() -> str:
    """The running goroutine's stack in the form of Go's dumps: Go's debug.Stack."""
    return _core.traceback(False)


def print_stack() -> None:
    """Writes stack() to standard error: Go's debug.PrintStack."""
    _traceback.write(_core.traceback(False))


def set_traceback(level: str) -> None:
    """How much is printed when the program dies, as GOTRACEBACK says it: Go's debug.SetTraceback.

    It can only raise what the environment variable asked for. Raises TypeError and ValueError for a level
    that is not one of none, single, all, system, crash or a number.
    """
    _traceback.set_level(level)


if TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """What `name`, in Go's spelling, means."""

else:
    sys.modules[__name__].__class__ = GoModule
