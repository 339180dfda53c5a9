"""Buffered files belong to the goroutine that is inside: others wait for their turn."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from gort import chan, go, run
from gort.runtime import gosched
from gort.sync import WaitGroup
from gort.time import sleep
from harness import isolated
from helpers import wait_until, wait_until_parked

WAITS: dict[str, Callable[[], object]] = {
    "park": lambda: sleep(0.001),
    "yield": gosched,
    "move": lambda: (time.sleep(0.001), sleep(0.0002), time.sleep(0.001)),
}


class Raw(io.RawIOBase):
    """Numbered lines, or whatever is written; each access waits inside, in a way of its own."""

    def __init__(self, wait: Callable[[], object], lines: int = 0) -> None:
        self.wait = wait
        self.data = b"".join(b"%06d\n" % n for n in range(lines))
        self.position = 0
        self.written: list[bytes] = []
        self.inside = 0

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def enter(self) -> None:
        assert self.inside == 0
        self.inside += 1
        self.wait()
        self.inside -= 1

    def readinto(self, buffer: Any) -> int:
        self.enter()
        piece = self.data[self.position : self.position + len(buffer)]
        buffer[: len(piece)] = piece
        self.position += len(piece)
        return len(piece)

    def write(self, data: Any) -> int:
        copy = bytes(data)
        self.enter()
        self.written.append(copy)
        return len(copy)

    def seek(self, offset: int, whence: int = 0) -> int:
        self.position = offset + (0, self.position, len(self.data))[whence]
        return self.position

    def truncate(self, size: int | None = None) -> int:
        self.enter()
        return size or 0


@pytest.mark.parametrize("wait", WAITS)
@isolated()
def test_one_reader_for_many_goroutines(wait: str) -> None:
    """Each line comes out whole and once, whichever method asks for it."""
    raw = Raw(WAITS[wait], 300)
    f = io.BufferedReader(raw, 64)
    lines: list[bytes] = []
    buffer_of = [lambda: f.readline(), lambda: next(f, b""), lambda: f.read(7), lambda: f.__next__()]

    def reader(n: int) -> None:
        try:
            while line := buffer_of[n % len(buffer_of)]():
                lines.append(line)
                if n % 3 == 0:
                    f.peek(1)
        except StopIteration:
            pass

    wg = WaitGroup()
    for n in range(8):
        wg.go(reader, n)
    reader(0)
    wg.wait()
    assert sorted(lines) == [b"%06d\n" % n for n in range(300)]


@pytest.mark.parametrize("wait", WAITS)
@isolated()
def test_one_writer_for_many_goroutines(wait: str) -> None:
    raw = Raw(WAITS[wait])
    f = io.BufferedWriter(raw, 32)
    wg = WaitGroup()

    def writer(n: int) -> None:
        for i in range(15):
            f.write(b"%06d\n" % (n * 100 + i))
            if i % 5 == 0:
                f.flush()

    for n in range(8):
        wg.go(writer, n)
    writer(8)
    wg.wait()
    f.close()
    lines = b"".join(raw.written).split(b"\n")
    assert sorted(lines) == [b"", *(b"%06d" % (n * 100 + i) for n in range(9) for i in range(15))]


@pytest.mark.parametrize("wait", WAITS)
@isolated()
def test_every_method_waits_for_its_turn(wait: str) -> None:
    raw = Raw(WAITS[wait], 1000)
    f = io.BufferedRandom(raw, 16)
    calls: list[Callable[[], object]] = [
        lambda: f.read(40),
        lambda: f.read1(40),
        lambda: f.readinto(bytearray(40)),
        lambda: f.readinto1(bytearray(40)),
        lambda: f.readline(),
        lambda: f.peek(),
        lambda: f.write(b"x" * 40),
        lambda: f.flush(),
        lambda: f.seek(100),
        lambda: f.truncate(),
        lambda: next(f),
        lambda: f.readlines(20),
    ]
    failures, wg = [], WaitGroup()

    def body(n: int) -> None:
        try:
            for i in range(len(calls)):
                calls[(n + i) % len(calls)]()
        except BaseException as error:
            failures.append(error)

    for n in range(len(calls)):
        wg.go(body, n)
    wg.wait()
    assert not failures

    def late() -> None:
        with contextlib.suppress(ValueError):  # if the file was closed first
            f.read(20)

    wg.go(late)
    gosched()
    f.close()
    wg.wait()
    assert f.closed


@isolated()
def test_pair_and_subclasses() -> None:
    """A class that existed before gort was imported has a slot of its own."""
    program = """
import io
class Mine(io.BufferedReader): pass
class Theirs(Mine):
    def __next__(self): return super().__next__()
from gort.time import sleep
from gort.sync import WaitGroup
class Raw(io.RawIOBase):
    n = 0
    def readable(self): return True
    def writable(self): return True
    def readinto(self, b):
        sleep(0.001)
        Raw.n += 1
        b[:2] = b"x\\n"
        return 2 if Raw.n < 100 else 0
    def write(self, b):
        sleep(0.001); return len(b)
