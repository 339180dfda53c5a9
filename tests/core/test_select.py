"""select: which case fires, that exactly one does, and how fair the choice is."""

from __future__ import annotations

import gc
import sys
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from gort import chan, default, go, select
from gort.runtime import Error, gosched
from gort.sync import WaitGroup
from gort.time import after, sleep
from helpers import Task, must_recv, wait_until, wait_until_freed, wait_until_parked

Spawn = Callable[..., Any]


class Thing:
    """Something that can be referred to weakly."""


def filled(*values: Any) -> Any:
    ch = chan(max(1, len(values)))
    for value in values:
        ch.send(value)
    return ch


# -- results ----------------------------------------------------------------------------------


def test_results(anywhere: Callable[..., Any]) -> None:
    def body() -> None:
        closed = chan()
        closed.close()
        assert select(filled("v")) == (0, "v", True)
        assert select(chan(), filled(None)) == (1, None, True)
        assert select(closed) == (0, None, False)
        assert select((filled("full"), 1), (chan(1), 2)) == (1, None, True)
        assert select(chan(), default) == (1, None, False)
        assert select(default, chan()) == (0, None, False)
        assert select(default) == (0, None, False)
        assert select(default, filled(1)) == (1, 1, True)

    anywhere(body)


def test_result_matches() -> None:
    match select(chan(), filled("hello")):
        case (1, value, True):
            assert value == "hello"
        case other:
            raise AssertionError(other)


def test_send_case_sends() -> None:
    ch = chan(1)
    assert select((ch, "sent")) == (0, None, True)
    assert ch.recv() == "sent"


def test_nil_cases_are_never_ready() -> None:
    assert select(None, (None, 1), default) == (2, None, False)
    assert select(None, filled(1), (None, 2)) == (1, 1, True)
    assert select(None, after(0.001))[0] == 1


def test_a_case_may_be_switched_off() -> None:
    a, b = filled(1, 2), filled(3, 4)
    a.close()
    b.close()
    cases: list[Any] = [a, b]
    seen = []
    while cases != [None, None]:
        i, value, ok = select(*cases)
        if ok:
            seen.append(value)
        else:
            cases[i] = None
    assert sorted(seen) == [1, 2, 3, 4]


def test_many_cases() -> None:
    channels = [chan(1) for _ in range(1000)]
    for i in (0, 500, 999):
        channels[i].send(i)
        assert select(*channels, default) == (i, i, True)
    assert select(*channels, default) == (1000, None, False)


# -- bad cases --------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [3, "ch", 1.5, (), (chan(),), (chan(), 1, 2), (3, 1), [chan(), 1], chan])
def test_what_is_no_case(case: Any) -> None:
    with pytest.raises(TypeError):
        select(case)
    with pytest.raises(TypeError):
        select(chan(1), case, default)


def test_message_says_which_value() -> None:
    with pytest.raises(TypeError, match="3"):
        select(3)


def test_two_defaults() -> None:
    with pytest.raises(ValueError, match="default"):
        select(default, chan(), default)


def test_bad_case_leaves_others_alone() -> None:
    ch = chan(1)
    with pytest.raises(TypeError):
        select((ch, 1), 3)
    assert len(ch) == 0


def test_no_keywords() -> None:
    with pytest.raises(TypeError):
        select(timeout=1)  # type: ignore[call-arg]


# -- closed channels --------------------------------------------------------------------------


def test_send_on_closed(anywhere: Callable[..., Any]) -> None:
    def body() -> None:
        ch = chan(1)
        ch.close()
        for cases in ([(ch, 1)], [(ch, 1), default], [chan(), (ch, 1)]):
            with pytest.raises(Error, match="^send on closed channel$"):
                select(*cases)

    anywhere(body)


def test_close_wakes_parked_selects(spawn: Spawn) -> None:
    ch, other = chan(), chan()
    receiver = spawn(select, other, ch)
    wait_until_parked(1, "select")
    ch.close()
    assert receiver.join() == (1, None, False)

    ch = chan()
    sender = spawn(select, other, (ch, 1))
    wait_until_parked(1, "select")
    ch.close()
    with pytest.raises(Error, match="^send on closed channel$"):
        sender.join()
    assert select(other, default) == (1, None, False)


