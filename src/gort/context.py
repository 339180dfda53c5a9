"""Go's package context: cancellation, deadlines and values that are handed down from call to call.

A cancellation takes no lock: one atomic dict operation sets a context's outcome, and code that adds a child
looks at the outcome afterwards. So cancelling is safe in signal handlers and finalizers.
"""

import time as _clock
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeAlias

from . import time
from ._core import Chan, Error, check_runs, go, select, unsignaled
from ._duration import Duration, to_seconds

__all__ = [
    "CancelCauseFunc",
    "CancelFunc",
    "Canceled",
    "Context",
    "DeadlineExceeded",
    "after_func",
    "background",
    "cause",
    "todo",
    "with_cancel",
    "with_cancel_cause",
    "with_deadline",
    "with_deadline_cause",
    "with_timeout",
    "with_timeout_cause",
    "with_value",
    "without_cancel",
]

CancelFunc: TypeAlias = Callable[[], None]
"""Cancels a context; calls after the first do nothing. May be called from anywhere: Go's CancelFunc."""

CancelCauseFunc: TypeAlias = Callable[[BaseException | None], None]
"""A CancelFunc that takes the cause; None means Canceled: Go's CancelCauseFunc."""


class Canceled(Exception):
    """What err() returns once the context is cancelled: Go's context.Canceled."""

    def __init__(self) -> None:
        super().__init__("context canceled")


class DeadlineExceeded(TimeoutError):
    """What err() returns once the context's deadline has passed: Go's context.DeadlineExceeded."""

    def __init__(self) -> None:
        super().__init__("context deadline exceeded")


class Context(ABC):
    """A deadline, a cancellation signal and values: Go's context.Context.

    The functions of this module make contexts; a program may derive its own class from this one.
    """

    @abstractmethod
    def deadline(self) -> datetime | None:
        """When work for this context is to be abandoned, as an aware datetime; None without a deadline."""

    @abstractmethod
    def done(self) -> Chan[Any] | None:
        """A channel that is closed when the context ends; None if it can never end."""

    @abstractmethod
    def err(self) -> BaseException | None:
        """None until the context ends, then a Canceled or a DeadlineExceeded."""

    @abstractmethod
    def value(self, key: object, /) -> Any:
        """The value for the key; None if there is none."""


# -- contexts that are never cancelled ----------------------------------------------------------


class _Empty(Context):
    """A root: never cancelled, without values and without a deadline."""

    def __init__(self, name: str) -> None:
        self._name = name

    def deadline(self) -> datetime | None:
        return None

    def done(self) -> Chan[Any] | None:
        return None

    def err(self) -> BaseException | None:
        return None

    def value(self, key: object, /) -> Any:
        return None

    def __repr__(self) -> str:
        return f"context.{self._name}()"


_background = _Empty("background")
_todo = _Empty("todo")


def background() -> Context:
    """The root of all contexts: never cancelled, no values, no deadline. Mirrors Go's context.Background."""
    return _background


def todo() -> Context:
    """Like background(), where it is not yet clear which context to use. Mirrors Go's context.TODO."""
    return _todo


class _Derived(Context):
    """A context that asks its ancestors what it does not know itself.

    It refers to the ancestors that matter, so that with a long chain of contexts only value() takes longer,
    and nothing recurses.
    """

    def __init__(self, parent: Context) -> None:
        self._parent = parent
        # The nearest ancestors that can be cancelled and that have a deadline; the first of another class.
        self._canceler: _Cancelable | None = None
        self._limit: _Deadline | None = None
        self._origin = parent
        if isinstance(parent, _Derived):
            self._canceler = parent if isinstance(parent, _Cancelable) else parent._canceler
            self._limit = parent if isinstance(parent, _Deadline) else parent._limit
            self._origin = parent._origin

    def deadline(self) -> datetime | None:
        return self._limit.deadline() if self._limit is not None else self._origin.deadline()

    def done(self) -> Chan[Any] | None:
        return self._canceler.done() if self._canceler is not None else self._origin.done()

    def err(self) -> BaseException | None:
        return self._canceler.err() if self._canceler is not None else self._origin.err()

    def value(self, key: object, /) -> Any:
        if key is _CANCELER:
            return self._canceler if self._canceler is not None else self._origin.value(key)
        ctx: Context = self
        while isinstance(ctx, _Derived):
            if isinstance(ctx, _Value) and (ctx._key is key or ctx._key == key):
                return ctx._value
            ctx = ctx._parent
        return ctx.value(key)


