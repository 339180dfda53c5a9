"""Go's package time, the part that waits: sleep, timers and tickers.

A duration is a number of seconds, int or float, or a datetime.timedelta. A monotonic clock measures it, but a
timer's channel carries the Unix time, in seconds, at which it fired. The channel is receive-only.

As in Go since 1.23, the channel of a timer or ticker is unbuffered, stop and reset leave no old value behind,
and a timer that nothing refers to is freed, stopped or not.
"""

from collections.abc import Callable
from typing import Any, Final, cast

from ._core import Chan, RuntimeTimer, check_runs, timer_chan
from ._core import sleep as _sleep
from ._duration import LONGEST, Duration, to_seconds

__all__ = [
    "Duration",
    "Ticker",
    "Timer",
    "after",
    "after_func",
    "hour",
    "microsecond",
    "millisecond",
    "minute",
    "nanosecond",
    "second",
    "sleep",
    "tick",
]

nanosecond: Final = 1e-9
microsecond: Final = 1e-6
millisecond: Final = 1e-3
second: Final = 1.0
minute: Final = 60.0
hour: Final = 3600.0


def sleep(d: Duration, /) -> None:
    """Pauses the goroutine for at least d. Mirrors Go's time.Sleep.

    If d is zero or negative, it only lets other goroutines run first, as runtime.gosched() does. Raises
    TypeError if d is not a duration, and ValueError if it is NaN.
    """
    # Seconds in range go straight to the core: this is called often.
    if type(d) is float and 0.0 <= d < LONGEST:
        _sleep(d)
    else:
        _sleep(to_seconds(d))


class Timer:
    """A single event in the future: Go's time.Timer. `c` receives the Unix time at which it fired.

    Raises TypeError if d is not a duration, and ValueError if it is NaN.
    """

    __slots__ = ("_timer", "c")

    c: Chan[float]

    def __init__(self, d: Duration, /) -> None:
        seconds = to_seconds(d)
        self._timer = RuntimeTimer()
        self.c = self._timer.c
        self._timer.reset(seconds)

    def stop(self) -> bool:
        """Stops the timer; True if it was active. Mirrors Go's Timer.Stop.

        It is active from its start until its value has been received or, with a function, until it fires.
        After stop(), `c` gives no old value.
        """
        return self._timer.stop()

    def reset(self, d: Duration, /) -> bool:
        """Makes the timer fire after d; True if it was active (see stop()). Mirrors Go's Timer.Reset.

        After reset(), `c` gives no old value. Raises as Timer() does.
        """
        return self._timer.reset(to_seconds(d))


def after_func(d: Duration, f: Callable[[], Any], /) -> Timer:
    """Calls f() in a goroutine of its own after d. Mirrors Go's time.AfterFunc.

    The Timer that is returned can stop or reset this; its `c` is None, Go's nil channel. Raises TypeError if
    d is not a duration, f cannot be called, or calling f runs nothing (a coroutine or generator function).
    Raises ValueError if d is NaN.
    """
    seconds = to_seconds(d)
    check_runs("after_func()", f)
    timer = Timer.__new__(Timer)
    timer.c = cast(Chan[float], None)
    timer._timer = RuntimeTimer(fn=f)
    timer._timer.reset(seconds)
    return timer


def after(d: Duration, /) -> Chan[float]:
    """A channel that receives the Unix time once, after d. Mirrors Go's time.After.

    Raises TypeError if d is not a duration, and ValueError if it is NaN.
    """
    return timer_chan(to_seconds(d))


class Ticker:
    """Ticks at intervals of d: Go's time.Ticker. `c` receives the Unix time of each tick.

    Ticks that a slow receiver does not take are dropped. Raises TypeError if d is not a duration, and
    ValueError if it is NaN, zero or negative.
    """

    __slots__ = ("_timer", "c")

    def __init__(self, d: Duration, /) -> None:
        seconds = _interval(d, "NewTicker")
        self._timer = RuntimeTimer()
        self.c: Chan[float] = self._timer.c
        self._timer.reset(seconds, seconds)

    def stop(self) -> None:
        """Stops the ticker. `c` is not closed. Mirrors Go's Ticker.Stop."""
        self._timer.stop()

    def reset(self, d: Duration, /) -> None:
        """Sets the interval to d; the next tick comes after d. Mirrors Go's Ticker.Reset.

        Raises as Ticker() does.
        """
        seconds = _interval(d, "Ticker.Reset")
        self._timer.reset(seconds, seconds)


def _interval(d: Duration, what: str) -> float:
    seconds = to_seconds(d)
    if seconds <= 0:
        raise ValueError(f"non-positive interval for {what}: {d!r}")
    return seconds


def tick(d: Duration, /) -> Chan[float] | None:
    """The channel of a Ticker that cannot be stopped; None if d is zero or negative. Mirrors Go's time.Tick.

    Raises TypeError if d is not a duration, and ValueError if it is NaN.
    """
    seconds = to_seconds(d)
    return timer_chan(seconds, seconds) if seconds > 0 else None
