"""Who runs what: the contenders, the workloads and their figures, and the targets."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import zip_longest
from statistics import median

Figures = dict[str, float]  # the figures of one run, by name


@dataclass(frozen=True)
class Contender:
    """One way to run the programs <workload>/<workload>_<program>.py, or main.go without a program."""

    name: str
    requirement: str = ""  # what pip installs; "" if CPython has it
    program: str = ""
    command: str = "python"  # in the environment's bin
    env: dict[str, str] = field(default_factory=dict)
    share: int = 1  # it gets 1/share of the operations, as it is very slow


CONTENDERS = [
    Contender("gort", program="gort"),
    Contender("go", command=""),
    Contender("go1", command="", env={"GOMAXPROCS": "1"}),
    Contender("runloom", "runloom==0.2.0", "runloom"),
    Contender("gevent", "gevent", "gevent"),
    Contender("greenlet", "greenlet", "greenlet"),
    Contender("asyncio", program="asyncio"),
    Contender("uvloop", "uvloop", "asyncio", env={"UVLOOP": "1"}),
    Contender("trio", "trio", "trio"),
    Contender("pygolang-gevent", "pygolang==0.1", "pygolang", "gpython"),
    Contender("pygolang-threads", "pygolang==0.1", "pygolang", share=10),
    Contender("threads", program="threads", share=10),
]


@dataclass(frozen=True)
class Workload:
    name: str
    n: int  # operations
    quick: int  # operations with --quick
    figures: dict[str, str]  # name in the JSON line: heading; the first one is compared first
    directory: str = ""  # if it isn't called like the workload
    args: tuple[str, ...] = ()
    max_runs: int = 100  # at the most, whatever --runs says
    contenders: tuple[str, ...] = ()  # () means everyone who has a program for it
    fixed: bool = False  # the same n for everyone

    @property
    def folder(self) -> str:
        return self.directory or self.name

    def size(self, contender: Contender, quick: bool) -> int:
        n = self.quick if quick else self.n
        return n if self.fixed else n // contender.share


PER_OP = {"ns_per_op": "ns/op"}
PARKED = {"rss_bytes": "RSS bytes each", "start_us": "start µs each", "wake_us": "wake µs each"}
BURST = {
    "rss_mib": "RSS MiB left",
    "tables_mib": "page tables MiB left",
    "peak_mib": "RSS MiB at the peak",
    "trip_ratio": "round trip, times before",
    "full_ratio": "collection, times before",
}
IDLE = {"cpu_percent": "% of a CPU", "dump_ms": "dump ms"}

WORKLOADS = [
    Workload("spawn", 200_000, 20_000, PER_OP),
    Workload("yield", 1_000_000, 50_000, PER_OP),
    Workload("pingpong", 300_000, 20_000, PER_OP),
    Workload(
        "pingpong-main", 300_000, 20_000, PER_OP, "pingpong", ("main",), contenders=("gort", "go", "go1")
    ),
    Workload("prodcons", 1_000_000, 50_000, PER_OP),
    Workload("select", 200_000, 10_000, PER_OP),
    Workload("sieve", 300, 100, {"ns_per_hop": "ns/hop"}, fixed=True),
    Workload("parked", 100_000, 10_000, PARKED),
    Workload(
        "parked-million",
        1_000_000,
        50_000,
        PARKED,
        "parked",
        max_runs=3,
        contenders=("gort", "go", "go1", "runloom", "gevent", "greenlet", "asyncio"),
    ),
    Workload("mutex", 400_000, 20_000, PER_OP),
    Workload("timers", 100_000, 10_000, {"overrun_ms": "overrun ms", "latest_ms": "latest ms"}),
    Workload("blocking", 100, 20, {"total_ms": "total ms", "latest_ms": "worst tick ms late"}, fixed=True),
    Workload("busy", 1000, 300, {"latest_ms": "worst tick ms late"}, fixed=True),
    Workload("writing", 1000, 300, {"latest_ms": "worst tick ms late"}, fixed=True),
    Workload("callers", 100_000, 10_000, PER_OP, contenders=("gort", "go", "go1")),
    Workload("dump", 100_000, 5_000, {"total_ms": "total ms"}, contenders=("gort", "go", "go1")),
    Workload("burst", 1_000_000, 20_000, BURST, max_runs=3, contenders=("gort", "go", "go1")),
    Workload("idle", 9_000, 500, IDLE, max_runs=3, contenders=("gort", "go"), fixed=True),
]


class Results:
    """All runs: a list of the rounds' figures for each workload and contender, None for a failed run."""

    def __init__(self) -> None:
        self.runs: dict[tuple[str, str], list[Figures | None]] = {}

    def add(self, workload: str, contender: str, figures: Figures | None) -> None:
        self.runs.setdefault((workload, contender), []).append(figures)

    def values(self, workload: str, contender: str, figure: str) -> list[float]:
        return [run[figure] for run in self.runs.get((workload, contender), []) if run]

    def ratios(self, workload: str, figure: str, over: str, under: str) -> list[float]:
        """over's figure divided by under's, for each round in which both have one."""
        rounds = zip_longest(self.runs.get((workload, over), []), self.runs.get((workload, under), []))
        return [a[figure] / b[figure] for a, b in rounds if a and b and b[figure]]


