"""`set_finalizer`: what may have which finalizer, in Go's words; the finalizer goroutine's outermost call."""

from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any, TypeVar

from . import _core
from ._assert import type_name
from ._core import Error

_T = TypeVar("_T")


def set_finalizer(obj: _T, finalizer: Callable[[_T], Any] | None) -> None:
    """Makes finalizer(obj) be called when nothing refers to obj any more: Go's runtime.SetFinalizer.

    One goroutine runs all finalizers, one after another. obj is alive again when its finalizer runs, and has
    no finalizer then. A finalizer of None clears the one that is set. If obj refers to other objects that
    have finalizers, theirs wait until obj is gone. Objects that are alive when the program ends are not
    finalized.

    obj must be an instance of a class written in Python, or of a C type whose objects CPython asks before it
    frees them: generators, coroutines, files, sockets. Raises runtime.Error for other objects (None, numbers,
    strings, lists, dicts, functions, classes, modules), for a finalizer that cannot be called with one
    argument, and if obj already has a finalizer. docs/memory.md has more.
    """
    if obj is None:
        raise Error("runtime.SetFinalizer: first argument is nil")
    if not _core.can_carry_finalizer(obj):
        what = "classes" if isinstance(obj, type) else f"objects of type {type_name(type(obj))}"
        raise Error(
            f"runtime.SetFinalizer: first argument is {type_name(type(obj))}, not pointer: "
            f"CPython frees {what} without asking"
        )
    if finalizer is not None:
        if not callable(finalizer):
            raise Error(
                f"runtime.SetFinalizer: second argument is {type_name(type(finalizer))}, not a function"
            )
        if not _takes_one(finalizer):
            raise Error(
                f"runtime.SetFinalizer: cannot pass {type_name(type(obj))} to finalizer {_text(finalizer)}"
            )
    if not _core.set_finalizer(obj, finalizer):
        raise Error("runtime.SetFinalizer: finalizer already set")


def _text(function: Callable[..., Any]) -> str:
    """The function's name and parameters."""
    import inspect

    name = getattr(function, "__qualname__", None) or type_name(type(function))
    return f"{name}{inspect.signature(function)}"


def _takes_one(function: Callable[..., Any]) -> bool:
    """Whether the function can be called with one argument; True if it does not say."""
    bound = 0
    plain: Any = function
    if type(plain) is MethodType:
        plain, bound = plain.__func__, 1
    if type(plain) is FunctionType and not plain.__dict__:  # Nothing of functools: the usual case is quick.
        code = plain.__code__
        given = 1 + bound
        required = code.co_argcount - len(plain.__defaults__ or ())
        optional_names = len(plain.__kwdefaults__ or ())
        most = code.co_argcount if not code.co_flags & 0x04 else given  # CO_VARARGS
        return required <= given <= most and code.co_kwonlyargcount == optional_names
    import inspect

    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # A builtin without one.
        return True
    try:
        signature.bind(None)
    except TypeError:
        return False
    return True


def _run() -> None:
    """The function of the finalizer goroutine."""
    _core.run_finalizers()


_core.set_finalizer_loop(_run)
