"""What a goroutine gets from the threading module.

The module is large, and a program without goroutines may live without it: the first goroutine loads it.
"""

from __future__ import annotations

import sys

from . import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def goroutine_started() -> None:
    """Gives a new goroutine the trace and profile functions that threading gives a new thread."""
    import threading

    trace = threading.gettrace()
    if trace is not None:
        sys.settrace(trace)
    profile = threading.getprofile()
    if profile is not None:
        sys.setprofile(profile)


def main_returned() -> None:
    """The interpreter begins to end: goroutines stop, unless a thread that will be joined may need them."""
    import threading

    if not any(
        t.is_alive() and not t.daemon for t in threading.enumerate() if t is not threading.main_thread()
    ):
        _core.main_ends()


def watch_the_end() -> None:
    """Has the interpreter call main_returned before it joins the program's threads."""
    try:
        import threading
    except OSError:  # No file descriptor is left, say. The next goroutine tries again.
        return
    register: Callable[[Callable[[], None]], None] = vars(threading)["_register_atexit"]
    try:
        register(main_returned)
    except RuntimeError:  # It has ended already: this is the program's first goroutine, in an atexit handler.
        main_returned()


def own_import_locks() -> None:
    """Makes the locks of modules that are being imported belong to goroutines instead of threads.

    A module whose body parks would else be taken for finished by the other goroutines of its thread.
    """
    bootstrap = vars(sys.modules["_frozen_importlib"])
    thread = type(sys)("_thread")
    vars(thread).update(vars(bootstrap["_thread"]), get_ident=_core.import_owner)
    bootstrap["_thread"] = thread
    _core.import_owner()  # main remembers who it is
