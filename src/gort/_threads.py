"""What a goroutine gets from the threading module."""

from __future__ import annotations

import sys
import threading

from . import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def goroutine_started() -> None:
    """Gives a new goroutine the trace and profile functions that threading gives a new thread."""
    trace = threading.gettrace()
    if trace is not None:
        sys.settrace(trace)
    profile = threading.getprofile()
    if profile is not None:
        sys.setprofile(profile)


def main_returned() -> None:
    """The interpreter begins to end: goroutines stop, unless a thread that will be joined may need them."""
    if not any(
        t.is_alive() and not t.daemon for t in threading.enumerate() if t is not threading.main_thread()
    ):
        _core.main_ends()


def watch_the_end() -> None:
    """Has the interpreter call main_returned before it joins the program's threads."""
    register: Callable[[Callable[[], None]], None] = vars(threading)["_register_atexit"]
    register(main_returned)


# Main may hold locks from before gort was imported: it keeps the identifier that it had.
_MAIN = threading.main_thread().ident or 0


def _importer() -> int:
    """Who imports: a goroutine, which may run on several threads, or a thread."""
    goid = _core.goid()
    if goid == 1:
        return _MAIN
    return -goid or threading.get_ident()


def own_import_locks() -> None:
    """Makes the locks of modules that are being imported belong to goroutines instead of threads.

    A module whose body parks would else be taken for finished by the other goroutines of its thread.
    """
    bootstrap = vars(sys.modules["_frozen_importlib"])
    thread = type(sys)("_thread")
    vars(thread).update(vars(bootstrap["_thread"]), get_ident=_importer)
    bootstrap["_thread"] = thread
