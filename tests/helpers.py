"""What tests share: tasks in goroutines and threads, waiting until they are parked, receiving."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import gort.time
from gort import Chan, _core, go
from gort.sync import WaitGroup

_T = TypeVar("_T")

PLACES = ("main", "goroutine", "thread")


# The tasks whose thread is alive.
_threads: set[Task] = set()


class Task:
    """A function that runs in a goroutine or a thread; join() gives its result or raises its exception."""

    def __init__(self, place: str, fn: Callable[..., Any], *args: Any) -> None:
        # A WaitGroup and no channel: who joins must not look like a receiver to wait_until_parked.
        self._running = WaitGroup()
        self._running.add(1)
        self._result: Any = None
        self._error: BaseException | None = None
        self._fn, self._args = fn, args
        self._thread: threading.Thread | None = None
        self._parked_for: str | None = None
        if place == "thread":
            self._thread = threading.Thread(target=self._run, daemon=True)
            _threads.add(self)
            self._thread.start()
        else:
            go(self._run)

    def _run(self) -> None:
        try:
            self._result = self._fn(*self._args)
        except BaseException as error:
            self._error = error
        finally:
            # The task may outlive its frame in a traceback: what it was given must not.
            del self._fn, self._args
            _threads.discard(self)
            self._running.done()

    def parked_for(self, reason: str) -> bool:
        """Whether this thread is parked, and `reason` is the first that was asked for since it is.

        The runtime lists goroutines and no threads, so the system is asked: a thread that sleeps, and goes on
        sleeping while the interpreter is free, is parked.
        """
        assert self._thread is not None
        before = self._state()
        time.sleep(0.002)
        if before is None or self._state() != before:
            self._parked_for = None
            return False
        self._parked_for = self._parked_for or reason
        return self._parked_for == reason

    def _state(self) -> list[str] | None:
        """The counts of the thread's context switches; None unless it sleeps."""
        assert self._thread is not None
        try:
            lines = Path(f"/proc/self/task/{self._thread.native_id}/status").read_text().splitlines()
        except OSError:
            return None
        asleep = any(line.startswith("State:\tS") for line in lines)
        return [line for line in lines if "ctxt_switches" in line] if asleep else None

    def join(self) -> Any:
        self._running.wait()
        if self._error is not None:
            raise self._error
        return self._result


def run_in(place: str, fn: Callable[..., Any], *args: Any) -> Any:
    """Calls fn in a place and gives its result."""
    return fn(*args) if place == "main" else Task(place, fn, *args).join()


def parked(reason: str) -> int:
    """How many goroutines, and tasks in threads, are parked for a reason."""
    goroutines = sum(info.wait_reason == reason for info in _core.goroutines())
    return goroutines + sum(task.parked_for(reason) for task in list(_threads))


def wait_until(condition: Callable[[], object], what: str = "the condition") -> None:
    """Lets others run until the condition holds; fails if it never does."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}; goroutines: {_core.goroutines()}"
        gort.time.sleep(0.001)


def wait_until_parked(count: int, reason: str) -> None:
    """Waits until at least `count` goroutines and tasks in threads are parked for a reason."""
    wait_until(lambda: parked(reason) >= count, f"{count} are parked in {reason}")


def wait_until_freed(*refs: Callable[[], object]) -> None:
    """Waits until the objects of weak references are gone: a task may end a moment after it was joined."""

    def freed() -> bool:
        gc.collect()
        return all(ref() is None for ref in refs)

    wait_until(freed, f"these are dead: {refs}")


def must_recv(ch: Chan[_T]) -> _T:
    """The next value of a channel that is open and never carries None; fails if there is none."""
    value = ch.recv()
    assert value is not None
    return value