# -- exactly one ------------------------------------------------------------------------------


def test_parked_select_takes_one_and_leaves_the_others(anywhere: Callable[..., Any], spawn: Spawn) -> None:
    def body() -> None:
        channels = [chan() for _ in range(4)]
        outgoing = chan()
        task = spawn(select, *channels, (outgoing, "out"))
        wait_until_parked(1, "select")
        assert select((channels[2], "in"), default) == (0, None, True)
        assert task.join() == (2, "in", True)
        for ch in channels:
            assert select((ch, 0), default) == (1, None, False), "a waiter stayed behind"
        assert select(outgoing, default) == (1, None, False)

    anywhere(body)


def test_two_selects_meet() -> None:
    a, b = chan(), chan()
    for _ in range(100):
        left = Task("goroutine", select, (a, "x"), b)
        right = Task("thread", select, a, (b, "y"))
        outcomes = left.join(), right.join()
        assert outcomes in [((0, None, True), (0, "x", True)), ((1, "y", True), (1, None, True))]


def test_never_both_sides_of_one_channel() -> None:
    """A select that both sends and receives on one channel never meets itself."""
    ch = chan()
    assert select(ch, (ch, 1), default) == (2, None, False)

    def both(n: int, results: Any) -> None:
        for i in range(500):
            index, value, ok = select((ch, (n, i)), ch)
            if index == 1:
                assert ok and value[0] != n
                results[value] += 1
            else:
                sent[(n, i)] += 1

    sent: Counter[Any] = Counter()
    received: Counter[Any] = Counter()
    wg = WaitGroup()
    for n in range(2):
        wg.go(both, n, received)
    wg.wait()
    assert sum(sent.values()) == sum(received.values()) == 500
    assert sent == received


def test_values_are_conserved_among_racing_selects() -> None:
    channels = [chan(i % 3) for i in range(5)]
    got: list[Any] = []

    def send(n: int) -> None:
        for i in range(100):
            select(*((ch, (n, i)) for ch in channels))

    def receive() -> None:
        cases: list[Any] = list(channels)
        while any(case is not None for case in cases):
            i, value, ok = select(*cases)
            if ok:
                got.append(value)
            else:
                cases[i] = None

    senders, receivers = WaitGroup(), WaitGroup()
    for n in range(10):
        senders.go(send, n)
    for _ in range(4):
        receivers.go(receive)
    senders.wait()
    for ch in channels:
        ch.close()
    receivers.wait()
    assert sorted(got) == [(n, i) for n in range(10) for i in range(100)]


def test_same_channel_in_many_cases(spawn: Spawn) -> None:
    ch = chan()
    task = spawn(select, ch, ch, ch)
    wait_until_parked(1, "select")
    ch.send("v")
    index, value, ok = task.join()
    assert index in (0, 1, 2) and (value, ok) == ("v", True)
    assert select((ch, 1), default) == (1, None, False), "a waiter stayed behind"


def test_default_never_parks() -> None:
    """Two goroutines that only try meet now and then, and nothing is lost."""
    ch = chan()
    sent: list[Any] = []
    received: list[Any] = []

    def try_to_send() -> None:
        i = 0
        while i < 2000 or not sent:
            if select((ch, i), default)[0] == 0:
                sent.append(i)
            i += 1
            gosched()

    def receive() -> None:
        received.extend(ch)

    wg = WaitGroup()
    wg.go(receive)
    try_to_send()
    ch.close()
    wg.wait()
    assert sent == received


def test_timeout() -> None:
    assert select(chan(), after(0.005))[0] == 1
    ch = filled(1)
    assert select(ch, after(60)) == (0, 1, True)


# -- fairness ---------------------------------------------------------------------------------


@pytest.mark.parametrize("cases", [2, 3, 5, 10])
def test_choice_among_ready_cases_is_uniform(cases: int) -> None:
    """Chi-square over the cases chosen: the bound is passed once in 10**7 runs of a uniform choice."""
    rounds = 2000 * cases
    closed = chan()
    closed.close()
    counts = Counter(select(*[closed] * cases)[0] for _ in range(rounds))
    expected = rounds / cases
    chi_square = sum((counts[i] - expected) ** 2 / expected for i in range(cases))
    bound = {2: 28.4, 3: 32.3, 5: 38.0, 10: 49.4}[cases]
    assert chi_square < bound, counts


