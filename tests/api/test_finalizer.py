"""runtime.set_finalizer: what runs, when, in which order, on what."""

from __future__ import annotations

import collections
import ctypes
import functools
import gc
import inspect
import os
import socket
import sys
import tempfile
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

import gort
import gort.time
from gort import _core, chan, runtime
from gort.runtime import set_finalizer
from gort.sync import WaitGroup
from harness import isolate, isolated, run_source
from helpers import wait_until_parked


def with_and_without_the_heap(function: Callable[..., None]) -> Callable[..., None]:
    """Runs a test's body in new processes: with gort's heap, and with CPython's allocator."""

    @pytest.mark.parametrize("heap", ["1", "0"])
    @functools.wraps(function)
    def test(heap: str, **kwargs: Any) -> None:
        __tracebackhide__ = True
        isolate(function, env={"GORT_HEAP": heap}, timeout=180, **kwargs).check(stdout="", stderr="")

    own = inspect.Parameter("heap", inspect.Parameter.KEYWORD_ONLY)
    parameters = [*inspect.signature(function).parameters.values(), own]
    test.__signature__ = inspect.Signature(parameters)
    return test


class Thing:
    """Something that may have a finalizer, with a name and references."""

    def __init__(self, name: object = "") -> None:
        self.name = name
        self.refs: list[object] = []


class Deleted(Thing):
    """The same with a __del__."""

    log: list[object] = []

    def __del__(self) -> None:
        self.log.append(("del", self.name))


def settle() -> None:
    """Returns when everything that was queued before has run: one goroutine runs all, in order."""
    done = chan(1)
    thing = Thing()
    set_finalizer(thing, lambda _: done.send(None))
    del thing
    done.recv()


def by_name(log: list[object]) -> Callable[[Any], None]:
    return lambda thing: log.append(thing.name)


def collect(log: list[object]) -> list[object]:
    """What the finalizers that a collection queues append to the log."""
    log.clear()
    gc.collect()
    settle()
    return list(log)


# -- the basics ---------------------------------------------------------------------------------


@isolated()
def test_runs_when_the_last_reference_goes() -> None:
    got = chan(1)
    thing = Thing("a")
    assert set_finalizer(thing, got.send) is None
    again = thing
    del thing
    settle()
    assert len(got) == 0
    number = id(again)
    del again
    back = got.recv()
    assert type(back) is Thing and back.name == "a" and id(back) == number
    settle()
    del back
    settle()
    assert len(got) == 0  # it had none the second time


@isolated()
def test_one_goroutine_that_is_not_counted() -> None:
    seen: list[tuple[int, int]] = []
    before = runtime.num_goroutine()
    for _ in range(3):
        thing = Thing()
        set_finalizer(thing, lambda _: seen.append((_core.goid(), runtime.num_goroutine())))
        assert runtime.num_goroutine() == before
        del thing
        assert runtime.num_goroutine() == before
        settle()
    assert len(set(seen)) == 1
    goid, count = seen[0]
    assert goid not in (0, _core.goid()) and count == before
    assert [info.goid for info in _core.goroutines()] == [_core.goid()]


@isolated()
def test_in_the_order_of_death() -> None:
    log: list[object] = []
    things = [Thing(n) for n in range(100)]
    for thing in reversed(things):
        set_finalizer(thing, by_name(log))
    del thing
    things.reverse()
    while things:
        things.pop()
    settle()
    assert log == list(range(100))


@isolated()
def test_resurrected() -> None:
    kept: list[Thing] = []
    thing = Thing("a")
    set_finalizer(thing, kept.append)
    del thing
    settle()
    assert [thing.name for thing in kept] == ["a"]
    set_finalizer(kept[0], kept.append)  # once more
    kept.clear()
    settle()
    assert [thing.name for thing in kept] == ["a"]
    set_finalizer(kept[0], lambda thing: set_finalizer(thing, kept.append))  # from inside
    kept.clear()
    settle()
    settle()
    assert [thing.name for thing in kept] == ["a"]


@isolated()
def test_cleared() -> None:
    log: list[object] = []
    thing = Deleted("a")
    set_finalizer(thing, None)
    set_finalizer(thing, by_name(log))
    set_finalizer(thing, None)
    set_finalizer(thing, None)
    del thing
    settle()
    assert log == [] and Deleted.log == [("del", "a")]
    thing = Deleted("b")
    set_finalizer(thing, None)
    set_finalizer(thing, by_name(log))
    del thing
    settle()
    assert log == ["b"] and Deleted.log == [("del", "a"), ("del", "b")]


@isolated()
def test_already_set() -> None:
    log: list[object] = []
    thing = Thing("a")
    set_finalizer(thing, by_name(log))
    with pytest.raises(runtime.Error, match=r"^runtime\.SetFinalizer: finalizer already set$"):
        set_finalizer(thing, lambda _: log.append("wrong"))
    del thing
    settle()
    assert log == ["a"]


