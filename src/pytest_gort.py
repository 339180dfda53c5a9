"""pytest's side of gort: what would end a program fails the running test instead, and the session goes on.

pytest loads this module through its entry point in every session. It imports nothing of gort, so a session
that never imports gort pays nothing but a file descriptor. Once gort is imported (gort.__init__ calls
`started`),

* an exception that escapes a goroutine is raised in the running test: at once if main waits in gort,
  otherwise at the end of the phase (setup, call or teardown);
* a deadlock raises runtime.Error where main waits, and the report has the stacks of the other goroutines in a
  section of its own;
* goroutines that a test leaves behind are named in a warning after its teardown, or in an error
  (--gort-leaks);
* what ends the process all the same (a stack overflow, a crash in C) names the test, and is written to what
  was standard error before pytest captured that.

In a program, the first two end the process with status 2.
"""

from __future__ import annotations

import fcntl
import os
import sys
import warnings

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

_NEEDED = (8, 0)  # of pytest, whose older releases have no hook wrappers of this kind
_LEAKS = ("warn", "error", "ignore")
_PATIENCE = 0.2  # seconds that goroutines get to end after a test

_sessions = 0  # those of pytest that are under way in this process: one may run another
# The threads that were there before the session: some are pytest-xdist's.
_threads = os.listdir("/proc/self/task") if os.path.isdir("/proc/self/task") else []


def _standard_error() -> int | None:
    """A duplicate of standard error, which pytest will capture; gort takes it over when it is imported."""
    try:
        return fcntl.fcntl(2, fcntl.F_DUPFD_CLOEXEC, 10)
    except OSError:
        return None


_stderr = _standard_error()


class GoroutineLeakWarning(pytest.PytestWarning):
    """A test has left goroutines behind."""


def started() -> None:
    """Called once gort is imported: makes its core tell main instead of ending the process."""
    global _stderr
    if _stderr is not None:
        _core().fatal_to(_stderr)
        os.close(_stderr)
        _stderr = None
    if pytest.version_tuple[:2] < _NEEDED:
        needed = ".".join(map(str, _NEEDED))
        warnings.warn(
            f"gort's plugin needs pytest {needed} or newer, and this is {pytest.__version__}: an exception "
            "that escapes a goroutine, or a deadlock, ends the session",
            stacklevel=2,
        )
    elif _sessions:
        _begin()


def _begin() -> None:
    from gort import _session

    _session.began_with(_threads)
    _core().report_to_main(True)


def _core() -> Any:
    return sys.modules.get("gort._core")


if pytest.version_tuple[:2] >= _NEEDED:

    def pytest_addoption(parser: pytest.Parser) -> None:
        text = "what happens if a test leaves goroutines behind"
        group = parser.getgroup("gort")
        group.addoption("--gort-leaks", choices=_LEAKS, default=None, help=f"{text}; the default is warn")
        parser.addini("gort_leaks", f"{text}: {', '.join(_LEAKS)}", default="warn")

    def pytest_configure(config: pytest.Config) -> None:
        _leaks(config)

    def _leaks(config: pytest.Config) -> str:
        value: str = config.getoption("--gort-leaks") or config.getini("gort_leaks")
        if value not in _LEAKS:
            raise pytest.UsageError(f"gort_leaks: {value!r} is not one of {', '.join(_LEAKS)}")
        return value

    def pytest_sessionstart() -> None:
        global _sessions
        _sessions += 1
        if "gort" in sys.modules and _core():
            started()

    def pytest_unconfigure() -> None:
        global _sessions
        _sessions = max(0, _sessions - 1)
        if (core := _core()) and not _sessions:
            core.report_to_main(False)
            core.set_session_name("")

    # -- phases ------------------------------------------------------------------------------------

    def _phase(item: pytest.Item, when: str) -> Generator[None, Any, Any]:
        _name(item, when)
        try:
            result = yield
        except BaseException as exc:
            core = _core()
            if core and isinstance(exc, core.Error) and str(exc).endswith("deadlock!"):
                from gort import _session

                # Main's is the test's own traceback.
                item.add_report_section(when, "goroutines", _session.others() or "no other goroutines")
            _raise_escaped(exc)
            raise
        _raise_escaped(None)
        return result

    def _let_run(core: Any) -> None:
        """What has just been started may raise an exception."""
        if core.num_goroutine() > 1:
            try:
                core.sleep(0.005)
            except core.Error:
                pass  # It has; escaped() has it.

    def _name(item: pytest.Item, when: str) -> None:
        if core := _core():
            core.set_session_name(f"test {item.nodeid}, {when}".encode(errors="replace").decode())

    def _raise_escaped(during: BaseException | None) -> None:
        """Raises what has escaped goroutines since the last call: one exception, or several as a group."""
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
        result = yield from _phase(item, "teardown")
        _look_for_leaks(item)
        return result

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(session: pytest.Session) -> None:
        """What escapes after the last test, or where there is none, fails the session."""
        core = _core()
        if not core:
            return
        _let_run(core)
        for exc in core.escaped():
            import traceback

            print("\ngort: an exception escaped a goroutine outside of the tests", file=sys.stderr)
            traceback.print_exception(exc)
            if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    # -- goroutines that are left behind -----------------------------------------------------------

    _since = pytest.StashKey[int]()
    # Goroutines that fixtures with a wider scope than one test have started, and that have not ended.
    _of_fixtures: set[int] = set()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
        core = _core()
        item.stash[_since] = core.newest() if core else 1
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> Generator[None, Any, Any]:
        core = _core()
        before = core.newest() if core else 1
        try:
            return (yield)
        finally:
            if fixturedef.scope != "function" and (core := _core()) and core.newest() > before:
                _of_fixtures.update(goid for goid, _, _ in core.started_since(before, False))

    def _look_for_leaks(item: pytest.Item) -> None:
        core = _core()
        leaks = _leaks(item.config)
        since = item.stash.get(_since, None)
        if not core or since is None or core.newest() == since:
            return
        if leaks == "ignore":
            _let_run(core)
            _raise_escaped(None)
            return
        from gort import testing

        try:
            stacks = testing.left_behind(since, _PATIENCE, _of_fixtures)
        except core.Error:  # What escapes one of them meanwhile is raised here.
            _raise_escaped(None)
            return
        _raise_escaped(None)
        if not stacks:
            return
        text = f"{item.nodeid}: {testing.describe(stacks)}"
        if leaks == "error":
            pytest.fail(text, pytrace=False)
        item.warn(GoroutineLeakWarning(text))
