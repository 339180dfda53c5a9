"""Types of the C core. Private: the public names are re-exported by the packages of gort."""

from collections.abc import Callable, Iterator, Sequence
from types import CodeType, FrameType
from typing import Any, Final, Generic, NamedTuple, NoReturn, ParamSpec, TypeVar, overload

_T = TypeVar("_T")
_P = ParamSpec("_P")

# -- errors -----------------------------------------------------------------------------------

class Error(RuntimeError):
    """A run-time error: Go's runtime.Error."""

class Goexit(BaseException):
    """What unwinds a goroutine that called goexit(). Never caught by `except Exception`."""

# -- goroutines (g.c, sched.c) ----------------------------------------------------------------

def go(fn: Callable[_P, Any], /, *args: _P.args, **kwargs: _P.kwargs) -> None: ...
def gosched() -> None: ...
def goexit() -> NoReturn: ...
def gomaxprocs(n: int = 0, /) -> int: ...
def num_goroutine() -> int: ...
def lock_os_thread() -> None: ...
def unlock_os_thread() -> None: ...
def keep_alive(x: object, /) -> None: ...
def goid() -> int:
    """The running goroutine's number; 0 in a thread that is no goroutine."""

def compile(source: str | bytes, filename: str, /) -> CodeType:
    """The code of a program: a str, or bytes with an encoding as in a file. ValueError: it holds a null."""

def import_owner() -> int:
    """Who imports, for locks: the running goroutine, which may run on several threads, or the thread."""

def is_main() -> bool:
    """True in the main goroutine."""

class GoroutineInfo(NamedTuple):
    """One goroutine as it was when goroutines() looked."""

    goid: int
    status: str  # "running", "runnable", "waiting", "syscall"
    wait_reason: str  # "" unless waiting
    wait_since: float  # seconds of the monotonic clock; 0.0 unless waiting
    locked: bool  # locked to its OS thread
    frame: FrameType | None  # innermost Python frame
    parent: int  # number of the goroutine that started it; 0 for main and for threads
    created_code: CodeType | None  # where the go() stands
    created_line: int

def goroutines() -> list[GoroutineInfo]: ...

# -- stacks (pc.c, traceback.c) ----------------------------------------------------------------

def callers(skip: int, limit: int | None, /) -> list[int]: ...
def findfunc(pc: int, /) -> tuple[int, CodeType, str | None] | None:
    """(entry, code, module) of what owns pc."""

def pc_line(pc: int, /) -> int: ...
def entry_of(code: CodeType, /) -> int: ...
def traceback(all: bool, *, calls: Sequence[tuple[FrameType, int]] | None = None) -> str: ...
def set_traceback(*, level: int, all: bool, crash: bool, ancestors: int, prefix: str) -> None: ...
def crash() -> NoReturn: ...
def start_panic() -> None: ...
def _walk_start(seconds: float, /) -> None: ...
def _walk_stop() -> tuple[int, int, list[tuple[str, str, int]]]:
    """(samples, samples dropped, [(function, its caller, times seen)])"""

class ThreadStats(NamedTuple):
    threads: int  # Ms that exist
    idle: int  # Ms asleep without work
    created: int  # Ms ever made
    handoffs: int  # Ps taken from a goroutine that was blocked or busy
    main_moves: int  # times the main goroutine ran on a thread other than the main one

def thread_stats() -> ThreadStats: ...
def set_max_threads(n: int, /) -> int: ...
def set_max_stack(n: int, /) -> int: ...
def configure(
    *,
    gomaxprocs: int = 0,
    schedtrace: int = 0,
    scheddetail: int = 0,
) -> None:
    """Hands the parsed environment to the core; once, while gort is imported."""

def set_hooks(
    *,
    panic: Callable[[BaseException, int], int],
    fatal: Callable[[str], None],
    start: Callable[[], None],
    threading: Callable[[], None],
) -> None:
    """Python functions that the core calls.

    panic(exc, goid): an exception escaped goroutine goid; print what there is to print, flush, and
        return the exit status. The core then ends the process with it (os._exit).
    fatal(text): after the core has decided to die with `fatal error: text` (a deadlock, say); prints the
        fatal error line and the goroutines; the core then ends the process with status 2.
    start(): called in a new goroutine before its function, only while threading has trace or profile hooks.
    threading(): called when the first goroutine starts, before it; loads the module threading.
    """

def main_ends() -> None:
    """Main has returned and no thread is left to join: from now on goroutines run only while main waits."""

def shutdown() -> None:
    """Stops scheduling for good: the interpreter is about to end. Called by atexit."""

def main_goexit() -> None:
    """Called where Goexit has unwound all of main: parks main for ever; returns only by an exception."""

def _before_fork() -> None: ...
def _after_fork_parent() -> None: ...
def _after_fork_child() -> None: ...

