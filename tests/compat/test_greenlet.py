"""Goroutines that use greenlets, as SQLAlchemy's asyncio bridge and gevent do, may park in any of them."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import io
import os
import random
import sys
import textwrap
import threading
from collections.abc import Callable
from typing import Any

import pytest

import gort
from gort import chan, go, run
from gort.runtime import goexit, gosched, lock_os_thread, unlock_os_thread
from gort.sync import Cond, WaitGroup
from gort.time import sleep
from harness import clib, execute, isolated

pytest.importorskip("greenlet")


def greenlets() -> Any:
    import greenlet

    return greenlet


def juggle(i: int) -> list[Any]:
    """Three greenlets, each of which parks between its switches; the frames of each hold what is its own."""
    greenlet, getcurrent = greenlets().greenlet, greenlets().getcurrent

    def child(n: int) -> list[Any]:
        got = []
        parent = getcurrent().parent
        for k in range(5):
            mine = (i, n, k)
            sorted([0], key=lambda _: gosched() or 0)
            got.append(parent.switch(mine))
            assert mine == (i, n, k)
            sleep(0.0001)
        return got

    children = [greenlet(child) for _ in range(3)]
    result = [x.switch(n) for n, x in enumerate(children)]
    for k in range(1, 5):
        for x in children:
            result.append(x.switch(k))
            gosched()
    result += [x.switch("end") for x in children]
    return result


def juggled(i: int) -> list[Any]:
    return [(i, n, k) for k in range(5) for n in range(3)] + [[1, 2, 3, 4, "end"]] * 3


@pytest.mark.parametrize("main", [False, True])
@isolated()
def test_parks_in_a_greenlet(main: bool) -> None:
    results, wg = {}, WaitGroup()

    def body(i: int) -> None:
        results[i] = juggle(i)

    for i in range(30):
        wg.go(body, i)
    if main:
        body(-1)
    wg.wait()
    if main:
        body(-2)
    assert results == {i: juggled(i) for i in (*range(30), *([-1, -2] if main else []))}


@isolated()
def test_first_use_pins_the_goroutine_to_its_thread() -> None:
    """... however it is first used, for good, and no other goroutine comes there."""
    greenlet, getcurrent = greenlets().greenlet, greenlets().getcurrent
    uses: list[Callable[[], Any]] = [
        lambda: greenlet(print),
        lambda: getcurrent(),
        lambda: type("Sub", (greenlet,), {})(print),
        lambda: greenlet.__new__(greenlet),
    ]

    def body(use: Callable[[], Any], lock: bool) -> None:
        if lock:
            lock_os_thread()
        kept = use()
        here = threading.get_native_id()
        assert here not in places
        places.add(here)
        unlock_os_thread()
        unlock_os_thread()
        for _ in range(20):
            sleep(0.0001)
            assert threading.get_native_id() == here
        del kept

    def other() -> None:
        while not done:
            assert threading.get_native_id() not in places
            gosched()

    done: list[int] = []
    places: set[int] = set()
    wg, others = WaitGroup(), WaitGroup()
    for _ in range(3):
        others.go(other)
    for use in uses:
        for lock in (False, True):
            wg.go(body, use, lock)
    wg.wait()
    done.append(1)
    others.wait()
    assert len(places) == 2 * len(uses)


@isolated()
def test_c_interface() -> None:
    """Extension modules such as gevent come through a table of C functions."""
    greenlet = greenlets().greenlet
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    table = ctypes.cast(get(greenlets()._C_API, b"greenlet._C_API"), ctypes.POINTER(ctypes.c_void_p))
    obj = ctypes.py_object
    new = ctypes.PYFUNCTYPE(obj, obj, ctypes.c_void_p)(table[3])
    getcurrent = ctypes.PYFUNCTYPE(obj)(table[4])
    throw = ctypes.PYFUNCTYPE(obj, obj, obj, obj, ctypes.c_void_p)(table[5])
    switch = ctypes.PYFUNCTYPE(obj, obj, obj, ctypes.c_void_p)(table[6])

    def body(i: int) -> None:
        main = getcurrent()
        here = threading.get_native_id()

        def child() -> None:
            try:
                for k in range(10):
                    sleep(0.0001)
                    assert threading.get_native_id() == here
                    assert switch(main, (i, k), None) == ()
            except KeyError:
                sleep(0.0001)
                raise

        g = new(child, None)
        for k in range(10):
            assert switch(g, (), None) == (i, k)
        with pytest.raises(KeyError):
            throw(g, KeyError, KeyError("x"), None)
        ends.append(isinstance(g, greenlet) and g.dead)

    ends: list[bool] = []
    wg = WaitGroup()
    for i in range(10):
        wg.go(body, i)
    wg.wait()
    assert ends == [True] * 10


@isolated()
def test_greenlets_of_a_goroutine_that_has_ended() -> None:
    """Its stack is another goroutine's by then: nobody can switch to them; they can be dropped anywhere."""
    greenlet, error = greenlets().greenlet, greenlets().error
    left: list[Any] = []

    def child(data: list[int]) -> None:
        here = list(data)
        sleep(0)
        greenlets().getcurrent().parent.switch(here)
        raise AssertionError("nobody comes back here")

    def body(i: int) -> None:
        g = greenlet(child)
        assert g.switch([i] * 100) == [i] * 100
        left.append(g)

    for _ in range(3):
        wg = WaitGroup()
        for i in range(20):
            wg.go(body, i)
        wg.wait()

        def look(g: Any) -> None:
            with pytest.raises(error):
                g.switch(1)

        wg = WaitGroup()
        for g in left[::2]:
            wg.go(look, g)
        del g
        wg.wait()
        wg.go(left.clear)
        wg.wait()
        gort.run(gc.collect)
    gc.collect()


