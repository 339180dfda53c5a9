"""Package gort.sync.errgroup: first exception, cancellation, limits."""

from __future__ import annotations

from typing import Any

import pytest

from gort import Chan, chan, context, go
from gort.runtime import Error, gosched
from gort.sync import WaitGroup, errgroup
from gort.sync.errgroup import Group
from harness import isolated
from helpers import Task, wait_until, wait_until_parked


def test_waits_for_all() -> None:
    group, done = Group(), []
    for i in range(10):
        group.go(lambda i: (gosched(), done.append(i)), i)
    group.wait()
    assert sorted(done) == list(range(10))


def test_keyword_arguments() -> None:
    group, got = Group(), []
    group.go(lambda a, *, b: got.append((a, b)), 1, b=2)  # type: ignore[misc]
    group.wait()
    assert got == [(1, 2)]


def test_wait_raises_the_first_exception() -> None:
    group = Group()
    gate: Chan[None] = chan()
    first, second = ValueError("first"), KeyError("second")

    def fail(error: Exception, after: Chan[None] | None) -> None:
        if after is not None:
            after.recv()
        raise error

    group.go(fail, second, gate)
    group.go(fail, first, None)
    wait_until(lambda: group._error is not None)
    gate.close()
    for _ in range(2):
        with pytest.raises(ValueError) as caught:
            group.wait()
        assert caught.value is first


def test_empty_group() -> None:
    Group().wait()


def test_context_is_cancelled_by_the_first_exception() -> None:
    group, ctx = errgroup.with_context(context.background())
    error = ValueError("broken")

    def fail() -> None:
        raise error

    group.go(lambda: ctx.done().recv())  # type: ignore[union-attr]
    group.go(fail)
    with pytest.raises(ValueError):
        group.wait()
    assert isinstance(ctx.err(), context.Canceled)
    assert context.cause(ctx) is error


def test_context_is_cancelled_by_wait() -> None:
    group, ctx = errgroup.with_context(context.background())
    group.go(lambda: None)
    assert ctx.err() is None
    group.wait()
    assert isinstance(ctx.err(), context.Canceled)


def test_context_needs_a_context() -> None:
    with pytest.raises(TypeError, match="not None"):
        errgroup.with_context(None)  # type: ignore[arg-type]


def test_limit() -> None:
    group, running, most = Group(), [0], [0]
    group.set_limit(3)

    def work() -> None:
        running[0] += 1
        most[0] = max(most[0], running[0])
        while most[0] < 3:
            gosched()  # until three have come
        for _ in range(5):
            gosched()
        running[0] -= 1

    for _ in range(20):
        group.go(work)
    group.wait()
    assert most == [3]


def test_go_waits_for_a_place() -> None:
    group = Group()
    group.set_limit(1)
    gate: Chan[None] = chan()
    group.go(gate.recv)
    waiter = Task("goroutine", group.go, lambda: None)
    wait_until_parked(1, "semacquire")
    gate.close()
    waiter.join()
    group.wait()


def test_try_go() -> None:
    group = Group()
    gate: Chan[None] = chan()
    assert group.try_go(gate.recv)
    gate.close()
    group.wait()
    group.set_limit(1)
    gate = chan()
    assert group.try_go(gate.recv)
    assert not group.try_go(gate.recv)
    gate.close()
    group.wait()
    assert group.try_go(lambda: None)
    group.wait()
    group.set_limit(0)
    assert not group.try_go(lambda: None)
    group.set_limit(-1)
    assert group.try_go(lambda: None)
    group.wait()


def test_a_failed_function_gives_its_place_back() -> None:
    group = Group()
    group.set_limit(1)

    def fail() -> None:
        raise ValueError("broken")

    group.go(fail)
    group.go(lambda: None)
    with pytest.raises(ValueError):
        group.wait()


def test_set_limit_while_active() -> None:
    group = Group()
    group.set_limit(2)
    gate: Chan[None] = chan()
    group.go(gate.recv)
    with pytest.raises(Error) as caught:
        group.set_limit(3)
    assert str(caught.value) == ("errgroup: modify limit while 1 goroutines in the group are still active")
    gate.close()
    group.wait()
    group.set_limit(3)


def test_bad_arguments() -> None:
    group: Any = Group()
    for bad in (None, 5):
        with pytest.raises(TypeError, match=repr(bad)):
            group.go(bad)
        with pytest.raises(TypeError, match=repr(bad)):
            group.try_go(bad)
    with pytest.raises(TypeError, match="'3'"):
        group.set_limit("3")


@isolated(status=7)
def test_system_exit_ends_the_process() -> None:
    import sys

    from gort.sync.errgroup import Group

    group = Group()
    group.go(sys.exit, 7)
    group.wait()


def test_group_from_inside_a_goroutine() -> None:
    results: Chan[int] = chan()

    def outer() -> None:
        group = Group()
        for i in range(3):
            group.go(results.send, i)
        group.wait()
        results.close()

    go(outer)
    assert sorted(results) == [0, 1, 2]


def test_its_core_refuses_what_is_no_semaphore() -> None:
    group: Any = WaitGroup()
    for arguments in ((int, 5), (int, 5, print), (int,), ()):
        with pytest.raises(TypeError, match=r"a Sema or None"):
            group._go(*arguments)
        with pytest.raises(TypeError, match=r"a Sema or None"):
            group._try_go(*arguments)
    group.wait()
