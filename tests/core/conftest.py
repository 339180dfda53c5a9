"""No test of the core may leave a goroutine behind."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator

import pytest

import gort.time
from gort import _core


@pytest.fixture(autouse=True)
def no_leaks() -> Iterator[None]:
    """Fails a test after which more goroutines are alive than before it."""
    before = {info.goid for info in _core.goroutines()}
    yield
    deadline = time.monotonic() + 10
    while (left := [info for info in _core.goroutines() if info.goid not in before]) and (
        time.monotonic() < deadline
    ):
        gort.time.sleep(0.005)
    gc.collect()
    assert not left, f"goroutines left behind: {[(g.goid, g.status, g.wait_reason) for g in left]}"