@isolated()
def test_lets_go_of_the_finalizer() -> None:
    thing, held = Thing(), Thing()
    ref = weakref.ref(held)
    set_finalizer(thing, functools.partial(lambda held, thing: None, held))
    del held
    assert ref() is not None
    set_finalizer(thing, None)
    assert ref() is None

    held = Thing()
    ref = weakref.ref(held)
    set_finalizer(thing, functools.partial(lambda held, thing: None, held))
    del held, thing
    settle()
    assert ref() is None


# -- __del__, weak references ---------------------------------------------------------------------


@isolated()
def test_before_del() -> None:
    thing = Deleted("a")
    set_finalizer(thing, lambda thing: thing.log.append(("finalizer", thing.name)))
    del thing
    settle()
    assert Deleted.log == [("finalizer", "a"), ("del", "a")]


@isolated()
def test_before_del_in_a_cycle() -> None:
    thing = Deleted("a")
    thing.refs.append(thing)
    set_finalizer(thing, lambda thing: thing.log.append(("finalizer", thing.name)))
    del thing
    gc.collect()
    settle()
    assert Deleted.log == [("finalizer", "a")]
    gc.collect()
    assert Deleted.log == [("finalizer", "a"), ("del", "a")]


@with_and_without_the_heap
def test_del_is_not_run_twice() -> None:
    """An object that __del__ has brought back may get a finalizer; __del__ has had its turn."""
    kept: list[Any] = []
    log: list[object] = []

    class Back:
        name = "back"

        def __del__(self) -> None:
            log.append("del")
            kept.append(self)

    Back()
    for clear in (True, False):
        set_finalizer(kept[0], by_name(log))
        if clear:
            set_finalizer(kept[0], None)
    kept.clear()
    settle()
    assert log == ["del", "back"] and not kept


@isolated()
def test_weak_references() -> None:
    """They hold until the object is really freed; only a collection clears them before, as CPython does."""
    seen: list[object] = []
    calls: list[object] = []
    thing = Thing()
    ref = weakref.ref(thing, calls.append)
    set_finalizer(thing, lambda thing: seen.append(ref() is thing))
    del thing
    settle()
    assert seen == [True] and ref() is None and calls == [ref]
    proxied = Thing()
    proxied.refs.append(proxied)
    set_finalizer(proxied, lambda thing: seen.append(thing.refs[0] is thing))
    del proxied
    gc.collect()
    settle()
    assert seen == [True, True]


@isolated()
def test_set_on_an_object_that_waits_in_the_queue() -> None:
    log: list[object] = []
    gate = chan()
    first, thing = Thing(), Thing("a")
    set_finalizer(first, lambda _: gate.recv())
    ref = weakref.ref(thing)
    set_finalizer(thing, by_name(log))
    del first, thing
    back = ref()
    assert back is not None  # queued, and not run yet
    set_finalizer(back, lambda _: log.append("second"))
    del back
    gate.send(None)
    settle()
    settle()
    assert log == ["a", "second"]


# -- the order of garbage ---------------------------------------------------------------------------


@with_and_without_the_heap
def test_one_that_refers_to_another() -> None:
    log: list[object] = []
    a, b = Thing("a"), Thing("b")
    a.refs.append(b)
    set_finalizer(b, by_name(log))
    set_finalizer(a, by_name(log))
    del b
    settle()
    assert log == []
    del a
    settle()
    settle()
    assert log == ["a", "b"]


@with_and_without_the_heap
def test_cycles() -> None:
    """Each collection finalizes those that no other one leads to; of a cycle one, the first that was set."""
    log: list[object] = []

    def graph(edges: str, order: str) -> None:
        things = {name: Thing(name) for name in edges if name.isalpha()}
        for edge in edges.split():
            things[edge[0]].refs += [Thing("between"), [things[to] for to in edge[1:]]]
        for name in order:
            set_finalizer(things[name], by_name(log))

    gc.collect()
    gc.disable()
    graph("aa", "a")
    assert [collect(log), collect(log)] == [["a"], []]
    for order in ("ab", "ba"):
        graph("ab ba", order)  # of two, one after the other
        assert [collect(log), collect(log), collect(log)] == [[order[0]], [order[1]], []]
        graph("aab bb", order)  # a chain whose links are cycles
        assert [collect(log), collect(log), collect(log)] == [["a"], ["b"], []]
        graph("ax xyb ya b", order)  # a cycle that leads to one
        assert [collect(log), collect(log), collect(log)] == [["a"], ["b"], []]
    graph("ac bc cc aab bab", "cba")  # two that lead to each other and both to c
    assert [collect(log) for _ in range(4)] == [["b"], ["a"], ["c"], []]
    graph("ac bc ccd aa bb dd", "dcba")  # a diamond
    assert [collect(log) for _ in range(4)] == [["b", "a"], ["c"], ["d"], []]
    graph("abcdefghij ba ca da ea fa ga ha ia ja", "jihgfedcba")  # a star of cycles
    assert [collect(log) for _ in range(11)] == [[name] for name in "jihgfedcba"] + [[]]
    graph("ab bc cd de ea fg gf", "acegf")
    rounds = [collect(log) for _ in range(5)]
    assert rounds == [["a", "g"], ["c", "f"], ["e"], [], []]