@isolated()
def test_collections_elsewhere() -> None:
    """A suspended greenlet that another goroutine drops is ended by the goroutine that it belongs to."""
    greenlet, getcurrent, exit = greenlets().greenlet, greenlets().getcurrent, greenlets().GreenletExit
    ended: list[int] = []
    box: list[Any] = []
    gate, dropped = chan(), chan()

    def child() -> None:
        try:
            getcurrent().parent.switch()
        except exit:
            ended.append(threading.get_native_id())
            raise

    def owner() -> None:
        g = greenlet(child)
        g.switch()
        box.append(g)
        del g
        gate.send(threading.get_native_id())
        dropped.recv()
        getcurrent()
        greenlet(lambda: None).switch()
        gate.send(None)

    for main in (False, True):
        ended.clear()
        if main:
            g = greenlet(child)
            g.switch()
            box.append(g)
            del g
            where: int | None = threading.get_native_id()
        else:
            go(owner)
            where = gate.recv()
        gort.run(box.clear)
        gort.run(gc.collect)
        assert not ended
        if main:
            greenlet(lambda: None).switch()
        else:
            dropped.send(None)
            gate.recv()
        assert ended == [where]


@isolated()
def test_asyncio_bridge() -> None:
    """SQLAlchemy's: synchronous code in a greenlet awaits by switching to the one that runs the loop."""
    greenlet, getcurrent = greenlets().greenlet, greenlets().getcurrent

    def await_only(awaitable: Any) -> Any:
        return getcurrent().parent.switch(awaitable)

    async def greenlet_spawn(fn: Callable[..., Any], *args: Any) -> Any:
        context = greenlet(fn, getcurrent())
        result = context.switch(*args)
        while not context.dead:
            try:
                value = await result
            except BaseException:
                result = context.throw(*sys.exc_info())
            else:
                result = context.switch(value)
        return result

    def query(i: int) -> int:
        total = 0
        for k in range(10):
            gosched()
            total += await_only(answer(i, k))
            sleep(0.0001)
        with pytest.raises(ZeroDivisionError):
            await_only(failing())
        return total

    async def answer(i: int, k: int) -> int:
        await asyncio.sleep(0.0001)
        return i * k

    async def failing() -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    async def serve(i: int) -> list[int]:
        return await asyncio.gather(*(greenlet_spawn(query, i + n) for n in range(5)))

    results, wg = {}, WaitGroup()

    def body(i: int) -> None:
        results[i] = asyncio.run(serve(i))

    for i in range(8):
        wg.go(body, i)
    body(8)
    wg.wait()
    assert results == {i: [45 * (i + n) for n in range(5)] for i in range(9)}


