"""One-way constraints, kept by an incremental planner: the strongest way to satisfy each is chosen, what
has to be executed is put in order, and the plan is run for many inputs."""

from __future__ import annotations

from abc import ABC, abstractmethod

N = 800  # variables of a chain; the work grows with its square

REQUIRED, STRONG, NORMAL, WEAK = range(4)


class Variable:
    def __init__(self, name: str, value: int) -> None:
        self.name = name
        self.value = value
        self.uses: list[Constraint] = []
        self.set_by: Constraint | None = None
        self.strength = WEAK + 1  # of what sets it; nothing does
        self.mark = 0


class Constraint(ABC):
    """Has its output computed from its inputs; subclasses say how."""

    def __init__(self, strength: int, output: Variable, *inputs: Variable) -> None:
        self.strength = strength
        self.output = output
        self.inputs = inputs
        for variable in (output, *inputs):
            variable.uses.append(self)

    @abstractmethod
    def execute(self) -> None:
        """Sets the output."""


class Same(Constraint):
    def execute(self) -> None:
        self.output.value = self.inputs[0].value


class Scaled(Constraint):
    def execute(self) -> None:
        source, factor, offset = self.inputs
        self.output.value = source.value * factor.value % 1_000_003 + offset.value


class Edit(Constraint):
    """The outside sets the variable."""

    def execute(self) -> None:
        pass


class Planner:
    def __init__(self) -> None:
        self.mark = 0

    def add(self, constraint: Constraint) -> bool:
        """Satisfies it, if its output is not set by a stronger one; who is displaced is given up."""
        output = constraint.output
        if constraint.strength >= output.strength:
            return False
        output.set_by = constraint
        output.strength = constraint.strength
        return True

    def remove(self, constraint: Constraint) -> None:
        """The strongest one of those that are left takes the output over."""
        output = constraint.output
        for variable in (output, *constraint.inputs):
            variable.uses.remove(constraint)
        if output.set_by is not constraint:
            return
        output.set_by, output.strength = None, WEAK + 1
        for other in sorted((c for c in output.uses if c.output is output), key=lambda c: c.strength):
            if self.add(other):
                return

    def plan(self, start: Variable) -> list[Constraint]:
        """What has to be executed, in order, when `start` changes."""
        self.mark += 1
        start.mark = self.mark
        steps: list[Constraint] = []
        pending = [start]
        while pending:
            variable = pending.pop()
            for constraint in variable.uses:
                output = constraint.output
                if output.set_by is constraint and output is not variable and output.mark != self.mark:
                    output.mark = self.mark
                    steps.append(constraint)
                    pending.append(output)
        return steps


def chain(n: int, planner: Planner) -> int:
    """A value runs through n variables, for n inputs."""
    variables = [Variable(f"v{i}", i) for i in range(n + 1)]
    for left, right in zip(variables, variables[1:], strict=False):
        planner.add(Same(NORMAL, right, left))
    total = 0
    for value in range(n):
        edit = Edit(STRONG, variables[0])
        planner.add(edit)
        steps = planner.plan(variables[0])
        for again in range(4):
            variables[0].value = value * again
            for step in steps:
                step.execute()
            total += variables[-1].value
        planner.remove(edit)
    return total


def projection(n: int, planner: Planner) -> int:
    """n variables depend on one source, one factor and one offset each."""
    factor, offset = Variable("factor", 10), Variable("offset", 1000)
    sources = [Variable(f"s{i}", i) for i in range(n)]
    results = [Variable(f"r{i}", 0) for i in range(n)]
    for source, result in zip(sources, results, strict=True):
        planner.add(Scaled(REQUIRED, result, source, factor, offset))
    for value in range(n):
        for changed in (factor, offset, sources[value]):
            changed.value += value
            for step in planner.plan(changed):
                step.execute()
    return sum(result.value for result in results)


def run(n: int) -> int:
    planner = Planner()
    return chain(n, planner) + projection(n, planner)
