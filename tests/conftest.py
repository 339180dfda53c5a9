"""Fixtures that all tests share, and what the installed core is too small for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from harness import lacking

if TYPE_CHECKING:
    from helpers import Task


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function):
            callspec = getattr(item, "callspec", None)
            if names := lacking(item.function, callspec.params if callspec else ()):
                reason = f"gort was built without meson's option `tests`: no {', '.join(sorted(names))}"
                item.add_marker(pytest.mark.skip(reason=reason))


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
