"""Package gort.context: cancellation, deadlines, values, causes."""

from __future__ import annotations

import gc
import time as python_time
import weakref
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from gort import Chan, _core, chan, context, default, runtime, select
from gort.context import (
    Canceled,
    Context,
    DeadlineExceeded,
    after_func,
    background,
    cause,
    todo,
    with_cancel,
    with_cancel_cause,
    with_deadline,
    with_deadline_cause,
    with_timeout,
    with_timeout_cause,
    with_value,
    without_cancel,
)
from helpers import Task, wait_until


def is_done(ctx: Context) -> bool:
    index, value, ok = select(ctx.done(), default)
    assert (value, ok) == (None, False)
    return index == 0


def goids() -> set[int]:
    """The goroutines that exist. (How many does not tell: those of earlier tests may just be ending.)"""
    return {info.goid for info in _core.goroutines()}


class Foreign(Context):
    """A program's own context: nothing but a channel and an error."""

    def __init__(self) -> None:
        self.channel: Chan[None] = chan()
        self.error: BaseException | None = None
        self.when: datetime | None = None

    def cancel(self, error: BaseException) -> None:
        self.error = error
        self.channel.close()

    def deadline(self) -> datetime | None:
        return self.when

    def done(self) -> Chan[None] | None:
        return self.channel

    def err(self) -> BaseException | None:
        return self.error

    def value(self, key: object, /) -> Any:
        return f"foreign {key}" if isinstance(key, str) else None


class Wrapper(Context):
    """A program's own context that answers everything as another one does."""

    def __init__(self, inner: Context) -> None:
        self.inner = inner

    def deadline(self) -> datetime | None:
        return self.inner.deadline()

    def done(self) -> Chan[Any] | None:
        return self.inner.done()

    def err(self) -> BaseException | None:
        return self.inner.err()

    def value(self, key: object, /) -> Any:
        return self.inner.value(key)


# -- roots ------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [background, todo])
def test_roots(make: Any) -> None:
    ctx = make()
    assert ctx is make()
    assert (ctx.done(), ctx.err(), ctx.deadline(), ctx.value("key"), cause(ctx)) == (None,) * 5
    assert not is_done(ctx)
    assert repr(ctx) == f"context.{make.__name__}()"


# -- cancellation -----------------------------------------------------------------------------


def test_cancel() -> None:
    ctx, cancel = with_cancel(background())
    assert ctx.err() is None
    assert not is_done(ctx)
    cancel()
    assert is_done(ctx)
    error = ctx.err()
    assert isinstance(error, Canceled)
    assert str(error) == "context canceled"
    assert cause(ctx) is error
    cancel()
    assert ctx.err() is error


def test_cancel_wakes_who_waits() -> None:
    ctx, cancel = with_cancel(background())
    task = Task("goroutine", ctx.done().recv_ok)
    cancel()
    assert task.join() == (None, False)


def test_cancel_goes_down_and_not_up() -> None:
    root, cancel_root = with_cancel(background())
    middle, cancel_middle = with_cancel(with_value(root, "key", 1))
    leaf, cancel_leaf = with_cancel(middle)
    other, cancel_other = with_cancel(root)
    cancel_middle()
    assert [is_done(ctx) for ctx in (root, middle, leaf, other)] == [False, True, True, False]
    assert isinstance(leaf.err(), Canceled)
    cancel_root()
    assert is_done(other)
    late, cancel_late = with_cancel(root)
    assert is_done(late)
    for cancel in (cancel_leaf, cancel_other, cancel_late):
        cancel()


def test_cancel_from_anywhere(anywhere: Any) -> None:
    ctx, cancel = with_cancel(background())
    anywhere(cancel)
    assert is_done(ctx)


def test_cancelled_children_leave_their_parent() -> None:
    root, cancel_root = with_cancel(background())
    child, cancel = with_cancel(root)
    ref = weakref.ref(child)
    cancel()
    del child, cancel
    gc.collect()
    assert ref() is None
    cancel_root()


