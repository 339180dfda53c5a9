"""Package gort: go, run, type_assert and the subpackages. (Channels and select are tested with the core.)"""

from __future__ import annotations

import collections.abc
import functools
import re
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from types import FrameType
from typing import Any, Protocol, runtime_checkable

import pytest

import gort
import gort.sync.errgroup
from gort import Chan, _core, chan, context, default, go, run, runtime, select, sync, time, type_assert
from gort.runtime import Error, TypeAssertionError
from harness import execute, isolated
from helpers import wait_until

Anywhere = Callable[..., Any]


# -- go ---------------------------------------------------------------------------------------


def test_go_passes_arguments() -> None:
    got: Chan[Any] = chan()
    assert go(lambda *args, **kwargs: got.send((args, kwargs)), 1, 2, key="value") is None
    assert got.recv() == ((1, 2), {"key": "value"})


@pytest.mark.parametrize("bad", [None, 5, "text"])
def test_go_needs_a_callable(bad: Any) -> None:
    with pytest.raises(TypeError, match=repr(bad)):
        go(bad)


# -- run --------------------------------------------------------------------------------------


def test_run_returns_the_result(anywhere: Anywhere) -> None:
    assert anywhere(lambda: run(lambda a, b: a - b, 5, b=3)) == 2


def test_run_is_another_goroutine() -> None:
    from gort import _core

    assert run(_core.goid) not in (0, _core.goid())
    assert run(lambda: run(_core.goid)) != run(_core.goid)


