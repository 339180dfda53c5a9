"""Type assertions: Go's `value.(T)`."""

from __future__ import annotations

from . import _cpython
from ._core import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Literal, TypeVar, overload

    _T = TypeVar("_T")


class TypeAssertionError(Error):
    """Raised when a type assertion fails: Go's runtime.TypeAssertionError."""

    __module__ = "gort.runtime"


if TYPE_CHECKING:

    @overload
    def type_assert(value: object, type_: type[_T], /, *, ok: Literal[False] = False) -> _T: ...
    @overload
    def type_assert(value: object, type_: type[_T], /, *, ok: Literal[True]) -> tuple[_T | None, bool]: ...


def type_assert(value: object, type_: Any, /, *, ok: bool = False) -> Any:
    """Asserts that value is an instance of type_ and returns it: Go's `value.(T)`.

    type_ is what isinstance takes: a class, an abstract base class, a runtime-checkable protocol, a union
    or a tuple of them. With ok=True the result is (value, True), or (None, False) if the assertion fails:
    Go's comma-ok form.

    Raises runtime.TypeAssertionError if value is of another type and ok is False, and TypeError if type_ is
    not what isinstance takes.
    """
    try:
        holds = isinstance(value, type_)
    except TypeError as error:
        if not _is_of_the_check(error):
            raise
        raise TypeError(
            f"type_assert() takes a class, a union or a runtime-checkable protocol, not {type_!r}"
        ) from None
    if ok:
        return (value, True) if holds else (None, False)
    if holds:
        return value
    raise TypeAssertionError(_message(value, type_))


def _is_of_the_check(error: BaseException) -> bool:
    """Does isinstance() itself complain, and not code of the program that it has called?"""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    module = trace.tb_frame.f_globals.get("__name__") if trace else None
    return module in (__name__, "abc", "typing", "typing_extensions")


def _message(value: object, want: Any) -> str:
    """Go's text: one form for nil, one for a missing method, one for the rest."""
    have, asked = type(value), type_name(want)
    if value is None:
        return f"interface conversion: interface {{}} is nil, not {asked}"
    missing = _missing_method(have, want)
    if missing:
        return f"interface conversion: {type_name(have)} is not {asked}: missing method {missing}"
    message = f"interface conversion: interface {{}} is {type_name(have)}, not {asked}"
    if isinstance(want, type) and have.__qualname__ == want.__qualname__:
        message += f" (types from different {'scopes' if have.__module__ == want.__module__ else 'packages'})"
    return message


def type_name(type_: Any) -> str:
    """The type as Go would name it, with its package: `int`, `shapes.Point`, `int | str`."""
    if isinstance(type_, tuple):
        return " | ".join(map(type_name, type_))
    if isinstance(type_, type):
        return (
            type_.__qualname__
            if type_.__module__ == "builtins"
            else f"{type_.__module__}.{type_.__qualname__}"
        )
    return str(type_)


def _missing_method(have: type, want: Any) -> str | None:
    """The first method, in alphabetical order, that the interface `want` has and `have` lacks, or None."""
    names: Iterable[str] | None = _cpython.protocol_members(want)
    if names is None:
        names = getattr(want, "__abstractmethods__", ())
    return min((name for name in names if not hasattr(have, name)), default=None)
