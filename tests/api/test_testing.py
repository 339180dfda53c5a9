"""gort.testing: goroutines that are left behind."""

from __future__ import annotations

import re

import pytest

import gort
from gort import chan, go, testing
from gort.testing import no_leaks


def stuck(c: gort.Chan[None]) -> None:
    c.recv()


def test_nothing_is_left_behind() -> None:
    with no_leaks():
        c = chan()
        go(stuck, c)
        c.close()
    with no_leaks():
        go(gort.time.sleep, 0.05)  # it gets time to end


def test_what_is_left_behind_is_named() -> None:
    c = chan()
    with pytest.raises(AssertionError) as caught, no_leaks(timeout=0):
        go(stuck, c)
        go(stuck, c)
        gort.time.sleep(0.01)
    c.close()
    text = str(caught.value)
    assert text.startswith("2 goroutines are left behind\n\ngoroutine "), text
    assert "(and 1 more like this one)" not in text  # they were started on different lines
    assert len(re.findall(r"^\S+stuck\(\.\.\.\)$", text, re.MULTILINE)) == 2
    assert "created by" in text


def test_alike() -> None:
    stacks = [f"goroutine {n} [chan receive]:\nf(...)\n\tf.py:1" for n in range(7, 10)]
    assert testing.describe(stacks) == (
        "3 goroutines are left behind\n\n"
        "goroutine 7 [chan receive]:\nf(...)\n\tf.py:1\n(and 2 more like this one)"
    )
    many = [f"goroutine {n} [chan receive]:\nf(...)\n\tf.py:{n}" for n in range(50)]
    assert testing.describe(many).endswith("\n\n... and 30 more kinds")
    assert testing.describe(many[:1]) == f"1 goroutine is left behind\n\n{many[0]}"


def test_decorator_and_nesting() -> None:
    c = chan()

    @no_leaks(timeout=0)
    def leaks(deep: int) -> None:
        go(stuck, c)
        if deep:
            leaks(deep - 1)

    with pytest.raises(AssertionError, match="1 goroutine is left behind"):
        leaks(0)
    with pytest.raises(AssertionError, match="1 goroutine is left behind"):
        leaks(1)
    c.close()


def test_an_exception_is_not_replaced() -> None:
    c = chan()
    with pytest.raises(ZeroDivisionError), no_leaks(timeout=0):
        go(stuck, c)
        1 / 0  # noqa: B018
    c.close()


def test_what_older_goroutines_start_is_theirs() -> None:
    """A server that was there before starts a goroutine for a request."""
    requests: gort.Chan[gort.Chan[None]] = chan()

    def serve() -> None:
        for request in requests:
            go(stuck, request)

    go(serve)
    request: gort.Chan[None] = chan()
    since = testing.newest()
    with no_leaks(timeout=0):
        requests.send(request)
        gort.time.sleep(0.01)
    assert testing.left_behind(since, timeout=0) == []
    request.close()
    requests.close()


def test_in_a_goroutine() -> None:
    done: gort.Chan[str] = chan()

    def work() -> None:
        c: gort.Chan[None] = chan()
        try:
            with no_leaks(timeout=0):
                go(stuck, c)
        except AssertionError as exc:
            done.send(str(exc))
        c.close()

    go(work)
    assert str(done.recv()).startswith("1 goroutine is left behind")


def test_what_main_starts_meanwhile_is_not_a_goroutines() -> None:
    done: gort.Chan[bool] = chan()
    inside: gort.Chan[None] = chan()

    def work() -> None:
        with no_leaks(timeout=0):
            inside.recv()
        done.send(True)

    go(work)
    gort.time.sleep(0.01)
    c: gort.Chan[None] = chan()
    go(stuck, c)
    inside.close()
    assert done.recv()
    c.close()


def test_what_timers_start_is_theirs() -> None:
    c: gort.Chan[None] = chan()
    with no_leaks(timeout=0):
        gort.time.after_func(0.001, lambda: c.recv())
        gort.time.sleep(0.02)
    c.close()


def test_a_clock_that_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setattr(time, "monotonic", lambda: 1.0)
    c: gort.Chan[None] = chan()
    with pytest.raises(AssertionError), no_leaks(timeout=0.01):
        go(stuck, c)
    c.close()


def test_only_functions_that_run_are_decorated() -> None:
    async def coroutine() -> None: ...

    with pytest.raises(
        TypeError, match=r"^no_leaks\(\): .* is a coroutine function, and calling it runs noth"
    ):
        no_leaks()(coroutine)
    with pytest.raises(TypeError, match=r"^no_leaks\(\) takes a callable, not 3"):
        no_leaks()(3)  # type: ignore[type-var]


def test_besides() -> None:
    since = testing.newest()
    c: gort.Chan[None] = chan()
    go(stuck, c)
    assert testing.left_behind(since, 0, besides={testing.newest()}) == []
    assert len(testing.left_behind(since, 0)) == 1
    c.close()
    assert testing.left_behind(since) == []


@pytest.mark.parametrize(
    ("timeout", "kind", "text"),
    [
        ("1", TypeError, "no_leaks() takes a number of seconds, not '1'"),
        (True, TypeError, "no_leaks() takes a number of seconds, not True"),
        (-1, ValueError, "no_leaks() takes a number of seconds that is not negative, not -1"),
        (float("nan"), ValueError, "no_leaks() takes a number of seconds that is not negative, not nan"),
    ],
)
def test_bad_timeouts(timeout: float, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=f"^{re.escape(text)}$"):
        no_leaks(timeout)
