"""Calls into C that the runtime sees, counts and checks: what import "C" is to a Go program.

C code is reached through ctypes or cffi as always, and called through this module:

    lib = cgo.wrap(ctypes.CDLL("libm.so.6"))
    lib.cos.restype = ctypes.c_double
    lib.cos.argtypes = [ctypes.c_double]
    lib.cos(0.5)

Compared with a plain call, other goroutines run at once, rather than once sysmon has noticed that this one is
in C; `runtime.num_cgo_call()` counts the call; GODEBUG=cgocheck checks what is passed; and after
`enable_traceback()` the stacks of goroutines show the C functions between the Python functions.
"""

import functools
from collections.abc import Callable
from typing import Any

from . import _cgocheck, _core

__all__ = ["call", "callback", "enable_traceback", "wrap"]


def call(fn: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Calls the C function `fn` of ctypes or cffi and returns its result, as fn(*args, **kwargs) does.

    If the function releases the GIL, as all but those of a ctypes.PyDLL do, goroutines that wait to run go on
    at once, unless the function last returned within 20 microseconds. Raises TypeError if fn is not a C
    function, and runtime.Error `cgo argument has Go pointer to Go pointer` if an argument leads to memory
    that holds pointers to Python objects (GODEBUG=cgocheck). In Go: C.f(x).
    """
    return _core.cgo_call(fn, *args, **kwargs)


class Function(functools.partial[Any]):
    """A C function that is called through `call`. Attributes such as argtypes are those of the C function."""

    def __new__(cls, fn: Any) -> "Function":
        return super().__new__(cls, _core.cgo_call, fn)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.args[0], name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.args[0], name, value)

    def __repr__(self) -> str:
        return f"<gort.cgo function of {self.args[0]!r}>"


class Library:
    """A library whose functions are called through `call`. Everything else is the library's own."""

    _lib: Any = None

    def __init__(self, lib: Any) -> None:
        self.__dict__["_lib"] = lib

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._lib, name)
        if _core.cgo_is_function(value):
            value = self.__dict__[name] = Function(value)
        return value

    def __getitem__(self, name: Any) -> Any:
        value = self._lib[name]
        return Function(value) if _core.cgo_is_function(value) else value

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._lib, name, value)

    def __dir__(self) -> list[str]:
        return dir(self._lib)

    def __repr__(self) -> str:
        return f"<gort.cgo library of {self._lib!r}>"


def wrap(lib: Any, /) -> Any:
    """A ctypes or cffi library, or a single function, each of whose calls is made through `call`.

    Functions, constants and variables keep the names that they have in `lib`; argtypes, restype and errcheck
    of a function are set as on the original. In Go: import "C".
    """
    return Function(lib) if _core.cgo_is_function(lib) else Library(lib)


def _called_from_c(fn: Callable[..., Any]) -> Callable[..., Any]:
    """fn with the frame by which tracebacks recognise where C code called Python."""

    def called_from_c(*args: Any) -> Any:
        return _core.cgo_callback(fn, *args)

    return called_from_c


def callback(kind: Callable[[Callable[..., Any]], Any], /) -> Callable[[Callable[..., Any]], Any]:
    """A decorator that makes a Python function a C function pointer that C code may call.

    `kind` is what ctypes or cffi use for that: `ctypes.CFUNCTYPE(...)`, `ffi.callback("int(int)")` or
    `ffi.def_extern()`. The decorated name becomes what `kind` returns. The function may park, for example on
    a channel. ctypes or cffi report an exception that leaves it; the caller of the C code does not get it.
    Tracebacks show the C part of the stack between this function and the one that called C. The decorator
    raises TypeError if what it decorates cannot be called. In Go: //export.
    """

    def make(fn: Callable[..., Any]) -> Any:
        if not callable(fn):
            raise TypeError(f"callback() decorates a callable, not {fn!r}")
        _core.cgo_find_glue()
        return kind(functools.update_wrapper(_called_from_c(fn), fn))

    return make


def enable_traceback() -> bool:
    """Makes tracebacks show C functions: `runtime.set_cgo_traceback` with gort's own functions.

    They show exported functions by name. If libdw.so.1 is installed (Debian: libdw1), they also show static
    and inlined functions, files and lines of what was compiled with -g; the result says whether it is. May be
    called again. Raises runtime.Error if other functions are already set.
    """
    return _core.cgo_enable_traceback("libdw.so.1")


_core.cgo_configure(
    callback=_called_from_c(print).__code__,
    check=_cgocheck.check,
    check_level=_cgocheck.LEVEL,
    pointer_free=_cgocheck.POINTER_FREE,
)
