"""Timers: order, stopping and resetting, channels and functions, very many of them. No test measures time."""

from __future__ import annotations

import datetime
import gc
import random
import sys
import threading
import time as python_time
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from gort import _core, chan, default, go, select
from gort.runtime import gosched
from gort.sync import WaitGroup
from gort.time import Ticker, Timer, after, after_func, sleep, tick
from harness import isolated
from helpers import Task, must_recv, wait_until, wait_until_freed, wait_until_parked

Spawn = Callable[..., Any]


def test_sleep_is_never_too_short(anywhere: Callable[..., Any]) -> None:
    def body() -> None:
        for seconds in (0.001, 0.02, datetime.timedelta(milliseconds=3)):
            before = python_time.monotonic()
            sleep(seconds)
            slept = python_time.monotonic() - before
            wanted = seconds.total_seconds() if isinstance(seconds, datetime.timedelta) else seconds
            assert slept >= wanted

    anywhere(body)


@pytest.mark.parametrize("seconds", [0, 0.0, -1, -1e300, float("-inf"), datetime.timedelta(0), 1e-12])
def test_sleep_of_nothing_returns(seconds: Any, anywhere: Callable[..., Any]) -> None:
    anywhere(sleep, seconds)


@pytest.mark.parametrize("seconds", ["1", None, [], 1j])
def test_sleep_of_wrong_type(seconds: Any) -> None:
    with pytest.raises(TypeError):
        sleep(seconds)
    with pytest.raises(TypeError):
        Timer(seconds)
    with pytest.raises(TypeError):
        after(seconds)


def test_sleep_of_nan() -> None:
    with pytest.raises(ValueError, match="nan"):
        sleep(float("nan"))


@pytest.mark.parametrize("seconds", [1e9, 1e18, 1e300, float("inf")])
def test_very_long_durations(seconds: float) -> None:
    """A duration beyond the clock's range is as long as the clock goes, not a wrapped one."""
    timer = Timer(seconds)
    assert select(timer.c, after(0.002))[0] == 1
    assert timer.stop() is True


def test_sleepers_wake_in_order_of_their_times() -> None:
    def attempt() -> list[int]:
        order, wg = [], WaitGroup()

        def sleeper(n: int) -> None:
            sleep(0.02 * n)
            order.append(n)

        numbers = list(range(8))
        random.Random(1).shuffle(numbers)
        for n in numbers:
            wg.go(sleeper, n)
        wg.wait()
        return order

    # They do not begin to sleep at the same time.
    assert any(attempt() == list(range(8)) for _ in range(5))


def test_equal_times_all_fire() -> None:
    fired, wg = [], WaitGroup()
    for n in range(50):
        wg.add(1)
        after_func(0.02, lambda n=n: (fired.append(n), wg.done()))  # type: ignore[misc]
    wg.wait()
    assert sorted(fired) == list(range(50))


def test_timer_sends_the_time_once(anywhere: Callable[..., Any]) -> None:
    def body() -> None:
        before = python_time.time()
        timer = Timer(0.005)
        fired = must_recv(timer.c)
        assert before - 1 <= fired <= python_time.time() + 1
        assert timer.stop() is False
        assert select(timer.c, after(0.01))[0] == 1

    anywhere(body)


def test_stop_before_it_fires() -> None:
    timer = Timer(0.02)
    assert timer.stop() is True and timer.stop() is False
    assert select(timer.c, after(0.05))[0] == 1


def test_stop_takes_back_what_nobody_received(anywhere: Callable[..., Any]) -> None:
    """Until its value is received a timer is active: stop() and reset() say so, and leave nothing."""

    def body() -> None:
        timer = Timer(0.001)
        python_time.sleep(0.02)
        sleep(0.005)
        assert timer.stop() is True
        assert select(timer.c, default)[0] == 1
        assert timer.stop() is False
        assert timer.reset(0.001) is False
        sleep(0.005)
        assert timer.reset(3600) is True
        assert select(timer.c, default)[0] == 1
        assert timer.reset(0) is True
        assert must_recv(timer.c) > 0
        assert timer.stop() is False

    anywhere(body)


@pytest.mark.parametrize("make", [lambda: Timer(0), lambda: Ticker(1e-9)])
def test_channel_is_unbuffered_and_receive_only(make: Callable[[], Timer | Ticker]) -> None:
    timer = make()
    sleep(0.002)
    assert (len(timer.c), timer.c.cap) == (0, 0)
    for operation in (lambda: timer.c.send(1.0), timer.c.close, lambda: select(default, (timer.c, 1.0))):
        with pytest.raises(TypeError, match="a timer's channel, which is receive-only"):
            operation()
    assert select(timer.c, default)[0] == 0


