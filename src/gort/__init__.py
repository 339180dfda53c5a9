"""Go's runtime for CPython: goroutines that are plain Python functions, channels and select.

Importing gort starts the runtime: the environment is read, the program's main thread becomes the main
goroutine, and the runtime is stopped again when the interpreter ends. The subpackages `gort.runtime`,
`gort.sync`, `gort.time`, `gort.context`, `gort.cgo` and `gort.testing` are imported when they are first used.

Every program pays in time and memory for what is imported here and in `gort run`. So these modules import
nothing large of the standard library, `typing` included, until they need it; what only annotations need is
imported under TYPE_CHECKING, which type checkers take to be true. tests/api/test_start.py lists what must not
be loaded.
"""

import atexit
import os
import sys

from . import _core, _env, _heap, _lazy, _session, _threads, _traceback
from ._assert import type_assert
from ._core import Chan, chan, default, go, run, select

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import cgo as cgo
    from . import context as context
    from . import runtime as runtime
    from . import sync as sync
    from . import testing as testing
    from . import time as time
else:
    __getattr__ = _lazy.subpackages(__name__, "cgo", "context", "runtime", "sync", "testing", "time")

__all__ = ["Chan", "chan", "default", "go", "run", "select", "type_assert"]


def _find_again() -> None:
    """Fills sets of os anew: functions that the core has given another body (redirect.c) are the same objects
    as before, but their hash is made of the body's address."""
    for functions in (
        os.supports_dir_fd,
        os.supports_effective_ids,
        os.supports_fd,
        os.supports_follow_symlinks,
    ):
        members = list(functions)
        functions.clear()
        functions.update(members)


def _start() -> None:
    _find_again()
    _env.read()
    _env.start(_heap.install())
    _traceback.start()
    _core.configure(
        gomaxprocs=_env.integer("GOMAXPROCS"),
        schedtrace=_env.integer("schedtrace"),
        scheddetail=_env.integer("scheddetail"),
    )
    _heap.start_collector()
    _core.set_hooks(
        panic=_traceback.panic,
        fatal=_traceback.fatal,
        threading=_threads.watch_the_end,
        debugger=_threads.trace_as_pydevd_does,
    )
    _session.start()
    sys.excepthook = _traceback.excepthook
    atexit.register(_traceback.ends)
    if plugin := sys.modules.get("pytest_gort"):
        plugin.started()
    _heap.imported()


_start()
