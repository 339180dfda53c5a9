"""Channels: the language specification's rules, order, closing, and the life of the values in them."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from gort import Chan, chan, default, go, select
from gort.runtime import Error, gosched
from gort.sync import WaitGroup
from helpers import Task, wait_until, wait_until_freed, wait_until_parked

Spawn = Callable[..., Any]


class Thing:
    """Something that can be referred to weakly."""

    other: Any = None


# -- making one -------------------------------------------------------------------------------


@pytest.mark.parametrize("capacity", [0, 1, 2, 100])
def test_new(capacity: int) -> None:
    ch = chan(capacity)
    assert isinstance(ch, Chan)
    assert (len(ch), ch.cap) == (0, capacity)
    assert ch, "a channel is true whatever its length"


def test_type_is_generic_and_constructible() -> None:
    assert Chan(3).cap == 3
    assert Chan[int] is not None


def test_capacity_takes_index() -> None:
    class Three:
        def __index__(self) -> int:
            return 3

    assert chan(Three()).cap == 3  # type: ignore[arg-type]


def test_capacity_by_name() -> None:
    assert chan(capacity=4).cap == Chan(capacity=4).cap == Chan(4).cap == 4
    for make, name in ((chan, "chan"), (Chan, "Chan")):
        with pytest.raises(TypeError, match=rf"^{name}\(\) takes a capacity and nothing else, got size=4$"):
            make(size=4)  # type: ignore[call-arg]
        with pytest.raises(TypeError, match=rf"^{name}\(\) got its capacity twice"):
            make(4, capacity=4)  # type: ignore[misc]
        with pytest.raises(TypeError, match="got 2 arguments"):
            make(4, 5)  # type: ignore[call-arg]
        with pytest.raises(ValueError, match="makechan"):
            make(capacity=-1)


def test_capacity_costs_nothing_until_it_is_used() -> None:
    channels = [chan(2**33) for _ in range(20)]
    gc.collect()
    for ch in channels:
        ch.send("x")
        assert ch.cap == 2**33 and len(ch) == 1


@pytest.mark.parametrize("capacity", [1, 3, 64, 65, 100, 1000])
def test_values_stay_in_order_while_the_ring_grows(capacity: int) -> None:
    """The ring is full at every place of its first value when it grows."""
    for start in range(min(capacity, 64)):
        ch = chan(capacity)
        for i in range(start):
            ch.send(i)
            assert ch.recv() == i
        for i in range(capacity):
            assert select((ch, i), default)[0] == 0
        assert len(ch) == capacity and select((ch, -1), default)[0] == 1
        assert [ch.recv() for _ in range(capacity)] == list(range(capacity))


def test_collector_sees_values_wherever_they_lie() -> None:
    refs = []
    for count in (1, 5, 64, 65, 200):
        ch = chan(1000)
        for _ in range(40):
            ch.send(None)
            ch.recv()
        for _ in range(count):
            thing = Thing()
            thing.ch = ch  # type: ignore[attr-defined]
            refs.append(weakref.ref(thing))
            ch.send(thing)
        gc.collect()
        assert all(ref() is not None for ref in refs[-count:])
    del ch, thing
    gc.collect()
    assert all(ref() is None for ref in refs)


@pytest.mark.parametrize("capacity", [-1, -(2**70), 2**62, 2**63, 2**70])
def test_capacity_out_of_range(capacity: int) -> None:
    with pytest.raises(ValueError, match="makechan: size out of range"):
        chan(capacity)


@pytest.mark.parametrize("capacity", ["x", 1.5, None, [], b"1", True])
def test_capacity_of_wrong_type(capacity: Any) -> None:
    with pytest.raises(TypeError) as failure:
        chan(capacity)
    assert repr(capacity) in str(failure.value) or type(capacity).__name__ in str(failure.value)


def test_wrong_arguments() -> None:
    ch = chan(1)
    for call in (
        lambda: chan(1, 2),  # type: ignore[call-arg]
        lambda: ch.send(),  # type: ignore[call-arg]
        lambda: ch.send(1, 2),  # type: ignore[call-arg]
        lambda: ch.recv(1),  # type: ignore[call-arg]
        lambda: ch.recv_ok(1),  # type: ignore[call-arg]
        lambda: ch.close(1),  # type: ignore[call-arg]
    ):
        with pytest.raises(TypeError):
            call()
    with pytest.raises(AttributeError):
        ch.cap = 4  # type: ignore[misc]
    assert (len(ch), ch.cap) == (0, 1)


def test_identity() -> None:
    a, b = chan(), chan()
    assert a == a and a != b and len({a, b, a}) == 2


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy, pickle.dumps])
def test_no_copies(make: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError):
        make(chan(1))


def test_bare_object_is_safe() -> None:
    """Whatever `__new__` without `__init__` gives, it must not crash."""
    ch = Chan.__new__(Chan)  # type: ignore[var-annotated]
    assert len(ch) == 0
    assert select(ch, default) == (1, None, False)
    assert repr(ch)


# -- sending and receiving --------------------------------------------------------------------


def test_buffer_is_a_queue(anywhere: Callable[..., Any]) -> None:
    def body() -> None:
        ch = chan(3)
        for i in range(3):
            ch.send(i)
            assert len(ch) == i + 1
        assert [ch.recv(), ch.recv()] == [0, 1]
        ch.send(3)
        ch.send(4)
        assert [ch.recv(), ch.recv(), ch.recv()] == [2, 3, 4]
        assert len(ch) == 0

    anywhere(body)


def test_unbuffered_send_waits_for_its_receiver(anywhere: Callable[..., Any], spawn: Spawn) -> None:
    def body() -> None:
        ch = chan()
        log: list[str] = []

        def sender() -> None:
            ch.send("value")
            log.append("sent")

        task = spawn(sender)
        wait_until_parked(1, "chan send")
        assert log == [] and len(ch) == 0
        assert ch.recv() == "value"
        task.join()
        assert log == ["sent"]

    anywhere(body)


def test_receive_waits_for_a_value(anywhere: Callable[..., Any], spawn: Spawn) -> None:
    def body() -> None:
        ch = chan()
        task = spawn(ch.recv_ok)
        wait_until_parked(1, "chan receive")
        ch.send("value")
        assert task.join() == ("value", True)

    anywhere(body)


def test_full_buffer_holds_the_sender(spawn: Spawn) -> None:
    ch = chan(1)
    ch.send(1)
    task = spawn(ch.send, 2)
    wait_until_parked(1, "chan send")
    assert len(ch) == 1
    assert ch.recv() == 1
    task.join()
    assert (len(ch), ch.recv()) == (1, 2)


def test_none_is_a_value() -> None:
    ch = chan(1)
    ch.send(None)
    assert ch.recv_ok() == (None, True)
    ch.close()
    assert ch.recv_ok() == (None, False)
    assert ch.recv() is None


@pytest.mark.parametrize("count", [2, 20])
def test_receivers_are_served_in_order(count: int, spawn: Spawn) -> None:
    ch = chan()
    tasks = []
    for i in range(count):
        tasks.append(spawn(ch.recv))
        wait_until_parked(i + 1, "chan receive")
    for i in range(count):
        ch.send(i)
    assert [task.join() for task in tasks] == list(range(count))


@pytest.mark.parametrize("capacity", [0, 1, 3])
def test_senders_are_served_in_order(capacity: int, spawn: Spawn) -> None:
    ch = chan(capacity)
    tasks = []
    for i in range(capacity + 20):
        tasks.append(spawn(ch.send, i))
        if i < capacity:
            tasks[-1].join()
        else:
            wait_until_parked(i - capacity + 1, "chan send")
    assert [ch.recv() for _ in tasks] == list(range(capacity + 20))
    for task in tasks[capacity:]:
        task.join()


def test_waiters_of_all_kinds_share_one_queue() -> None:
    """Goroutines, threads and selects that wait on one channel are served in the order in which they came."""
    ch, other = chan(), chan()
    tasks = []
    for i in range(12):
        if i % 3 == 2:
            tasks.append(Task("goroutine", lambda: select(other, ch)[1]))
            wait_until_parked(i // 3 + 1, "select")
        else:
            tasks.append(Task(("goroutine", "thread")[i % 3], ch.recv))
            wait_until_parked(i + 1 - (i + 1) // 3, "chan receive")
    for i in range(12):
        ch.send(i)
    assert [task.join() for task in tasks] == list(range(12))


def test_rendezvous_both_ways(anywhere: Callable[..., Any], spawn: Spawn) -> None:
    def body() -> None:
        there, back = chan(), chan()

        def echo() -> None:
            for value in there:
                back.send(value + 1)

        task = spawn(echo)
        for i in range(200):
            there.send(i)
            assert back.recv() == i + 1
        there.close()
        task.join()

    anywhere(body)


@pytest.mark.parametrize("capacity", [0, 1, 7, 1000])
def test_many_to_many(capacity: int) -> None:
    """Each value arrives exactly once, and each sender's values in its order at each receiver."""
    ch = chan(capacity)
    producers = [
        Task(("goroutine", "thread")[n % 2], lambda n=n: [ch.send((n, i)) for i in range(100)])
        for n in range(8)
    ]
    consumers = [Task(("goroutine", "thread")[n % 2], list, ch) for n in range(6)]
    for task in producers:
        task.join()
    ch.close()
    received = [task.join() for task in consumers]
    assert sorted(value for part in received for value in part) == [
        (n, i) for n in range(8) for i in range(100)
    ]
    for part in received:
        for n in range(8):
            mine = [i for sender, i in part if sender == n]
            assert mine == sorted(mine)


