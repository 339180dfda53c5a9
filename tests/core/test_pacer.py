"""The pacer's decisions: which collection, when, and every transition of its phase.

mgcpacer.c needs no runtime: it is compiled by itself here, and its functions are called with figures.
"""

from __future__ import annotations

import ctypes
import enum
import re
import shutil
import subprocess
from itertools import product
from pathlib import Path
from typing import Any

import pytest

CORE = Path(__file__).resolve().parents[2] / "src" / "_core"
MIB = 1 << 20
MS = 1_000_000
SECOND = 1000 * MS
NONE = 2**63 - 1  # no memory limit; never
NO_GOAL = ALL = 2**64 - 1


class Phase(enum.IntEnum):
    Off = 0
    Idle = 1
    WantSlice = 2
    WantYoung = 3
    WantFull = 4
    WantRest = 5
    WantTimed = 6
    RunOther = 7
    RunSlice = 8
    RunYoung = 9
    RunGoal = 10
    RunFull = 11
    RunForced = 12


(Off, Idle, WantSlice, WantYoung, WantFull, WantRest, WantTimed) = list(Phase)[:7]
(RunOther, RunSlice, RunYoung, RunGoal, RunFull, RunForced) = list(Phase)[7:]

I64, U64, SIZE, BOOL = ctypes.c_int64, ctypes.c_uint64, ctypes.c_size_t, ctypes.c_bool


class Moment(ctypes.Structure):
    _fields_ = (("time", I64), ("cpu", I64), ("heap", U64), ("blocks", U64))


class Pacer(ctypes.Structure):
    _fields_ = (
        ("phase", ctypes.c_uint),
        ("next", ctypes.c_uint),
        ("percent", ctypes.c_int),
        *((name, I64) for name in ("limit", "force_period", "force_most")),
        *((name, U64) for name in ("goal", "limitgoal", "least", "full")),
        ("fullend", I64),
        ("price", ctypes.c_double),
        ("priced", U64),
        ("putoff", ctypes.c_uint),
        ("garbage", ctypes.c_double),
        ("mortality", ctypes.c_double),
        ("invain", ctypes.c_uint),
        ("slice", U64),
        *((name, ctypes.c_int) for name in ("young", "young_most", "unsliced")),
        *((name, I64) for name in ("account", "lastend", "lastcpu")),
        ("start", Moment),
    )


# enter() and what is inline in the header are not exported; throw() is the runtime's, and does not return.
WRAPPER = """
#include "gc/mgcpacer.c"

#include <setjmp.h>

static jmp_buf refused;

void
throw(const char *text)
{
    longjmp(refused, 1);
}

bool
enters(gcpacer *c, enum gcphase to)
{
    if (setjmp(refused))
        return false;
    enter(c, to);
    return true;
}

uint64_t
the_goal(const gcpacer *c)
{
    return pacer_goal(c);
}

enum gcphase
wanted(const gcpacer *c)
{
    return pacer_wanted(c);
}
"""

POINTER = ctypes.POINTER(Pacer)
FUNCTIONS: dict[str, tuple[Any, ...]] = {  # the result's type, and those of the arguments after the first
    "enters": (BOOL, ctypes.c_uint),
    "the_goal": (U64,),
    "wanted": (ctypes.c_uint,),
    "pacer_start": (None, I64, I64),
    "pacer_stop": (None,),
    "pacer_ask": (BOOL, ctypes.c_uint),
    "pacer_unask": (None,),
    "pacer_begin": (None, ctypes.c_int, BOOL, BOOL, Moment),
    "pacer_end": (None,),
    "pacer_set_goals": (None, I64),
    "pacer_shrink": (BOOL, U64),
    "pacer_countdown": (I64, U64),
    "pacer_at_goal": (ctypes.c_uint, Moment),
    "pacer_judge": (BOOL, Moment),
    "pacer_sample": (SIZE,),
    "pacer_slice_follows": (BOOL, U64, I64),
    "pacer_force_time": (I64, I64, ctypes.c_uint32),
    "pacer_may_force": (BOOL, U64),
    "pacer_guess": (I64, SIZE),
    "pacer_cycle_ends": (BOOL, U64, I64, BOOL),
    "pacer_learn": (None, SIZE, SIZE),
    "pacer_pay": (None, I64, I64, I64),
}