@isolated(timeout=180)
def test_random_graphs() -> None:
    """Everything is finalized once, and never before what leads to it from outside its cycle."""
    import random

    rng = random.Random(7)
    for _ in range(60):
        n = rng.randrange(2, 40)
        edges = [[rng.randrange(n) for _ in range(rng.choice((0, 1, 1, 2, 3)))] for _ in range(n)]
        leads: list[set[int]] = []
        for start in range(n):
            seen: set[int] = set()
            pending = list(edges[start])
            while pending:
                to = pending.pop()
                if to not in seen:
                    seen.add(to)
                    pending += edges[to]
            leads.append(seen)
        things = [Thing(i) for i in range(n)]
        for thing, targets in zip(things, edges, strict=True):
            thing.refs += [thing, *(things[to] for to in targets)]
        chosen = rng.sample(range(n), rng.randrange(1, n + 1))
        log: list[Any] = []
        for i in chosen:
            set_finalizer(things[i], by_name(log))
        del thing, things
        for _ in range(n + 1):
            gc.collect()
            settle()
            if len(log) == len(chosen):
                break
        gc.collect()
        settle()  # nothing a second time
        assert sorted(log) == sorted(chosen)
        for at, i in enumerate(log):
            for later in log[at + 1 :]:
                assert i not in leads[later] or later in leads[i], (edges, chosen, log)


@isolated()
def test_garbage_in_a_collection_of_the_young() -> None:
    log: list[object] = []
    old = Thing("old")
    set_finalizer(old, by_name(log))
    gc.collect()
    young = Thing("young")
    young.refs += [young, old]
    set_finalizer(young, by_name(log))
    del young
    gc.collect(0)
    settle()
    assert log == ["young"]
    gc.collect()
    settle()
    assert log == ["young"]
    del old
    settle()
    assert log == ["young", "old"]


@isolated()
def test_del_of_garbage_changes_finalizers() -> None:
    """What a __del__ does in the middle of a collection: sets one, clears one, ends a cycle."""
    log: list[object] = []

    class Meddler(Thing):
        def __del__(self) -> None:
            a, b, c, d = self.refs
            set_finalizer(d, by_name(log))
            set_finalizer(b, None)
            c.refs.clear()  # type: ignore[attr-defined]

    for first in (True, False):
        meddler = Meddler("m") if first else None
        things = [Thing(name) for name in "abcd"]
        meddler = meddler or Meddler("m")
        for thing in things:
            thing.refs += [meddler, thing]
        meddler.refs += things
        for thing in things[:3]:
            set_finalizer(thing, by_name(log))
        del things, thing, meddler
        for _ in range(4):
            gc.collect()
            settle()
        assert sorted(map(str, log)) in (["a", "c", "d"], ["a", "b", "c", "d"])  # b may have been queued
        log.clear()


@isolated()
def test_a_del_that_parks_in_the_middle_of_a_collection() -> None:
    """Finalizers run while the collection that queued them waits for a __del__."""
    log: list[object] = []
    ran, go_on = chan(), chan()

    class Parks(Thing):
        def __del__(self) -> None:
            go_on.recv()

    def finalizer(thing: Thing) -> None:
        log.append(thing.name)
        if len(log) == 1:
            kept.append(thing)
            set_finalizer(thing, finalizer)
        ran.send(None)

    kept: list[Thing] = []
    first, parks, last = Deleted("first"), Parks(), Deleted("last")
    first.refs += [parks, last, first]
    parks.refs.append(first)
    last.refs.append(first)
    set_finalizer(last, finalizer)
    set_finalizer(first, finalizer)
    del first, parks, last
    gort.go(gc.collect)
    ran.recv()  # that of `last`, which comes behind `parks` in the collector's list
    assert log == ["last"]
    go_on.send(None)
    gc.collect()
    settle()
    assert log == ["last"] and not Deleted.log
    kept.clear()
    for _ in range(2):
        gc.collect()
        ran.recv()
        settle()
    gc.collect()
    assert sorted(map(str, log)) == ["first", "last", "last"]
    assert sorted(map(str, Deleted.log)) == ["('del', 'first')", "('del', 'last')"]


@isolated()
def test_del_after_a_finalizer_in_the_middle_of_a_collection() -> None:
    """The collector comes to an object whose finalizer has run meanwhile: its __del__ is still to come."""
    kept: list[Thing] = []
    ran, go_on = chan(), chan()

    class Parks(Thing):
        def __del__(self) -> None:
            go_on.recv()

    def finalizer(thing: Thing) -> None:
        kept.append(thing)
        ran.send(None)

    first, parks, last = Thing("first"), Parks(), Deleted("last")
    first.refs += [parks, last]
    last.refs.append(first)
    set_finalizer(last, finalizer)
    set_finalizer(first, lambda _: None)
    del first, parks, last
    gort.go(gc.collect)
    ran.recv()
    go_on.send(None)
    settle()
    assert not Deleted.log and len(kept) == 1
    kept.clear()
    for _ in range(3):
        gc.collect()
        settle()
    assert Deleted.log == [("del", "last")]