def test_tiny_durations_are_durations() -> None:
    for d in (4e-10, 1e-12, 5e-324):
        assert must_recv(Ticker(d).c) > 0
        assert must_recv(Timer(d).c) > 0
        ticks = tick(d)
        assert ticks is not None and must_recv(ticks) > 0
        ticker = Ticker(3600)
        ticker.reset(d)
        assert must_recv(ticker.c) > 0 and must_recv(ticker.c) > 0
        sleep(d)
    assert tick(-0.0) is None and tick(-5e-324) is None


def test_value_is_the_time_at_which_it_fired() -> None:
    """However late it is received; of ticks that were missed it is the first one's."""

    def attempt() -> str:
        before = python_time.time()
        timer, ticker = Timer(0.1), Ticker(0.1)
        python_time.sleep(0.65)
        fired, first, second = must_recv(timer.c), must_recv(ticker.c), must_recv(ticker.c)
        assert min(fired, first) >= before + 0.1
        assert second >= before + 0.65  # the missed ones are gone
        if max(fired, first) > before + 0.5:
            return "as if when it is received"
        phases = [(tick_ - first) / 0.1 for tick_ in (second, must_recv(ticker.c), must_recv(ticker.c))]
        return "" if all(abs(phase - round(phase)) < 0.25 for phase in phases) else f"out of step: {phases}"

    outcomes: list[str] = []
    while not outcomes or outcomes[-1]:  # a machine may be late, but not each time
        assert len(outcomes) < 5, outcomes
        outcomes.append(attempt())


def test_several_receivers_of_one_ticker() -> None:
    ticker, counts = Ticker(0.001), [0] * 4

    def receive(n: int) -> None:
        for _ in range(5):
            ticker.c.recv()
            counts[n] += 1

    wg = WaitGroup()
    for n in range(4):
        wg.go(receive, n)
    wg.wait()
    assert counts == [5] * 4


def test_a_value_goes_to_who_has_waited(spawn: Spawn) -> None:
    """A due timer is received by the one who waits already, not by one who comes later and finds it due."""
    timer = Timer(3600)
    task = spawn(timer.c.recv)
    wait_until_parked(1, "chan receive")
    timer.reset(0.001)
    python_time.sleep(0.01)
    select(timer.c, default)
    assert task.join() > 0
    assert select(timer.c, default)[0] == 1


def test_stop_while_others_wait() -> None:
    timer, out = Timer(3600), chan(10)
    for way in (timer.c.recv, lambda: select(timer.c, chan()), lambda: select(timer.c, timer.c)):
        go(lambda way=way: out.send(way()))  # type: ignore[misc]
    sleep(0.001)
    assert timer.stop() is True and timer.stop() is False
    sleep(0.005)
    assert len(out) == 0
    for _ in range(3):
        assert timer.reset(0.001) is False
        out.recv()
    assert timer.stop() is False


def test_timers_in_select() -> None:
    """Due timers and other ready cases are taken with equal chances; the others go on."""
    ready = chan(1)
    ready.send(1)
    taken = [0, 0, 0]
    for _ in range(600):
        i, value, ok = select(ready, after(0), after(-1))
        assert ok
        if i == 0:
            ready.send(value)
        taken[i] += 1
    assert min(taken) > 120, taken
    timers = [Timer(0.001) for _ in range(40)]
    cases = [timer.c for timer in timers]
    left = set(range(40))
    while left:
        left.remove(select(*cases)[0])
    assert not any(timer.stop() for timer in timers)


def test_a_select_that_parks_leaves_its_timers() -> None:
    ch, timer = chan(), Timer(3600)
    for i in range(50):
        go(ch.send, i)
        assert select(after(3600), ch, timer.c, after(3600))[:2] == (1, i)
    assert timer.stop() is True


@isolated()
def test_unreachable_timers_are_freed_at_once() -> None:
    """By their reference counts: they are in no cycle, and nothing else refers to them."""
    gc.collect()
    gc.disable()
    c = chan(1)
    kinds: list[Callable[[], Any]] = [
        lambda: after(3600),
        lambda: Timer(3600),
        lambda: Ticker(3600),
        lambda: Ticker(0.001),
        lambda: tick(3600),
        lambda: Timer(0),
    ]
    for make in kinds:
        ref = weakref.ref(getattr(make(), "c", None) or make())
        assert ref() is None
    for _ in range(1000):
        c.send(0)
        select(c, after(3600))
    before = sys.getallocatedblocks()
    for _ in range(20_000):
        c.send(0)
        select(c, after(3600))
        Ticker(3600)
        Timer(3600)
    assert sys.getallocatedblocks() - before < 1000


def test_a_channel_keeps_its_timer() -> None:
    ch = Timer(0.01).c
    gc.collect()
    assert must_recv(ch) > 0
    ch = Ticker(0.001).c
    assert must_recv(ch) < must_recv(ch)
    out = chan()
    go(lambda: out.send(after(0.01).recv()))
    assert must_recv(out) > 0


