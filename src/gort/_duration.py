"""Durations as programs give them."""

from datetime import timedelta
from typing import Final, TypeAlias

Duration: TypeAlias = float | timedelta
"""A number of seconds, or a timedelta."""

LONGEST: Final = ((1 << 63) - 1) / 1e9
"""Go's longest duration, 292 years, in seconds."""


def to_seconds(d: Duration) -> float:
    """A duration in seconds, limited to between -LONGEST and LONGEST; infinity is accepted.

    Raises TypeError if d is not a duration, and ValueError if it is NaN.
    """
    if isinstance(d, timedelta):
        d = d.total_seconds()
    if not isinstance(d, (int, float)):
        raise TypeError(f"a duration must be a number of seconds or a timedelta, not {d!r}")
    if d != d:
        raise ValueError(f"a duration must be a number of seconds, not {d!r}")
    return float(max(-LONGEST, min(d, LONGEST)))