# -- what can carry one -----------------------------------------------------------------------------


class Slots:
    __slots__ = ("name",)


class NoSlots:
    __slots__ = ()


class ListOf(list[Any]):
    pass


class TupleOf(tuple[Any, ...]):
    pass


class IntOf(int):
    pass


class StrOf(str):
    pass


class Failure(Exception):
    pass


class Pair(ctypes.Structure):
    _fields_ = [("a", ctypes.c_int), ("b", ctypes.c_int)]


Point = collections.namedtuple("Point", "x y")


def generator() -> Iterator[int]:
    yield 1


def begun() -> Iterator[int]:
    it = generator()
    next(it)
    return it


CARRIERS: dict[str, Callable[[], Any]] = {
    "instance": Thing,
    "slots": Slots,
    "no slots": NoSlots,
    "list": lambda: ListOf([1]),
    "tuple": lambda: TupleOf((1, 2)),
    "int": lambda: IntOf(10**30),
    "str": lambda: StrOf("x"),
    "exception": lambda: Failure(1),
    "structure": lambda: Pair(1, 2),
    "namedtuple": lambda: Point(1, 2),
    "large": lambda: TupleOf(range(10_000)),
    "generator": generator,
    "begun generator": begun,
    "thread": threading.Thread,
    "module": lambda: type("M", (types.ModuleType,), {})("m"),
    "file": lambda: open(os.devnull),  # noqa: SIM115
    "raw file": lambda: open(os.devnull, "rb", buffering=0),
    "temporary file": tempfile.TemporaryFile,
    "socket": socket.socket,
}


@with_and_without_the_heap
def test_carriers() -> None:
    got: list[Any] = []
    for kind, make in CARRIERS.items():
        for _ in range(3):
            it = make()
            number, type_ = id(it), type(it)
            set_finalizer(it, got.append)
            settle()
            assert not got, kind
            del it
            settle()
            assert [(id(x), type(x)) for x in got] == [(number, type_)], kind
            set_finalizer(got[0], got.append)
            for _ in range(2):
                got.clear()
                settle()
            assert not got, kind
    _core._check_heap()


def test_the_object_is_whole() -> None:
    """What a finalizer is handed is whole: nothing of it was taken apart."""
    file = tempfile.TemporaryFile()
    file.write(b"abc")
    it = begun()
    got = chan(2)
    set_finalizer(file, got.send)
    set_finalizer(it, got.send)
    del file, it
    back, again = got.recv(), got.recv()
    assert back is not None and again is not None
    back.seek(0)
    assert back.read() == b"abc" and list(again) == []
    back.close()


class Meta(type):
    pass


class OfMeta(metaclass=Meta):
    pass


REFUSED: list[tuple[Any, str]] = [
    (1, "int"),
    (1.5, "float"),
    ("x", "str"),
    (b"x", "bytes"),
    ([], "list"),
    ((), "tuple"),
    ({}, "dict"),
    (set(), "set"),
    (object(), "object"),
    (len, "builtin_function_or_method"),
    (generator, "function"),
    (Thing().__init__, "method"),  # type: ignore[misc]
    (generator.__code__, "code"),
    (sys._getframe(), "frame"),
    (sys, "module"),
    (range(1), "range"),
    (threading.Lock(), "_thread.lock"),
    (weakref.ref(Thing), "weakref.ReferenceType"),
]


@pytest.mark.parametrize("value, name", REFUSED, ids=[name for _, name in REFUSED])
def test_refused(value: Any, name: str) -> None:
    with pytest.raises(runtime.Error) as caught:
        set_finalizer(value, lambda _: None)
    assert str(caught.value) == (
        f"runtime.SetFinalizer: first argument is {type(value).__module__}.{type(value).__qualname__}, not "
        f"pointer: CPython frees objects of type {name} without asking"
    ).replace("builtins.", "").replace(f"{type(value).__module__}.{name}", name)


@pytest.mark.parametrize("value, name", [(int, "type"), (Thing, "type"), (OfMeta, f"{__name__}.Meta")])
def test_classes_are_refused(value: Any, name: str) -> None:
    with pytest.raises(runtime.Error) as caught:
        set_finalizer(value, lambda _: None)
    text = f"first argument is {name}, not pointer: CPython frees classes without asking"
    assert str(caught.value) == f"runtime.SetFinalizer: {text}"


def test_none_is_refused() -> None:
    for finalizer in (None, lambda _: None, 1):
        with pytest.raises(runtime.Error, match=r"^runtime\.SetFinalizer: first argument is nil$"):
            set_finalizer(None, finalizer)  # type: ignore[arg-type]


@pytest.mark.parametrize("value, name", [(1, "int"), ("f", "str"), (Thing(), f"{__name__}.Thing")])
def test_what_is_no_function(value: Any, name: str) -> None:
    with pytest.raises(runtime.Error) as caught:
        set_finalizer(Thing(), value)
    assert str(caught.value) == f"runtime.SetFinalizer: second argument is {name}, not a function"