@pytest.mark.parametrize("error", [KeyError("k"), SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_run_raises_what_escapes(anywhere: Anywhere, error: BaseException) -> None:
    def fail() -> None:
        raise error

    def look() -> None:
        with pytest.raises(type(error)) as caught:
            run(fail)
        assert caught.value is error
        names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
        assert names[-1] == "fail"

    anywhere(look)


def test_run_of_goexit_gives_none() -> None:
    cleaned = []

    def leave() -> int:
        try:
            runtime.goexit()
        finally:
            cleaned.append(True)

    assert run(leave) is None
    assert cleaned == [True]


def test_run_many_at_once() -> None:
    results: Chan[int] = chan()
    for i in range(50):
        go(lambda i=i: results.send(run(lambda: i * i)))  # type: ignore[misc]
    assert sorted(results.recv() or 0 for _ in range(50)) == [i * i for i in range(50)]


@pytest.mark.parametrize("bad", [None, 5, "text"])
def test_run_needs_a_callable(bad: Any) -> None:
    with pytest.raises(TypeError, match=repr(bad)):
        run(bad)


async def coroutine_function() -> None:
    pass


def generator_function() -> Iterator[int]:
    yield 1


async def asynchronous_generator() -> AsyncIterator[int]:
    yield 1


class Awaited:
    async def __call__(self) -> None:
        pass

    def method(self) -> Iterator[int]:
        yield 1


STARTERS: dict[str, Callable[..., Any]] = {
    "go()": go,
    "run()": run,
    "WaitGroup.go()": lambda f: sync.WaitGroup().go(f),
    "Group.go()": lambda f: sync.errgroup.Group().go(f),
    "Group.try_go()": lambda f: sync.errgroup.Group().try_go(f),
    "after_func()": lambda f: context.after_func(context.background(), f),
    "time.after_func()": lambda f: time.after_func(0, f),
    "Once.do()": lambda f: sync.Once().do(f),
    "once_func()": sync.once_func,
    "Map.range()": lambda f: sync.Map().range(f),
    "RuntimeTimer()": lambda f: _core.RuntimeTimer(fn=f),
}


@pytest.mark.parametrize("what", STARTERS)
def test_what_runs_nothing_cannot_be_started(what: str) -> None:
    for f, kind in (
        (coroutine_function, "a coroutine function"),
        (generator_function, "a generator function"),
        (asynchronous_generator, "an asynchronous generator function"),
        (functools.partial(functools.partial(coroutine_function)), "a coroutine function"),
        (Awaited(), "a coroutine function"),
        (Awaited().method, "a generator function"),
    ):
        name = what.removeprefix("time.")
        text = f"{name}: {f!r} is {kind}, and calling it runs nothing: start a function that "
        with pytest.raises(TypeError, match=re.escape(text)):
            STARTERS[what](f)


# These call the function themselves, and hand on what it makes.
CALLERS: dict[str, Callable[..., Any]] = {
    "once_value()": sync.once_value,
    "Pool()": sync.Pool,
    "unsignaled()": _core.unsignaled,
    "cgo_callback()": _core.cgo_callback,
}


@pytest.mark.parametrize("what", [*STARTERS, *CALLERS])
def test_what_cannot_be_called_is_refused_in_the_same_words(what: str) -> None:
    with pytest.raises(TypeError) as caught:
        {**STARTERS, **CALLERS}[what]("text")
    assert str(caught.value) == f"{what.removeprefix('time.')} takes a callable, not 'text'"


def test_a_function_is_needed() -> None:
    without: dict[str, Any] = {"go()": go, "run()": run, "WaitGroup.go()": sync.WaitGroup().go}
    for what in ("unsignaled()", "cgo_callback()"):
        without[what] = CALLERS[what]
    for what, call in without.items():
        with pytest.raises(TypeError) as caught:
            call()
        assert str(caught.value) == f"{what} takes a callable and its arguments"


def test_callers_hand_on_what_a_generator_function_makes() -> None:
    assert list(sync.once_value(generator_function)()) == [1]
    assert list(sync.Pool(generator_function).get() or ()) == [1]
    for what in ("unsignaled()", "cgo_callback()"):
        assert list(CALLERS[what](generator_function)) == [1]


def test_run_is_seen_by_nobody() -> None:
    """What a profile function is told of first is the call of the program's function, as in a thread."""
    events = []

    def profile(frame: FrameType, event: str, arg: Any) -> None:
        events.append((event, frame.f_code.co_name))

    def work() -> None:
        pass

    group = sync.errgroup.Group()
    for start in (run, go, sync.WaitGroup().go, group.go):
        events.clear()
        threading.setprofile(profile)
        start(work)
        wait_until(lambda: len(events) >= 2)
        threading.setprofile(None)
        assert events[:2] == [("call", "work"), ("return", "work")]


# -- type_assert ------------------------------------------------------------------------------


class Closer(Protocol):
    def close(self) -> None: ...


@runtime_checkable
class Reader(Protocol):
    def close(self) -> None: ...
    def read(self) -> bytes: ...


class File:
    def close(self) -> None: ...


def test_type_assert_returns_the_value() -> None:
    value: object = [1]
    assert type_assert(value, list) is value
    assert type_assert(value, collections.abc.Sized) is value  # type: ignore[type-abstract]
    assert type_assert(True, int) is True


@pytest.mark.parametrize(
    "value, wanted, text",
    [
        ("a", int, "interface conversion: interface {} is str, not int"),
        (None, int, "interface conversion: interface {} is nil, not int"),
        (1.5, int | str, "interface conversion: interface {} is float, not int | str"),
        (1.5, (int, str), "interface conversion: interface {} is float, not int | str"),
        (
            5,
            collections.abc.Sized,
            "interface conversion: int is not collections.abc.Sized: missing method __len__",
        ),
        (
            [],
            collections.abc.Mapping,
            "interface conversion: interface {} is list, not collections.abc.Mapping",
        ),
        (
            File(),
            Reader,
            f"interface conversion: {__name__}.File is not {__name__}.Reader: missing method read",
        ),
        (5, Reader, f"interface conversion: int is not {__name__}.Reader: missing method close"),
        (
            File(),
            type("File", (), {"__module__": "other"}),
            f"interface conversion: interface {{}} is {__name__}.File, not other.File"
            " (types from different packages)",
        ),
        (
            File(),
            type("File", (), {"__module__": __name__}),
            f"interface conversion: interface {{}} is {__name__}.File, not {__name__}.File"
            " (types from different scopes)",
        ),
    ],
)
def test_type_assert_fails(value: object, wanted: Any, text: str) -> None:
    with pytest.raises(TypeAssertionError) as caught:
        type_assert(value, wanted)
    assert str(caught.value) == text
    assert isinstance(caught.value, Error)


def test_type_assert_comma_ok() -> None:
    assert type_assert("a", str, ok=True) == ("a", True)
    assert type_assert("a", int, ok=True) == (None, False)
    assert type_assert(None, type(None), ok=True) == (None, True)


def test_type_assert_of_a_type_whose_check_raises() -> None:
    """The program's own mistake is not taken for a type that isinstance() does not take."""

    class Meta(type):
        def __instancecheck__(cls, value: Any) -> bool:
            return len(value) > 0

    class Long(metaclass=Meta):
        pass

    with pytest.raises(TypeError, match=r"object of type 'int' has no len\(\)"):
        type_assert(5, Long)


@pytest.mark.parametrize("bad", [5, None, Closer, list[int]])
def test_type_assert_needs_a_type(bad: Any) -> None:
    with pytest.raises(TypeError) as caught:
        type_assert([1], bad)
    assert repr(bad) in str(caught.value)


# -- the package ------------------------------------------------------------------------------


def test_public_names() -> None:
    assert gort.__all__ == ["Chan", "chan", "default", "go", "run", "select", "type_assert"]
    assert (gort.Chan, gort.default, gort.select) == (Chan, default, select)


def test_subpackages_come_when_used() -> None:
    code = (
        "import sys, gort\n"
        "print([name for name in sys.modules if name.startswith('gort.') and '._' not in name])\n"
        "print(gort.runtime.num_goroutine(), gort.sync.Mutex.__name__, gort.time.second)\n"
        "print(gort.context.background(), gort.runtime.debug.__name__, gort.sync.errgroup.Group.__name__)\n"
    )
    execute([sys.executable, "-c", code]).check(
        stdout="[]\n1 Mutex 1.0\ncontext.background() gort.runtime.debug Group\n"
    )


def test_unknown_attribute() -> None:
    with pytest.raises(AttributeError, match="module 'gort' has no attribute 'nothing'"):
        gort.nothing  # type: ignore[attr-defined]  # noqa: B018


@isolated(stdout="traced traced_function\n100\n")
def test_goroutines_get_threadings_trace_function() -> None:
    import threading

    from gort import run

    def trace(frame: Any, event: str, arg: Any) -> None:
        if event == "call" and frame.f_code.co_name == "traced_function":
            print("traced", frame.f_code.co_name)

    def traced_function() -> None:
        pass

    threading.settrace(trace)
    run(lambda: traced_function())
    threading.settrace(None)
    # What was instrumented for one goroutine still runs in the others, and in main.
    done = 0
    for _ in range(100):
        done += len([run(lambda: traced_function())])
    print(done)