# -- the heap (pymem.c, mcache.c, mcentral.c, mheap.c, mgc.c, mgcscavenge.c, mstats.c, and the debug modes:
# memdebug.c, efence.c, sbrk.c) -------------------------------------------------------------------

def install_heap(
    *, allocfreetrace: bool = False, clobberfree: bool = False, efence: bool = False, sbrk: bool = False
) -> str | None:
    """CPython's objects come from gort's heap from now on, in these debug modes.

    The result is None, or why not. Later calls change nothing.
    """

def begin_tracing() -> None:
    """The program begins: from now on allocfreetrace, if it is on, writes its records."""

def mem_stats() -> dict[str, Any] | None:
    """The heap's figures by their names in MemStats, and `classes`: (size, mallocs, frees) of each."""

def start_gc(percent: int, memory_limit: int, debug: tuple[int, ...], /) -> None:
    """The pacer rules CPython's collector from now on, if the heap is installed.

    debug: (gctrace, gcpacertrace, gcstoptheworld, gccheckmark, invalidptr, gcshrinkstackoff).
    """

def set_gc_percent(percent: int, /) -> int:
    """Returns the previous one; negative: off."""

def set_memory_limit(limit: int, /) -> int:
    """Returns the previous one; negative: changes nothing."""

def set_force_period(seconds: float, most: float, /) -> None:
    """After which time a full collection is forced if it will take no more than `most`; for tests."""

def _collect_forced() -> None: ...
def _gc_callback(phase: str, info: dict[str, Any], /) -> None:
    """The pacer's entry in gc.callbacks."""

def scavenge_all() -> None:
    """Gives the memory of all idle spans back to the system."""

def set_scavenger(debug: bool, lazily: bool, /) -> None:
    """debug: everything idle goes every 10 ms. lazily: by MADV_FREE."""

def write_heap_dump(fd: int, arch: str, python: str, ncpu: int, /) -> None:
    """Writes the heap to a file, with these parameters."""

def _check_heap() -> None:
    """Walks the whole heap; what does not fit is fatal."""

def _trace_gc() -> None:
    """What allocfreetrace writes after a collection."""

def _without_guard_markers() -> None:
    """From now on each guard page is a mapping of its own, as on kernels before 6.13."""

# -- finalizers (mfinal.c) ----------------------------------------------------------------------

def set_finalizer(obj: object, fn: Callable[[Any], Any] | None, /) -> bool:
    """Sets obj's finalizer; None clears it. False: it has one already, and nothing was done."""

def can_carry_finalizer(obj: object, /) -> bool:
    """Does CPython ask before it frees obj?"""

def run_finalizers() -> None:
    """What the finalizer goroutine does; returns only in the child of a finalizer that forked."""

def set_finalizer_loop(fn: Callable[[], None], /) -> None:
    """fn() calls run_finalizers(): the finalizer goroutine's function."""

# -- channels (chan.c, select.c) --------------------------------------------------------------

class Chan(Generic[_T]):
    def __init__(self, capacity: int = 0, /) -> None: ...
    def send(self, value: _T, /) -> None: ...
    def recv(self) -> _T | None: ...
    def recv_ok(self) -> tuple[_T | None, bool]: ...
    def close(self) -> None: ...
    @property
    def cap(self) -> int: ...
    def __len__(self) -> int: ...
    def __bool__(self) -> bool: ...
    def __iter__(self) -> Iterator[_T]: ...
    def __next__(self) -> _T: ...

def chan(capacity: int = 0, /) -> Chan[Any]: ...

class _Default:
    """The type of `default`."""

default: Final[_Default]

def select(*cases: Any) -> tuple[int, Any, bool]: ...

# -- sync (sema.c, sync.c) --------------------------------------------------------------------

class Sema:
    """A counting semaphore, first come first served: the base of what sync builds in Python."""

    def __init__(self, count: int = 0, /) -> None: ...
    def acquire(self, reason: str = "semacquire", /) -> None:
        """Takes one, parks while there is none. `reason` is one of WAIT_REASONS."""
    def try_acquire(self) -> bool: ...
    def release(self) -> None: ...

class Mutex:
    def __init__(self) -> None: ...
    def lock(self) -> None: ...
    def try_lock(self) -> bool: ...
    def unlock(self) -> None: ...
    def __enter__(self) -> Mutex: ...
    def __exit__(self, *exc: object) -> None: ...

class RWMutex:
    def __init__(self) -> None: ...
    def lock(self) -> None: ...
    def try_lock(self) -> bool: ...
    def unlock(self) -> None: ...
    def rlock(self) -> None: ...
    def try_rlock(self) -> bool: ...
    def runlock(self) -> None: ...
    def __enter__(self) -> RWMutex: ...
    def __exit__(self, *exc: object) -> None: ...