def test_long_chains_need_no_recursion() -> None:
    root, cancel = with_timeout(background(), 3600)
    ctx: Context = root
    for i in range(3000):
        ctx = with_value(with_cancel(ctx)[0], i, -i)
    assert ctx.deadline() == root.deadline()
    assert ctx.value(0) == 0
    assert ctx.value(1500) == -1500
    assert ctx.value("absent") is None
    cancel()
    assert is_done(ctx)


def test_many_cancel_at_once() -> None:
    root, cancel = with_cancel(background())
    children = [with_cancel(root) for _ in range(100)]
    tasks = [Task("thread", child_cancel) for _, child_cancel in children[:20]]
    tasks += [Task("goroutine", cancel) for _ in range(5)]
    tasks += [Task("thread", cancel) for _ in range(5)]
    for task in tasks:
        task.join()
    assert is_done(root)
    assert all(is_done(ctx) for ctx, _ in children)


# -- causes -----------------------------------------------------------------------------------


def test_cancel_cause() -> None:
    ctx, cancel = with_cancel_cause(background())
    child, child_cancel = with_cancel(with_value(ctx, "key", 1))
    why = LookupError("why")
    assert cause(ctx) is None
    cancel(why)
    for one in (ctx, child, with_value(child, "key", 2)):
        assert isinstance(one.err(), Canceled)
        assert cause(one) is why
    cancel(ValueError("too late"))
    assert cause(ctx) is why
    child_cancel()


def test_cancel_cause_of_none() -> None:
    ctx, cancel = with_cancel_cause(background())
    cancel(None)
    assert isinstance(cause(ctx), Canceled)


def test_cause_must_be_an_exception() -> None:
    _, cancel = with_cancel_cause(background())
    with pytest.raises(TypeError, match="'why'"):
        cancel("why")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="'why'"):
        with_timeout_cause(background(), 1, "why")  # type: ignore[arg-type]


# -- deadlines --------------------------------------------------------------------------------


def test_timeout() -> None:
    ctx, cancel = with_timeout(background(), 0.5)
    child, child_cancel = with_cancel(ctx)
    assert ctx.err() is None
    assert ctx.done().recv_ok() == (None, False)
    error = ctx.err()
    assert isinstance(error, DeadlineExceeded)
    assert isinstance(error, TimeoutError)
    assert str(error) == "context deadline exceeded"
    child.done().recv()
    assert child.err() is error
    cancel()
    assert ctx.err() is error
    child_cancel()


def test_timeout_cancelled_before() -> None:
    ctx, cancel = with_timeout(background(), 3600)
    cancel()
    assert isinstance(ctx.err(), Canceled)


@pytest.mark.parametrize("d", [0, -1, timedelta(0)])
def test_timeout_of_nothing(d: Any) -> None:
    ctx, _ = with_timeout(background(), d)
    assert isinstance(ctx.err(), DeadlineExceeded)
    assert is_done(ctx)


@pytest.mark.parametrize("d", [float("inf"), timedelta(days=10_000)])
def test_timeout_of_ages(d: Any) -> None:
    ctx, cancel = with_timeout(background(), d)
    deadline = ctx.deadline()
    assert deadline is not None
    assert deadline > datetime.now(UTC)
    assert ctx.err() is None
    cancel()


def test_deadline_is_an_aware_datetime() -> None:
    zone = timezone(timedelta(hours=5))
    in_an_hour = datetime.now(zone) + timedelta(hours=1)
    ctx, cancel = with_deadline(background(), in_an_hour)
    assert ctx.deadline() == in_an_hour
    cancel()
    ctx, cancel = with_deadline(background(), in_an_hour.timestamp())
    deadline = ctx.deadline()
    assert deadline is not None
    assert deadline.tzinfo is not None
    assert abs(deadline - in_an_hour) < timedelta(milliseconds=1)
    cancel()
    naive = datetime.now() + timedelta(hours=1)
    ctx, cancel = with_deadline(background(), naive)
    assert ctx.deadline() == naive.astimezone()
    cancel()