@pytest.fixture(scope="module")
def lib(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("pacer")
    paths = [field[0] for field in Moment._fields_] + [f"start.{field[0]}" for field in Moment._fields_]
    fields = [field[0] for field in Pacer._fields_]
    offsets = ", ".join(f"offsetof(gcpacer, {name})" for name in fields + paths[4:])
    source = f"{WRAPPER}\nconst size_t layout[] = {{sizeof(gcpacer), sizeof(gcmoment), {offsets}}};\n"
    (folder / "pacer.c").write_text(source)
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "no C compiler on PATH, and the tests need one"
    command = [compiler, "-std=c11", "-Wall", "-Werror", "-O1", "-g", "-DGORT_DEBUG=1", f"-I{CORE}"]
    subprocess.run([*command, "-shared", "-fPIC", "-o", "pacer.so", "pacer.c"], cwd=folder, check=True)
    library = ctypes.CDLL(str(folder / "pacer.so"))
    for name, (result, *arguments) in FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, [POINTER, *arguments]
    layout = (SIZE * (2 + len(fields) + 4)).in_dll(library, "layout")
    start = Pacer.start.offset
    assert list(layout) == [
        ctypes.sizeof(Pacer),
        ctypes.sizeof(Moment),
        *(getattr(Pacer, name).offset for name in fields),
        *(start + getattr(Moment, name).offset for name, _ in Moment._fields_),
    ]
    return library


@pytest.fixture
def c(lib: ctypes.CDLL) -> Driver:
    """A pacer that has begun at time 0, with GOGC=100."""
    driver = Driver(lib)
    lib.pacer_start(driver.pacer, 0, 0)
    driver.set_goals(0)
    return driver


class Driver:
    """A pacer: its methods are the functions of mgcpacer.c, all other attributes its figures."""

    def __init__(self, lib: ctypes.CDLL, **figures: Any) -> None:
        vars(self).update(lib=lib, pacer=Pacer(**figures))

    def __getattr__(self, name: str) -> Any:
        if name in ("enters", "the_goal", "wanted"):
            return lambda *args: getattr(self.lib, name)(self.pacer, *args)
        if f"pacer_{name}" in FUNCTIONS and name != "start":
            return lambda *args: getattr(self.lib, f"pacer_{name}")(self.pacer, *args)
        return getattr(self.pacer, name)

    def __setattr__(self, name: str, value: Any) -> None:
        assert hasattr(Pacer, name), name
        setattr(self.pacer, name, value)

    def collect(self, m: Moment, *, generation: int = 0, due: bool = True, forced: bool = False) -> None:
        self.begin(generation, due, forced, m)

    def collect_all(self, heap: int, *, left: int, blocks: int, now: int, took: int) -> None:
        """A whole full collection."""
        self.collect(Moment(now, 0, heap, blocks), generation=2)
        assert self.cycle_ends(left, now + took, True)
        self.set_goals(0)
        self.end()


def at(heap: int = 0, *, time: int = 0, cpu: int = 0, blocks: int = 0) -> Moment:
    return Moment(time, cpu, heap, blocks)


def test_the_phases_are_those_of_the_header() -> None:
    text = (CORE / "gc" / "mgcpacer.h").read_text()
    match = re.search(r"enum gcphase \{(.*?)\};", text, re.S)
    assert match
    names = re.findall(r"\w+", re.sub(r"/\*.*?\*/", "", match[1], flags=re.S))
    assert names == [phase.name for phase in Phase]


# -- the phase ------------------------------------------------------------------------------------

WANTS = {WantSlice, WantYoung, WantFull, WantRest, WantTimed}
RUNS = {RunOther, RunSlice, RunYoung, RunGoal, RunFull, RunForced}
DUE = {WantYoung, WantFull, WantTimed}  # an allocation may ask for these, while a collection runs, too
DRAWN: dict[Phase, set[Phase]] = {
    Off: {Idle},
    Idle: DUE | {RunOther, RunYoung, RunForced},
    WantSlice: DUE | {Idle, RunOther, RunSlice, RunForced},
    WantYoung: {Idle, WantTimed, RunOther, RunGoal, RunForced},
    WantFull: {Idle, WantTimed, RunOther, RunYoung, RunFull, RunForced},
    WantRest: {Idle, WantTimed, RunOther, RunYoung, RunFull, RunForced},
    WantTimed: {Idle, RunOther, RunYoung, RunFull, RunForced},
    RunOther: DUE | {Idle, WantRest},
    RunSlice: DUE | {Idle},
    RunYoung: DUE | {Idle, WantSlice, WantRest},
    RunGoal: DUE | {Idle, WantSlice, WantRest},
    RunFull: DUE | {Idle},
    RunForced: DUE | {Idle},
}


@pytest.mark.parametrize("phase", Phase)
def test_only_the_drawn_transitions(lib: ctypes.CDLL, phase: Phase) -> None:
    """From each phase the drawn ones are entered, and the check refuses all others; any may stop."""
    for to in Phase:
        c = Driver(lib, phase=phase)
        drawn = to in DRAWN[phase] or to == Off
        assert c.enters(to) == drawn, to
        assert c.phase == (to if drawn else phase)


# What begins in each phase: generation 0 if it is due; 2, asked for by gc.collect(), and by runtime.gc().
BEGINS = {
    Idle: (RunYoung, RunForced, RunForced),
    WantSlice: (RunSlice, RunForced, RunForced),
    WantYoung: (RunGoal, RunForced, RunForced),
    WantFull: (RunYoung, RunFull, RunForced),
    WantRest: (RunYoung, RunFull, RunForced),
    WantTimed: (RunYoung, RunFull, RunForced),
}


@pytest.mark.parametrize("phase", BEGINS)
def test_begin_and_end(lib: ctypes.CDLL, phase: Phase) -> None:
    """What runs, and whether what was wanted is wanted still."""
    due, program, runtime = BEGINS[phase]
    ways: dict[tuple[int, bool, bool], Phase] = {
        (0, True, False): due,
        (0, True, True): due,  # the argument is for full ones
        (0, False, False): RunOther,
        (1, True, False): RunOther,
        (1, False, False): RunOther,
        (2, False, False): program,
        (2, True, False): program,
        (2, False, True): runtime,
        (2, True, True): runtime,
    }
    for (generation, is_due, forced), runs in ways.items():
        c = Driver(lib, phase=phase)
        c.begin(generation, is_due, forced, at(7, time=8, cpu=9, blocks=10))
        assert (c.phase, c.start.heap, c.start.time, c.start.cpu, c.start.blocks) == (runs, 7, 8, 9, 10)
        left = phase if phase >= WantFull and generation != 2 else Idle
        assert c.wanted() == left
        c.end()
        assert c.phase == left


def test_an_end_that_nobody_told(lib: ctypes.CDLL) -> None:
    """As in the child of a fork: the next one begins as if it had ended."""
    for lost, following in product(RUNS, {Idle, *DUE}):
        c = Driver(lib, phase=lost, next=following)
        c.begin(0, True, False, at())
        assert c.phase == BEGINS[following][0]


def test_ask(lib: ctypes.CDLL) -> None:
    """More is asked for than before or nothing; a collection that runs is not changed."""
    for phase in (Idle, *WANTS):
        for want in DUE:
            c = Driver(lib, phase=phase)
            if want <= phase:
                assert not c.ask(want) and c.phase == phase
            elif want in DRAWN[phase]:
                assert c.ask(want) and c.phase == c.wanted() == want
    for runs, earlier, want in product(RUNS, {Idle, *WANTS}, WANTS):
        c = Driver(lib, phase=runs, next=earlier)
        assert c.ask(want) == (want > earlier) and c.phase == runs
        assert c.wanted() == max(want, earlier)
    c = Driver(lib, phase=Off)
    assert not c.ask(WantTimed) and not c.ask(Idle) and c.phase == c.wanted() == Off


def test_unask(lib: ctypes.CDLL) -> None:
    for phase in (Idle, *WANTS):
        c = Driver(lib, phase=phase)
        c.unask()
        assert c.phase == Idle
    for phase in RUNS:
        c = Driver(lib, phase=phase, next=WantYoung)
        c.unask()
        assert (c.phase, c.wanted()) == (phase, Idle)
    c = Driver(lib, phase=Off)
    c.unask()
    assert c.phase == Off


def test_start_and_stop(lib: ctypes.CDLL) -> None:
    for phase in Phase:
        c = Driver(lib, phase=phase)
        c.stop()
        assert c.phase == Off
    lib.pacer_start(c.pacer, 5 * SECOND, 3 * SECOND)
    assert (c.phase, c.percent, c.limit, c.fullend) == (Idle, 100, NONE, 5 * SECOND)
    assert (c.account, c.lastend, c.lastcpu) == (0, 5 * SECOND, 3 * SECOND)


def test_a_cycle_of_two_collections(c: Driver) -> None:
    """The young one at the goal is not enough, so a full one follows, with no slice before it."""
    c.ask(WantYoung)
    c.collect(at(5 * MIB))
    assert c.judge(at(5 * MIB, time=SECOND, blocks=1000)) and c.ask(WantRest)
    c.learn(8192, 0)
    assert c.slice_follows(5 * MIB, 0) and not c.ask(WantSlice)
    c.end()
    assert c.phase == WantRest
    c.collect(at(5 * MIB), generation=2)
    assert c.phase == RunFull and not c.slice_follows(5 * MIB, 0)
    c.end()
    assert c.phase == Idle


# -- goals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("percent", "live", "goal"),
    [
        (100, 0, 4 * MIB),
        (100, 3 * MIB, 6 * MIB),
        (100, 50 * MIB, 100 * MIB),
        (50, 0, 2 * MIB),
        (50, 50 * MIB, 75 * MIB),
        (400, 0, 16 * MIB),
        (400, 50 * MIB, 250 * MIB),
        (0, 50 * MIB, 50 * MIB),
        (2**31 - 1, 2**50, 9 * 10**18),
        (-1, 50 * MIB, NO_GOAL),
    ],
)
def test_goals_of_gogc(c: Driver, percent: int, live: int, goal: int) -> None:
    c.percent, c.least = percent, live
    c.set_goals(0)
    assert c.the_goal() == c.goal == goal and c.limitgoal == NO_GOAL


