"""What type checkers must refuse of gort's API. make lint has mypy and pyright check it; nothing runs it.

Each line names the errors that are expected; one that does not come is an error itself. (pyright does not
look at what is assigned to a name of a module.)
"""

import gort
from gort import runtime, sync, time
from gort.runtime import debug
from gort.sync import atomic


def add(a: int, b: int = 0) -> int:
    return a + b


def no_such_names() -> None:
    runtime.num_goroutin()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    runtime.NumGoroutin()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    runtime.Num_goroutine()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    debug.SetMaxThread(1)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    gort.Select()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


def not_built_yet() -> None:
    runtime.BlockProfile()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    runtime.start_trace()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


def arguments() -> None:
    gort.go(add, "1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    gort.go(add)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    gort.go(add, 1, c=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    gort.Chan[int]("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    runtime.NumGoroutine(1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    runtime.GOMAXPROCS("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    debug.SetTraceback(2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    time.sleep("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    atomic.Int32("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    sync.Cond(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def values(words: gort.Chan[str], config: sync.Map[str, int]) -> None:
    words.send(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    words.cap = 2  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    config.store("a", "b")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    runtime.MemProfileRate = "1"  # type: ignore[assignment]


class Channel(gort.Chan[int]): ...  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