def test_user_code_cannot_run_within_reset() -> None:
    """What a reset drops is nothing of the program's, so that a timer is in the heap once."""
    timer = Timer(60)

    class Token:
        def __del__(self) -> None:
            timer.reset(0.001)

    for use in (lambda: timer.c.send(Token()), lambda: select((timer.c, Token()), default)):  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            use()
        timer.stop()
    sleep(0.01)
    assert select(timer.c, default)[0] == 1


def test_reset(spawn: Spawn) -> None:
    timer = Timer(3600)
    task = spawn(timer.c.recv)
    wait_until_parked(1, "chan receive")
    assert timer.reset(0.002) is True
    assert task.join() > 0
    assert timer.reset(0.002) is False
    assert must_recv(timer.c) > 0


def test_after_func(anywhere: Callable[..., Any]) -> None:
    def body() -> None:
        ch = chan()
        timer = after_func(0.002, lambda: ch.send(_core.goid()))
        assert ch.recv() not in (0, 1)
        assert timer.stop() is False
        timer.reset(0.001)
        ch.recv()

    anywhere(body)


def test_after_func_stopped() -> None:
    fired = []
    timer = after_func(0.2, lambda: fired.append(1))
    assert timer.stop() is True
    sleep(0.3)
    assert fired == []


def test_after_func_may_block_and_stop_itself() -> None:
    done = chan()

    def fire() -> None:
        sleep(0.001)
        python_time.sleep(0.001)
        done.send(timer.stop())

    timer = after_func(0.001, fire)
    assert done.recv() is False


def test_ticker(anywhere: Callable[..., Any]) -> None:
    def body() -> None:
        ticker = Ticker(0.002)
        times = [must_recv(ticker.c) for _ in range(5)]
        assert times == sorted(times) and len(set(times)) == 5
        ticker.stop()
        assert select(ticker.c, after(0.01))[0] == 1

    anywhere(body)


def test_ticker_drops_what_nobody_takes() -> None:
    ticker = Ticker(0.5)
    python_time.sleep(1.1)
    sleep(0.01)
    ticker.c.recv()
    assert select(ticker.c, default)[0] == 1
    ticker.stop()


def test_ticker_reset() -> None:
    ticker = Ticker(3600)
    ticker.reset(0.001)
    for _ in range(3):
        ticker.c.recv()
    ticker.stop()


@pytest.mark.parametrize("period", [0, -1])
def test_ticker_period_must_be_positive(period: float) -> None:
    with pytest.raises(ValueError, match=str(period)):
        Ticker(period)
    ticker = Ticker(1)
    with pytest.raises(ValueError, match=str(period)):
        ticker.reset(period)
    ticker.stop()


def test_tick() -> None:
    ch = tick(0.001)
    assert ch is not None
    for _ in range(3):
        assert must_recv(ch) > 0


def test_busy_goroutine_does_not_hold_timers_up() -> None:
    """A pure-Python loop without a scheduling point runs until timers that fire meanwhile have stopped it."""
    count = [0]

    def fire() -> None:
        count[0] += 1
        if count[0] < 5:
            after_func(0.001, fire)

    after_func(0.001, fire)
    deadline = python_time.monotonic() + 60
    while count[0] < 5:
        assert python_time.monotonic() < deadline, "timers did not fire beside a busy loop"


def test_timers_fire_while_all_block_in_c() -> None:
    done = threading.Event()
    after_func(0.01, done.set)
    assert done.wait(60)


def test_many_timers_in_random_order() -> None:
    rng, fired, wg = random.Random(7), [], WaitGroup()
    delays = [rng.uniform(0.0, 0.2) for _ in range(5000)]
    wg.add(len(delays))
    for n, delay in enumerate(delays):
        after_func(delay, lambda n=n: (fired.append(n), wg.done()))  # type: ignore[misc]
    wg.wait()
    assert sorted(fired) == list(range(5000))


def test_many_timers_stopped_in_random_order() -> None:
    rng = random.Random(11)
    timers = [Timer(rng.uniform(10, 3600)) for _ in range(20000)]
    rng.shuffle(timers)
    assert all(timer.stop() for timer in timers)
    assert not any(timer.stop() for timer in timers)