def test_channel_of_channels() -> None:
    requests = chan()

    def server() -> None:
        for value, reply in requests:
            reply.send(value * 2)

    go(server)
    for i in range(10):
        reply = chan()
        requests.send((i, reply))
        assert reply.recv() == i * 2
    requests.close()


def test_exchange_of_two_senders_does_not_mix() -> None:
    """A receiver that was handed a value keeps it though another one is sent before it runs."""
    ch = chan()
    results = chan(2)
    for _ in range(2):
        go(lambda: results.send(ch.recv()))
    wait_until_parked(2, "chan receive")
    ch.send("a")
    ch.send("b")
    assert [results.recv(), results.recv()] == ["a", "b"]


# -- closing ----------------------------------------------------------------------------------


def test_close_drains_first() -> None:
    ch = chan(2)
    ch.send(1)
    ch.send(2)
    ch.close()
    assert len(ch) == 2
    assert [ch.recv_ok() for _ in range(4)] == [(1, True), (2, True), (None, False), (None, False)]


def test_close_wakes_all_receivers() -> None:
    ch = chan()
    tasks = [Task(("goroutine", "thread")[i % 2], ch.recv_ok) for i in range(50)]
    wait_until_parked(50, "chan receive")
    ch.close()
    assert [task.join() for task in tasks] == [(None, False)] * 50