class Call:
    def __call__(self, a: object, b: object) -> None:
        """Takes one too many."""

    def one(self, a: object, *, b: object = None) -> None:
        """Takes one."""

    def none(self) -> None:
        """Takes none."""


def two(a: object, b: object) -> None:
    """Takes one too many."""


@pytest.mark.parametrize(
    "function, text",
    [
        (lambda: None, "<lambda>()"),
        (two, "two(a: 'object', b: 'object') -> 'None'"),
        (lambda a, *, b: None, "<lambda>(a, *, b)"),
        (lambda *, a: None, "<lambda>(*, a)"),
        (lambda a, b, c=1: None, "<lambda>(a, b, c=1)"),
        (Call().none, "Call.none() -> 'None'"),
        (Call(), f"{__name__}.Call(a: 'object', b: 'object') -> 'None'"),
        (functools.partial(two, 1, 2), "functools.partial() -> 'None'"),
        (dict.get, "dict.get(self, key, default=None, /)"),
    ],
)
def test_what_does_not_take_one_argument(function: Any, text: str) -> None:
    with pytest.raises(runtime.Error) as caught:
        set_finalizer(Thing(), function)
    assert str(caught.value) == f"runtime.SetFinalizer: cannot pass {__name__}.Thing to finalizer {text}"


@pytest.mark.parametrize(
    "function",
    [
        lambda a: None,
        lambda *a: None,
        lambda a=1: None,
        lambda a, b=1, *c, d=2, **e: None,
        Call().one,
        functools.partial(two, 1),
        functools.cache(lambda a: None),
        [].append,
        id,
        print,
        str,
    ],
)
def test_what_takes_one_argument(function: Any) -> None:
    thing = Thing()
    set_finalizer(thing, function)
    set_finalizer(thing, None)


# -- classes that change ----------------------------------------------------------------------------


@with_and_without_the_heap
def test_subclasses() -> None:
    log: list[object] = []

    class Base(Thing):
        pass

    class Before(Base):
        def __del__(self) -> None:
            log.append(("del", self.name))

    set_finalizer(Base("base"), by_name(log))
    settle()

    class After(Base):
        pass

    class AfterDel(Base):
        def __del__(self) -> None:
            log.append(("del", self.name))

    for cls in (Before, After, AfterDel, Base):
        cls("without")
        set_finalizer(cls(cls.__name__), by_name(log))
        settle()
    assert log == [
        "base",
        *[("del", "without"), "Before", ("del", "Before")],
        "After",
        *[("del", "without"), "AfterDel", ("del", "AfterDel")],
        "Base",
    ]


@with_and_without_the_heap
def test_del_is_assigned_later() -> None:
    """The class forgets its finalizers until the next set_finalizer; then, with the heap, they hold again."""
    log: list[object] = []
    with_heap = os.environ["GORT_HEAP"] == "1"

    class Changing(Thing):
        pass

    unlucky, patient = Changing("unlucky"), Changing("patient")
    set_finalizer(unlucky, by_name(log))
    set_finalizer(patient, by_name(log))
    Changing.__del__ = lambda self: log.append(("del", self.name))  # type: ignore[attr-defined]
    del unlucky
    settle()
    assert log == [("del", "unlucky")]
    log.clear()
    again = [Changing("again") for _ in range(100)]  # one of them where `unlucky` was
    for thing in again:
        set_finalizer(thing, by_name(log))
    del patient
    settle()
    assert log == (["patient"] if with_heap else []) + [("del", "patient")]
    log.clear()
    del again, thing
    settle()
    assert sorted(map(str, log)) == ["('del', 'again')"] * 100 + ["again"] * 100
    log.clear()

    del Changing.__del__  # type: ignore[attr-defined]
    set_finalizer(Changing("last"), by_name(log))
    Changing("none")
    settle()
    assert log == ["last"]


@with_and_without_the_heap
def test_class_is_assigned_later() -> None:
    """If the new class is asked too, the finalizer runs, with the heap; else it is lost."""
    log: list[object] = []
    with_heap = os.environ["GORT_HEAP"] == "1"

    class Other(Thing):
        pass

    class Unasked(Thing):
        pass

    set_finalizer(Other("x"), by_name(log))
    settle()
    log.clear()
    thing = Thing("a")
    set_finalizer(thing, by_name(log))
    thing.__class__ = Other
    del thing
    settle()
    assert log == (["a"] if with_heap else [])
    log.clear()
    if not with_heap:
        return  # a new object of the same class may be taken for a lost one
    for _ in range(200):
        thing = Thing("lost")
        set_finalizer(thing, by_name(log))
        thing.__class__ = Unasked
        del thing
        other = Thing("kept")  # at the same place
        set_finalizer(other, by_name(log))
        del other
    settle()
    assert log == ["kept"] * 200
    _core._check_heap()


