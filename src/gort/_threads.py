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


def keep_no_dummies() -> None:
    """Makes current_thread() return one object per goroutine, which threading does not keep after its end.

    For a thread that it did not start, threading makes a dummy. It would keep one for each goroutine, since
    it never learns that a goroutine has ended. Besides, a dummy is a daemon, and so would be the Threads that
    a goroutine starts: they would be killed when main returns.
    """
    import threading

    own = threading.local()
    dummy: Any = _cpython.dummy_thread_class()

    class Life:
        """Notes the goroutine's end: dies with its thread-locals."""

        def __init__(self, thread: Any) -> None:
            self.thread = thread

        def __del__(self) -> None:
            self.thread.ended = True

    class Goroutine(dummy):  # type: ignore[misc]
        ended = False

        def __init__(self) -> None:
            _cpython.init_as_dummy(self, f"goroutine-{_core.goid()}")

        def is_alive(self) -> bool:
            return not self.ended

        def join(self, timeout: float | None = None) -> None:
            raise RuntimeError("cannot join a goroutine; use a WaitGroup to wait for one")

        def __repr__(self) -> str:
            return f"<{self.name} {'ended' if self.ended else 'started'}>"

    Goroutine.__module__ = dummy.__module__

    def current_foreign_thread() -> threading.Thread:
        if _core.goid() < 2:
            return dummy()  # type: ignore[no-any-return]
        life = getattr(own, "life", None)
        if life is None:
            own.life = life = Life(Goroutine())
        return life.thread  # type: ignore[no-any-return]

    _cpython.replace_current_thread(current_foreign_thread)
