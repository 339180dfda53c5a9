"""Package gort.time: durations, and what timers and tickers answer. (When they fire: with the core.)"""

from __future__ import annotations

import time as python_time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from gort import select, time
from gort.time import Ticker, Timer, after, after_func, sleep, tick

TAKE_A_DURATION: list[Callable[[Any], Any]] = [
    sleep,
    after,
    Timer,
    Ticker,
    tick,
    lambda d: after_func(d, lambda: None),
    lambda d: Timer(3600).reset(d),
    lambda d: Ticker(3600).reset(d),
]


def test_constants() -> None:
    names = ("nanosecond", "microsecond", "millisecond", "second", "minute", "hour")
    assert [getattr(time, name) for name in names] == [1e-9, 1e-6, 1e-3, 1.0, 60.0, 3600.0]
    assert all(type(getattr(time, name)) is float for name in names)


@pytest.mark.parametrize("call", TAKE_A_DURATION)
@pytest.mark.parametrize("bad", ["1", None, [1], 1j])
def test_durations_of_a_wrong_type(call: Callable[[Any], Any], bad: Any) -> None:
    with pytest.raises(TypeError) as caught:
        call(bad)
    assert str(caught.value) == f"a duration must be a number of seconds or a timedelta, not {bad!r}"


@pytest.mark.parametrize("call", TAKE_A_DURATION)
def test_nan_is_no_duration(call: Callable[[Any], Any]) -> None:
    with pytest.raises(ValueError, match="not nan"):
        call(float("nan"))


@pytest.mark.parametrize(
    "d", [0.001, timedelta(milliseconds=1), 0, True * 0, -5, timedelta(-1), float("-inf")]
)
def test_durations(d: Any) -> None:
    sleep(d)
    assert Timer(d).c.recv() is not None


@pytest.mark.parametrize("d", [3600, timedelta.max, float("inf"), 10**400])
def test_long_durations(d: Any) -> None:
    timer = Timer(d)
    assert timer.stop() is True
    assert timer.stop() is False


def test_timer_gives_the_unix_time() -> None:
    before = python_time.time()
    fired = after(0.001).recv()
    assert fired is not None
    assert before - 1 < fired < python_time.time() + 1


def test_timer_reset_says_if_it_was_active() -> None:
    timer = Timer(3600)
    assert timer.reset(0.001) is True
    timer.c.recv()
    assert timer.reset(0.001) is False
    timer.c.recv()


def test_timer_has_gos_fields() -> None:
    timer = Timer(3600)
    with pytest.raises(AttributeError):
        timer.anything = 1  # type: ignore[attr-defined]
    timer.stop()


def test_after_func_has_no_channel() -> None:
    timer = after_func(3600, lambda: None)
    assert timer.c is None
    assert isinstance(timer, Timer)
    assert select(timer.c, after(0.001))[0] == 1
    assert timer.stop() is True


@pytest.mark.parametrize("bad", [None, 5])
def test_after_func_needs_a_callable(bad: Any) -> None:
    with pytest.raises(TypeError, match=repr(bad)):
        after_func(1, bad)


def test_ticker_takes_a_timedelta() -> None:
    ticker = Ticker(timedelta(milliseconds=1))
    first, second = ticker.c.recv(), ticker.c.recv()
    assert first is not None
    assert second is not None
    assert second > first
    assert ticker.stop() is None


@pytest.mark.parametrize("d", [0, -1.5, timedelta(0), float("-inf")])
def test_tickers_need_a_positive_interval(d: Any) -> None:
    with pytest.raises(ValueError) as caught:
        Ticker(d)
    assert str(caught.value) == f"non-positive interval for NewTicker: {d!r}"
    ticker = Ticker(3600)
    with pytest.raises(ValueError) as caught:
        ticker.reset(d)
    assert str(caught.value) == f"non-positive interval for Ticker.Reset: {d!r}"
    ticker.stop()


def test_tick_of_nothing_is_a_nil_channel() -> None:
    assert tick(0) is None
    assert tick(timedelta(-1)) is None


def test_every_public_name_exists() -> None:
    assert all(hasattr(time, name) for name in time.__all__)