class _Value(_Derived):
    def __init__(self, parent: Context, key: object, value: Any) -> None:
        super().__init__(parent)
        self._key = key
        self._value = value

    def __repr__(self) -> str:
        return f"<context.with_value key={self._key!r}>"


def with_value(parent: Context, key: object, value: Any, /) -> Context:
    """A context, derived from parent, in which value(key) returns value. Mirrors Go's context.WithValue.

    Keys are compared with ==; use keys of a type of your own, so that packages do not collide. Raises
    TypeError if parent is not a Context or key is None.
    """
    _check_context(parent)
    if key is None:
        raise TypeError("with_value() takes a key that is not None")
    return _Value(parent, key, value)


class _WithoutCancel(_Derived):
    def __init__(self, parent: Context) -> None:
        super().__init__(parent)
        self._canceler = None
        self._limit = None
        self._origin = _background

    def __repr__(self) -> str:
        return "<context.without_cancel>"


def without_cancel(parent: Context, /) -> Context:
    """A context with the parent's values that does not end with it. Mirrors Go's context.WithoutCancel.

    Raises TypeError if parent is not a Context.
    """
    _check_context(parent)
    return _WithoutCancel(parent)


# -- contexts that can be cancelled -------------------------------------------------------------


class _Outcome(NamedTuple):
    err: BaseException
    cause: BaseException


# The key whose value is the nearest _Cancelable; a program's own class hands it on like any key.
_CANCELER = object()


class _Cancelable(_Derived):
    """A context that ends once, and all contexts derived from it end with it."""

    def __init__(self, parent: Context) -> None:
        super().__init__(parent)
        self._done: Chan[Any] = Chan()
        # Empty, or the _Outcome under "": filled by setdefault, which lets one of many win.
        self._outcome: dict[str, _Outcome] = {}
        self._children: dict[_Cancelable, None] = {}
        # The context among whose children this one is.
        self._above: _Cancelable | None = None

    def done(self) -> Chan[Any]:
        return self._done

    def err(self) -> BaseException | None:
        outcome = self._outcome.get("")
        return outcome.err if outcome is not None else None

    def _cause(self) -> BaseException | None:
        outcome = self._outcome.get("")
        return outcome.cause if outcome is not None else None

    def value(self, key: object, /) -> Any:
        return self if key is _CANCELER else super().value(key)

    def _follow(self) -> None:
        """Makes this context end with its parent."""
        parent = self._parent
        done = parent.done()
        if done is None:
            return
        above = parent.value(_CANCELER)
        if isinstance(above, _Cancelable) and above._done is done:
            self._above = above
            above._children[self] = None
            outcome = above._outcome.get("")
            if outcome is not None:
                self._cancel(*outcome)
            return
        err = parent.err()
        if err is not None:
            self._cancel(err, cause(parent))
            return
        # A class of the program's own above: only its channel tells when it is cancelled.
        go(self._watch, done)

    def _watch(self, done: Chan[Any]) -> None:
        if select(done, self._done)[0] == 0:
            err = self._parent.err() or Canceled()
            self._cancel(err, cause(self._parent))

    def _cancel(self, err: BaseException, cause: BaseException | None = None) -> None:
        """Ends this context and all below it. When it returns, done() is closed, even if by another call."""
        # What a signal's handler raises must not leave half of them.
        unsignaled(self._end, _Outcome(err, cause if cause is not None else err))

    def _end(self, outcome: _Outcome) -> None:
        pending = [self]
        while pending:
            ctx = pending.pop()
            first = ctx._outcome.setdefault("", outcome) is outcome
            try:
                ctx._done.close()
            except Error:
                pass  # Another call of _cancel has closed it.
            while ctx._children:
                try:
                    pending.append(ctx._children.popitem()[0])
                except KeyError:
                    break
            if ctx._above is not None:
                ctx._above._children.pop(ctx, None)
            if first:
                ctx._ended()

    def _ended(self) -> None:
        """Called once, when the context has ended."""

    def __repr__(self) -> str:
        return f"<context.with_cancel{self._state()}>"

    def _state(self) -> str:
        err = self.err()
        return f": {err}" if err is not None else ""