def test_close_makes_all_senders_fail() -> None:
    ch = chan()
    tasks = [Task(("goroutine", "thread")[i % 2], ch.send, i) for i in range(20)]
    wait_until_parked(20, "chan send")
    ch.close()
    for task in tasks:
        with pytest.raises(Error, match="^send on closed channel$"):
            task.join()
    assert ch.recv_ok() == (None, False)


def test_close_of_full_buffer_with_senders_waiting() -> None:
    ch = chan(1)
    ch.send("buffered")
    task = Task("goroutine", ch.send, "waiting")
    wait_until_parked(1, "chan send")
    ch.close()
    with pytest.raises(Error, match="send on closed channel"):
        task.join()
    assert [ch.recv_ok(), ch.recv_ok()] == [("buffered", True), (None, False)]


@pytest.mark.parametrize("capacity", [0, 3])
def test_misuse_of_a_closed_channel(capacity: int, anywhere: Callable[..., Any]) -> None:
    def body() -> None:
        ch = chan(capacity)
        ch.close()
        with pytest.raises(Error, match="^send on closed channel$"):
            ch.send(1)
        with pytest.raises(Error, match="^close of closed channel$"):
            ch.close()
        assert ch.recv_ok() == (None, False)

    anywhere(body)


# -- iterating --------------------------------------------------------------------------------


def test_iteration_ends_with_the_channel(anywhere: Callable[..., Any], spawn: Spawn) -> None:
    def body() -> None:
        ch = chan()

        def produce() -> None:
            for i in range(50):
                ch.send(i)
            ch.close()

        task = spawn(produce)
        assert list(ch) == list(range(50))
        assert list(ch) == []
        task.join()

    anywhere(body)


def test_iteration_yields_none_values() -> None:
    ch = chan(3)
    for value in (None, 0, None):
        ch.send(value)
    ch.close()
    assert list(ch) == [None, 0, None]


def test_breaking_out_takes_nothing_more() -> None:
    ch = chan(5)
    for i in range(5):
        ch.send(i)
    for value in ch:
        if value == 2:
            break
    assert (len(ch), ch.recv()) == (2, 3)


def test_next() -> None:
    ch = chan(1)
    ch.send(1)
    assert next(ch) == 1
    ch.close()
    with pytest.raises(StopIteration):
        next(ch)
    assert next(ch, "end") == "end"