def test_deadline_that_has_passed() -> None:
    for when in (datetime.now(UTC) - timedelta(1), python_time.time() - 1, 0):
        ctx, _ = with_deadline_cause(background(), when, LookupError("late"))
        assert isinstance(ctx.err(), DeadlineExceeded)
        assert isinstance(cause(ctx), LookupError)


def test_the_earlier_deadline_holds() -> None:
    parent, cancel = with_timeout(background(), 3600)
    later, cancel_later = with_timeout(with_value(parent, "key", 1), 7200)
    assert later.deadline() == parent.deadline()
    earlier, cancel_earlier = with_timeout(parent, 0.001)
    assert earlier.deadline() < parent.deadline()  # type: ignore[operator]
    earlier.done().recv()
    assert isinstance(earlier.err(), DeadlineExceeded)
    assert parent.err() is None
    cancel()
    assert isinstance(later.err(), Canceled)
    cancel_later()
    cancel_earlier()


def test_the_clock_may_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines are compared on the monotonic clock."""
    parent, cancel = with_timeout(background(), 3600)
    now = python_time.time()
    monkeypatch.setattr(python_time, "time", lambda: now + 1e6)
    child, cancel_child = with_timeout(parent, 0.001)
    child.done().recv()
    assert isinstance(child.err(), DeadlineExceeded)
    assert parent.err() is None
    cancel_child()
    cancel()


def test_timeout_cause() -> None:
    why = LookupError("slow")
    ctx, cancel = with_timeout_cause(background(), 0.001, why)
    ctx.done().recv()
    assert isinstance(ctx.err(), DeadlineExceeded)
    assert cause(ctx) is why
    cancel()


@pytest.mark.parametrize("bad", ["tomorrow", None, timedelta(1)])
def test_deadline_of_a_wrong_type(bad: Any) -> None:
    with pytest.raises(TypeError) as caught:
        with_deadline(background(), bad)
    assert repr(bad) in str(caught.value)


@pytest.mark.parametrize("bad", [1e20, float("nan"), float("inf"), -1e20])
def test_deadline_out_of_range(bad: float) -> None:
    with pytest.raises(ValueError) as caught:
        with_deadline(background(), bad)
    assert repr(bad) in str(caught.value)


# -- values -----------------------------------------------------------------------------------


def test_values() -> None:
    class Key:
        pass

    key = Key()
    ctx = with_value(background(), key, 1)
    inner = with_value(ctx, "name", "inner")
    shadow = with_value(inner, key, 2)
    assert (ctx.value(key), inner.value(key), shadow.value(key)) == (1, 1, 2)
    assert (ctx.value("name"), shadow.value("name")) == (None, "inner")
    assert with_value(background(), (1, "a"), "tuple").value((1, "a")) == "tuple"
    assert with_value(background(), "key", None).value("key") is None


def test_none_is_no_key() -> None:
    with pytest.raises(TypeError, match="not None"):
        with_value(background(), None, 1)


# -- without_cancel ---------------------------------------------------------------------------


def test_without_cancel() -> None:
    parent, cancel = with_timeout(with_value(background(), "key", 1), 3600)
    ctx = without_cancel(parent)
    child, cancel_child = with_cancel(ctx)
    cancel()
    assert (ctx.done(), ctx.err(), ctx.deadline(), cause(ctx)) == (None,) * 4
    assert ctx.value("key") == 1
    assert child.value("key") == 1
    assert child.err() is None
    cancel_child()
    assert isinstance(child.err(), Canceled)


# -- after_func -------------------------------------------------------------------------------


def test_after_func() -> None:
    ctx, cancel = with_cancel(background())
    called: Chan[int] = chan()
    stop = after_func(ctx, lambda: called.send(1))
    assert select(called, default)[0] == 1
    cancel()
    assert called.recv() == 1
    assert stop() is False


def test_after_func_of_a_context_that_is_done() -> None:
    ctx, cancel = with_cancel(background())
    cancel()
    called: Chan[int] = chan()
    stop = after_func(ctx, lambda: called.send(1))
    assert called.recv() == 1
    assert stop() is False


def test_after_func_stopped() -> None:
    ctx, cancel = with_cancel(background())
    called = []
    stop = after_func(ctx, lambda: called.append(1))
    assert stop() is True
    assert stop() is False
    assert not ctx._children
    cancel()
    runtime.gosched()
    assert called == []


def test_after_func_of_background_never_runs() -> None:
    stop = after_func(background(), lambda: None)
    assert stop() is True


def test_after_func_needs_a_callable() -> None:
    with pytest.raises(TypeError, match="not 5"):
        after_func(background(), 5)  # type: ignore[arg-type]


# -- a program's own contexts -----------------------------------------------------------------


def test_foreign_parent() -> None:
    foreign = Foreign()
    ctx, cancel = with_cancel(with_value(foreign, "mine", 1))
    assert (ctx.value("mine"), ctx.value("other")) == (1, "foreign other")
    assert ctx.err() is None
    error = LookupError("foreign")
    foreign.cancel(error)
    ctx.done().recv()
    assert ctx.err() is error
    assert cause(ctx) is error
    cancel()


def test_foreign_parent_that_is_done() -> None:
    foreign = Foreign()
    error = LookupError("foreign")
    foreign.cancel(error)
    ctx, _ = with_cancel(foreign)
    assert ctx.err() is error


def test_foreign_parent_is_no_longer_watched_after_cancel() -> None:
    before = goids()
    _, cancel = with_cancel(Foreign())
    (watcher,) = goids() - before
    cancel()
    wait_until(lambda: watcher not in goids())


def test_foreign_parents_deadline() -> None:
    foreign = Foreign()
    foreign.when = datetime.now(UTC) + timedelta(hours=1)
    ctx, cancel = with_timeout(foreign, 7200)
    assert ctx.deadline() == foreign.when
    cancel()
    ctx, cancel = with_timeout(foreign, 60)
    assert ctx.deadline() != foreign.when
    cancel()


def test_wrapper_needs_no_goroutine() -> None:
    inner, cancel_inner = with_cancel_cause(background())
    before = goids()
    ctx, cancel = with_cancel(Wrapper(inner))
    assert not goids() - before
    why = LookupError("why")
    cancel_inner(why)
    assert is_done(ctx)
    assert cause(ctx) is why
    assert cause(Wrapper(inner)) is why
    cancel()


# -- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        with_cancel,
        with_cancel_cause,
        without_cancel,
        cause,
        lambda parent: with_value(parent, "key", 1),
        lambda parent: with_timeout(parent, 1),
        lambda parent: with_deadline(parent, 0),
        lambda parent: after_func(parent, lambda: None),
    ],
)
@pytest.mark.parametrize("bad", [None, 5, Context])
def test_parents_must_be_contexts(call: Any, bad: Any) -> None:
    with pytest.raises(TypeError) as caught:
        call(bad)
    assert str(caught.value) == f"a context must be a gort.context.Context, not {bad!r}"


def test_contexts_have_readable_reprs() -> None:
    ctx, cancel = with_cancel(with_value(background(), "key", 1))
    cancel()
    assert repr(ctx) == "<context.with_cancel: context canceled>"
    assert repr(with_value(ctx, "key", 1)) == "<context.with_value key='key'>"
    assert repr(without_cancel(ctx)) == "<context.without_cancel>"
    timed, cancel = with_deadline(background(), 4e9)
    assert repr(timed) == "<context.with_deadline 2096-10-02 07:06:40+00:00>"
    cancel()


def test_every_public_name_exists() -> None:
    assert all(hasattr(context, name) for name in context.__all__)
