"""What the runs of the heap's bench come to: ratios of paired runs, and the targets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest
from math import exp, log
from statistics import median
from typing import Any, NamedTuple

from catalogue import PROGRAMS

from programs import allocator

Line = dict[str, Any]  # what measure.py printed


class Results:
    """The lines of all rounds, for each part, program and column; None for a run that failed."""

    def __init__(self) -> None:
        self.runs: dict[tuple[str, str, str], list[Line | None]] = {}

    def add(self, part: str, program: str, column: str, line: Line | None) -> None:
        self.runs.setdefault((part, program, column), []).append(line)

    def programs(self, part: str) -> list[str]:
        return list(dict.fromkeys(program for each, program, _ in self.runs if each == part))

    def columns(self, part: str) -> list[str]:
        return list(dict.fromkeys(column for each, _, column in self.runs if each == part))

    def failed(self, part: str, program: str, column: str) -> bool:
        return None in self.runs.get((part, program, column), [])

    def values(self, part: str, program: str, column: str, figure: str) -> list[float]:
        runs = self.runs.get((part, program, column), [])
        return [run[figure] for run in runs if run is not None and figure in run]

    def middle(self, part: str, program: str, column: str, figure: str) -> float | None:
        values = self.values(part, program, column, figure)
        return median(values) if values else None

    def ratios(self, part: str, program: str, figure: str, over: str, under: str) -> list[float]:
        """over's figure divided by under's, for each round in which both have one."""
        rounds = zip_longest(
            self.runs.get((part, program, over), []), self.runs.get((part, program, under), [])
        )
        return [a[figure] / b[figure] for a, b in rounds if a and b and a.get(figure) and b.get(figure)]

    def ratio(self, part: str, program: str, figure: str, over: str, under: str) -> float | None:
        ratios = self.ratios(part, program, figure, over, under)
        return median(ratios) if ratios else None

    def all_ratios(
        self, part: str, figure: str, over: str, under: str, among: Iterable[str] | None = None
    ) -> dict[str, float]:
        """The ratio of each program that has one."""
        chosen = self.programs(part) if among is None else among
        found = {program: self.ratio(part, program, figure, over, under) for program in chosen}
        return {program: ratio for program, ratio in found.items() if ratio is not None}


def geomean(values: Iterable[float]) -> float:
    logs = [log(value) for value in values]
    return exp(sum(logs) / len(logs))


class Verdict(NamedTuple):
    what: str
    measured: float | None  # None: gort failed
    limit: float | None  # None: for information
    detail: str

    @property
    def word(self) -> str:
        if self.measured is None:
            return "FAIL"
        if self.limit is None:
            return "-"
        return "PASS" if self.measured <= self.limit else "FAIL"


@dataclass(frozen=True)
class Judge:
    """The targets for what was measured. `figure` is cpu_s or wall_s. On 3.11 all of them hold; later
    versions of CPython are held to `no program slower`, and other ratios to CPython are for information."""

    results: Results
    figure: str
    strict: bool  # 3.11

    def verdicts(self) -> list[Verdict]:
        verdicts: list[Verdict] = []
        if "gort" in self.results.columns("time"):
            verdicts += self.one("time", "graph", "gort", "cpython", 0.45)
            verdicts += self.mean("time", self.figure, "gort", "cpython", PROGRAMS, 0.85)
            verdicts += self.worst("time", "gort", "cpython", 1.03)
            verdicts += self.one("time", "growth", "gort", "cpython", 1.1)
        if "with" in self.results.columns("allocator"):
            verdicts += self.mean("allocator", self.figure, "with", "without", allocator.PROGRAMS, 0.92)
            verdicts += self.worst("allocator", "with", "without", 1.03)
        heavy = [name for name, program in PROGRAMS.items() if program.heavy]
        for column, limit in (("gort", 1.15), ("gort25", 1.02)):
            if column in self.results.columns("time"):
                for among in (list(PROGRAMS), heavy):
                    verdicts += self.mean("time", "peak_rss", column, "cpython", among, limit)
        return verdicts + self.scattered()

    def limit(self, limit: float) -> float | None:
        return limit if self.strict else None

    def one(self, part: str, program: str, over: str, under: str, limit: float) -> list[Verdict]:
        what = f"{part}: {program}"
        if self.results.failed(part, program, over):
            return [Verdict(what, None, self.limit(limit), "")]
        ratio = self.results.ratio(part, program, self.figure, over, under)
        return [] if ratio is None else [Verdict(what, ratio, self.limit(limit), "")]

    def mean(
        self, part: str, figure: str, over: str, under: str, among: Iterable[str], limit: float
    ) -> list[Verdict]:
        names = list(among)
        ratios = self.results.all_ratios(part, figure, over, under, names)
        subject = f"peak RSS of {over}" if figure == "peak_rss" else part
        which = "heavy programs" if names != list(PROGRAMS) and part == "time" else "programs"
        what = f"{subject}: geometric mean of {which}"
        if any(self.results.failed(part, program, over) for program in names):
            return [Verdict(what, None, self.limit(limit), "")]
        if not ratios:
            return []
        detail = f"{len(ratios)} of {len(names)} programs"
        return [Verdict(what, geomean(ratios.values()), self.limit(limit), detail)]

    def worst(self, part: str, over: str, under: str, limit: float) -> list[Verdict]:
        limit = limit if self.strict else 1.05
        what = f"{part}: slowest program"
        if any(self.results.failed(part, program, over) for program in self.results.programs(part)):
            return [Verdict(what, None, limit, "")]
        ratios = self.results.all_ratios(part, self.figure, over, under)
        if not ratios:
            return []
        slowest = sorted(ratios, key=lambda program: -ratios[program])
        above = [program for program in slowest if ratios[program] > limit]
        return [Verdict(what, ratios[slowest[0]], limit, ", ".join(above or slowest[:1]))]

    def scattered(self) -> list[Verdict]:
        what = "scattered: RSS after idling"
        unreleased = "scattered: idle and not released, of the peak heap"
        if self.results.failed("idle", "scattered", "gort"):
            return [Verdict(what, None, 1, ""), Verdict(unreleased, None, 0.1, "")]
        verdicts = []
        ratio = self.results.ratio("idle", "scattered", "idle_rss", "gort", "cpython")
        if ratio is not None:
            verdicts.append(Verdict(what, ratio, 1, ""))
        kept = self.results.middle("idle", "scattered", "gort", "heap_unreleased")
        peak = self.results.middle("idle", "scattered", "gort", "peak_heap")
        if kept is not None and peak:
            verdicts.append(Verdict(unreleased, kept / peak, 0.1, ""))
        return verdicts
