"""Fixtures that all tests share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from helpers import Task


@pytest.fixture(params=("main", "goroutine", "thread"))
def anywhere(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Runs a function in the main goroutine, in another one, in a plain thread: a test for each."""
    from helpers import run_in

    place: str = request.param
    return lambda fn, *args: run_in(place, fn, *args)


@pytest.fixture(params=("goroutine", "thread"))
def spawn(request: pytest.FixtureRequest) -> Callable[..., Task]:
    """Starts a function as a goroutine, then in a second test in a thread."""
    from helpers import Task

    place: str = request.param
    return lambda fn, *args: Task(place, fn, *args)
