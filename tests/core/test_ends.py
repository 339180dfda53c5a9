"""The end of a goroutine's life: it lets go of what it owned, and destructors may do what any code may."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from types import ModuleType
from typing import Any

import pytest

import gort
from gort import _core, chan, go, runtime, select
from gort.sync import Mutex, WaitGroup
from gort.time import after, sleep
from harness import isolated
from helpers import must_recv, wait_until_parked

local = threading.local()
variable: ContextVar[Any] = ContextVar("variable")


class Owned:
    """Does something when it goes."""

    def __init__(self, last: Callable[[], Any]) -> None:
        self.last = last

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def method(self) -> None:
        pass

    def __del__(self) -> None:
        self.last()


def leave(goexit: bool) -> None:
    if goexit:
        runtime.goexit()


def by_callable(last: Callable[[], Any], goexit: bool) -> None:
    go(Owned(last))


def by_method(last: Callable[[], Any], goexit: bool) -> None:
    go(Owned(last).method)


def by_closure(last: Callable[[], Any], goexit: bool) -> None:
    def closure() -> Callable[[], Any]:  # its cell is nobody else's when the goroutine begins
        owned = Owned(last)
        return lambda: (owned, leave(goexit))

    go(closure())


def by_argument(last: Callable[[], Any], goexit: bool) -> None:
    go(lambda owned: leave(goexit), Owned(last))


def by_many_arguments(last: Callable[[], Any], goexit: bool) -> None:
    go(lambda *args: leave(goexit), *range(20), Owned(last), *range(20))  # type: ignore[arg-type,call-arg]


def by_keyword(last: Callable[[], Any], goexit: bool) -> None:
    go(lambda **kwargs: leave(goexit), a=1, owned=Owned(last), b=2)


def by_group(last: Callable[[], Any], goexit: bool) -> None:
    WaitGroup().go(lambda owned: leave(goexit), Owned(last))


def by_local(last: Callable[[], Any], goexit: bool) -> None:
    go(lambda: (setattr(local, "owned", Owned(last)), leave(goexit)))


def by_context(last: Callable[[], Any], goexit: bool) -> None:
    go(lambda: (variable.set(Owned(last)), leave(goexit)))


def by_trace(last: Callable[[], Any], goexit: bool) -> None:
    go(lambda: (sys.settrace(Owned(last)), leave(goexit)))


def by_result(last: Callable[[], Any], goexit: bool) -> None:
    go(lambda: Owned(last))


def by_generator_hook(last: Callable[[], Any], goexit: bool) -> None:
    go(lambda: (sys.set_asyncgen_hooks(firstiter=Owned(last)), leave(goexit)))


OWNERS = [value for name, value in list(globals().items()) if name.startswith("by_")]


def waits(free: Any, line: list[str]) -> Iterator[tuple[str, Callable[[], Any]]]:
    mutex, group = Mutex(), WaitGroup()

    def locked() -> None:
        mutex.lock()
        after_a_while = WaitGroup()
        after_a_while.go(lambda: (sleep(0.001), mutex.unlock()))
        with mutex:
            pass
        after_a_while.wait()

    def grouped() -> None:
        group.add(1)
        go(group.done)
        group.wait()

    def computed() -> None:
        """Long enough to be taken for busy: its P goes to others."""
        end = time.monotonic() + 0.03
        while time.monotonic() < end:
            pass

    def selected() -> None:
        select(free, after(0.001))

    yield "sleep", lambda: sleep(0.002)
    yield "yield", runtime.gosched
    yield "lock", locked
    yield "group", grouped
    yield "select", selected
    yield "C", lambda: time.sleep(0.02)
    yield "compute", computed
    yield "goroutine", lambda: gort.run(sleep, 0.001)
    yield "thread", lambda: (runtime.lock_os_thread(), sleep(0.001))


@pytest.mark.parametrize("goexit", [False, True])
@pytest.mark.parametrize("owner", OWNERS)
def test_destructor_waits(owner: Callable[[Callable[[], Any], bool], None], goexit: bool) -> None:
    never = chan()
    for name, wait in waits(never, []):
        handed_back = chan()

        def last(name: str = name, wait: Callable[[], Any] = wait, handed_back: Any = handed_back) -> None:
            wait()
            handed_back.send(name)  # nobody receives yet
            wait()
            handed_back.send(name)

        before = runtime.num_goroutine()
        owner(last, goexit)
        for _ in range(2):
            sleep(0.001)
            case, value, _ = select(handed_back, after(10))
            assert (case, value) == (0, name)
        end = time.monotonic() + 10
        while runtime.num_goroutine() > before and time.monotonic() < end:
            sleep(0.001)
        assert runtime.num_goroutine() <= before
    for _ in range(50):  # those goroutines are used again
        assert gort.run(lambda: (sleep(0), len(vars(local)), variable.get(None))[1:]) == (0, None)


@isolated()
def test_waiting_destructors_are_seen() -> None:
    """The goroutine is shown like any other, and says where it comes from."""
    gate, number = chan(), chan(1)

    def task() -> None:
        number.send(_core.goid())
        local.owned = Owned(gate.recv)

    go(task)
    goid = number.recv()
    wait_until_parked(1, "chan receive")
    (info,) = [g for g in _core.goroutines() if g.goid == goid]
    assert (info.status, info.wait_reason, info.parent) == ("waiting", "chan receive", 1)
    assert info.created_code is not None
    assert info.created_code.co_name == "test_waiting_destructors_are_seen"
    text = runtime.stack(all=True)
    assert f"goroutine {goid} [chan receive]" in text and ".Owned.__del__(" in text
    gate.send(1)


def test_what_goexit_destroys_may_wait() -> None:
    """The frames that it leaves live as long as its traceback, which goes last."""
    out = chan()

    def generator() -> Iterator[int]:
        try:
            yield 1
        finally:
            sleep(0.001)
            out.send("generator")

    def inner() -> None:
        owned = Owned(lambda: (sleep(0.001), out.send("inner")))  # noqa: F841
        runtime.goexit()

    def body() -> None:
        owned = Owned(lambda: (sleep(0.001), out.send("outer")))  # noqa: F841
        ends = Owned(runtime.goexit)  # noqa: F841  # only its own destructor
        begun = generator()
        next(begun)
        inner()

    def wait() -> None:
        go(body)
        assert {must_recv(out) for _ in range(3)} == {"generator", "inner", "outer"}

    assert ignored(wait) == [_core.Goexit]


def test_what_is_returned_after_a_swallowed_goexit_may_wait() -> None:
    """It swallowed its Goexit and returned: goexit is over before the result is destroyed."""
    out = chan()

    def body() -> Owned:
        try:
            runtime.goexit()
        except BaseException:
            pass
        return Owned(lambda: (sleep(0.001), out.send("result"), runtime.goexit()))

    def wait() -> None:
        go(lambda argument: body(), Owned(lambda: (sleep(0.001), out.send("argument"))))
        for expected in ("result", "argument"):
            assert select(out, after(10))[:2] == (0, expected)

    assert ignored(wait) == [_core.Goexit]


def ignored(fn: Callable[[], Any]) -> list[Any]:
    """The exceptions that the interpreter ignores while fn runs."""
    seen: list[Any] = []
    hook, sys.unraisablehook = sys.unraisablehook, lambda u: seen.append(u.exc_type)
    try:
        fn()
    finally:
        sys.unraisablehook = hook
    return seen


@pytest.mark.parametrize("goexit", [False, True])
@pytest.mark.parametrize("first", [runtime.goexit, sys.exit], ids=["goexit", "exit"])
def test_destructor_ends_itself(first: Callable[[], Any], goexit: bool) -> None:
    """The interpreter ignores what a destructor raises; the next destructor waits as if nothing had been."""
    out = chan()

    def both() -> None:
        local.third = Owned(lambda: out.send(3))
        leave(goexit)

    def body() -> None:
        go(lambda a, b: both(), Owned(first), Owned(lambda: out.send(2)))
        for n in (2, 3):
            sleep(0.002)
            assert select(out, after(10))[:2] == (0, n)

    assert ignored(body) == [_core.Goexit if first is runtime.goexit else SystemExit]


@isolated()
def test_locals_that_leave_locals() -> None:
    """Destructors of thread-locals that make new ones: all are run, and nothing is left for the next life."""
    count = [0]

    class Chain:
        def __init__(self, n: int) -> None:
            self.n = n

        def __del__(self) -> None:
            count[0] += 1
            sleep(0)
            if self.n:
                local.chain = Chain(self.n - 1)

    gort.run(lambda: setattr(local, "chain", Chain(20)))
    end = time.monotonic() + 10
    while count[0] < 21 and time.monotonic() < end:
        sleep(0.001)
    assert count[0] == 21
    for _ in range(20):
        assert gort.run(lambda: dict(vars(local))) == {}


@isolated()
def test_locals_that_never_end() -> None:
    """As in a thread the last one is never let go of; the next goroutine does not see it."""

    class Again:
        def __del__(self) -> None:
            local.again = Again()
            variable.set(self.__class__)
            sys.settrace(lambda *args: None)

    for _ in range(5):
        gort.run(lambda: setattr(local, "again", Again()))
        sleep(0.001)
        assert gort.run(lambda: (vars(local), variable.get(None), sys.gettrace())) == ({}, None, None)
    del Again.__del__  # it would not end when `local` goes, either


@isolated()
def test_handled_exception_is_not_inherited() -> None:
    """C code may leave behind that an exception is being handled."""
    handle = ctypes.pythonapi.PyErr_SetHandledException
    handle.argtypes, handle.restype = [ctypes.py_object], None
    for _ in range(5):
        go(handle, ValueError("of an earlier life"))
        sleep(0.001)
        assert gort.run(sys.exc_info) == (None, None, None)


@isolated()
def test_destructor_forks() -> None:
    """The child goes on in the destructor, and ends as a forked child of a goroutine does."""
    out = chan()

    def fork() -> None:
        pid = os.fork()
        if pid == 0:
            assert gort.run(lambda: (sleep(0.001), 5)[1]) == 5
            sleep(0.001)
            return
        out.send(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    import warnings

    warnings.simplefilter("ignore")
    for owner in (by_method, by_many_arguments, by_local, by_context, by_result):
        owner(fork, False)
        assert select(out, after(30))[:2] == (0, 0), owner.__name__


def test_last_of_its_module() -> None:
    """The function's own module goes with it, and the module's objects wait."""
    out = chan()

    def function() -> Any:  # of a module that is nobody else's when the goroutine begins
        module = ModuleType("short_lived")
        exec("def f(): return 1", vars(module))
        vars(module)["owned"] = Owned(lambda: out.send("gone"))
        return vars(module).pop("f")

    go(function())
    sleep(0.002)
    assert select(out, after(10))[:2] == (0, "gone")


@isolated()
def test_group_whose_goroutine_could_not_be_made() -> None:
    """Somebody who waits for it is woken, all the same."""
    import _thread

    group, woken, parked = WaitGroup(), [], chan(1)

    def waiter() -> None:
        parked.send(1)
        group.wait()
        woken.append(1)

    class Refuses:
        """In the middle of go(), which loads threading."""

        def find_spec(self, name: str, *args: Any) -> None:
            if name == "threading":
                _thread.start_new_thread(waiter, ())
                time.sleep(0.2)
                raise ImportError("no threading")

    saved = sys.modules.pop("threading")
    sys.meta_path.insert(0, Refuses())
    try:
        group.go(int)
    except ImportError:
        pass
    else:
        raise AssertionError("a goroutine was made without threading")
    finally:
        del sys.meta_path[0]
        sys.modules["threading"] = saved
    assert parked.recv() == 1
    end = time.monotonic() + 10
    while not woken and time.monotonic() < end:
        time.sleep(0.001)
    assert woken
