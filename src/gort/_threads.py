"""What the threading module must learn from the runtime."""

import sys
import threading


def goroutine_started() -> None:
    """Gives a new goroutine the trace and profile functions that threading gives a new thread."""
    trace = threading.gettrace()
    if trace is not None:
        sys.settrace(trace)
    profile = threading.getprofile()
    if profile is not None:
        sys.setprofile(profile)


# threading's own table of its threads by identifier. Written without its lock: these are single dict
# operations, and the scheduler, which calls main_moved, may not wait.
_active: dict[int, threading.Thread] = vars(threading)["_active"]

# The Thread objects that main_moved replaced, by identifier.
_displaced: dict[int, threading.Thread] = {}


def main_moved(ident: int, away: bool) -> None:
    """Keeps threading.current_thread() the main thread in a main goroutine that another thread resumed.

    `ident` is that thread's identifier; `away` is False when the main goroutine has left it again.
    """
    if away:
        previous = _active.get(ident)
        if previous is not None:
            _displaced[ident] = previous
        _active[ident] = threading.main_thread()
    else:
        previous = _displaced.pop(ident, None)
        if previous is not None:
            _active[ident] = previous
        else:
            _active.pop(ident, None)
