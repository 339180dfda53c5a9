"""pytest's side of gort: what would end a program fails the running test instead, and the session goes on.

pytest loads this module through its entry point in every session. It imports nothing of gort, so a session
that never imports gort pays nothing. Once gort is imported (gort.__init__ calls `started`),

* an exception that escapes a goroutine is raised in the running test: at once if main waits in gort,
  otherwise at the end of the phase (setup, call or teardown);
* a deadlock raises runtime.Error where main waits, and the report has the stacks of all goroutines in a
  section of its own.

In a program, both end the process with status 2.
"""

from __future__ import annotations

import sys

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

_session = False  # pytest is at work, and not merely imported


def started() -> None:
    """Called once gort is imported: makes its core tell main instead of ending the process."""
    if _session:
        _core().report_to_main(True)


def _core() -> Any:
    return sys.modules.get("gort._core")


def pytest_sessionstart() -> None:
    global _session
    _session = True
    if _core():
        started()


def pytest_unconfigure() -> None:
    global _session
    _session = False
    if core := _core():
        core.report_to_main(False)


def _phase(item: pytest.Item, when: str) -> Generator[None, Any, Any]:
    try:
        result = yield
    except BaseException as exc:
        core = _core()
        if core and isinstance(exc, core.Error) and str(exc).endswith("deadlock!"):
            item.add_report_section(when, "goroutines", core.traceback(True))
        _raise_escaped(exc)
        raise
    _raise_escaped(None)
    return result


def _raise_escaped(during: BaseException | None) -> None:
    """Raises what has escaped goroutines since the last call: one exception as it is, several as a group."""
    core = _core()
    escaped: list[BaseException] = [exc for exc in core.escaped() if exc is not during] if core else []
    if len(escaped) == 1:
        raise escaped[0] from during
    if escaped:
        raise BaseExceptionGroup("exceptions that escaped goroutines", escaped) from during


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, Any, Any]:
    return (yield from _phase(item, "setup"))


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    return (yield from _phase(item, "call"))


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, Any, Any]:
    return (yield from _phase(item, "teardown"))