@isolated()
def test_ends_in_a_greenlet() -> None:
    """goexit() in a greenlet goes on in its parent, as any exception does; then the goroutine ends."""
    seen: list[str] = []

    def child() -> None:
        try:
            sleep(0.0001)
            goexit()
        finally:
            seen.append("child")

    def body() -> None:
        try:
            greenlets().greenlet(child).switch()
        finally:
            seen.append("body")

    wg = WaitGroup()
    for _ in range(5):
        wg.go(body)
        wg.wait()
    assert seen == ["child", "body"] * 5


@isolated()
def test_fork_in_a_greenlet() -> None:
    def child(n: int) -> int:
        gosched()
        pid = os.fork()
        if pid:
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        sleep(0.0001)
        wg = WaitGroup()
        for _ in range(3):
            wg.go(juggle, 1)
        wg.wait()
        greenlets().getcurrent().parent.switch(n)
        raise AssertionError

    def body() -> None:
        g = greenlets().greenlet(child)
        got = g.switch(7)
        if not g.dead:
            os._exit(got + juggle(3)[0][0])
        assert got == 10

    gort.run(body)
    body()


@isolated(timeout=90)
def test_greenlets_in_random_order() -> None:
    """Goroutines with and without greenlets that make, switch to, drop and leave them, and park anywhere."""
    greenlet, getcurrent = greenlets().greenlet, greenlets().getcurrent
    orphans: list[Any] = []

    def child(rng: random.Random, mark: tuple[int, int]) -> tuple[int, int]:
        while rng.random() < 0.9:
            local = [mark] * rng.randrange(50)
            if rng.random() < 0.5:
                gosched()
            else:
                sorted([1], key=lambda _: sleep(0.00005) or 0)
            getcurrent().parent.switch(mark)
            assert local == [mark] * len(local)
        return mark

    def body(seed: int) -> None:
        rng = random.Random(seed)
        mine: dict[int, Any] = {}
        for step in range(60):
            what = rng.randrange(5)
            if what == 0 or not mine:
                mine[step] = g = greenlet(child)
                assert g.switch(rng, (seed, step)) == (seed, step)
            elif what < 3:
                k = rng.choice(list(mine))
                if mine[k].dead:
                    del mine[k]
                else:
                    assert mine[k].switch() == (seed, k)
            elif what == 3:
                k = rng.choice(list(mine))
                orphans.append(mine.pop(k))
            else:
                orphans.clear()
                gosched()

    def plain(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(100):
            if rng.random() < 0.1:
                orphans.clear()
                gc.collect(0)
            gosched()

    wg = WaitGroup()
    for seed in range(40):
        wg.go(body if seed % 2 else plain, seed)
        if seed % 10 == 0:
            body(-seed)
    wg.wait()
    orphans.clear()
    gc.collect()


class Switching(io.RawIOBase):
    """A raw file as gevent has them: whoever reads lets other greenlets run meanwhile."""

    n = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        greenlets().getcurrent().parent.switch("reads")
        self.n += 1
        buffer[:3] = b"%02d\n" % self.n
        return 3


@pytest.mark.parametrize("first_use", ["before", "inside"])
@pytest.mark.parametrize("main", [False, True])
@isolated()
def test_switches_inside_a_buffered_file(first_use: str, main: bool) -> None:
    """Others wait for their turn, although the frames of who is inside are not on the stack."""
    greenlet = greenlets().greenlet

    def deep(n: int) -> None:
        """Overwrites the stack where the other greenlet's frames were."""
        sorted([n], key=lambda n: (n and deep(n - 1)) or 0)

    def readers(f: Any, others_come: Callable[[], None]) -> list[bytes]:
        lines: list[bytes] = []
        # a second one is refused, as in a program without goroutines
        one, other = greenlet(lambda: lines.append(f.readline())), greenlet(f.readline)
        assert one.switch() == "reads"
        deep(5)
        others_come()
        sleep(0.001)
        with pytest.raises(RuntimeError, match="^reentrant call inside"):
            other.switch()
        deep(5)
        gosched()
        others = [io.BufferedReader(io.BytesIO(b"some\n")) for _ in range(600)]  # some in the same bucket
        assert run(lambda: [other.readline() for other in others]) == [b"some\n"] * 600
        gosched()
        one.switch()
        return lines

    def body() -> None:
        f = io.BufferedReader(Switching(), 3)
        turns: list[Any] = []

        def next_one() -> None:
            turns.append(greenlet(f.readline).switch())

        wg = WaitGroup()
        assert readers(f, lambda: wg.go(next_one)) == [b"01\n"]
        wg.wait()
        assert turns == ["reads"]

    def inside() -> None:
        """The first use is that of the raw file."""

        class Late(Switching):
            def readinto(self, buffer: Any) -> int:
                g = greenlet(lambda: (deep(5), run(lambda: io.BufferedReader(io.BytesIO(b"x")).read(1))))
                g.switch()
                lines.append(b"inside")
                return 0

        lines: list[bytes] = []
        f = io.BufferedReader(Late(), 3)
        assert f.readline() == b"" and f.readline() == b""
        assert lines == [b"inside"] * 2

    wg = WaitGroup()
    test = body if first_use == "before" else inside
    if main:
        test()
    for _ in range(3):
        wg.go(test)
    wg.wait()
    if main:
        test()


@pytest.mark.parametrize("main", [False, True])
@isolated()
def test_locker_that_switches(main: bool) -> None:
    """A Cond's waiter is queued before its locker unlocks, which lets another greenlet run here."""
    greenlet, getcurrent = greenlets().greenlet, greenlets().getcurrent

    class Switching:
        def lock(self) -> None:
            pass

        def unlock(self) -> None:
            getcurrent().parent.switch("unlocks")

    def deep(n: int) -> None:
        """Overwrites the stack where the other greenlet's frames were."""
        sorted([n], key=lambda n: (n and deep(n - 1)) or 0)

    def body() -> None:
        cond = Cond(Switching())
        for signals in range(3):
            waiter = greenlet(lambda: cond.wait() or "woken")
            assert waiter.switch() == "unlocks"
            deep(5)
            if signals:
                run(cond.signal)
            else:
                go(lambda: (sleep(0.001), cond.broadcast()))
            deep(5)
            assert waiter.switch() == "woken"

    if main:
        body()
    else:
        run(body)


@isolated()
def test_switches_in_callbacks_of_c() -> None:
    """Calls into C and back do not end in the order in which they began; a dump reads what is there."""
    from gort import cgo, runtime

    greenlet, getcurrent = greenlets().greenlet, greenlets().getcurrent
    cgo.enable_traceback()
    lib = cgo.wrap(ctypes.CDLL(os.environ.get("CLIB") or clib()))
    callback = cgo.callback(ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int))
    dumps: list[str] = []

    @callback
    def away(n: int) -> int:
        assert getcurrent().parent.switch(n) == n + 1
        return n * 2

    @callback
    def dump(n: int) -> int:
        if n:
            return int(lib.call(dump, n - 1))
        dumps.append(runtime.stack(True))
        gosched()
        return n

    def body() -> None:
        for _ in range(20):
            inside = [greenlet(lambda n: lib.call(away, n)) for _ in range(5)]
            for i, one in enumerate(inside):
                assert one.switch(i) == i
                lib.call(dump, 5)
            for i, one in enumerate(inside):
                assert one.switch(i + 1) == i * 2 and one.dead
                lib.call(dump, 5)

    @callback
    def begins(n: int) -> int:
        body()  # the first greenlet is made within a call
        return n

    run(body)
    run(lambda: lib.call(begins, 1))
    assert len(dumps) == 400


PRELOADED = """
    import greenlet, threading

    def child(n):
        here = list(range(n))
        while True:
            here.append(greenlet.getcurrent().parent.switch(len(here)))

    class Early(greenlet.greenlet):
        pass

    {use}

    from gort import go, chan
    from gort.runtime import gosched
    from gort.sync import WaitGroup

    def body(i):
        g = Early(child)
        for k in range(20):
            assert g.switch(i) == i + k
            gosched()

    def in_greenlet():
        wg = WaitGroup()
        for i in range(10):
            wg.go(body, i)
        wg.wait()
        wg.go(body, 3)
        greenlet.getcurrent().parent.switch("parked")
        wg.wait()

    g = greenlet.greenlet(in_greenlet)
    assert g.switch() == "parked"
    {check}
    g.switch()
    print("done")
"""


@pytest.mark.parametrize("used", [False, True])
def test_greenlet_was_there_first(used: bool) -> None:
    use = "early = Early(child); assert early.switch(5) == 5" if used else ""
    check = "assert early.switch(1) == 6" if used else ""
    program = textwrap.dedent(PRELOADED).format(use=use, check=check)
    execute([sys.executable, "-c", program]).check(stdout="done\n")