def test_goals_go_down_with_the_heap(c: Driver) -> None:
    c.least = c.full = 100 * MIB
    assert not c.shrink(100 * MIB) and not c.shrink(200 * MIB)
    assert c.shrink(10 * MIB) and (c.least, c.full) == (10 * MIB, 10 * MIB)
    c.full = 5 * MIB
    assert c.shrink(8 * MIB) and (c.least, c.full) == (8 * MIB, 5 * MIB)
    c.set_goals(0)
    assert c.the_goal() == 16 * MIB


def test_a_goal_does_not_pass_the_last_one_there_is(c: Driver) -> None:
    """64 times what the last full one left; 2.25 times with a GOGC of 50."""
    c.full, c.least = MIB, 40 * MIB
    c.set_goals(0)
    assert c.the_goal() == 64 * MIB
    c.least = 64 * MIB
    c.set_goals(0)
    assert c.the_goal() == 128 * MIB
    c.percent, c.full, c.least = 50, 16 * MIB, 30 * MIB
    c.set_goals(0)
    assert c.the_goal() == 36 * MIB


def test_the_next_look(c: Driver) -> None:
    """At the goal, but no more often than each 64 KiB, and each MiB at the least."""
    assert c.the_goal() == 4 * MIB
    for heap, bytes_ in (
        (0, MIB),
        (3 * MIB + 5, MIB - 5),
        (4 * MIB - 1, 65536),
        (4 * MIB, MIB),
        (9 * MIB, MIB),
    ):
        assert c.countdown(heap) == bytes_