class WaitGroup:
    def __init__(self) -> None: ...
    def add(self, delta: int = 1, /) -> None: ...
    def done(self) -> None: ...
    def wait(self) -> None: ...
    def go(self, fn: Callable[_P, Any], /, *args: _P.args, **kwargs: _P.kwargs) -> None: ...

WAIT_REASONS: Final[tuple[str, ...]]

# -- atomic (atomic.c) ------------------------------------------------------------------------

class _Int:
    def __init__(self, value: int = 0, /) -> None: ...
    def load(self) -> int: ...
    def store(self, value: int, /) -> None: ...
    def add(self, delta: int, /) -> int: ...
    def swap(self, new: int, /) -> int: ...
    def compare_and_swap(self, old: int, new: int, /) -> bool: ...
    def and_(self, mask: int, /) -> int: ...
    def or_(self, mask: int, /) -> int: ...

class Int32(_Int): ...
class Int64(_Int): ...
class Uint32(_Int): ...
class Uint64(_Int): ...

class Bool:
    def __init__(self, value: bool = False, /) -> None: ...
    def load(self) -> bool: ...
    def store(self, value: bool, /) -> None: ...
    def swap(self, new: bool, /) -> bool: ...
    def compare_and_swap(self, old: bool, new: bool, /) -> bool: ...

class Pointer(Generic[_T]):
    def __init__(self, value: _T | None = None, /) -> None: ...
    def load(self) -> _T | None: ...
    def store(self, value: _T | None, /) -> None: ...
    def swap(self, new: _T | None, /) -> _T | None: ...
    def compare_and_swap(self, old: _T | None, new: _T | None, /) -> bool:
        """Compares by identity."""

# -- time (timer.c) ---------------------------------------------------------------------------

def sleep(seconds: float, /) -> None: ...

class RuntimeTimer:
    """One entry of the timer heap. `period` 0.0: fires once.

    With `chan` the Unix time (float) is sent without blocking when it fires; with `fn` a goroutine is
    started that calls it. Not started by the constructor: call reset().
    """

    @overload
    def __init__(self, *, chan: Chan[float], period: float = 0.0) -> None: ...
    @overload
    def __init__(self, *, fn: Callable[[], Any], period: float = 0.0) -> None: ...
    def reset(self, seconds: float, period: float = 0.0, /) -> bool:
        """(Re)starts. A value of an earlier start not yet received is taken back. True if it was active."""
    def stop(self) -> bool:
        """True if this call stopped it before it fired. A value not yet received is taken back."""

# -- calls into C (cgo.c, cgo_check.c) ----------------------------------------------------------

def cgo_call(fn: Any, /, *args: Any, **kwargs: Any) -> Any: ...
def cgo_callback(fn: Callable[..., Any], /, *args: Any) -> Any:
    """fn(*args), on behalf of C code: with the calls of the context function around it."""

def cgo_is_function(value: object, /) -> bool:
    """True for what cgo_call takes: functions of ctypes, functions and data of cffi."""

def num_cgo_call() -> int: ...
def cgo_set_traceback(traceback: int, context: int, symbolizer: int, /) -> None:
    """Sets the functions at these addresses. Error: others are set already."""

def cgo_enable_traceback(libdw: str, /) -> bool:
    """Sets gort's own. `libdw` is the name of elfutils' library; True if it could be loaded."""

def cgo_find_glue() -> None:
    """Looks again which loaded objects belong to the interpreter, ctypes and cffi."""

def cgo_frames_text(nth: int, /) -> str:
    """The C frames that made the caller's nth callback, 0 the latest; -1: those of here."""

def cgo_pcs(nth: int, /) -> list[int]:
    """The PCs of the C frames that made the caller's nth callback, 0 the latest."""

def cgo_symbolize(pcs: Sequence[int], /) -> list[tuple[int, str | None, str | None, int]]:
    """(pc, function, file, line) for each function at each PC, inlined ones first; line 0: not known.

    One traceback for the symbolizer: it is called with PC 0 at the end.
    """

def cgo_holds_objects(regions: list[Any], /) -> bool:
    """Does an aligned word of memory refer to a Python object? A region is (address, size) or a buffer."""

def cgo_word(address: int, /) -> int:
    """The word at an address; 0 if it cannot be read."""

def cgo_configure(
    *,
    callback: CodeType,
    check: Callable[[Any, int], None],
    check_level: int,
    pointer_free: set[type],
) -> None:
    """What gort.cgo has for the core; once, while it is imported.

    callback: the code of the function through which C calls Python.
    check(argument, nth): raises if the nth argument leads to a pointer to a Python object.
    pointer_free: types whose values need no check at check_level 1.
    """

# -- build ------------------------------------------------------------------------------------

DEBUG: Final[int]  # the debug level of this build, 0 to 3
GOARCH: Final[str]
GOOS: Final[str]
