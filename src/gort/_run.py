"""`run`: one function in a goroutine, and its outcome."""

from __future__ import annotations

import os

from ._core import Goexit, Sema, go

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, ParamSpec, TypeVar

    _P = ParamSpec("_P")
    _T = TypeVar("_T")


def run(fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Runs fn(*args, **kwargs) in a new goroutine, waits for it and returns its result.

    An exception that escapes fn, SystemExit and KeyboardInterrupt too, is raised here with its traceback
    instead of ending the process. A fn that ends by `runtime.goexit()` gives None. May be called from any
    goroutine and any thread. Raises TypeError if fn cannot be called. Go has no such function.
    """
    if not callable(fn):
        raise TypeError(f"run() takes a callable, not {fn!r}")
    done = Sema()
    pid = os.getpid()
    results: list[Any] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            results.append(fn(*args, **kwargs))
        except Goexit:
            results.append(None)
            raise
        except BaseException as exc:
            if os.getpid() != pid:
                raise  # fn forked: in the child nobody waits, and this goroutine is the main one
            errors.append(exc)
        finally:
            done.release()

    go(body)
    done.acquire()
    if errors:
        # Popped, so that no frame of its own traceback keeps the exception alive.
        raise errors.pop()
    result: _T = results.pop()
    return result