def test_goals_of_the_limit(c: Driver) -> None:
    """1/32 below it, less what is not the heap; GOGC's if that is lower; never below what is alive."""
    c.limit, c.least = 320 * MIB, 50 * MIB
    c.set_goals(20 * MIB)
    assert (c.the_goal(), c.limitgoal) == (100 * MIB, 290 * MIB)
    assert c.at_goal(at(100 * MIB)) == WantYoung
    c.least = 200 * MIB
    c.set_goals(20 * MIB)
    assert (c.the_goal(), c.goal) == (290 * MIB, 400 * MIB)
    c.least = 300 * MIB
    c.set_goals(20 * MIB)
    assert c.the_goal() == 300 * MIB + 65536
    c.limit = 0
    c.set_goals(20 * MIB)
    assert c.the_goal() == 300 * MIB + 65536


def test_the_limit_without_gogc(c: Driver) -> None:
    c.percent, c.limit, c.least = -1, 320 * MIB, 50 * MIB
    c.set_goals(10 * MIB)
    assert (c.goal, c.the_goal()) == (NO_GOAL, 300 * MIB)
    assert c.at_goal(at(300 * MIB, time=SECOND, cpu=SECOND, blocks=1000)) == WantFull
    c.limit = NONE
    c.set_goals(0)
    assert c.the_goal() == NO_GOAL


