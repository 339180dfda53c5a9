"""An operation that ends with MemoryError has done nothing: no value is lost, and none changed unseen."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gort import chan, default, go, select
from gort.sync import Map
from gort.sync.atomic import Int64, Uint64
from gort.time import after, sleep
from harness import isolated
from helpers import wait_until_parked

memory = pytest.importorskip("_testcapi")

BIG = 10**15
NOTHING = [None, None]


def no_free_tuples() -> list[Any]:
    """As long as the result lives: Python keeps some freed ones for the next of their size."""
    return [None, *(((n, n), (n, n, n)) for n in range(3000))]


def failing(operation: Callable[..., Any], *args: Any) -> Iterator[bool]:
    """Calls the operation with one allocation failing, the next one each time, until it does not fail.

    Yields True after each MemoryError, and False at the end.
    """
    for n in range(1000):
        failed = False
        held = no_free_tuples()
        memory.set_nomemory(n, n + 1)
        try:
            held[0] = tuple(NOTHING)  # the arguments of set_nomemory were one
            operation(*args)
        except MemoryError:
            failed = True
        memory.remove_mem_hooks()
        del held
        yield failed
        if not failed:
            break


@isolated()
def test_atomic_integers() -> None:
    for number in (Int64(BIG), Uint64(BIG)):
        for operation, operand in (
            (number.add, 5),
            (number.swap, BIG + 7),
            (number.and_, 0xFF),
            (number.or_, 0xFF),
        ):
            number.store(BIG)
            failures = [(failed, number.load()) for failed in failing(operation, operand)]
            assert len(failures) > 1
            assert all((value == BIG) == failed for failed, value in failures), (operation, failures)


@isolated()
def test_map() -> None:
    m: Map[str, str] = Map()
    for operation, args, before in (
        (m.swap, ("a", "new"), "old"),
        (m.swap, ("a", "new"), None),
        (m.load_or_store, ("a", "new"), None),
        (m.load_and_delete, ("a",), "old"),
    ):
        m.clear()
        if before:
            m.store("a", before)
        failures = [(failed, m.load("a")[0]) for failed in failing(operation, *args)]
        assert len(failures) > 1
        assert all((value == before) == failed for failed, value in failures), (operation, failures)


@isolated()
def test_channels() -> None:
    full, empty = chan(1), chan(1)
    closed = chan()
    closed.close()
    for operation, args in (
        (full.recv_ok, ()),
        (select, (full, default)),
        (select, (full,)),
        (select, (empty, full)),
        (select, ([chan()] * 300 + [full])),
    ):
        full.send("value")
        failures = [(failed, len(full)) for failed in failing(operation, *args)]
        assert len(failures) > 1
        assert failures == [(True, 1)] * (len(failures) - 1) + [(False, 0)]
    for cases in (((empty, "value"), full), ((empty, "value"), default)):
        failures = [(failed, len(empty)) for failed in failing(select, *cases)]
        assert len(failures) > 1
        assert failures == [(True, 0)] * (len(failures) - 1) + [(False, 1)]
        empty.recv()
    ticks = after(0)
    sleep(0.001)
    assert list(failing(ticks.recv_ok))[-1] is False
    assert select(ticks, default)[0] == 1


@pytest.mark.parametrize("operation", ["recv_ok", "select"])
@isolated()
def test_who_waits_needs_no_memory_when_it_is_woken(operation: str) -> None:
    ch, other, done = chan(), chan(), chan()
    outcome: list[Any] = [None]

    def wait() -> None:
        try:
            outcome[0] = ch.recv_ok() if operation == "recv_ok" else select(ch, (other, 1))
        except MemoryError as error:
            outcome[0] = error
        memory.remove_mem_hooks()
        done.send(None)

    go(wait)
    wait_until_parked(1, "chan receive" if operation == "recv_ok" else "select")
    held = no_free_tuples()
    memory.set_nomemory(0, 1)
    held[0] = tuple(NOTHING)
    ch.send("value")
    done.recv()
    assert outcome == [("value", True) if operation == "recv_ok" else (0, "value", True)]
    del held


@pytest.mark.parametrize("ncases", [258, 1000])
@isolated()
def test_the_number_of_a_late_case_needs_no_memory(ncases: int) -> None:
    """CPython has the numbers up to 256 in store; a select that waits makes the others beforehand."""
    ch, done = chan(), chan()
    outcome: list[Any] = [None]

    def wait() -> None:
        try:
            outcome[0] = select(*[None] * (ncases - 1), ch)
        except MemoryError as error:
            outcome[0] = error
        memory.remove_mem_hooks()
        done.send(None)

    for _ in range(2):
        go(wait)
        wait_until_parked(1, "select")
        held = no_free_tuples()
        memory.set_nomemory(0, 1)
        held[0] = tuple(NOTHING)
        ch.send("value")
        done.recv()
        assert outcome == [(ncases - 1, "value", True)]
        del held


@isolated()
def test_nobody_sees_what_is_not_filled() -> None:
    """The tuple that a waiting operation will return is in none of the collector's lists."""
    ch = chan()
    for n in range(20):
        go(ch.recv_ok if n % 2 else lambda: select(ch, chan()))

    class Key:
        def __hash__(self) -> int:
            found.extend(
                sum(isinstance(o, tuple) and "NULL" in repr(o) for o in gc.get_objects()) for _ in "1"
            )
            return 1

    found: list[int] = []
    wait_until_parked(10, "chan receive")
    wait_until_parked(10, "select")
    m: Map[Key, int] = Map()
    m.swap(Key(), 1)
    m.load_or_store(Key(), 1)
    m.load_and_delete(Key())
    assert found == [0, 0, 0]
    ch.close()