@isolated()
def test_classes_go() -> None:
    """No class is kept alive by having had finalizers, nor by having objects with some."""
    refs: list[weakref.ref[type]] = []
    log: list[object] = []
    for n in range(50):
        own = {"__del__": lambda self: log.append(("del", self.name))} if n % 2 else {}
        cls = type("Local", (Thing,), own)
        thing = cls("thing")
        cls.instance = thing  # type: ignore[attr-defined]
        set_finalizer(thing, by_name(log))
        refs.append(weakref.ref(cls))
    del cls, thing, own
    for _ in range(3):
        gc.collect()
        settle()
    assert [ref() for ref in refs] == [None] * 50
    assert sorted(map(str, log)) == ["('del', 'thing')"] * 25 + ["thing"] * 50


# -- the finalizer goroutine ----------------------------------------------------------------------


@isolated(
    stderr="""\
Exception ignored in: <function test_exceptions.<locals>.fail at 0x...>
Traceback (most recent call last):
...
ValueError: a
Exception ignored in: <function test_exceptions.<locals>.leave at 0x...>
Traceback (most recent call last):
...
SystemExit: 3
"""
)
def test_exceptions() -> None:
    log: list[object] = []

    def fail(thing: Thing) -> None:
        raise ValueError(thing.name)

    def leave(thing: Thing) -> None:
        sys.exit(3)

    set_finalizer(Thing("a"), fail)
    set_finalizer(Thing("b"), leave)
    set_finalizer(Thing("c"), by_name(log))
    settle()
    assert log == ["c"]


@isolated()
def test_unraisable_hook() -> None:
    seen: list[object] = []
    sys.unraisablehook = lambda args: seen.append((args.object, args.exc_type, str(args.exc_value)))

    def fail(thing: Thing) -> None:
        raise ValueError(thing.name)

    set_finalizer(Thing("a"), fail)
    settle()
    assert seen == [(fail, ValueError, "a")]


@isolated()
def test_goexit_ends_one_finalizer() -> None:
    log: list[object] = []

    def leave(thing: Thing) -> None:
        try:
            runtime.goexit()
        finally:
            log.append("left")

    def swallow(thing: Thing) -> None:
        try:
            runtime.goexit()
        except BaseException:
            log.append("swallowed")

    set_finalizer(Thing(), leave)
    set_finalizer(Thing(), swallow)
    set_finalizer(Thing("next"), lambda thing: (gort.time.sleep(0.001), log.append(thing.name)))
    settle()
    assert log == ["left", "swallowed", "next"]


@isolated()
def test_one_that_blocks_holds_up_the_others() -> None:
    log: list[object] = []
    gate = chan()
    set_finalizer(Thing(), lambda _: gate.recv())
    set_finalizer(Thing("a"), by_name(log))
    wait_until_parked(1, "chan receive")
    gort.time.sleep(0.01)  # in which nobody runs the other one
    assert log == []
    assert [info.wait_reason for info in _core.goroutines()] == ["", "chan receive"]
    gate.close()
    settle()
    assert log == ["a"] and len(_core.goroutines()) == 1


@isolated()
def test_one_that_blocks_in_c_holds_up_nobody_else() -> None:
    reader, writer = os.pipe()
    got = chan(1)
    set_finalizer(Thing(), lambda _: got.send(os.read(reader, 10)))
    gort.time.sleep(0.01)
    assert gort.run(lambda: 6 * 7) == 42
    os.write(writer, b"x")
    assert got.recv() == b"x"


@isolated()
def test_one_that_starts_goroutines_and_locks_its_thread() -> None:
    got = chan(2)

    def finalizer(thing: Thing) -> None:
        runtime.lock_os_thread()
        runtime.lock_os_thread()
        gort.go(got.send, thing.name)

    set_finalizer(Thing("a"), finalizer)
    set_finalizer(Thing("b"), finalizer)
    assert {got.recv(), got.recv()} == {"a", "b"}
    settle()


@isolated()
def test_each_begins_with_an_empty_context() -> None:
    var: ContextVar[str] = ContextVar("var", default="none")
    var.set("main's")
    seen: list[str] = []

    def finalizer(thing: Thing) -> None:
        seen.append(var.get())
        var.set("a finalizer's")

    for _ in range(2):
        set_finalizer(Thing(), finalizer)
    settle()
    assert seen == ["none", "none"]


@isolated()
def test_with_an_exception_pending() -> None:
    """Objects that die while an exception is on its way do not disturb it."""
    log: list[object] = []

    def body() -> None:
        thing = Thing("a")
        set_finalizer(thing, by_name(log))
        raise KeyError(1)

    with pytest.raises(KeyError):
        body()
    gc.collect()
    settle()
    assert log == ["a"]


# -- many -----------------------------------------------------------------------------------------