# -- the account near the limit ---------------------------------------------------------------------


@pytest.fixture
def near(c: Driver) -> Driver:
    """It is far beyond its limit, and a full collection takes 100 ms."""
    c.limit, c.least, c.price, c.priced = MIB, 10 * MIB, 1000.0, 100_000
    c.set_goals(0)
    return c


def test_the_account_is_filled_by_processor_time_or_a_quarter_of_the_clocks(near: Driver) -> None:
    def wants(time: int, cpu: int) -> Phase:
        return Phase(near.at_goal(at(20 * MIB, time=time * MS, cpu=cpu * MS, blocks=100_000)))

    assert wants(0, 0) == Idle
    assert wants(99, 99) == Idle and wants(99, 100) == WantFull
    assert wants(399, 0) == Idle and wants(400, 0) == WantFull


def test_half_of_what_the_account_may_hold_is_enough(near: Driver) -> None:
    """Garbage may come so fast that the price grows as fast as the account."""
    price = near.price * 10_000_000
    assert price > SECOND
    assert near.at_goal(at(20 * MIB, cpu=500 * MS - 1, blocks=10_000_000)) == Idle
    assert near.at_goal(at(20 * MIB, cpu=500 * MS, blocks=10_000_000)) == WantFull


def test_what_a_collection_takes_from_the_account(near: Driver) -> None:
    """Its processor time and a quarter; what comes in before it counts, up to a second, and nothing else."""
    near.collect(at(20 * MIB, time=SECOND, cpu=300 * MS), generation=2)
    near.pay(100 * MS, SECOND + 200 * MS, 400 * MS)
    assert (near.account, near.lastend, near.lastcpu) == (175 * MS, SECOND + 200 * MS, 400 * MS)
    near.end()
    near.collect(at(20 * MIB, time=3600 * SECOND, cpu=400 * MS), generation=2)
    near.pay(400 * MS, 3601 * SECOND, 800 * MS)
    assert near.account == 500 * MS  # of the quarter of an hour a second was left
    near.end()
    near.collect(at(20 * MIB, time=3601 * SECOND, cpu=800 * MS), generation=2)
    near.pay(4 * SECOND, 3605 * SECOND, 5 * SECOND)
    assert near.account == -4500 * MS  # and one longer than that may overdraw it by what it took
    near.end()
    near.account = -9 * SECOND
    near.collect(at(20 * MIB, time=3605 * SECOND, cpu=5 * SECOND), generation=2)
    near.pay(4 * MS, 3605 * SECOND, 5 * SECOND)
    assert near.account == -SECOND


