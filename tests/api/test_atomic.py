"""Package gort.sync.atomic: widths, wrap-around, what is refused, and references."""

from __future__ import annotations

import gc
import sys
import weakref
from typing import Any

import pytest

from gort.runtime import Error, gosched
from gort.sync import atomic
from gort.sync.atomic import Bool, Int32, Int64, Pointer, Uint32, Uint64, Value
from helpers import Task

RANGES = {
    Int32: (-(2**31), 2**31 - 1),
    Int64: (-(2**63), 2**63 - 1),
    Uint32: (0, 2**32 - 1),
    Uint64: (0, 2**64 - 1),
}
IntType = Any


class Thing:
    """Something that can be referred to weakly and contain itself."""

    me: Any


@pytest.fixture(params=RANGES, ids=lambda kind: kind.__name__)
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


# -- integers ---------------------------------------------------------------------------------


def test_begin_with_zero(kind: IntType) -> None:
    assert kind().load() == 0
    assert kind(7).load() == 7
    assert repr(kind(7)) == f"{kind.__name__}(7)"


def test_bounds_are_held(kind: IntType) -> None:
    for bound in RANGES[kind]:
        value = kind(bound)
        assert value.load() == bound
        assert repr(value) == f"{kind.__name__}({bound})"
        assert kind().store(bound) is None
        assert value.swap(0) == bound
        assert value.compare_and_swap(0, bound)
        assert value.compare_and_swap(bound, 1)


def test_beyond_the_bounds_is_refused(kind: IntType) -> None:
    low, high = RANGES[kind]
    value = kind(5)
    for beyond in (low - 1, high + 1, low - 2**64, high + 2**64, 10**40, -(10**40)):
        for attempt in (
            lambda n: kind(n),
            lambda n: value.store(n),
            lambda n: value.swap(n),
            lambda n: value.compare_and_swap(n, 1),
            lambda n: value.compare_and_swap(5, n),
        ):
            with pytest.raises(OverflowError) as caught:
                attempt(beyond)  # type: ignore[no-untyped-call]
            assert str(caught.value) == f"{kind.__name__} holds values from {low} to {high}, not {beyond}"
    assert value.load() == 5


def test_add_wraps_around(kind: IntType) -> None:
    low, high = RANGES[kind]
    value = kind(high)
    assert value.add(1) == low
    assert value.add(-1) == high
    assert value.add(high - low + 1) == high
    assert value.add(3 * (high - low + 1) + 2) == low + 1
    assert value.load() == low + 1


def test_and_or_return_the_old_value(kind: IntType) -> None:
    value = kind(0b1100)
    assert value.and_(0b0110) == 0b1100
    assert value.or_(0b0001) == 0b0100
    assert value.load() == 0b0101
    assert value.and_(~0b0001) == 0b0101
    assert value.load() == 0b0100
    value.or_(-1)
    assert value.load() == (-1 if RANGES[kind][0] else RANGES[kind][1])


def test_compare_and_swap(kind: IntType) -> None:
    value = kind(5)
    assert value.compare_and_swap(4, 9) is False
    assert value.compare_and_swap(5, 9) is True
    assert value.load() == 9


@pytest.mark.parametrize("bad", ["1", None, 1.0, [1]])
def test_only_integers(kind: IntType, bad: Any) -> None:
    value = kind(5)
    for attempt in (kind, value.store, value.add, value.swap, value.and_, value.or_):
        with pytest.raises(TypeError) as caught:
            attempt(bad)
        assert str(caught.value) == f"{kind.__name__} takes an int, not {bad!r}"
    assert value.load() == 5


def test_objects_with_index(kind: IntType) -> None:
    class Two:
        def __index__(self) -> int:
            return 2

    class Broken:
        def __index__(self) -> int:
            raise LookupError("broken")

    value = kind(Two())
    assert value.add(Two()) == 4
    for attempt in (kind, value.store, value.add):
        with pytest.raises(LookupError, match="broken"):
            attempt(Broken())


def test_argument_counts(kind: IntType) -> None:
    value = kind()
    for attempt in (
        lambda: kind(1, 2),
        lambda: kind(value=1),
        lambda: value.store(),
        lambda: value.compare_and_swap(1),
        lambda: value.compare_and_swap(1, 2, 3),
    ):
        with pytest.raises(TypeError):
            attempt()  # type: ignore[no-untyped-call]


def test_types_are_final_and_named(kind: IntType) -> None:
    assert kind.__module__ == "gort.sync.atomic"
    with pytest.raises(TypeError):
        type("Derived", (kind,), {})
    with pytest.raises(TypeError):
        kind.load = None


def test_counting_from_goroutines_and_threads() -> None:
    counter = Int64()

    def count() -> None:
        for i in range(1000):
            counter.add(1)
            if i % 100 == 0:
                gosched()

    for task in [Task(place, count) for place in ("goroutine", "thread") * 4]:
        task.join()
    assert counter.load() == 8000


