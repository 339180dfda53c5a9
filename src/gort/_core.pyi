"""Types of the C core. Private: the public names are re-exported by the packages of gort."""

from collections.abc import Callable, Iterator, Sequence
from types import CodeType, FrameType, GenericAlias
from typing import Any, Final, Generic, NoReturn, ParamSpec, Protocol, Self, TypeVar, final

from _typeshed import structseq
from typing_extensions import disjoint_base

_T = TypeVar("_T")
_K = TypeVar("_K")
_V = TypeVar("_V")
_P = ParamSpec("_P")

# -- errors -----------------------------------------------------------------------------------

class Error(RuntimeError):
    """A run-time error: Go's runtime.Error."""

class Goexit(BaseException):
    """What unwinds a goroutine that called goexit(). Never caught by `except Exception`."""

# -- goroutines (sched/) ------------------------------------------------------------------------

def go(fn: Callable[_P, Any], /, *args: _P.args, **kwargs: _P.kwargs) -> None: ...
def run(fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T: ...
def check_callable(what: str, fn: object, /) -> None:
    """TypeError, beginning with what, if fn cannot be called or if calling it runs nothing."""

def unsignaled(f: Callable[..., _T], /, *args: Any) -> _T:
    """f(*args), which does not park; signal handlers run after it and not within."""

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

def is_main() -> bool:
    """True in the main goroutine."""

@final
class GoroutineInfo(
    structseq[Any], tuple[int, str, str, float, bool, FrameType | None, int, CodeType | None, int]
):
    """One goroutine as it was when goroutines() looked."""

    __match_args__: Final = (
        "goid",
        "status",
        "wait_reason",
        "wait_since",
        "locked",
        "frame",
        "parent",
        "created_code",
        "created_line",
    )
    @property
    def goid(self) -> int: ...
    @property
    def status(self) -> str: ...  # "running", "runnable", "waiting", "syscall"
    @property
    def wait_reason(self) -> str: ...  # "" unless waiting
    @property
    def wait_since(self) -> float: ...  # seconds of the monotonic clock; 0.0 unless waiting
    @property
    def locked(self) -> bool: ...  # locked to its OS thread
    @property
    def frame(self) -> FrameType | None: ...  # innermost Python frame
    @property
    def parent(self) -> int: ...  # number of the goroutine that started it; 0 for main and for threads
    @property
    def created_code(self) -> CodeType | None: ...  # where the go() stands
    @property
    def created_line(self) -> int: ...

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
def die_within(seconds: float, text: bytes, status: int, /) -> None:
    """The process has so long to end by itself; else text is written and it ends with status."""

def dies_in_time() -> None:
    """The limit of die_within() is met: the caller writes its text itself."""

def write_error(text: bytes, /) -> None:
    """Writes to the standard error of the process's start."""

def _walk_start(seconds: float, /) -> None: ...
def _walk_read(address: int, n: int, care: int, /) -> bytes | None: ...
def _walk_line(code: CodeType, lasti: int, care: int, /) -> int: ...
def _walk_pc(code: CodeType, lasti: int, care: int, /) -> int: ...
def _walk_time(times: int, care: int, /) -> tuple[int, int]: ...
def _walk_stop() -> tuple[int, int, list[tuple[str, str, int]]]:
    """(samples, samples dropped, [(function, its caller, times seen)])"""

@final
class ThreadStats(structseq[Any], tuple[int, int, int, int, int]):
    __match_args__: Final = ("threads", "idle", "created", "handoffs", "main_moves")
    @property
    def threads(self) -> int: ...  # Ms that exist
    @property
    def idle(self) -> int: ...  # Ms asleep without work
    @property
    def created(self) -> int: ...  # Ms ever made
    @property
    def handoffs(self) -> int: ...  # Ps taken from a goroutine that was blocked or busy
    @property
    def main_moves(self) -> int: ...  # times the main goroutine ran on a thread other than the main one

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

def report_to_main(yes: object, /) -> None:
    """Exceptions that escape goroutines, and deadlocks, are told to main instead of ending the process."""

def escaped() -> list[BaseException]:
    """The exceptions that escaped goroutines since the last call; only if they are told to main."""

def set_hooks(
    *,
    panic: Callable[[BaseException], int],
    fatal: Callable[[str], None],
    threading: Callable[[], None],
) -> None:
    """Python functions that the core calls.

    panic(exc): an exception escaped the running goroutine; print what there is to print, flush, and
        return the exit status. The core then ends the process with it (os._exit).
    fatal(text): after the core has decided to die with `fatal error: text` (a deadlock, say); prints the
        fatal error line and the goroutines; the core then ends the process with status 2.
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

def collect() -> None:
    """A full collection, after the one that runs."""

def set_gc_percent(percent: int, /) -> int:
    """Returns the previous one; negative: off."""

def set_memory_limit(limit: int, /) -> int:
    """Returns the previous one; negative: changes nothing."""

def set_force_period(seconds: float, most: float, /) -> None:
    """After which time a full collection is forced if it will take no more than `most`; for tests."""

def _collect_forced() -> None: ...
def age_pools(pools: dict[int, Any], phase: str, info: dict[str, Any], /) -> None:
    """For gc.callbacks: a full collection empties the pools, of which there are weak references."""

def forget_pool(pools: dict[int, Any], key: int, reference: Any, /) -> None:
    """The callback of that reference."""

def _gc_callback(phase: str, info: dict[str, Any], /) -> None:
    """The pacer's entry in gc.callbacks."""

def scavenge_all() -> None:
    """Gives the memory of all idle spans and of dead goroutines back to the system."""

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

@final
class Chan(Generic[_T]):
    def __new__(cls, capacity: int = 0) -> Self: ...
    def __class_getitem__(cls, item: Any, /) -> GenericAlias: ...
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

def chan(capacity: int = 0) -> Chan[Any]: ...

@final
class _Default:
    """The type of `default`."""

default: Final[_Default]

def select(*cases: Any) -> tuple[int, Any, bool]: ...

# -- sync (sema.c, mutex.c, rwmutex.c, waitgroup.c) ---------------------------------------------

@final
class Sema:
    """A counting semaphore, first come first served."""

    def __new__(cls, count: int = 0, /) -> Self: ...
    def acquire(self, reason: str = "semacquire", /) -> None:
        """Takes one, parks while there is none. `reason` is one of WAIT_REASONS."""
    def try_acquire(self) -> bool: ...
    def release(self) -> None: ...

@final
class Mutex:
    def __init__(self) -> None: ...
    def lock(self) -> None: ...
    def try_lock(self) -> bool: ...
    def unlock(self) -> None: ...
    def __enter__(self) -> Mutex: ...
    def __exit__(self, *exc: object) -> None: ...

@disjoint_base
class RWMutex:
    def __init__(self) -> None: ...
    def lock(self) -> None: ...
    def try_lock(self) -> bool: ...
    def unlock(self) -> None: ...
    def rlock(self) -> None: ...
    def try_rlock(self) -> bool: ...
    def runlock(self) -> None: ...
    def rlocker(self) -> RLocker: ...
    def __enter__(self) -> RWMutex: ...
    def __exit__(self, *exc: object) -> None: ...

@final
class RLocker:
    """The reader's side of a RWMutex as a Locker."""

    def lock(self) -> None: ...
    def unlock(self) -> None: ...
    def __enter__(self) -> RLocker: ...
    def __exit__(self, *exc: object) -> None: ...

class _Locker(Protocol):
    def lock(self) -> Any: ...
    def unlock(self) -> Any: ...

@disjoint_base
class Cond:
    @property
    def l(self) -> Any: ...  # noqa: E743
    def __new__(cls, locker: _Locker, /) -> Self: ...
    def wait(self) -> None: ...
    def signal(self) -> None: ...
    def broadcast(self) -> None: ...

@disjoint_base
class Once:
    def __init__(self) -> None: ...
    def do(self, f: Callable[[], Any], /) -> None: ...
    def _value(self, f: Callable[[], _T], /) -> _T: ...

@disjoint_base
class Map(Generic[_K, _V]):
    def __init__(self) -> None: ...
    def __class_getitem__(cls, item: Any, /) -> GenericAlias: ...
    def load(self, key: _K, /) -> tuple[_V | None, bool]: ...
    def store(self, key: _K, value: _V, /) -> None: ...
    def load_or_store(self, key: _K, value: _V, /) -> tuple[_V, bool]: ...
    def load_and_delete(self, key: _K, /) -> tuple[_V | None, bool]: ...
    def delete(self, key: _K, /) -> None: ...
    def swap(self, key: _K, value: _V, /) -> tuple[_V | None, bool]: ...
    def compare_and_swap(self, key: _K, old: _V, new: _V, /) -> bool: ...
    def compare_and_delete(self, key: _K, old: _V, /) -> bool: ...
    def clear(self) -> None: ...
    def range(self, f: Callable[[_K, _V], Any], /) -> None: ...
    def items(self) -> Iterator[tuple[_K, _V]]: ...

@final
class WaitGroup:
    _n: Final[int]
    def __init__(self) -> None: ...
    def add(self, delta: int = 1, /) -> None: ...
    def done(self) -> None: ...
    def wait(self) -> None: ...
    def go(self, fn: Callable[_P, Any], /, *args: _P.args, **kwargs: _P.kwargs) -> None: ...
    def _go(
        self,
        fn: Callable[..., Any],
        places: Sema | None,
        failed: Callable[[Exception], None],
        /,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """go(), with a unit of `places` while fn runs, and failed(exc) if an Exception escapes it."""
    def _try_go(
        self,
        fn: Callable[..., Any],
        places: Sema | None,
        failed: Callable[[Exception], None],
        /,
        *args: Any,
        **kwargs: Any,
    ) -> bool: ...

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

@final
class Int32(_Int): ...

@final
class Int64(_Int): ...

@final
class Uint32(_Int): ...

@final
class Uint64(_Int): ...

@final
class Bool:
    def __new__(cls, value: bool = False, /) -> Self: ...
    def load(self) -> bool: ...
    def store(self, value: bool, /) -> None: ...
    def swap(self, new: bool, /) -> bool: ...
    def compare_and_swap(self, old: bool, new: bool, /) -> bool: ...

@final
class Pointer(Generic[_T]):
    def __new__(cls, value: _T | None = None, /) -> Self: ...
    def __class_getitem__(cls, item: Any, /) -> GenericAlias: ...
    def load(self) -> _T | None: ...
    def store(self, value: _T | None, /) -> None: ...
    def swap(self, new: _T | None, /) -> _T | None: ...
    def compare_and_swap(self, old: _T | None, new: _T | None, /) -> bool:
        """Compares by identity."""

# -- time (timer.c) ---------------------------------------------------------------------------

def sleep(seconds: float, /) -> None: ...
def timer_chan(seconds: float, period: float = 0.0, /) -> Chan[float]:
    """The channel of a new timer that runs already. `period` 0.0: it fires once."""

@final
class RuntimeTimer:
    """A timer: it has a channel of its own, `c`, or calls fn in a goroutine; then `c` is None.

    Not started by the constructor: call reset().
    """

    c: Any
    def __new__(cls, *, fn: Callable[[], Any] = ...) -> Self: ...
    def reset(self, seconds: float, period: float = 0.0, /) -> bool:
        """(Re)starts. What was sent and not received is taken back. True if it was active."""
    def stop(self) -> bool:
        """True if it was active: set, and not fired, or what it sent was not received."""

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
