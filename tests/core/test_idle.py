"""What is over or asleep costs nothing: idle Ms, threads that have ended, the runtime's own threads."""

from __future__ import annotations

import os
import re
import threading
import time as python_time
from typing import Any

import pytest

from gort import Chan, _core, chan, go, runtime
from gort.sync import WaitGroup
from gort.time import sleep
from harness import isolated
from helpers import must_recv


def addresses() -> int:
    """KiB."""
    with open("/proc/self/status") as status:
        found = re.search(r"VmSize:\s*(\d+)", status.read())
    assert found
    return int(found[1])


def thread_named(name: str) -> str:
    for tid in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{tid}/comm") as comm:
            if comm.read().strip() == name:
                return tid
    raise AssertionError(f"no thread is called {name}")


def cpu_and_looks(tid: str) -> tuple[int, int]:
    with open(f"/proc/self/task/{tid}/schedstat") as stat:
        cpu, _, times = stat.read().split()
    return int(cpu), int(times)


def block_at_once(n: int) -> None:
    """Leaves n idle Ms behind."""
    lock, group = threading.Lock(), WaitGroup()

    def blocked() -> None:
        with lock:
            pass

    lock.acquire()
    for _ in range(n):
        group.go(blocked)
    while len(os.listdir("/proc/self/task")) < n:
        python_time.sleep(0.02)
    lock.release()
    group.wait()
    while _core._thread_stats().idle < n - 2:
        python_time.sleep(0.02)


@isolated(timeout=120)
def test_sysmon_does_not_look_at_idle_ms() -> None:
    def cost() -> float:
        """CPU time of one look while main is in C."""
        least = float("inf")
        for _ in range(5):
            cpu, looks = cpu_and_looks(sysmon)
            python_time.sleep(0.3)
            now_cpu, now_looks = cpu_and_looks(sysmon)
            least = min(least, (now_cpu - cpu) / max(now_looks - looks, 1))
        return least

    block_at_once(4)
    sysmon = thread_named("gort sysmon")
    few = cost()
    block_at_once(4000)
    many = cost()
    # One more wake-up of a cold processor costs some microseconds; to walk 4000 Ms costs far more.
    assert many < 4 * few + 10_000, f"{few:.0f} ns a look, then {many:.0f} ns"
    os._exit(0)


@isolated()
def test_sysmon_sleeps_while_all_sleep() -> None:
    """Also while main waits for a timer, and although there is memory to give back one day."""
    go(chan().recv)
    sleep(1)
    sysmon = thread_named("gort sysmon")
    _, before = cpu_and_looks(sysmon)
    sleep(2)
    _, after = cpu_and_looks(sysmon)
    assert after - before < 300, f"{after - before} looks"


@isolated()
def test_sysmon_looks_seldom_while_main_is_in_c() -> None:
    go(int)
    sleep(0)
    python_time.sleep(0.2)
    sysmon = thread_named("gort sysmon")
    _, before = cpu_and_looks(sysmon)
    python_time.sleep(2)
    _, after = cpu_and_looks(sysmon)
    assert after - before < 400, f"{after - before} looks"


@pytest.mark.parametrize("end", ["locked", "locked, one after the other"])
@isolated(env={"MALLOC_ARENA_MAX": "1"})  # each arena of malloc takes 64 MiB of addresses
def test_nothing_of_an_ended_thread_stays(end: str) -> None:
    def burst(n: int) -> None:
        group = WaitGroup()
        for _ in range(n):
            group.go(runtime.lock_os_thread)
            if "after" in end:
                group.wait()
        group.wait()
        while len(os.listdir("/proc/self/task")) > 12:
            sleep(0.001)

    for _ in range(4):
        burst(50)
    before = addresses()
    for _ in range(12):
        burst(50)
    assert addresses() - before < 600 * 256  # half of the signal stacks of 600


@isolated()
def test_locked_ms_are_found_by_their_goroutines() -> None:
    """Many idle Ms that are locked do not hide the others, and each is woken for its own goroutine."""
    n = 100
    back = chan(n)
    inputs = [chan() for _ in range(n)]

    def locked(ch: Chan[int]) -> None:
        runtime.lock_os_thread()
        tid = threading.get_native_id()
        for value in ch:
            assert threading.get_native_id() == tid
            back.send(value)

    for ch in inputs:
        go(locked, ch)
    for round_ in range(5):
        for i, ch in enumerate(inputs):
            ch.send(round_ * n + i)
        assert sorted(must_recv(back) for _ in range(n)) == list(range(round_ * n, (round_ + 1) * n))
        sleep(0.01)
        for _ in range(10):
            go(python_time.sleep, 0.001)
    for ch in inputs:
        ch.close()


@isolated()
def test_a_wait_begins_when_it_begins() -> None:
    """In a program without goroutines, too, where no sysmon keeps the coarse clock."""
    ch = chan()
    python_time.sleep(0.5)
    before = python_time.monotonic()
    since: list[Any] = []

    def look() -> None:
        while [info.status for info in _core.goroutines() if info.goid == 1] != ["waiting"]:
            python_time.sleep(0.001)
        python_time.sleep(0.3)
        since.append(python_time.monotonic())
        since.extend(info.wait_since for info in _core.goroutines() if info.goid == 1)
        ch.send(None)

    threading.Timer(0.3, look).start()  # later than main waits: nobody looks at a clock before
    ch.recv()
    looked, began = since
    assert before <= began <= looked - 0.3