def test_no_references_leak(kind: IntType) -> None:
    before = sys.getrefcount(kind)
    for _ in range(100):
        kind(3).add(1)
    assert abs(sys.getrefcount(kind) - before) < 10


# -- Bool -------------------------------------------------------------------------------------


def test_bool() -> None:
    flag = Bool()
    assert flag.load() is False
    flag.store(True)
    assert flag.load() is True
    assert flag.swap(False) is True
    assert flag.compare_and_swap(True, False) is False
    assert flag.compare_and_swap(False, True) is True
    assert (repr(flag), repr(Bool())) == ("Bool(True)", "Bool(False)")


@pytest.mark.parametrize("bad", [1, 0, None, "True"])
def test_bool_holds_bools_only(bad: Any) -> None:
    flag = Bool(True)
    for attempt in (
        Bool,
        flag.store,
        flag.swap,
        lambda x: flag.compare_and_swap(x, True),
        lambda x: flag.compare_and_swap(True, x),
    ):
        with pytest.raises(TypeError) as caught:
            attempt(bad)
        assert str(caught.value) == f"Bool holds True or False, not {bad!r}"
    assert flag.load() is True


# -- Pointer ----------------------------------------------------------------------------------


def test_pointer() -> None:
    a, b = Thing(), Thing()
    pointer: Pointer[Thing] = Pointer()
    assert pointer.load() is None
    pointer.store(a)
    assert pointer.load() is a
    assert pointer.swap(b) is a
    assert pointer.compare_and_swap(a, None) is False
    assert pointer.compare_and_swap(b, None) is True
    assert pointer.load() is None
    assert Pointer(a).load() is a


def test_pointer_compares_by_identity() -> None:
    first, second = [1], [1]
    pointer = Pointer(first)
    assert not pointer.compare_and_swap(second, [2])
    assert pointer.compare_and_swap(first, second)


def test_pointer_drops_what_it_held() -> None:
    thing = Thing()
    ref = weakref.ref(thing)
    pointer: Pointer[Thing] = Pointer(thing)
    del thing
    assert ref() is not None
    pointer.store(None)
    assert ref() is None


def test_pointer_takes_part_in_collection() -> None:
    thing = Thing()
    thing.me = Pointer(thing)
    ref = weakref.ref(thing)
    del thing
    gc.collect()
    assert ref() is None


def test_pointer_of_itself_has_a_repr() -> None:
    pointer: Pointer[Any] = Pointer()
    pointer.store(pointer)
    assert repr(pointer) == "Pointer(Pointer(...))"
    pointer.store(None)
    assert repr(pointer) == "Pointer(None)"


def test_pointer_store_whose_destructor_stores() -> None:
    pointer: Pointer[Any] = Pointer()

    class Meddler:
        def __del__(self) -> None:
            pointer.store("from __del__")

    pointer.store(Meddler())
    pointer.store("new")
    assert pointer.load() == "from __del__"


def test_pointer_is_generic() -> None:
    assert repr(Pointer[int]).endswith("Pointer[int]")


# -- Value ------------------------------------------------------------------------------------


def test_value() -> None:
    value: Value[Any] = Value()
    assert value.load() is None
    value.store([1])
    assert value.load() == [1]
    assert value.swap([2]) == [1]
    assert value.compare_and_swap([1], [3]) is False
    assert value.compare_and_swap([2], [3]) is True
    assert value.load() == [3]


def test_value_first_by_compare_and_swap() -> None:
    value: Value[int] = Value()
    assert value.compare_and_swap(0, 1) is False
    assert value.compare_and_swap(None, 1) is True
    assert value.compare_and_swap(None, 2) is False
    assert value.load() == 1


def test_value_misuse_has_gos_texts() -> None:
    value: Value[Any] = Value()
    value.store(1)
    for attempt, text in (
        (lambda: value.store(None), "store of nil value into Value"),
        (lambda: value.store("a"), "store of inconsistently typed value into Value"),
        (lambda: value.store(True), "store of inconsistently typed value into Value"),
        (lambda: value.swap(None), "swap of nil value into Value"),
        (lambda: value.swap("a"), "swap of inconsistently typed value into Value"),
        (lambda: value.compare_and_swap(1, None), "compare and swap of nil value into Value"),
        (lambda: value.compare_and_swap(1, "a"), "compare and swap of inconsistently typed values"),
        (
            lambda: value.compare_and_swap("a", "b"),
            "compare and swap of inconsistently typed value into Value",
        ),
    ):
        with pytest.raises(Error) as caught:
            attempt()
        assert str(caught.value) == f"sync/atomic: {text}"
    assert value.load() == 1


def test_public_names() -> None:
    assert sorted(atomic.__all__) == ["Bool", "Int32", "Int64", "Pointer", "Uint32", "Uint64", "Value"]