def test_random_stops_and_resets() -> None:
    """Each start is either stopped in time or fires, once, whatever the order."""
    rng = random.Random(3)
    fired: dict[int, int] = {}
    starts: dict[int, int] = {}
    wg = WaitGroup()

    def fire(n: int) -> None:
        fired[n] = fired.get(n, 0) + 1

    timers = [after_func(rng.uniform(0, 0.05), lambda n=n: fire(n)) for n in range(300)]  # type: ignore[misc]
    starts.update(dict.fromkeys(range(300), 1))

    def meddle(seed: int) -> None:
        mine = random.Random(seed)
        for _ in range(300):
            n = mine.randrange(300)
            if mine.random() < 0.5:
                if timers[n].stop():
                    starts[n] -= 1
            else:
                if timers[n].reset(mine.uniform(0, 0.05)):
                    starts[n] -= 1
                starts[n] += 1
            if mine.random() < 0.1:
                sleep(mine.uniform(0, 0.002))

    for seed in range(4):
        wg.go(meddle, seed)
    wg.wait()
    wait_until(lambda: {n: fired.get(n, 0) for n in starts} == starts, "every start fired or was stopped")


def test_sleeping_thousands() -> None:
    wg, woken = WaitGroup(), Counter[int]()

    def body(i: int) -> None:
        before = python_time.monotonic()
        sleep(0.01 + i * 1e-6)
        assert python_time.monotonic() - before >= 0.01 + i * 1e-6
        woken[i] += 1

    for i in range(5000):
        wg.go(body, i)
    wg.wait()
    assert woken == Counter(range(5000))


def test_timer_objects_are_freed() -> None:
    class Thing:
        pass

    thing = Thing()
    ref = weakref.ref(thing)
    timer = after_func(3600, lambda thing=thing: None)  # type: ignore[misc]
    del thing
    gc.collect()
    assert ref() is not None
    timer.stop()
    del timer
    gc.collect()
    assert ref() is None

    done = chan()
    thing = Thing()
    ref = weakref.ref(thing)
    after_func(0.001, lambda thing=thing: done.send(1))  # type: ignore[misc]
    del thing
    done.recv()
    wait_until_freed(ref)


def test_reference_counts() -> None:
    timer = _core.RuntimeTimer()
    ch = timer.c
    before = sys.getrefcount(ch), sys.getrefcount(timer)
    for _ in range(20):
        timer.reset(0.0001)
        ch.recv()
        timer.reset(3600)
        assert select(ch, default)[0] == 1
        timer.stop()
    assert (sys.getrefcount(ch), sys.getrefcount(timer)) == before
    values = [after(0).recv(), select(after(0.001), after(3600))[1], after(0.001).recv()]
    others = [object() for _ in range(3)]
    assert [sys.getrefcount(value) for value in values] == [sys.getrefcount(other) for other in others]


def test_runtime_timer_bad_input() -> None:
    for arguments in ({"fn": 3}, {"fn": None}, {"period": 1}, {"chan": chan(1)}):
        with pytest.raises(TypeError):
            _core.RuntimeTimer(**arguments)
    timer = _core.RuntimeTimer(fn=print)
    assert timer.c is None
    with pytest.raises(TypeError):
        timer.reset("x")  # type: ignore[arg-type]
    assert timer.stop() is False
    with pytest.raises(TypeError):
        _core.timer_chan("x")  # type: ignore[arg-type]


@isolated()
def test_a_function_starts_late_if_there_is_no_memory() -> None:
    """The scheduler finds no memory for the goroutine, and runs no Python code: the next one starts it."""
    import _testcapi

    done, hold = chan(1), chan()
    unraisable: list[Any] = []
    sys.unraisablehook = unraisable.append
    for _ in range(20):
        go(hold.recv)
        go(hold.recv)
        sleep(0)  # now no goroutine waits for its next life
        timer = after_func(0.0001, lambda: done.send(1))
        until = python_time.perf_counter() + 0.0005
        while python_time.perf_counter() < until:
            pass
        _testcapi.set_nomemory(0, 1)  # the next allocation fails
        try:
            gosched()
        finally:
            _testcapi.remove_mem_hooks()
        assert select(done, after(60))[0] == 0
        del timer
    assert unraisable == []


def test_timers_from_threads_wake_goroutines() -> None:
    ch = chan()
    for _ in range(20):
        thread = threading.Thread(target=after_func, args=(0.001, lambda: ch.send(1)))
        thread.start()
        assert ch.recv() == 1
        thread.join()


def test_sleep_beside_threads() -> None:
    tasks = [Task(("goroutine", "thread")[i % 2], sleep, 0.005) for i in range(40)]
    for task in tasks:
        task.join()


def test_earlier_timer_set_while_waiting_for_a_later_one() -> None:
    """Whoever waits for the first timer of the heap is told when an earlier one is added from elsewhere."""
    late = Timer(3600)
    threading.Timer(0.01, lambda: after_func(0.001, lambda: late.reset(0))).start()
    assert must_recv(late.c) > 0
    go(gosched)


def test_restarted_while_no_goroutine_runs() -> None:
    """A timer that fires, is started again and fires again before any goroutine was switched to."""
    go(int)  # from the first one on the scheduler works beside main
    gosched()
    timer = Timer(0)
    for _ in range(20):
        timer.reset(0)
        python_time.sleep(0.003)
    gosched()
    timer.stop()