class _Deadline(_Cancelable):
    """A _Cancelable that also ends by itself."""

    def __init__(self, parent: Context, when: datetime, seconds: float) -> None:
        super().__init__(parent)
        self._when = when
        self._expires = _clock.monotonic() + seconds  # in any case; `when` is what it is called
        self._timer: time.Timer | None = None

    def deadline(self) -> datetime | None:
        return self._when

    def _ended(self) -> None:
        if self._timer is not None:
            self._timer.stop()

    def __repr__(self) -> str:
        return f"<context.with_deadline {self._when}{self._state()}>"


def with_cancel(parent: Context, /) -> tuple[_Cancelable, CancelFunc]:
    """A context that ends with its parent, or when the function that is returned with it is called.

    Mirrors Go's context.WithCancel. Raises TypeError if parent is not a Context.
    """
    ctx = _new(parent)
    return ctx, lambda: ctx._cancel(Canceled())


def with_cancel_cause(parent: Context, /) -> tuple[_Cancelable, CancelCauseFunc]:
    """Like with_cancel(); the function takes the exception that cause(ctx) is to return, or None.

    Mirrors Go's context.WithCancelCause. Raises TypeError if parent is not a Context; the function does if
    its argument is neither an exception nor None.
    """
    ctx = _new(parent)

    def cancel(cause: BaseException | None) -> None:
        _check_cause(cause)
        ctx._cancel(Canceled(), cause)

    return ctx, cancel


def with_deadline(parent: Context, when: datetime | float, /) -> tuple[_Cancelable, CancelFunc]:
    """A context that ends at `when`, with its parent, or when the function returned with it is called.

    `when` is a datetime (a naive one is local time) or a Unix time in seconds. The deadline is kept on the
    monotonic clock: setting the system's clock does not move it. If the parent's deadline is earlier, that
    one holds. Mirrors Go's context.WithDeadline. Raises TypeError if parent is not a Context or `when` is not
    a time, and ValueError if `when` is out of the range of datetime.
    """
    return with_deadline_cause(parent, when, None)


def with_deadline_cause(
    parent: Context, when: datetime | float, cause: BaseException | None, /
) -> tuple[_Cancelable, CancelFunc]:
    """Like with_deadline(), with the exception that cause(ctx) is to return once the deadline has passed.

    Mirrors Go's context.WithDeadlineCause. Also raises TypeError if cause is neither an exception nor None.
    """
    if isinstance(when, datetime):
        aware = when if when.tzinfo is not None else when.astimezone()
    elif isinstance(when, (int, float)):
        aware = _at(when)
    else:
        raise TypeError(f"a deadline must be a datetime or a Unix time in seconds, not {when!r}")
    return _until(parent, aware, aware.timestamp() - _clock.time(), cause)


def with_timeout(parent: Context, d: Duration, /) -> tuple[_Cancelable, CancelFunc]:
    """Like with_deadline(), d from now: a number of seconds or a timedelta. Mirrors Go's context.WithTimeout.

    Raises TypeError if parent is not a Context or d is not a duration, and ValueError if d is NaN.
    """
    return with_timeout_cause(parent, d, None)