def test_no_more_than_half_of_the_time(near: Driver) -> None:
    """A program that computes, and allocates all the time: each full one takes 100 ms."""
    now = spent = 0
    while now < 60 * SECOND:
        now += MS
        m = at(20 * MIB, time=now, cpu=now, blocks=100_000)
        if near.at_goal(m) == WantFull:
            near.ask(WantFull)
            near.collect(m, generation=2)
            assert near.phase == RunFull
            now += 100 * MS
            spent += 100 * MS
            near.cycle_ends(20 * MIB, now, True)
            near.set_goals(0)
            near.pay(100 * MS, now, now)
            near.end()
    assert 0.4 * now < spent <= 0.5 * now


def test_young_ones_are_samples_while_it_is_overdrawn(near: Driver) -> None:
    near.unsliced = near.young_most
    near.collect(at(time=SECOND, cpu=200 * MS))
    assert near.phase == RunYoung and near.sample() == ALL and near.slice_follows(MIB, 200 * MS)
    near.account = -300 * MS
    assert near.sample() == 1024
    assert not near.slice_follows(MIB, 200 * MS)
    assert near.slice_follows(MIB, 300 * MS)  # by its own processor time it is not any more
    near.limit = NONE
    near.set_goals(0)
    assert near.sample() == ALL and near.slice_follows(MIB, 200 * MS)