# -- the life of values -----------------------------------------------------------------------


def test_reference_counts(spawn: Spawn) -> None:
    thing = Thing()
    before = sys.getrefcount(thing)
    for ch in (chan(2), chan()):
        for _ in range(10):
            task = spawn(ch.send, thing)
            assert ch.recv() is thing
            task.join()
            task = spawn(ch.recv)
            ch.send(thing)
            assert task.join() is thing
    del task
    gc.collect()
    wait_until(lambda: sys.getrefcount(thing) == before)


def test_reference_counts_of_refused_sends() -> None:
    thing, ch = Thing(), chan()
    ch.close()
    before = sys.getrefcount(thing)
    for _ in range(100):
        with pytest.raises(Error):
            ch.send(thing)
        with pytest.raises(Error):
            select((ch, thing))
    gc.collect()
    assert sys.getrefcount(thing) == before


def test_channel_frees_its_buffer() -> None:
    ch, things = chan(10), [Thing() for _ in range(10)]
    refs = [weakref.ref(thing) for thing in things]
    for thing in things:
        ch.send(thing)
    del things, thing
    ch.recv()
    gc.collect()
    assert [ref() is None for ref in refs] == [True] + [False] * 9
    del ch
    gc.collect()
    assert all(ref() is None for ref in refs)


def test_buffer_forgets_what_was_received() -> None:
    ch, thing = chan(4), Thing()
    ref = weakref.ref(thing)
    ch.send(thing)
    assert ch.recv() is thing
    del thing
    gc.collect()
    assert ref() is None


def test_cycle_through_a_buffer_is_collected() -> None:
    ch, thing = chan(1), Thing()
    thing.other = ch
    refs = weakref.ref(thing), weakref.ref(ch)
    ch.send(thing)
    del ch, thing
    gc.collect()
    assert [ref() for ref in refs] == [None, None]


def test_closed_channel_with_cycle_is_collected() -> None:
    ch = chan(2)
    ref = weakref.ref(ch)
    ch.send(ch)
    ch.close()
    del ch
    gc.collect()
    assert ref() is None


def test_parked_goroutine_keeps_its_values_alive() -> None:
    ch, thing = chan(), Thing()
    ref = weakref.ref(thing)
    go(ch.send, thing)
    wait_until_parked(1, "chan send")
    del thing
    for _ in range(3):
        gc.collect()
    received = ch.recv()
    assert received is ref()
    del received
    wait_until_freed(ref)


def test_finished_goroutine_frees_its_arguments() -> None:
    thing = Thing()
    ref = weakref.ref(thing)
    wg = WaitGroup()
    wg.go(lambda x: None, thing)
    del thing
    wg.wait()
    wait_until_freed(ref)


def test_values_whose_destructor_uses_the_channel() -> None:
    """A channel may be used again while it lets go of a value."""
    log = chan(10)

    class Noisy:
        def __del__(self) -> None:
            log.send("freed")
            gosched()

    ch = chan(3)
    for _ in range(3):
        ch.send(Noisy())
    ch.recv()
    del ch
    gc.collect()
    assert [log.recv() for _ in range(3)] == ["freed"] * 3


def test_collection_with_parked_generators_and_with_blocks() -> None:
    """gc.collect() sees and keeps what parked goroutines hold in generators, with blocks and try blocks."""
    gate, results = chan(), chan()
    entered = []

    class Context:
        def __enter__(self) -> Thing:
            entered.append(self)
            return Thing()

        def __exit__(self, *exc: object) -> None:
            entered.remove(self)

    def generator(n: int) -> Any:
        thing = Thing()
        thing.other = thing
        with Context() as inner:
            inner.other = (thing, inner)
            try:
                gate.recv()
                yield n
            finally:
                results.send((n, thing.other is thing, inner.other[1] is inner))

    def worker(n: int) -> None:
        for _ in generator(n):
            pass

    for n in range(200):
        go(worker, n)
    wait_until_parked(200, "chan receive")
    for _ in range(5):
        gc.collect()
    assert len(entered) == 200
    gate.close()
    assert sorted(results.recv() or () for _ in range(200)) == [(n, True, True) for n in range(200)]
    wait_until(lambda: not entered)


def test_thread_ends_while_others_use_the_channel() -> None:
    """Plain threads come and go; a channel remembers none of them."""
    ch = chan()
    for i in range(50):
        thread = threading.Thread(target=ch.send, args=(i,))
        thread.start()
        assert ch.recv() == i
        thread.join()
