"""Types of the C core. Private: the public names are re-exported by the packages of gort.

Functions that begin with an underscore and are called by nobody here are for the tests: the core has them if
meson's option `tests` was on when it was built.
"""

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
    """The exception that unwinds a goroutine that called goexit(). `except Exception` does not catch it."""

# -- goroutines (sched/) ------------------------------------------------------------------------

def go(fn: Callable[_P, Any], /, *args: _P.args, **kwargs: _P.kwargs) -> None: ...
def run(fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T: ...
def check_callable(what: str, fn: object, /) -> None:
    """Raises TypeError, with a text that begins with what, if fn cannot be called."""

def check_runs(what: str, fn: object, /) -> None:
    """check_callable(), and the same if calling fn runs nothing: it is a coroutine or generator function."""

def unsignaled(f: Callable[..., _T], /, *args: Any) -> _T:
    """Returns f(*args). f must not park; signal handlers run after it, not within it."""

def gosched() -> None: ...
def goexit() -> NoReturn: ...
def gomaxprocs(n: int = 0, /) -> int: ...
def num_goroutine() -> int: ...
def lock_os_thread() -> None: ...
def unlock_os_thread() -> None: ...
def keep_alive(x: object, /) -> None: ...
def goid() -> int:
    """The running goroutine's number; 0 in a plain thread."""

def compile(source: str | bytes, filename: str, /) -> CodeType:
    """The code of a program: a str, or bytes as they are in a file. ValueError if it contains a null byte."""

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

# -- stacks (pc.c, traceback.c, runtimefile.c) --------------------------------------------------

def callers(skip: int, limit: int | None, /) -> list[int]: ...
def findfunc(pc: int, /) -> tuple[int, CodeType, str | None] | None:
    """(entry, code, name of the module or None) of what owns pc; None if nothing does."""

def pc_line(pc: int, /) -> int: ...
def _entry_of(code: CodeType, /) -> int: ...
def traceback(all: bool, *, calls: Sequence[tuple[FrameType, int]] | None = None) -> str: ...
def newest() -> int:
    """The number of the goroutine that was started last."""

def started_since(goid: int, stacks: bool, /) -> list[tuple[int, int, str]]:
    """The goroutines with larger numbers that have not ended: (number, its creator's, stack as text) each.

    The texts are empty unless `stacks` is true.
    """

def set_traceback(*, level: int, all: bool, crash: bool, ancestors: int) -> None: ...
def set_runtime_files(folder: str, launcher: str, /) -> None:
    """Sets the folder of gort's own files, with a slash at the end, and which of them launches programs.

    Called while gort is imported; later calls change nothing.
    """

def is_runtime_file(filename: str, /) -> bool:
    """True for files whose frames are the runtime's, not the program's."""

def is_launcher_file(filename: str, /) -> bool:
    """True for the file of `gort run`: frames below its own are not the program's either."""

def crash() -> NoReturn: ...
def start_panic() -> None: ...
def die_within(seconds: float, text: bytes, status: int, /) -> None:
    """If the process has not ended after this time, writes text and ends it with status."""

def dies_in_time() -> None:
    """The time limit of die_within() is kept: the caller writes the text itself."""

def begin_panic() -> None:
    """This goroutine ends the process by a panic; waits for ever if another one does."""

def begin_exit() -> None:
    """This goroutine ends the process in an orderly way; waits for ever if another one does."""

def await_panic() -> None:
    """Waits for ever if another goroutine panics, or the runtime dies."""

def write_error(text: bytes, /) -> None:
    """Writes to what was standard error when the process started."""

def fatal_to(fd: int, /) -> None:
    """This file was standard error when the process started: it gets what says why the process ends."""

def _walk_start(seconds: float, /) -> None: ...
def _walk_read(address: int, n: int, care: int, /) -> bytes | None: ...
def _walk_line(code: CodeType, lasti: int, care: int, /) -> int: ...
def _walk_pc(code: CodeType, lasti: int, care: int, /) -> int: ...
def _walk_time(times: int, care: int, /) -> tuple[int, int]: ...
def _walk_stop() -> tuple[int, int, list[tuple[str, str, int]]]:
    """(samples, samples dropped, [(function, its caller, times seen)])"""

@final
class _ThreadStats(structseq[Any], tuple[int, int, int, int, int]):
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

def _thread_stats() -> _ThreadStats: ...
def set_max_threads(n: int, /) -> int: ...
def set_max_stack(n: int, /) -> int: ...
def configure(
    *,
    gomaxprocs: int = 0,
    schedtrace: int = 0,
    scheddetail: int = 0,
) -> None:
    """Hands the parsed environment to the core; called once, while gort is imported."""

def report_to_main(yes: object, /) -> None:
    """Exceptions that escape goroutines, and deadlocks, are raised in main instead of ending the process."""

def escaped() -> list[BaseException]:
    """The exceptions that have escaped goroutines since the last call; empty unless main is told of them."""

def set_session(
    *,
    takes: Callable[[BaseException], None],
    asleep: Callable[[], bool],
    dead: Callable[[], BaseException],
    prompts: int,
) -> None:
    """Sets the functions that are called in sessions, and whether a prompt is one.

    takes(exc): an exception escaped the running goroutine, at a prompt; it prints what there is to print.
    asleep(): main waits, and all goroutines sleep. It calls set_own(); False: a deadlock cannot be told.
    dead(): what main's wait raises in a deadlock.
    prompts: 0, prompts are nothing special; 1, there is one if sys.ps1 exists; 2, there is one.
    """

def at_prompt() -> bool:
    """True if somebody sits at a prompt in this process."""

def set_session_name(text: str, /) -> None:
    """What the session runs now, a line: shown if the process dies."""

def session_name() -> str:
    """What set_session_name() has set; empty if nothing is known."""

def threads() -> list[tuple[int, int]]:
    """The identifier and the native identifier of each thread with a thread state that runs no goroutines."""

def set_own(tids: list[int], signals: int, /) -> None:
    """Says which threads of a session wake no goroutine, and which signals: bit N-1 for signal N."""

def set_hooks(
    *,
    panic: Callable[[BaseException], int],
    fatal: Callable[[str], None],
    threading: Callable[[], bool],
    debugger: Callable[[], None],
) -> None:
    """Sets the Python functions that the core calls.

    panic(exc): an exception escaped the running goroutine. It prints what there is to print, flushes, and
        returns the exit status, with which the core then ends the process (os._exit).
    fatal(text): the core has decided to die with `fatal error: text`, of a deadlock for example. It prints
        the fatal error line and the goroutines; the core then ends the process with status 2.
    threading(): the first goroutine is about to start. It loads the module threading; False: it could not,
        and the next goroutine calls it again.
    debugger(): a goroutine begins, and a debugger gets at new threads by a function of its own that starts
        them. It has the goroutine debugged, too.
    """

def main_ends() -> None:
    """Main has returned and no thread is left to join: from now on goroutines run only while main waits."""

def shutdown() -> None:
    """Stops scheduling for good, as the interpreter is about to end. Called by atexit."""

def main_goexit() -> None:
    """Called where Goexit has unwound all of main: parks main for ever; ends only by an exception."""

def _before_fork() -> None: ...
def _after_fork_parent() -> None: ...
def _after_fork_child() -> None: ...

# -- the heap (pymem.c, mcache.c, mcentral.c, mheap.c, mgc.c, mgcscavenge.c, mstats.c, memstats.c, heapdump.c,
# heapcheck.c, and the debug modes: memdebug.c, efence.c, sbrk.c) --------------------------------

def install_heap(
    *, allocfreetrace: bool = False, clobberfree: bool = False, efence: bool = False, sbrk: bool = False
) -> str | None:
    """CPython's objects come from gort's heap from now on, in these debug modes.

    Returns None, or why they do not. Later calls change nothing.
    """

def begin_tracing() -> None:
    """The program begins: from now on allocfreetrace, if it is on, writes records."""

def mem_stats() -> dict[str, Any] | None:
    """The heap's figures by their names in MemStats, and `classes`, with (size, mallocs, frees) of each.

    None if the heap is not installed.
    """

def mem_stats_dumped() -> list[tuple[str, int]]:
    """The figures that a heap dump has, in its order: name, and how many numbers it is."""

def start_gc(
    percent: int,
    memory_limit: int,
    /,
    *,
    gctrace: int = 0,
    gcpacertrace: int = 0,
    gcstoptheworld: int = 0,
    gccheckmark: int = 0,
    invalidptr: int = 1,
    gcshrinkstackoff: int = 0,
) -> None:
    """Puts CPython's collector under the pacer, if the heap is installed."""

def collect() -> None:
    """Runs a full collection; waits first for one that runs in another goroutine."""

def set_gc_percent(percent: int, /) -> int:
    """Sets GOGC and returns the previous value; negative: off."""

def set_memory_limit(limit: int, /) -> int:
    """Sets the limit, unless it is negative; returns the previous one."""

def _set_force_period(seconds: float, most: float, /) -> None:
    """Sets after which time a full collection is forced if it takes `most` seconds at most."""

def _collect_forced() -> None: ...
def age_pools(pools: dict[int, Any], phase: str, info: dict[str, Any], /) -> None:
    """For gc.callbacks: a full collection empties the pools, given as weak references."""

def forget_pool(pools: dict[int, Any], key: int, reference: Any, /) -> None:
    """The callback of these weak references."""

def _gc_callback(phase: str, info: dict[str, Any], /) -> None:
    """The only entry of the list that the collector has in place of gc.callbacks."""

def scavenge_all() -> None:
    """Gives the memory of all idle spans and of dead goroutines back to the system."""

def set_scavenger(debug: bool, lazily: bool, /) -> None:
    """Sets how memory is given back. debug: everything idle, every 10 ms. lazily: by MADV_FREE."""

def write_heap_dump(fd: int, arch: str, python: str, ncpu: int, /) -> None:
    """Writes the heap to a file descriptor, with these parameters."""

def _check_heap() -> None:
    """Walks the whole heap; an inconsistency is fatal."""

def _trace_gc() -> None:
    """Writes what allocfreetrace writes after a collection."""

def _without_guard_markers() -> None:
    """From now on, each guard page is a mapping of its own, as on kernels before 6.13."""

# -- finalizers (mfinal.c) ----------------------------------------------------------------------

def set_finalizer(obj: object, fn: Callable[[Any], Any] | None, /) -> bool:
    """Sets obj's finalizer; None clears it. False if it already has one; then nothing is done."""

def can_carry_finalizer(obj: object, /) -> bool:
    """True if CPython asks before it frees obj."""

def run_finalizers() -> None:
    """Runs the finalizers, in their goroutine; returns only in the child of a finalizer that forked."""

def set_finalizer_loop(fn: Callable[[], None], /) -> None:
    """Sets the finalizer goroutine's function, which calls run_finalizers()."""

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
    """A counting semaphore; units are handed out in order of arrival."""

    def __new__(cls, count: int = 0, /) -> Self: ...
    def acquire(self) -> None:
        """Takes one unit; parks while there is none."""

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
    """The reading side of an RWMutex as a Locker: what RWMutex.rlocker() returns."""

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
        """go(), with a unit of `places` while fn runs. Calls failed(exc) for an Exception that escapes fn."""
    def _try_go(
        self,
        fn: Callable[..., Any],
        places: Sema | None,
        failed: Callable[[Exception], None],
        /,
        *args: Any,
        **kwargs: Any,
    ) -> bool: ...

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
    """The channel of a new timer that has been started. With a period of 0.0 it fires once."""

@final
class RuntimeTimer:
    """A timer that calls fn() in a goroutine; without fn, one with a channel of its own, `c`.

    The constructor does not start it: call reset().
    """

    c: Any
    def __new__(cls, *, fn: Callable[[], Any] = ...) -> Self: ...
    def reset(self, seconds: float, period: float = 0.0, /) -> bool:
        """Starts the timer, again if need be; takes back an old value of `c`. True if it was active."""
    def stop(self) -> bool:
        """Stops the timer. True if it was active: started, and not fired, or its value not received."""

# -- calls into C (cgo.c, cgo_check.c) ----------------------------------------------------------

def cgo_call(fn: Any, /, *args: Any, **kwargs: Any) -> Any: ...
def cgo_callback(fn: Callable[..., Any], /, *args: Any) -> Any:
    """Returns fn(*args), on behalf of C code: calls the context function before and after."""

def cgo_is_function(value: object, /) -> bool:
    """True for what cgo_call() takes: functions of ctypes, functions and data of cffi."""

def num_cgo_call() -> int: ...
def cgo_set_traceback(traceback: int, context: int, symbolizer: int, /) -> None:
    """Sets the functions at these addresses. Raises Error if other functions are already set."""

def cgo_enable_traceback(libdw: str, /) -> bool:
    """Sets gort's own functions. libdw: the name of elfutils' library. True if it could be loaded."""

def cgo_find_glue() -> None:
    """Looks again for the loaded objects that belong to the interpreter, ctypes and cffi."""

_cgo_print_on_signal: Final[int]  # the address of a signal handler that writes the C frames it interrupted

def _cgo_frames_text(nth: int, /) -> str:
    """The C frames that made the caller's nth callback, 0 the latest; -1: those of here."""

def _cgo_pcs(nth: int, /) -> list[int]:
    """The PCs of the C frames that made the caller's nth callback, 0 the latest."""

def _cgo_symbolize(pcs: Sequence[int], /) -> list[tuple[int, str | None, str | None, int]]:
    """(pc, function, file, line) for each function at each PC, inlined ones first; line 0 if not known.

    To the symbolizer this is one traceback: it is called with PC 0 at the end.
    """

def cgo_holds_objects(regions: list[Any], /) -> bool:
    """True if an aligned word of a region, (address, size) or a buffer, refers to a Python object."""

def cgo_word(address: int, /) -> int:
    """The word at an address; 0 if it cannot be read."""

def cgo_configure(
    *,
    callback: CodeType,
    check: Callable[[Any, int], None],
    check_level: int,
    pointer_free: set[type],
) -> None:
    """Hands over what gort.cgo has for the core; called once, while it is imported.

    callback: the code of the function through which C calls Python.
    check(argument, nth): raises if the nth argument leads to a pointer to a Python object.
    pointer_free: types whose values need no check at check_level 1.
    """

# -- build ------------------------------------------------------------------------------------

GOARCH: Final[str]
GOOS: Final[str]