@dataclass(frozen=True)
class Verdict:
    measured: float | None  # None if gort failed
    target: float
    passed: bool


@dataclass(frozen=True)
class Target:
    """One acceptance target. `measure` returns None when something it needs did not run."""

    what: str
    workload: str
    unit: str
    limit: float
    at_least: bool
    measure: Callable[[Results], float | None]

    def judge(self, results: Results) -> Verdict | None:
        """None if it cannot be judged here. A workload in which gort failed once has missed its targets."""
        if None in results.runs.get((self.workload, "gort"), []):
            return Verdict(None, self.limit, False)
        measured = self.measure(results)
        if measured is None:
            return None
        passed = measured >= self.limit if self.at_least else measured <= self.limit
        return Verdict(measured, self.limit, passed)


def faster(workload: str, others: list[str], limit: float, figure: str = "ns_per_op") -> Target:
    """gort is at least `limit` times as fast as the fastest of others."""

    def measure(results: Results) -> float | None:
        ratios = [results.ratios(workload, figure, other, "gort") for other in others]
        return min((median(each) for each in ratios if each), default=None)

    return Target(
        f"{workload}: {figure}, times {' or '.join(others)}'s rate", workload, "x", limit, True, measure
    )


def slower(workload: str, others: list[str], limit: float, figure: str = "ns_per_op") -> Target:
    """gort takes at most `limit` times what the fastest of others takes."""

    def measure(results: Results) -> float | None:
        ratios = [results.ratios(workload, figure, "gort", other) for other in others]
        return max((median(each) for each in ratios if each), default=None)

    return Target(
        f"{workload}: {figure}, times {' or '.join(others)}'s", workload, "x", limit, False, measure
    )


def at_most(workload: str, figure: str, limit: float, unit: str) -> Target:
    """gort's own figure, the median of its runs."""

    def measure(results: Results) -> float | None:
        values = results.values(workload, "gort", figure)
        return median(values) if values else None

    return Target(f"{workload}: {WORKLOAD[workload].figures[figure]}", workload, unit, limit, False, measure)


WORKLOAD = {workload.name: workload for workload in WORKLOADS}
GO = ["go", "go1"]

TARGETS = [
    faster("pingpong", ["gevent"], 20),
    faster("pingpong", ["go1"], 1),
    faster("yield", ["gevent"], 8),
    faster("spawn", ["gevent"], 20),
    slower("spawn", ["go1"], 1.5),
    faster("prodcons", ["gevent"], 2),
    slower("prodcons", GO, 2.5),
    # runloom has rows of its own below.
    faster("select", ["asyncio", "uvloop", "pygolang-gevent", "pygolang-threads"], 5),
    faster("select", GO, 1),
    faster("sieve", ["gevent"], 10, "ns_per_hop"),
    slower("sieve", GO, 2, "ns_per_hop"),
    at_most("parked", "rss_bytes", 4800, "bytes"),
    at_most("parked", "start_us", 5, "µs"),
    at_most("parked-million", "rss_bytes", 6000, "bytes"),
    at_most("parked-million", "start_us", 5, "µs"),
    faster("mutex", ["gevent"], 1),
    slower("mutex", GO, 4),
    slower("timers", GO, 1.5, "overrun_ms"),
    slower("timers", ["asyncio"], 0.25, "overrun_ms"),
    slower("blocking", GO, 2, "total_ms"),
    at_most("blocking", "latest_ms", 5, "ms"),
    at_most("busy", "latest_ms", 25, "ms"),
    at_most("writing", "latest_ms", 25, "ms"),
    at_most("callers", "ns_per_op", 2000, "ns"),
    slower("dump", GO, 10, "total_ms"),
    at_most("burst", "rss_mib", 60, "MiB"),
    at_most("burst", "tables_mib", 16, "MiB"),
    at_most("burst", "trip_ratio", 1.2, "x"),
    at_most("burst", "full_ratio", 1.2, "x"),
    at_most("idle", "cpu_percent", 1, "%"),
    at_most("idle", "dump_ms", 50, "ms"),
    *[
        faster(workload.name, ["runloom"], 1, figure)
        for workload in WORKLOADS
        if not workload.contenders or "runloom" in workload.contenders
        for figure in workload.figures
    ],
]


def beside(baseline: Results, workload: str) -> Target:
    """gort's figure beside the one it had on the Python of an earlier run."""

    def measure(results: Results) -> float | None:
        now = results.values(workload, "gort", "ns_per_op")
        then = baseline.values(workload, "gort", "ns_per_op")
        return median(now) / median(then) if now and then else None

    return Target(f"{workload}: ns_per_op, times the baseline's", workload, "x", 3, False, measure)