@with_and_without_the_heap
def test_100_000() -> None:
    """By reference count and in cycles, from goroutines and threads: each once."""
    counts = [0] * 100_000

    def finalizer(thing: Thing) -> None:
        counts[thing.name] += 1  # type: ignore[call-overload]

    def body(start: int, end: int) -> None:
        for n in range(start, end):
            thing = Thing(n)
            if n % 3 == 0:
                thing.refs.append(thing)
            set_finalizer(thing, finalizer)

    wg = WaitGroup()
    for start in range(0, 50_000, 5_000):
        wg.go(body, start, start + 5_000)
    threads = [threading.Thread(target=body, args=(n, n + 10_000)) for n in range(50_000, 100_000, 10_000)]
    for thread in threads:
        thread.start()
    wg.wait()
    for thread in threads:
        thread.join()
    gc.collect()
    settle()
    assert counts == [1] * 100_000
    _core._check_heap()


@isolated(timeout=180)
def test_100_000_at_once_in_one_cycle_of_garbage() -> None:
    """A chain in which each leads to all later ones: a collection takes time in proportion to it."""
    log: list[Any] = []
    things = [Thing(n) for n in range(100_000)]
    for one, next_ in zip(things, things[1:], strict=False):
        one.refs.append(next_)
        next_.refs.append(next_)
    things[0].refs.append(things[0])
    for thing in reversed(things):
        set_finalizer(thing, log.append)
    del things, thing, one, next_
    gc.collect()
    settle()
    assert [thing.name for thing in log] == [0]
    os._exit(0)  # taking the chain apart would take a collection for each


@isolated(timeout=180)
def test_memory_is_flat() -> None:
    def round_(count: int) -> None:
        for n in range(count):
            thing = Thing(n)
            if n % 10 == 0:
                thing.refs.append(thing)
            set_finalizer(thing, lambda _: None)
            if n % 2:
                set_finalizer(thing, None)
        del thing
        gc.collect()
        settle()
        gc.collect()

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    for _ in range(8):  # AddressSanitizer keeps what was freed last
        round_(20_000)
    grown: list[int] = []
    while not grown or grown[-1] >= 8 << 20:  # a leak shows each time, a new thread once
        assert len(grown) < 4, f"{grown} bytes more than before"
        before = resident()
        for _ in range(10):
            round_(20_000)
        grown.append(resident() - before)


@isolated()
def test_blocks_beside_it() -> None:
    """Frees in a span with finalizers are seen one by one, and not any longer than there are some."""
    kept = [Thing(n) for n in range(2000)]
    for thing in kept[::3]:
        set_finalizer(thing, lambda _: None)
    _core._check_heap()
    del kept[1::2], thing
    _core._check_heap()
    more = [Thing(n) for n in range(3000)]
    _core._check_heap()
    for thing in kept:
        set_finalizer(thing, None)
    _core._check_heap()
    kept.clear()
    more.clear()
    settle()
    _core._check_heap()


# -- threads, forks, other interpreters, the end -----------------------------------------------------


@isolated()
def test_from_threads() -> None:
    got = chan(10)

    def body(n: int) -> None:
        thing = Thing(n)
        set_finalizer(thing, lambda thing: got.send((thing.name, threading.get_ident())))

    threads = [threading.Thread(target=body, args=(n,)) for n in range(10)]
    for thread in threads:
        thread.start()
        thread.join()
    seen: list[Any] = [got.recv() for _ in threads]
    assert sorted(n for n, _ in seen) == list(range(10))


