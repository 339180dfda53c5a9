"""Durations as programs give them."""

from datetime import timedelta
from typing import Final, TypeAlias

Duration: TypeAlias = float | timedelta
"""Seconds, or a timedelta."""

LONGEST: Final = ((1 << 63) - 1) / 1e9
"""Go's longest duration, 292 years, in seconds."""


def to_seconds(d: Duration) -> float:
    """A duration in seconds; one longer than LONGEST, infinity too, is cut to it.

    Raises TypeError if d is no duration, and ValueError if it is NaN.
    """
    if isinstance(d, timedelta):
        d = d.total_seconds()
    if not isinstance(d, (int, float)):
        raise TypeError(f"a duration is a number of seconds or a timedelta, not {d!r}")
    if d != d:
        raise ValueError(f"a duration is a number of seconds, not {d!r}")
    return float(max(-LONGEST, min(d, LONGEST)))
