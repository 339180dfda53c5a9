"""Go's runtime for CPython: goroutines that are plain Python functions, channels and select.

Importing gort starts the runtime: the environment is read, the program's main thread becomes the main
goroutine, and the runtime is stopped again when the interpreter ends. The subpackages `gort.runtime`,
`gort.sync`, `gort.time`, `gort.context` and `gort.cgo` are imported when they are first used.
"""

import atexit
import sys
from typing import TYPE_CHECKING

from . import _core, _env, _lazy, _memstats, _threads, _traceback
from ._assert import type_assert
from ._core import Chan, chan, default, go, select
from ._run import run

if TYPE_CHECKING:
    from . import cgo as cgo
    from . import context as context
    from . import runtime as runtime
    from . import sync as sync
    from . import time as time
else:
    __getattr__ = _lazy.subpackages(__name__, "cgo", "context", "runtime", "sync", "time")

__all__ = ["Chan", "chan", "default", "go", "run", "select", "type_assert"]


def _start() -> None:
    _env.read()
    _env.start(_memstats.install())
    _traceback.start()
    _core.configure(
        gomaxprocs=_env.integer("GOMAXPROCS"),
        schedtrace=_env.integer("schedtrace"),
        scheddetail=_env.integer("scheddetail"),
    )
    _memstats.start_collector()
    _core.set_hooks(
        panic=_traceback.panic,
        fatal=_traceback.fatal,
        start=_threads.goroutine_started,
    )
    sys.excepthook = _traceback.excepthook
    _threads.watch_the_end()
    _threads.own_import_locks()
    atexit.register(_core.shutdown)
    _memstats.imported()


_start()
