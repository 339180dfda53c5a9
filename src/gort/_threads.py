"""What a goroutine gets from the threading module.

The module is large, and a program without goroutines may do without it, so the first goroutine loads it.
"""

from __future__ import annotations

from . import _core, _cpython

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def main_returned() -> None:
    """Called when the interpreter begins to end: goroutines stop, unless it will join a thread first.

    A goroutine that panics ends the program itself: then main waits for that.
    """
    import threading

    _core.await_panic()
    if not any(
        (t.is_alive() or t.ident is None) and not t.daemon  # without an ident: it is being started
        for t in threading.enumerate()
        if t is not threading.main_thread()
    ):
        _core.main_ends()


def watch_the_end() -> bool:
    """Makes the interpreter call main_returned() before it joins the program's threads.

    False: that could not be done, for no file descriptor is left, say. The next goroutine tries again.
    """
    try:
        import threading  # noqa: F401
    except OSError:
        return False
    keep_no_dummies()
    try:
        _cpython.call_before_joining(main_returned)
    except RuntimeError:  # It has ended already: this is the program's first goroutine, in an atexit handler.
        main_returned()
    return True


def trace_as_pydevd_does() -> None:
    """Has this goroutine debugged as pydevd (in debugpy and PyCharm) does a new thread.

    Called by the core if functions of pydevd's start the threads.
    """
    import sys
    import threading

    pydevd = sys.modules.get("pydevd")
    debugger = pydevd and pydevd.get_global_debugger()
    if debugger is not None:
        threading.current_thread()  # pydevd passes over what threading does not know
        debugger.enable_tracing()


def keep_no_dummies() -> None:
    """Makes current_thread() return one object per goroutine, of which threading has a record until its end.

    For a thread that it did not start, threading makes a dummy. It would keep one for each goroutine, since
    it never learns that a goroutine has ended: the core takes the record away. Besides, a dummy is a daemon,
    which a goroutine is too, and so would be the Threads that it starts: they would be killed when main
    returns.
    """
    import sys
    import threading

    own = threading.local()
    dummy: Any = _cpython.dummy_thread_class()

    class Goroutine(dummy):  # type: ignore[misc]
        def __init__(self) -> None:
            _cpython.init_as_dummy(self, f"goroutine {_core.goid()}")

        def is_alive(self) -> bool:
            return _cpython.recorded(self) is self

        def join(self, timeout: float | None = None) -> None:
            raise RuntimeError("cannot join a goroutine; use a WaitGroup to wait for one")

        @property
        def daemon(self) -> bool:
            return sys._getframe(1).f_code is not threading.Thread.__init__.__code__  # that takes it over

        def __repr__(self) -> str:
            return f"<{self.name} {'started' if self.is_alive() else 'ended'}>"

    Goroutine.__module__ = dummy.__module__

    def current_foreign_thread() -> threading.Thread:
        if _core.goid() < 2:
            return dummy()  # type: ignore[no-any-return]
        # What __init__ runs may be traced by a function that has called current_thread() before it ends.
        thread = _cpython.recorded(Goroutine(), new=True)
        own.thread = thread  # by its thread-locals the core sees that there is something to do at its end
        return thread  # type: ignore[no-any-return]

    _cpython.replace_current_thread(current_foreign_thread)