def test_slices_leave_a_full_one_its_account(near: Driver) -> None:
    """Beyond the goal near the limit a full one is due, and waits for the account to hold its price."""
    now = 0
    near.unsliced = near.young_most
    for _ in range(2000):
        now += MS
        m = at(20 * MIB, time=now, cpu=now, blocks=100_000)
        if near.at_goal(m) == WantFull:
            break
        near.collect(m)
        assert near.phase == RunYoung
        follows = near.slice_follows(20 * MIB, now)
        assert not follows and near.slice_follows(near.the_goal() - 1, now)
        near.pay(MS // 5, now, now)
        near.end()
    assert near.at_goal(m) == WantFull


def test_the_limit_puts_nothing_off(near: Driver) -> None:
    near.garbage = 0.5
    near.ask(WantYoung)
    near.collect(at(20 * MIB))
    assert not near.judge(at(20 * MIB, blocks=100_000)) and near.putoff == 0
    assert near.cycle_ends(2 * MIB, MS, True)  # the goals are set anew even if it was enough


def test_one_that_waited_teaches_no_price(c: Driver) -> None:
    """Finalizers parked meanwhile: the time is not the collection's, and what it took is guessed."""
    c.collect_all(10 * MIB, left=10 * MIB, blocks=100_000, now=SECOND, took=SECOND)
    price = c.price
    assert price == 10_000
    c.collect(at(10 * MIB, time=10 * SECOND, blocks=50_000), generation=2)
    assert c.guess(7) == 50_000 * 10_000
    assert c.cycle_ends(10 * MIB, 1000 * SECOND, False)
    assert c.price == price
    c.end()
    c.collect(at(10 * MIB), generation=1)
    assert c.guess(1000) == 1000 * 300


# -- young or full ----------------------------------------------------------------------------------


@pytest.fixture
def paid(c: Driver) -> Driver:
    """A full collection of 10 MiB took a second, in vain, until 100 s; now its goal's young one runs."""
    c.collect_all(10 * MIB, left=10 * MIB, blocks=1_000_000, now=99 * SECOND, took=SECOND)
    assert (c.price, c.garbage, c.the_goal()) == (1000, 0, 20 * MIB)
    c.ask(WantYoung)
    c.collect(at(20 * MIB, time=100 * SECOND))
    assert c.phase == RunGoal
    return c


def later(seconds: float, heap: int = 20 * MIB) -> Moment:
    """The price is still a second."""
    return at(heap, time=int((100 + seconds) * SECOND), blocks=1_000_000)


def test_young_at_the_goal(c: Driver) -> None:
    assert c.at_goal(at(4 * MIB)) == WantYoung


def test_half_is_enough(paid: Driver) -> None:
    """A young one that frees half of what was allocated is a cycle, and the goal stays."""
    assert not paid.judge(later(1000, 15 * MIB))
    assert not paid.cycle_ends(15 * MIB, 1100 * SECOND, True)
    assert (paid.least, paid.the_goal()) == (10 * MIB, 20 * MIB)
    assert paid.judge(later(1000, 15 * MIB + 1))


def test_a_tenth_of_the_time_pays(paid: Driver) -> None:
    assert not paid.judge(later(9.9)) and paid.judge(later(10))
    assert paid.cycle_ends(20 * MIB, 110 * SECOND, True) and paid.least == 20 * MIB  # the goal moves on
    assert paid.putoff == 0  # nothing was promised


@pytest.mark.parametrize("promise", [{"garbage": 1 / 32}, {"mortality": 1 / 8}])
def test_a_fifth_if_it_promises_something(paid: Driver, promise: dict[str, float]) -> None:
    ((name, value),) = promise.items()
    setattr(paid, name, value * 0.99)
    assert not paid.judge(later(5)) and paid.putoff == 0
    setattr(paid, name, value)
    assert paid.judge(later(5)) and paid.putoff == 0


def test_a_promise_is_put_off_twice(paid: Driver) -> None:
    paid.garbage = 0.5
    assert not paid.judge(later(1, 16 * MIB)) and not paid.judge(later(1, 17 * MIB))
    assert paid.putoff == 2
    assert paid.judge(later(1, 18 * MIB))
    paid.end()
    paid.collect_all(18 * MIB, left=18 * MIB, blocks=1_000_000, now=101 * SECOND, took=SECOND)
    assert paid.putoff == 0


def test_a_fifth_after_three_goals_and_anything_after_six(paid: Driver) -> None:
    paid.least = 40 * MIB
    paid.set_goals(0)
    assert not paid.judge(later(5, 79 * MIB)) and paid.judge(later(5, 80 * MIB))
    paid.least = 320 * MIB
    paid.set_goals(0)
    assert not paid.judge(later(1, 639 * MIB)) and paid.judge(later(1, 640 * MIB))


def test_a_low_gogc_takes_promises_and_two_goals(paid: Driver) -> None:
    paid.percent = 50
    paid.set_goals(0)
    assert paid.the_goal() == 15 * MIB
    assert not paid.judge(later(1, 22 * MIB)) and paid.judge(later(1, 22 * MIB + MIB // 2))
    paid.mortality = 0.2
    assert paid.judge(later(1, 15 * MIB))


def test_the_price_of_a_heap_much_larger_than_those_seen(c: Driver) -> None:
    """Those were in the processor's cache: 300 ns a block where there are more than four times as many."""
    c.collect_all(2 * MIB, left=2 * MIB, blocks=10_000, now=100 * SECOND, took=MS)
    assert c.price == 100
    c.force_most = 4 * MS
    assert c.may_force(40_000) and not c.may_force(40_001)
    c.price = 1000.0
    assert not c.may_force(4001) and c.may_force(4000)


def test_a_small_heap_tells_no_price(c: Driver) -> None:
    c.collect_all(MIB, left=MIB // 2, blocks=1000, now=0, took=SECOND)
    assert (c.price, c.priced, c.garbage) == (300, 0, 0.5)


# -- what collections teach -------------------------------------------------------------------------


def test_samples_after_four_in_vain(c: Driver) -> None:
    c.collect(at())
    for _ in range(4):
        assert c.sample() == ALL
        c.learn(8192, 0)
    assert c.sample() == 1024
    c.learn(1024, 1)
    assert c.sample() == ALL


def test_the_young_generation_is_small_where_most_die(c: Driver) -> None:
    sizes: list[int] = []
    for found in [5000] * 5 + [2000] + [100] * 5:
        c.phase = RunYoung
        c.learn(8192, found)
        sizes.append(c.young)
    assert sizes == [4096, 2048, 1024, 1024, 1024, 1024, 2048, 4096, 8192, 8192, 8192]
    c.phase = RunYoung
    c.learn(500, 500)  # few containers say nothing
    assert c.young == 8192


def test_slices_come_as_often_however_small_the_young_generation_is(c: Driver) -> None:
    c.young = 2048
    follows: list[bool] = []
    for _ in range(8):
        c.phase = RunYoung
        c.learn(2048, 500)
        follows.append(c.slice_follows(0, 0))
        if follows[-1]:
            c.phase = RunSlice
            c.learn(1000, 10)
    assert follows == [False, False, False, True] * 2


def test_mortality(c: Driver) -> None:
    """It moves by a quarter; few containers say nothing; more may be garbage than was looked at."""
    c.collect(at())
    c.learn(8000, 4000)
    assert c.mortality == 0.125
    c.learn(511, 511)
    assert c.mortality == 0.125
    c.learn(1000, 5000)
    assert c.mortality == 0.125 + 0.875 / 4
    assert c.garbage == 0


def test_slices_grow_while_they_find_some(c: Driver) -> None:
    sizes: list[int] = []
    for found in [100] * 8 + [5] + [0] * 8:
        c.phase = RunSlice
        c.learn(1000, found)
        sizes.append(c.slice)
    assert sizes[:8] == [1024, 2048, 4096, 8192, 16384, 32768, 32768, 32768]
    assert sizes[8:] == [16384, 8192, 4096, 2048, 1024, 512, 512, 512, 512]
    c.slice = 2048
    c.learn(1000, 20)
    assert c.slice == 2048 and c.mortality == 0
    before = c.garbage
    c.learn(0, 10)  # there were no old ones
    assert c.garbage == before


@pytest.mark.parametrize("phase", [RunOther, RunFull, RunForced])
def test_others_say_nothing_of_the_young(c: Driver, phase: Phase) -> None:
    c.phase = phase
    c.learn(1000, 900)
    assert (c.garbage, c.mortality, c.invain, c.slice) == (0, 0, 0, 512)
    assert not c.slice_follows(5 * MIB, 0)


def test_a_slice_follows_young_ones(c: Driver) -> None:
    following = {}
    c.unsliced = c.young_most
    for phase in RUNS:
        c.phase = phase
        following[phase] = c.slice_follows(5 * MIB, 0)
    assert {phase for phase, follows in following.items() if follows} == {RunYoung, RunGoal}


def test_a_full_one_tells_how_much_garbage_there_was(c: Driver) -> None:
    c.collect_all(40 * MIB, left=30 * MIB, blocks=1000, now=5 * SECOND, took=MS)
    assert (c.garbage, c.full, c.least, c.fullend) == (0.25, 30 * MIB, 30 * MIB, 5 * SECOND + MS)
    assert c.the_goal() == 60 * MIB
    c.collect_all(40 * MIB, left=41 * MIB, blocks=1000, now=6 * SECOND, took=MS)
    assert c.garbage == 0


# -- the time that has passed -----------------------------------------------------------------------


def test_the_forced_period(c: Driver) -> None:
    """Two minutes after the last one; not before the first cycle, and not without GOGC."""
    assert c.force_time(7 * SECOND, 1) == 127 * SECOND
    assert c.force_time(7 * SECOND, 0) == NONE
    c.percent = -1
    assert c.force_time(7 * SECOND, 1) == NONE
    c.percent, c.force_period = 0, 50 * MS
    assert c.force_time(7 * SECOND, 1) == 7 * SECOND + 50 * MS


def test_nothing_is_forced_that_takes_long(c: Driver) -> None:
    """120 ms; 300 ns a block before any full one."""
    assert c.may_force(400_000) and not c.may_force(400_001)
    c.price, c.priced = 50.0, 1_000_000
    assert c.may_force(2_400_000) and not c.may_force(2_400_001)


def test_a_timed_one_is_not_the_programs(c: Driver) -> None:
    c.ask(WantTimed)
    c.collect(at(), generation=2)
    assert c.phase == RunFull
