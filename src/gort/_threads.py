"""What a goroutine gets from the threading module.

The module is large, and a program without goroutines may do without it, so the first goroutine loads it.
"""

from __future__ import annotations

from . import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def main_returned() -> None:
    """Called when the interpreter begins to end: goroutines stop, unless it will join a thread first."""
    import threading

    if not any(
        t.is_alive() and not t.daemon for t in threading.enumerate() if t is not threading.main_thread()
    ):
        _core.main_ends()


def watch_the_end() -> None:
    """Makes the interpreter call main_returned() before it joins the program's threads."""
    try:
        import threading
    except OSError:  # No file descriptor is left, say. The next goroutine tries again.
        return
    keep_no_dummies()
    register: Callable[[Callable[[], None]], None] = vars(threading)["_register_atexit"]
    try:
        register(main_returned)
    except RuntimeError:  # It has ended already: this is the program's first goroutine, in an atexit handler.
        main_returned()


def keep_no_dummies() -> None:
    """Makes current_thread() return one object per goroutine, which threading does not keep after its end.

    For a thread that it did not start, threading makes a dummy. It would keep one for each goroutine, since
    it never learns that a goroutine has ended. Besides, a dummy is a daemon, and so would be the Threads that
    a goroutine starts: they would be killed when main returns.
    """
    import threading

    own = threading.local()
    names = vars(threading)
    dummy: Any = names["_DummyThread"]

    class Life:
        """Notes the goroutine's end: dies with its thread-locals."""

        def __init__(self, thread: Any) -> None:
            self.thread = thread

        def __del__(self) -> None:
            self.thread.ended = True

    class Goroutine(dummy):  # type: ignore[misc]
        ended = False

        def __init__(self) -> None:
            threading.Thread.__init__(self, name=f"goroutine-{_core.goid()}", daemon=False)
            names["_dangling"].discard(self)
            self._started.set()
            self._set_ident()
            if names["_HAVE_THREAD_NATIVE_ID"]:
                self._set_native_id()

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

    names["_gort_current_foreign_thread"] = current_foreign_thread
    threading.current_thread.__code__ = _current_thread.__code__  # for all who have imported the function


def _current_thread() -> object:
    try:
        return _active[get_ident()]  # type: ignore[name-defined]  # noqa: F821  # it runs in the module threading
    except KeyError:
        return _gort_current_foreign_thread()  # type: ignore[name-defined]  # noqa: F821