def test_choice_does_not_depend_on_kind() -> None:
    """Ready sends, receives and closed channels have the same chance; nil and idle cases take none of it."""
    closed = chan()
    closed.close()
    counts: Counter[int] = Counter()
    for _ in range(6000):
        counts[select(None, closed, (chan(1), 1), filled(1), chan())[0]] += 1
    assert set(counts) == {1, 2, 3}
    assert all(abs(counts[i] - 2000) < 250 for i in counts), counts


def test_no_goroutine_starves() -> None:
    """Two always ready channels both get served: this does not end if one is not."""
    a, b, done = chan(), chan(), chan()

    def feed(ch: Any) -> None:
        while select((ch, 1), done)[0] == 0:
            pass

    wg = WaitGroup()
    wg.go(feed, a)
    wg.go(feed, b)
    counts: Counter[int] = Counter()
    while min(counts[0], counts[1]) < 1000:
        counts[select(a, b)[0]] += 1
    done.close()
    wg.wait()


# -- lives ------------------------------------------------------------------------------------


def test_reference_counts(spawn: Spawn) -> None:
    thing, ch, full = Thing(), chan(1), filled(0)

    def counts() -> tuple[int, int, int]:
        return sys.getrefcount(thing), sys.getrefcount(ch), sys.getrefcount(full)

    before = counts()
    for _ in range(20):
        select((ch, thing), (full, thing))
        assert select(ch)[1] is thing
        select((full, thing), default)
        unbuffered = chan()
        task = spawn(select, (full, thing), (unbuffered, thing))
        assert unbuffered.recv() is thing
        task.join()
    del task
    gc.collect()
    wait_until(lambda: counts() == before)


def test_unsent_value_is_freed() -> None:
    thing, ch, other = Thing(), chan(), chan()
    ref = weakref.ref(thing)
    wg = WaitGroup()
    wg.go(select, (ch, thing), other)
    del thing
    wait_until_parked(1, "select")
    gc.collect()
    assert ref() is not None
    other.send(1)
    wg.wait()
    wait_until_freed(ref)


def test_channels_of_a_finished_select_are_freed() -> None:
    channels = [chan() for _ in range(10)]
    refs = [weakref.ref(ch) for ch in channels]
    wg = WaitGroup()
    wg.go(select, *channels)
    wait_until_parked(1, "select")
    channels[3].send(1)
    wg.wait()
    del channels
    wait_until_freed(*refs)


def test_parked_in_select_while_collecting() -> None:
    channels = [chan() for _ in range(3)]
    wg = WaitGroup()
    seen = []
    for n in range(300):
        wg.go(lambda n=n: seen.append((n, select(*channels, (channels[0], n)))))  # type: ignore[misc]
        if n % 50 == 0:
            sleep(0)
            gc.collect()
    stop = chan()
    go(lambda: (wg.wait(), stop.close()))
    while select(channels[0], (channels[1], 0), (channels[2], 0), stop)[0] != 3:
        pass
    assert sorted(n for n, _ in seen) == list(range(300))


@pytest.mark.parametrize("cases", [2, 3, 16, 17, 40])
def test_parked_cases_of_one_channel_take_turns(cases: int) -> None:
    """Whoever wakes a select with several cases on one channel takes any of them."""
    ch, back = chan(), chan()
    rounds = 120 * cases

    def receive() -> None:
        got: Counter[int | None] = Counter()
        for _ in range(rounds):
            gosched()  # until the other side is parked
            got[ch.recv()] += 1
        back.send(got)

    go(receive)
    for _ in range(rounds):
        select(*[(ch, i) for i in range(cases)])
    got = must_recv(back)
    assert all(50 < got[i] < 250 for i in range(cases)), got

    def send() -> None:
        for _ in range(rounds):
            gosched()
            ch.send(None)

    go(send)
    which = Counter(select(*[ch] * cases)[0] for _ in range(rounds))
    assert all(50 < which[i] < 250 for i in range(cases)), which