for f in Mine(Raw(), 4), Theirs(Raw(), 4), io.BufferedRWPair(Raw(), Raw(), 4):
    Raw.n, got, wg = 0, [], WaitGroup()
    def body():
        for line in f:
            got.append(line)
            if isinstance(f, io.BufferedRWPair): f.write(b"12345")
    for _ in range(5): wg.go(body)
    wg.wait()
    assert got == [b"x\\n"] * 99, len(got)
print("ok")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("ok\n", "")


@pytest.mark.parametrize("wait", WAITS)
@isolated()
def test_reentrant_calls_still_raise(wait: str) -> None:
    """Of the same goroutine, on whatever thread it is by then: in the raw file, and in a signal's handler."""

    class Reentrant(Raw):
        def readinto(self, buffer: Any) -> int:
            self.wait()
            with pytest.raises(RuntimeError, match="^reentrant call inside <_io.BufferedReader"):
                f.peek()
            return super().readinto(buffer)

    f = io.BufferedReader(Reentrant(WAITS[wait], 10), 8)
    go(lambda: [time.sleep(0.002) for _ in range(20)])
    assert f.readline() == b"000000\n"
    assert run(f.readline) == b"000001\n"

    caught: list[Any] = []

    def handler(*_: object) -> None:
        try:
            w.write(b"x" * 20)
        except RuntimeError as error:
            caught.append(str(error))

    def slow() -> None:
        WAITS[wait]()
        os.kill(os.getpid(), signal.SIGUSR1)
        wait_until(lambda: caught)

    signal.signal(signal.SIGUSR1, handler)
    w = io.BufferedWriter(Raw(slow), 8)
    w.write(b"y" * 20)
    assert len(caught) == 1 and caught[0].startswith("reentrant call inside <_io.BufferedWriter")


@isolated()
def test_main_is_interrupted_while_it_waits_for_its_turn() -> None:
    gate = chan()
    raw = Raw(lambda: gate.recv(), 10)
    f = io.BufferedReader(raw, 16)
    lines = chan(2)
    go(lambda: lines.send(f.readline()))
    gosched()
    seen = []
    signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    go(lambda: (sleep(0.05), gate.send(None)))
    assert f.readline() in (b"000000\n", b"000001\n")
    assert seen == [1]
    assert lines.recv() in (b"000000\n", b"000001\n")

    def interrupt(*_: object) -> None:
        raise KeyError("from the handler")

    while f.peek(16)[:7] and len(f.peek(16)) > 2:
        f.readline()
    go(lambda: lines.send(f.read(16)))
    while not raw.inside:  # it may start on another thread
        sleep(0.001)
    signal.signal(signal.SIGALRM, interrupt)
    with pytest.raises(KeyError):
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        f.read(16)
    gate.close()
    assert lines.recv()
    assert f.read(1)


@isolated(stdout="\n".join(sorted(f"line {n}" for n in range(1000))))
def test_print_from_a_thousand_goroutines() -> None:
    wg = WaitGroup()

    class Out(io.RawIOBase):
        text = b""

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            Out.text += bytes(data)
            gosched()
            return len(data)

    f = io.TextIOWrapper(io.BufferedWriter(Out(), 64), write_through=True)
    for n in range(1000):
        wg.go(print, f"line {n}\n", end="", file=f)
    wg.wait()
    f.flush()
    assert Out.text.count(b"\n") == 1000
    sys.stdout.write("\n".join(sorted(filter(None, Out.text.decode().split("\n")))) + "\n")


@isolated()
def test_order_of_those_who_wait() -> None:
    gate, order, wg = chan(), [], WaitGroup()
    raw = Raw(lambda: gate.recv(), 100)
    f = io.BufferedReader(raw, 7)

    def reader(n: int) -> None:
        order.append((n, f.readline()))

    for n in range(10):
        wg.go(reader, n)
        wait_until_parked(1, "chan receive") if n == 0 else wait_until_parked(n, "semacquire")
    gate.close()
    wg.wait()
    assert order == [(n, b"%06d\n" % n) for n in range(10)]


@isolated()
def test_fork_beside_a_goroutine_that_is_inside() -> None:
    """The child's table holds nobody who is gone."""
    gate, wg = chan(), WaitGroup()
    f, other = io.BufferedReader(Raw(lambda: gate.recv(), 9), 7), io.BufferedReader(Raw(lambda: None, 9), 7)
    for _ in range(3):
        wg.go(f.readline)
    gosched()
    pid = os.fork()
    if pid == 0:
        lines = [run(other.readline), other.readline()]
        os._exit(lines != [b"000000\n", b"000001\n"])
    assert os.waitpid(pid, 0)[1] == 0
    gate.close()
    wg.wait()


@isolated()
def test_tell_does_not_wait() -> None:
    gate = chan()
    raw = Raw(lambda: gate.recv(), 9)
    f = io.BufferedReader(raw, 7)
    go(f.readline)
    gosched()
    assert f.tell() == 0
    gate.close()


@isolated()
def test_processes_whose_pipes_are_shared() -> None:
    program = "import sys; [print(n) for n in range(200)]"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        lines: list[bytes] = []
        wg = WaitGroup()
        stdout = process.stdout
        assert stdout
        for _ in range(5):
            wg.go(lambda: lines.extend(stdout))
        wg.wait()
    assert sorted(map(int, lines)) == list(range(200))
