"""What a PC means: Go's Func, Frame and Frames.

A PC is an int in a text segment that exists only in name (src/_core/stacks/pc.c): every code object that has
appeared in a PC owns a range of it as long as it lives, and no other code object ever gets that range.
"""

from collections.abc import Iterable, Iterator
from types import CodeType
from typing import NamedTuple

from . import _core


class Caller(NamedTuple):
    """What runtime.caller() returns."""

    pc: int
    """The return PC of the call; 0 if not ok."""
    file: str
    """The file as the code was compiled with; "" if not ok."""
    line: int
    """The line of the call; 0 if not ok."""
    ok: bool
    """False if the stack is not that deep."""


def _name(code: CodeType, module: str | None) -> str:
    return f"{module or '?'}.{code.co_qualname}"


class Func:
    """A function of the running program: Go's runtime.Func. func_for_pc() and Frame.func give it."""

    __slots__ = ("_code", "_entry", "_module")

    def __init__(self, entry: int, code: CodeType, module: str | None) -> None:
        self._entry = entry
        self._code = code
        self._module = module

    def name(self) -> str:
        """The module-qualified name, such as `pkg.mod.Class.method`: Go's Func.Name."""
        return _name(self._code, self._module)

    def entry(self) -> int:
        """The first PC of the function: Go's Func.Entry."""
        return self._entry

    def file_line(self, pc: int) -> tuple[str, int]:
        """The file, and the line of the instruction at pc: Go's Func.FileLine.

        A PC from callers() is where the call returns to; subtract 1 for the line of the call itself. The line
        is 0 if pc does not belong to the function. Raises TypeError if pc is not an int.
        """
        found = _core.findfunc(pc)
        line = _core.pc_line(pc) if found is not None and found[0] == self._entry else 0
        return self._code.co_filename, line

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Func) and other._entry == self._entry

    def __hash__(self) -> int:
        return hash(self._entry)

    def __repr__(self) -> str:
        return f"<Func {self.name()} at {self._entry:#x}>"


class Frame(NamedTuple):
    """A call on a stack: Go's runtime.Frame."""

    pc: int
    """A PC inside the instruction that makes the call; 0 in the Frame that ends a Frames."""
    func: Func | None
    """The function; None in the Frame that ends a Frames."""
    function: str
    """The function's module-qualified name."""
    file: str
    """The file as the code was compiled with."""
    line: int
    """The line of the call."""
    entry: int
    """The function's first PC."""


_NO_FRAME = Frame(0, None, "", "", 0, 0)


def _frame(pc: int) -> Frame | None:
    """The frame of a return PC; None if no code owns the PC."""
    found = _core.findfunc(pc)
    if found is None:
        return None
    entry, code, module = found
    if pc > entry:
        pc -= 1
    return Frame(
        pc, Func(entry, code, module), _name(code, module), code.co_filename, _core.pc_line(pc), entry
    )


class Frames:
    """Turns the return PCs of callers() into Frames: Go's runtime.Frames.

    It is an iterator, and also works as in Go: next() returns a Frame and whether there are more. PCs that
    belong to no code, or to code that no longer exists, are left out.
    """

    def __init__(self, pcs: Iterable[int]) -> None:
        self._frames: Iterator[Frame] = filter(None, map(_frame, pcs))
        self._ahead: Frame | None = next(self._frames, None)

    def next(self) -> tuple[Frame, bool]:
        """The next Frame, and whether there are more after it: Go's Frames.Next.

        After the last one it returns a Frame of zeroes whose func is None, and False.
        """
        frame, more = self._ahead, False
        if frame is not None:
            self._ahead = next(self._frames, None)
            more = self._ahead is not None
        return frame or _NO_FRAME, more

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        if self._ahead is None:
            raise StopIteration
        return self.next()[0]


def callers_frames(callers: Iterable[int], /) -> Frames:
    """The Frames of the return PCs that callers() returned: Go's runtime.CallersFrames.

    Comprehensions that the compiler inlined are lines of the function that encloses them. The call, or a
    later step of the iteration, raises TypeError for a PC that is not an int.
    """
    return Frames(callers)


def func_for_pc(pc: int, /) -> Func | None:
    """The function that owns a PC: Go's runtime.FuncForPC.

    None if no code owns it, or if that code no longer exists. Raises TypeError if pc is not an int.
    """
    found = _core.findfunc(pc)
    return None if found is None else Func(*found)
