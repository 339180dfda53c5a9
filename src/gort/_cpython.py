"""What gort uses of CPython's standard library that has a private name: src/_core/cpython/ for Python code.

No other module of gort may use a private name of the library (tools/check_seams.py). Each function names what
it uses, the versions that have it, and the public name that can take its place one day, if there is one.
docs/internals/seams.md has a table of the private names.

The functions import the modules that they need: loading this one loads no others.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import FrameType
    from typing import Any

# -- the end of the interpreter ----------------------------------------------------------------


def call_before_joining(function: Callable[[], object]) -> None:
    """Has the interpreter call function() when it begins to end, before it joins the program's threads.

    threading._register_atexit (3.11 to 3.15; no public name: atexit comes later). Raises RuntimeError if the
    interpreter has passed that point.
    """
    import threading

    threading._register_atexit(function)  # type: ignore[attr-defined]


def called_before_joining() -> Sequence[Callable[[], object]]:
    """The functions that are called then, in the order in which they were registered.

    threading._threading_atexits (3.11 to 3.15; no public name).
    """
    import threading

    return threading._threading_atexits  # type: ignore[attr-defined,no-any-return]


def run_atexit_handlers() -> None:
    """Calls the functions that atexit has, the last one first, and forgets them.

    atexit._run_exitfuncs (3.11 to 3.15; no public name).
    """
    import atexit

    atexit._run_exitfuncs()


def current_frames() -> Mapping[int, FrameType]:
    """The innermost frame of each thread, by its identifier; goroutines are among them.

    sys._current_frames (3.11 to 3.15; documented, and without a public name).
    """
    return sys._current_frames()


def temporary_file_class() -> type | None:
    """The class of named temporary files, whose close() removes the file; None: tempfile is not loaded.

    tempfile._TemporaryFileWrapper (3.11 to 3.15; no public name).
    """
    return getattr(sys.modules.get("tempfile"), "_TemporaryFileWrapper", None)


# -- threads -----------------------------------------------------------------------------------


def dummy_thread_class() -> type[threading.Thread]:
    """The class of the Thread objects of threads that threading did not start.

    threading._DummyThread (3.11 to 3.15; no public name).
    """
    import threading

    return threading._DummyThread


def init_as_dummy(thread: threading.Thread, name: str) -> None:
    """Initialises a Thread object of the calling thread as a dummy's is, but records it nowhere.

    Thread._started, _set_ident and _set_native_id, threading._dangling and _HAVE_THREAD_NATIVE_ID (3.11 to
    3.15; no public names).
    """
    import threading

    module: Any = threading
    own: Any = thread
    threading.Thread.__init__(thread, name=name, daemon=True)
    module._dangling.discard(thread)
    own._started.set()
    own._set_ident()
    if module._HAVE_THREAD_NATIVE_ID:
        own._set_native_id()


def recorded(thread: threading.Thread, new: bool = False) -> Any:
    """The Thread that threading has for this one's identifier, or None; if that is new, this one from now on.

    threading._active (3.11 to 3.15; no public name).
    """
    import threading

    active = threading._active  # type: ignore[attr-defined]
    return active.setdefault(thread.ident, thread) if new else active.get(thread.ident)


def replace_current_thread(unknown: Callable[[], threading.Thread]) -> None:
    """From now on threading.current_thread() returns unknown() in a thread that threading has no record of.

    The function gets other code, and is the same object for all who have imported it. The code uses
    threading._active (3.11 to 3.15; no public name).
    """
    import threading

    vars(threading)["_gort_unknown_thread"] = unknown
    threading.current_thread.__code__ = _current_thread.__code__


def _current_thread() -> object:
    try:
        return _active[get_ident()]  # type: ignore[name-defined]  # noqa: F821  # it runs in the module threading
    except KeyError:
        return _gort_unknown_thread()  # type: ignore[name-defined]  # noqa: F821


# -- the start of a program --------------------------------------------------------------------


def module_as_main(name: str, is_module: bool) -> Callable[[], Any]:
    """What python does for -m NAME, and for a directory whose __main__ module is the program.

    runpy._run_module_as_main (3.11 to 3.15; no public name: runpy.run_module() makes a __main__ for a while).
    """
    import runpy

    return lambda: runpy._run_module_as_main(name, is_module)  # type: ignore[attr-defined]


def is_first_frame(frame: FrameType) -> bool:
    """Is it, or was it, the frame with which python begins a program: that of __main__, or of runpy?

    The latter is runpy._run_module_as_main (3.11 to 3.15), as in module_as_main().
    """
    name = frame.f_code.co_name
    return name == "_run_module_as_main" or (
        name == "<module>" and frame.f_globals.get("__name__") == "__main__"
    )


def loader_class(name: str) -> Any:
    """A class of importlib.machinery, without that module, which loads others.

    _frozen_importlib_external and _frozen_importlib (3.11 to 3.15); importlib.machinery is the public name.
    """
    files: Any = sys.modules["_frozen_importlib_external"]
    others: Any = sys.modules["_frozen_importlib"]
    return getattr(files, name, None) or getattr(others, name)


# -- types -------------------------------------------------------------------------------------


def protocol_members(kind: object) -> Iterable[str] | None:
    """The names of a protocol's members; None: kind is not a protocol.

    Protocol._is_protocol (3.11 to 3.15; from 3.13 on typing.is_protocol() is public) and, on 3.11,
    typing._get_protocol_attrs. Later versions keep the names in the protocol; from 3.13 on
    typing.get_protocol_members() is public.
    """
    if not getattr(kind, "_is_protocol", False):
        return None
    names: Iterable[str] | None = getattr(kind, "__protocol_attrs__", None)
    if names is None:  # Anyone who has a protocol has loaded typing.
        names = vars(sys.modules["typing"])["_get_protocol_attrs"](kind)
    return names


def byref_target(reference: Any) -> Any:
    """The x of ctypes.byref(x).

    Its attribute _obj (3.11 to 3.15; no public name).
    """
    return reference._obj