@isolated()
def test_fork() -> None:
    """A child runs what was queued when it was born, once, and what it sets itself."""
    gate, done = chan(), chan(1)
    log: list[object] = []
    parent = os.getpid()
    later = [Thing("later")]

    def finalizer(thing: Thing) -> None:
        log.append((thing.name, os.getpid() == parent))

    def body() -> None:
        pid = os.fork()
        if pid == 0:
            try:
                settle()
                assert log == [("queued", False)], log
                later.clear()
                settle()
                set_finalizer(Thing("own"), finalizer)
                settle()
                assert log == [(name, False) for name in ("queued", "later", "own")], log
                os._exit(7)
            except BaseException as error:
                os.write(2, repr(error).encode())
            os._exit(1)
        done.send(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    set_finalizer(later[0], finalizer)
    set_finalizer(Thing("blocks"), lambda _: gate.recv())
    wait_until_parked(1, "chan receive")
    set_finalizer(Thing("queued"), finalizer)
    body()
    assert done.recv() == 7
    gort.go(body)
    assert done.recv() == 7
    threading.Thread(target=body).start()
    assert done.recv() == 7
    gate.close()
    settle()
    assert log == [("queued", True)]
    later.clear()
    settle()
    assert log == [("queued", True), ("later", True)]


@isolated()
def test_fork_in_a_finalizer() -> None:
    """In the child the finalizer is the main goroutine; the others have one of their own again."""
    got = chan(1)
    parent = os.getpid()

    def forks(thing: Thing) -> None:
        pid = os.fork()
        if pid == 0:
            assert _core.is_main() and runtime.num_goroutine() == 1
            settle()
            sys.exit(5)
        got.send(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    def returns(thing: Thing) -> None:
        pid = os.fork()
        if pid != 0:
            got.send(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    set_finalizer(Thing(), forks)
    assert got.recv() == 5
    set_finalizer(Thing(), returns)
    assert got.recv() == 0 and os.getpid() == parent


@isolated()
def test_subinterpreters_share_static_types() -> None:
    """Generators of another interpreter have no finalizers, and are closed as always."""
    try:
        import _interpreters as interpreters
    except ImportError:
        import _xxsubinterpreters as interpreters
    got = chan(1)
    set_finalizer(generator(), got.send)
    got.recv()
    reader, writer = os.pipe()
    code = f"""
import os
def f():
    try:
        yield
    finally:
        os.write({writer}, b"closed ")
for _ in range(100):
    next(f())
class C:
    def __del__(self):
        os.write({writer}, b"del ")
c = C()
c.me = c
del c
import gc
gc.collect()
"""
    ids = [interpreters.create() for _ in range(2)]
    threads = [threading.Thread(target=interpreters.run_string, args=(i, code)) for i in ids]
    for thread in threads:
        thread.start()
    for _ in range(200):
        set_finalizer(generator(), lambda _: None)
    for thread in threads:
        thread.join()
    for i in ids:
        interpreters.destroy(i)
    settle()
    os.close(writer)
    text = open(reader, "rb").read()
    assert text.count(b"closed") == 200 and text.count(b"del") == 2


AT_THE_END = """
import sys
import gort
from gort.runtime import set_finalizer

class Thing:
    def __init__(self, name):
        self.name = name
    def __del__(self, write=sys.stdout.write):
        write(f"del {self.name}\\n")

def finalizer(thing):
    print("finalizer", thing.name)
"""


def test_nothing_runs_at_the_end() -> None:
    run_source(
        AT_THE_END
        + """
one, cycle = Thing("one"), Thing("cycle")
cycle.me = cycle
set_finalizer(one, finalizer)
set_finalizer(cycle, finalizer)
print("end")
"""
    ).check(stdout="end\n{{del (one|cycle)}}\n{{del (one|cycle)}}", stderr="")


def test_the_queue_is_let_go_of_at_the_end() -> None:
    run_source(
        AT_THE_END
        + """
gate = gort.chan()
set_finalizer(Thing("blocks"), lambda thing: (gate.send(None), gate.recv()))
gate.recv()
set_finalizer(Thing("queued"), finalizer)
set_finalizer(Thing("queued"), finalizer)
print("end")
"""
    ).check(stdout="end\ndel queued\ndel queued", stderr="")


def test_set_after_the_end() -> None:
    """An atexit handler from before gort: set_finalizer checks, and does nothing."""
    run_source(
        """
        import atexit
        def late():
            thing = Thing()
            set_finalizer(thing, print)
            set_finalizer(thing, print)
            set_finalizer(thing, None)
            try:
                set_finalizer(1, print)
            except Error as error:
                print("late:", error)
        atexit.register(late)
        from gort.runtime import Error, set_finalizer
        class Thing: pass
        kept = Thing()
        set_finalizer(kept, print)
        """
    ).check(
        stdout="late: runtime.SetFinalizer: first argument is int, not pointer: "
        "CPython frees objects of type int without asking",
        stderr="",
    )


def test_destructors_at_the_end_may_set_finalizers() -> None:
    run_source(
        """
        import gc
        import gort
        from gort.runtime import set_finalizer

        class Again:
            def __del__(self):
                set_finalizer(Again.other, print)
                print("del")

        class Thing: pass
        Again.other = Thing()
        gate = gort.chan()
        set_finalizer(Thing(), lambda thing: gate.recv())
        gort.time.sleep(0.001)
        held = Again()
        set_finalizer(Thing(), lambda thing, held=held: None)
        del held
        kept = Thing()
        """
    ).check(stdout="del", stderr="")


def test_main_waits_for_a_finalizer_that_sleeps() -> None:
    """No deadlock is reported while a finalizer runs, or waits for its turn."""
    run_source(
        """
        import gort, gort.time, time
        from gort.runtime import set_finalizer
        class Thing: pass
        done = gort.chan()
        set_finalizer(Thing(), lambda _: time.sleep(0.05))
        set_finalizer(Thing(), lambda _: gort.time.sleep(0.05))
        set_finalizer(Thing(), lambda _: done.send("done"))
        print(done.recv())
        """
    ).check(stdout="done", stderr="")


@isolated(timeout=180)
def test_finalizers_of_the_living_cost_a_collection_nothing() -> None:
    """One that is part of a cycle is found without a look at all the others."""
    import time

    def cost() -> float:
        best = 9.0
        for _ in range(6):
            start = time.process_time()
            for i in range(20):
                thing = Thing(i)
                thing.refs.append(thing)
                set_finalizer(thing, ended)
                del thing
                gc.collect(0)
            best = min(best, time.process_time() - start)
        return best

    log: list[Thing] = []

    def ended(thing: Thing) -> None:
        log.append(thing)

    before = cost()
    kept = [Thing(i) for i in range(30_000)]
    for thing in kept:
        set_finalizer(thing, ended)
    gc.collect()
    gc.collect()
    after = cost()
    assert after < 6 * before + 0.01, (before, after)
    settle()
    assert len(log) == 240 and len(kept) == 30_000
