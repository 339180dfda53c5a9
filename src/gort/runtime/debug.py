"""Go's package runtime/debug.

Every name also answers to Go's spelling: `debug.SetMaxThreads is debug.set_max_threads`.
"""

import sys
from typing import TYPE_CHECKING, Any

from .._core import set_max_stack, set_max_threads
from .._spelling import GoModule

__all__ = ["set_max_stack", "set_max_threads"]

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

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """What `name`, in Go's spelling, means."""

else:
    sys.modules[__name__].__class__ = GoModule