def with_timeout_cause(
    parent: Context, d: Duration, cause: BaseException | None, /
) -> tuple[_Cancelable, CancelFunc]:
    """Like with_timeout(), with the exception that cause(ctx) is to return once the time is over.

    Mirrors Go's context.WithTimeoutCause. Also raises TypeError if cause is neither an exception nor None.
    """
    seconds = to_seconds(d)
    return _until(parent, _at(_clock.time() + seconds), seconds, cause)


def cause(ctx: Context, /) -> BaseException | None:
    """Why ctx has ended: the cause that was given, otherwise what err() returns. Mirrors Go's context.Cause.

    None until ctx ends. Raises TypeError if ctx is not a Context.
    """
    _check_context(ctx)
    above = ctx.value(_CANCELER)
    return above._cause() if isinstance(above, _Cancelable) else ctx.err()


class _AfterFunc(_Cancelable):
    """A child whose end starts a function."""

    def __init__(self, parent: Context, f: Callable[[], Any]) -> None:
        super().__init__(parent)
        # Popped by the one who decides whether f is started.
        self._f = [f]

    def _take(self) -> Callable[[], Any] | None:
        try:
            return self._f.pop()
        except IndexError:
            return None

    def _ended(self) -> None:
        f = self._take()
        if f is not None:
            go(f)


def after_func(ctx: Context, f: Callable[[], Any], /) -> Callable[[], bool]:
    """Calls f() in a goroutine of its own once ctx has ended; returns a function that cancels this.

    That function returns True if it kept f from being started. Mirrors Go's context.AfterFunc. Raises
    TypeError if ctx is not a Context, if f cannot be called, or if calling it runs nothing (a coroutine or
    generator function).
    """
    _check_context(ctx)
    check_runs("after_func()", f)
    child = _AfterFunc(ctx, f)
    child._follow()

    def stop() -> bool:
        stopped = child._take() is not None
        if stopped:
            child._cancel(Canceled())
        return stopped

    return stop


# -- helpers -------------------------------------------------------------------------------------


def _check_context(ctx: object) -> None:
    if not isinstance(ctx, Context):
        raise TypeError(f"a context must be a gort.context.Context, not {ctx!r}")


def _check_cause(cause: object) -> None:
    if cause is not None and not isinstance(cause, BaseException):
        raise TypeError(f"a cause must be an exception or None, not {cause!r}")


def _new(parent: Context) -> _Cancelable:
    _check_context(parent)
    ctx = _Cancelable(parent)
    ctx._follow()
    return ctx


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _at(unix: float) -> datetime:
    """A Unix time as a datetime."""
    try:
        return _EPOCH + timedelta(seconds=unix)
    except (OverflowError, ValueError):
        raise ValueError(f"a deadline must be a Unix time of the years 1 to 9999, not {unix!r}") from None


def _ends_before(ctx: Context, when: datetime, seconds: float) -> bool:
    """True if ctx ends at `when`, which is `seconds` from now, or earlier."""
    limit = ctx if isinstance(ctx, _Deadline) else ctx._limit if isinstance(ctx, _Derived) else None
    if limit is not None:
        return limit._expires <= _clock.monotonic() + seconds
    deadline = ctx.deadline()
    return deadline is not None and deadline <= when


def _until(
    parent: Context, when: datetime, seconds: float, cause: BaseException | None
) -> tuple[_Cancelable, CancelFunc]:
    """A context that ends at `when`, which is `seconds` from now."""
    _check_context(parent)
    _check_cause(cause)
    if _ends_before(parent, when, seconds):
        return with_cancel(parent)
    ctx = _Deadline(parent, when, seconds)
    ctx._follow()
    if seconds <= 0:
        ctx._cancel(DeadlineExceeded(), cause)
    elif ctx.err() is None:
        ctx._timer = time.after_func(seconds, lambda: ctx._cancel(DeadlineExceeded(), cause))
        if ctx.err() is not None:
            # Cancelled meanwhile, perhaps before there was a timer to stop.
            ctx._timer.stop()
    return ctx, lambda: ctx._cancel(Canceled())
