"""What type checkers infer for gort's API. make lint has mypy and pyright check it; nothing runs it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Literal, assert_type

import gort
from gort import context, runtime, sync, time
from gort.runtime import debug
from gort.sync import atomic, errgroup


def add(a: int, b: int = 0) -> int:
    return a + b


def core(words: gort.Chan[str]) -> None:
    assert_type(gort.go(add, 1, b=2), None)
    assert_type(gort.run(add, 1), int)
    assert_type(gort.chan(), gort.Chan[Any])
    assert_type(gort.Chan[int](3), gort.Chan[int])
    assert_type(words.recv(), str | None)
    assert_type(words.recv_ok(), tuple[str | None, bool])
    assert_type(words.cap, int)
    assert_type(len(words), int)
    for word in words:
        assert_type(word, str)
    index, value, ok = gort.select(words, gort.default)
    assert_type(index, int)
    assert_type(value, Any)
    assert_type(ok, bool)


def the_runtime() -> None:
    assert_type(runtime.num_goroutine(), int)
    assert_type(runtime.gomaxprocs(2), int)
    assert_type(runtime.caller(0), runtime.Caller)
    assert_type(runtime.caller(0).line, int)
    assert_type(runtime.callers(0), list[int])
    assert_type(runtime.stack(all=True), str)
    assert_type(runtime.read_mem_stats(), runtime.MemStats)
    assert_type(runtime.mem_profile_rate, int)
    runtime.mem_profile_rate = 1
    assert_type(debug.read_gc_stats().pause_total, float)
    assert_type(debug.set_gc_percent(50), int)


def in_gos_spelling() -> None:
    assert_type(runtime.NumGoroutine(), int)
    assert_type(runtime.GOMAXPROCS(2), int)
    assert_type(runtime.Callers(0), list[int])
    assert_type(runtime.Compiler, Literal["cpython"])
    assert_type(runtime.MemProfileRate, int)
    runtime.MemProfileRate = 1
    assert_type(runtime.ReadMemStats(), runtime.MemStats)
    assert_type(runtime.Caller, type[runtime.Caller])
    assert_type(debug.SetMaxThreads(100), int)
    assert_type(debug.ReadGCStats(5), debug.GCStats)


def never() -> int:
    runtime.Goexit()


def locks(config: sync.Map[str, int]) -> None:
    with sync.Mutex() as mutex:
        assert_type(mutex, sync.Mutex)
        assert_type(mutex.try_lock(), bool)
    condition = sync.Cond(sync.RWMutex().rlocker())
    locker: sync.Locker = sync.Mutex()
    condition = sync.Cond(locker)
    condition.wait()
    assert_type(config.load("a"), tuple[int | None, bool])
    assert_type(config.load_or_store("a", 1), tuple[int, bool])
    assert_type(sync.once_value(lambda: 1)(), int)
    group = sync.WaitGroup()
    group.go(add, 1, b=2)
    pool = sync.Pool(lambda: bytearray(8))
    pool.put(bytearray(8))


def atomics() -> None:
    assert_type(atomic.Int64(1).add(2), int)
    assert_type(atomic.Bool(True).load(), bool)
    assert_type(atomic.Pointer("a").load(), str | None)
    assert_type(atomic.Pointer[str]().swap("b"), str | None)


def clocks() -> None:
    time.sleep(timedelta(seconds=1))
    time.sleep(10 * time.millisecond)
    assert_type(time.after(1), gort.Chan[float])
    assert_type(time.Timer(1.5).reset(2), bool)
    assert_type(time.after_func(1, lambda: None), time.Timer)


def done(ctx: context.Context) -> gort.Chan[Any] | None:
    assert_type(ctx.value("key"), Any)
    return ctx.done()


def contexts() -> None:
    ctx, cancel = context.with_cancel(context.background())
    assert_type(done(ctx), gort.Chan[Any] | None)
    assert_type(ctx.done(), gort.Chan[Any])  # a context of this kind always has one
    cancel()
    assert_type(ctx.err(), BaseException | None)
    group, inner = errgroup.with_context(ctx)
    assert_type(group, errgroup.Group)
    assert_type(inner, context.Context)
    group.go(add, 1)


def assertion(value: object) -> Callable[[], None]:
    assert_type(gort.type_assert(value, int), int)
    return lambda: None
