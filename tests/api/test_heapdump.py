"""debug.write_heap_dump and its reader: the dump of a program is what the program is."""

from __future__ import annotations

import io
import os
import random
import sys
from typing import Any

import pytest

from gort import chan, heapdump, runtime
from gort.runtime import debug
from harness import isolated, run_source
from helpers import wait_until, wait_until_parked

ON = {"GORT_HEAP": "1"}


def dump_bytes() -> bytes:
    import tempfile

    with tempfile.TemporaryFile() as file:
        debug.write_heap_dump(file)
        file.seek(0)
        return file.read()


def word(contents: bytes, at: int) -> int:
    return int.from_bytes(contents[at : at + 8], "little")


def blocks(data: bytes) -> dict[int, tuple[heapdump.Object, heapdump.ObjectType | None]]:
    """By the address of the Python object, or of the block if it is none."""
    found: dict[int, tuple[heapdump.Object, heapdump.ObjectType | None]] = {}
    before: heapdump.Object | None = None
    for record in heapdump.records(data):
        if before is not None:
            kind = record if isinstance(record, heapdump.ObjectType) else None
            found[before.address + (kind.offset if kind else 0)] = before, kind
        before = record if isinstance(record, heapdump.Object) else None
    return found


def types(data: bytes) -> dict[int, str]:
    return {r.address: r.name for r in heapdump.records(data) if isinstance(r, heapdump.Type)}


@isolated(env=ON)
def test_agrees_with_mem_stats() -> None:
    kept = [[str(i), bytes(i * 10)] for i in range(3000)]
    before = runtime.read_mem_stats()
    dump = heapdump.read(dump_bytes())
    after = runtime.read_mem_stats()
    stats = dump.mem_stats
    assert stats.heap_objects == sum(count.objects for count in dump.by_size.values())
    assert stats.heap_alloc == stats.alloc == sum(count.bytes for count in dump.by_type.values())
    assert before.mallocs <= stats.mallocs <= after.mallocs and before.frees <= stats.frees <= after.frees
    assert abs(stats.heap_objects - before.heap_objects) < 500
    assert stats.heap_sys == stats.heap_idle + stats.heap_inuse
    assert stats.sys == before.sys
    assert len(stats.pause_ns) == 256
    assert dump.by_type["bytes"].objects >= 2990
    assert dump.params.python == "cpython" + ".".join(map(str, sys.version_info[:3]))
    assert dump.params.arch == runtime.GOARCH and dump.params.num_cpu == runtime.num_cpu()
    assert len(kept) == 3000


class Slotted:
    __slots__ = ("a", "b")


class Plain:
    pass


@isolated(env=ON)
def test_objects_and_their_types() -> None:
    """Objects are found at their addresses, with their types, for certain if they are tracked."""
    import collections
    import gc

    class Local:
        pass

    def make(n: int) -> list[Any]:
        tracked = [Slotted(), Plain(), Local(), [1], {"a": []}, {1, 2}, lambda: 1, collections.deque([1])]
        texts = [str(n) * 10, "\N{SNOWMAN}" * n, bytes(n), bytearray(n), bytes(50_000 + n)]
        return [*tracked, *texts, 1 << n + 200, n / 3, complex(n)]

    # The first ones may come from free lists that were filled before the heap was there.
    objects = [make(n) for n in range(1, 200)][-1]
    names = ["isolated.Slotted", "isolated.Plain", "isolated.test_objects_and_their_types.<locals>.Local"]
    names += ["list", "dict", "set", "function", "collections.deque"]
    names += ["str", "str", "bytes", "bytearray", "bytes", "int", "float", "complex"]
    data = dump_bytes()
    table, by_address = types(data), blocks(data)
    for o, name in zip(objects, names, strict=True):
        block, kind = by_address[id(o)]
        assert kind is not None, name
        assert table[kind.type] == name and kind.type == id(type(o))
        assert kind.certain == gc.is_tracked(o)
        assert word(block.contents, kind.offset + 8) == id(type(o))
        if name in ("str", "bytes", "int", "float", "complex"):
            assert len(block.contents) >= sys.getsizeof(o)
    assert heapdump.read(data).by_type["isolated.Plain"].objects == 1


@isolated(env=ON)
def test_pointers() -> None:
    """The pointer fields of an object are its type and what it refers to; no links of the collector."""
    objects: list[Any] = []
    for _ in range(100):
        o = Slotted()
        o.a, o.b = bytearray(20), objects[-1] if objects else None  # type: ignore[attr-defined]
        objects.append(o)
    by_address = blocks(dump_bytes())
    for o in objects:
        block, kind = by_address[id(o)]
        assert kind is not None
        values = {word(block.contents, at) for at in block.pointers}
        assert values == {id(Slotted), id(o.a)} | ({id(o.b)} if o.b else set())


@isolated(env=ON)
def test_freed_blocks_are_not_in_it() -> None:
    kept = [b"a mark " + str(i).encode() + bytes(1000) for i in range(500)]
    large = [b"a mark " + bytes(100_000 + i) for i in range(10)]
    del kept[::2], large[::2]
    objects = [r for r in heapdump.records(dump_bytes()) if isinstance(r, heapdump.Object)]
    marked = [r for r in objects if r.contents[32:39] == b"a mark "]
    assert sum(len(r.contents) < 10_000 for r in marked) in (250, 251)  # the constant of this code
    assert sum(len(r.contents) > 100_000 for r in marked) == 5


@isolated(env=ON)
def test_goroutines_and_threads() -> None:
    import tempfile
    import threading

    from gort import chan, go
    from gort.sync import Mutex
    from gort.time import sleep

    def receive(ch: Any, thing: object) -> None:
        local = [thing]
        ch.recv()
        del local

    def blocked(event: threading.Event) -> None:
        event.wait()

    mu = Mutex()
    mu.lock()
    event, thing = threading.Event(), bytearray(100)
    go(receive, chan(), thing)
    go(mu.lock)
    thread = threading.Thread(target=blocked, args=(event,))
    thread.start()
    wait_until_parked(1, "chan receive")
    wait_until_parked(1, "sync.Mutex.Lock")
    wait_until(lambda: runtime.stack(True).count("threading.Condition.wait(...)") == 1)
    go(blocked, event)
    wait_until(lambda: runtime.stack(True).count("threading.Condition.wait(...)") == 2)
    for pause in (0.02, 0.2, 2, 10):
        sleep(pause)  # from the call of that function to the C code that waits
        with tempfile.TemporaryFile() as file:
            go(int)
            debug.write_heap_dump(file.fileno())
            file.seek(0)
            data = file.read()
        dump = heapdump.read(data)
        by_id = {g.goid: (g, frames) for g, frames in dump.goroutines if g.goid}
        reasons = {goid: (g.status, g.wait_reason) for goid, (g, _) in by_id.items()}
        if reasons[4] != (1, ""):
            break
    event.set()
    short = [reasons.pop(goid) for goid in list(reasons) if goid > 4]  # they may have ended by now
    assert short in ([], [(1, "")])
    assert reasons == {
        1: (4, "dumping heap"),
        2: (4, "chan receive"),
        3: (4, "sync.Mutex.Lock"),
        4: (3, ""),
    }
    g, frames = by_id[2]
    assert g.created_at and not by_id[1][0].created_at
    assert abs(g.wait_since / 1e9 - __import__("time").time()) < 60
    assert [f.name for f in frames] == ["isolated.test_goroutines_and_threads.<locals>.receive"]
    assert g.frame == frames[0].address and frames[0].child == 0 and frames[0].pc
    assert id(thing) in {word(frames[0].contents, at) for at in frames[0].pointers}
    names = [f.name for f in by_id[1][1]]
    assert names[-1] == "__main__.<module>" and "gort.runtime.debug.write_heap_dump" in names[:2]
    assert [f.depth for f in by_id[1][1]] == list(range(len(names)))
    assert [f.child for f in by_id[1][1]] == [0, *(f.address for f in by_id[1][1][:-1])]
    threads = [[f.name for f in frames] for g, frames in dump.goroutines if g.goid == 0]
    assert any("isolated.test_goroutines_and_threads.<locals>.blocked" in names for names in threads)
    assert threading.get_native_id() in {t.native_id for t in dump.threads}
    roots = [r for r in heapdump.records(data) if isinstance(r, heapdump.Root)]
    assert id(thing) in {r.pointer for r in roots if r.description == "argument of a goroutine"}
    thread.join()


@isolated(env=ON)
def test_references_from_outside() -> None:
    """An object from before gort that refers to a new one is a root of it."""
    import builtins

    new = builtins.new = bytearray(100)  # type: ignore[attr-defined]
    roots = [r for r in heapdump.records(dump_bytes()) if isinstance(r, heapdump.Root)]
    held = blocks(dump_bytes())
    inside = any(id(new) in {word(b.contents, at) for at in b.pointers} for b, _ in held.values())
    assert inside or (id(new) in {r.pointer for r in roots})
    assert any(r.description == "dict outside the heap" for r in roots)


@isolated(env=ON)
def test_finalizers() -> None:
    """Those that are set, and those that wait behind one that blocks."""

    class Thing:
        def close(self) -> None:
            pass

    block, released = chan(), chan()
    first, kept, waits = Thing(), Thing(), Thing()
    addresses = id(kept), id(waits)
    runtime.set_finalizer(first, lambda _: (block.send(0), released.recv()))
    runtime.set_finalizer(kept, Thing.close)
    runtime.set_finalizer(waits, id)  # outside the heap
    del first
    block.recv()
    del waits
    data = dump_bytes()
    found = [r for r in heapdump.records(data) if isinstance(r, heapdump.Finalizer)]
    assert [r.waiting for r in found] == [False, True]
    objects = blocks(data)
    for record, address in zip(found, addresses, strict=True):
        assert record.object == objects[address][0].address
        assert types(data)[record.type].endswith("Thing")
        assert types(data)[record.argument_type] == "object"
    assert found[0].function == objects[id(Thing.close)][0].address
    assert runtime.func_for_pc(found[0].entry).name().endswith("Thing.close")  # type: ignore[union-attr]
    assert (found[1].function, found[1].entry) == (id(id), 0)
    dump = heapdump.read(data)
    assert (dump.finalizers.total(), dump.waiting.total()) == (1, 1)
    text = heapdump.summary(dump, 5).splitlines()
    assert "finalizers that are set: 1" in text and "finalizers that wait to run: 1" in text
    runtime.set_finalizer(kept, None)
    released.send(0)


@isolated(env=ON)
def test_from_a_goroutine_a_thread_and_a_child() -> None:
    import threading

    from gort import run

    found: list[heapdump.Dump] = []
    run(lambda: found.append(heapdump.read(dump_bytes())))
    thread = threading.Thread(target=lambda: found.append(heapdump.read(dump_bytes())))
    thread.start()
    thread.join()
    dumping = [[g.goid for g, _ in dump.goroutines if g.wait_reason == "dumping heap"] for dump in found]
    assert dumping == [[2], [0]]
    pid = os.fork()
    if pid == 0:
        os._exit(len(heapdump.read(dump_bytes()).threads))
    assert os.waitpid(pid, 0)[1] == 1 << 8


@isolated(env=ON)
def test_in_a_finalizer_and_a_collection() -> None:
    """The collector's lists are whole while it calls finalizers."""
    import gc

    found: list[heapdump.Dump] = []

    class Cycle:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            found.append(heapdump.read(dump_bytes()))

    for _ in range(3):
        Cycle()
    gc.collect()
    assert len(found) == 3
    assert gc.isenabled()
    gc.disable()
    dump_bytes()
    assert not gc.isenabled()


@isolated(env=ON, timeout=110)
def test_nothing_is_left_behind() -> None:
    """A dump keeps no block of the heap, and gives back what it maps."""
    from gort import _core

    def mapped() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[0])

    null = os.open("/dev/null", os.O_WRONLY)
    for _ in range(3):
        debug.write_heap_dump(null)

    def grown(times: int) -> int:
        before = _core.mem_stats()
        for _ in range(times):
            debug.write_heap_dump(null)
        after = _core.mem_stats()
        assert before and after
        return int(after["mallocs"] - after["frees"] - before["mallocs"] + before["frees"])

    grown(3)
    start = mapped()
    assert grown(100) - grown(0) < 50
    assert mapped() - start < 256


@isolated(env=ON)
def test_errors_of_the_file() -> None:
    from gort import _core

    full = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(OSError, match="No space left"):
        debug.write_heap_dump(full)
    with pytest.raises(OSError, match="Bad file descriptor"):
        debug.write_heap_dump(987)
    receiver, sender = os.pipe()
    os.set_blocking(sender, False)
    kept = bytes(1_000_000)
    with pytest.raises(BlockingIOError):
        debug.write_heap_dump(sender)
    os.close(receiver)
    with pytest.raises(BrokenPipeError):
        debug.write_heap_dump(sender)
    _core._check_heap()
    assert heapdump.read(dump_bytes()).mem_stats.heap_alloc > len(kept)


@isolated(env=ON)
def test_short_writes() -> None:
    """Another process reads a pipe slowly."""
    receiver, sender = os.pipe()
    kept = [bytes(200_000) for _ in range(5)]
    pid = os.fork()
    if pid == 0:
        os.close(sender)
        data = b""
        while chunk := os.read(receiver, 3001):
            data += chunk
        os._exit(heapdump.read(data).by_type["bytes"].bytes < len(kept) * 200_000)
    os.close(receiver)
    debug.write_heap_dump(sender)
    os.close(sender)
    assert os.waitpid(pid, 0)[1] == 0


@isolated(env=ON)
def test_no_memory() -> None:
    """Nothing is written then, and the next dump is a good one."""
    import resource
    import tempfile

    dump_bytes()
    with open("/proc/self/statm") as file:
        limit = (int(file.read().split()[0]) + 4000) * 4096
    with tempfile.TemporaryFile() as out:
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        with pytest.raises(MemoryError):
            debug.write_heap_dump(out)
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert os.fstat(out.fileno()).st_size == 0
    heapdump.read(dump_bytes())


def test_arguments() -> None:
    with pytest.raises(TypeError, match=r"takes a file descriptor or a binary file, not 'x'"):
        debug.write_heap_dump("x")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a binary file, not <_io.TextIOWrapper"):
        debug.write_heap_dump(io.TextIOWrapper(io.BytesIO()))
    with pytest.raises(ValueError, match="-1 is not a file descriptor"):
        debug.write_heap_dump(-1)
    with pytest.raises(ValueError, match="4294967296 is not a file descriptor"):
        debug.write_heap_dump(1 << 32)
    with pytest.raises(io.UnsupportedOperation):
        debug.write_heap_dump(io.BytesIO())
    assert debug.WriteHeapDump is debug.write_heap_dump


@isolated(env=ON)
def test_a_files_buffer_is_written_first() -> None:
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        file.write(b"first")
        debug.write_heap_dump(file)
        with open(file.name, "rb") as again:
            assert again.read(21) == b"firstgo1.7 heap dump\n"


def test_needs_the_heap() -> None:
    run_source(
        """
        from gort import runtime
        from gort.runtime import debug
        try:
            debug.write_heap_dump(1)
        except runtime.Error as error:
            print(error)
        """,
        env={"GORT_HEAP": "0"},
    ).check(stdout="write_heap_dump: gort's heap is not installed: GORT_HEAP=0", stderr="")


# -- the reader -------------------------------------------------------------------------------


@isolated(env=ON)
def test_truncated_anywhere() -> None:
    data = dump_bytes()
    chance = random.Random(1)
    for end in [0, 15, 16, len(data) - 1, *(chance.randrange(len(data)) for _ in range(40))]:
        with pytest.raises(heapdump.DumpError, match="ends within a record|does not begin with"):
            for _ in heapdump.records(data[:end]):
                pass
    with pytest.raises(heapdump.DumpError, match="3 bytes follow the end of the dump"):
        heapdump.read(data + b"abc")


@isolated(env=ON, timeout=100)
def test_damaged_anywhere() -> None:
    """A wrong byte is told, or harmless; no other exception comes of it."""
    data = bytearray(dump_bytes())
    chance = random.Random(2)
    told = 0
    for _ in range(25):
        at = chance.randrange(16, len(data))
        old, data[at] = data[at], chance.randrange(256)
        try:
            heapdump.read(data)
        except heapdump.DumpError:
            told += 1
        data[at] = old
    heapdump.read(data)
    data[20:24] = b"\xff\xff\xff\xff"
    with pytest.raises(heapdump.DumpError):
        heapdump.read(data)


def uvarint(n: int) -> bytes:
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes([*out, n])


def text(s: bytes) -> bytes:
    return uvarint(len(s)) + s


PARAMS = b"\x06\x00\x08" + uvarint(0x1000) + uvarint(0x3000) + text(b"amd64") + text(b"cpython") + b"\x02"


def stats(objects: int, size: int) -> bytes:
    figures = [size, *[0] * 5, size, *[0] * 4, objects, *[0] * (12 + 256 + 1)]
    return b"\x0a" + b"".join(map(uvarint, figures))


def block(address: int, contents: bytes, *fields: int) -> bytes:
    listed = b"".join(b"\x01" + uvarint(at) for at in fields)
    return b"\x01" + uvarint(address) + text(contents) + listed + b"\x00"


TYPE = b"\x03" + uvarint(0x50) + b"\x10" + text(b"thing") + b"\x01"
FINE = PARAMS + TYPE + block(0x1000, bytes(16)) + b"\x40" + uvarint(0x1000) + b"\x00\x50\x01"
FINE += block(0x2000, (0x1008).to_bytes(8, "little"), 0) + stats(2, 24) + b"\x00"


def test_reads_what_was_written_by_hand() -> None:
    dump = heapdump.read(heapdump.HEADER + FINE)
    assert dump.by_type == {"thing": heapdump.Count(1, 16), "": heapdump.Count(1, 8)}
    assert dump.by_size == {16: heapdump.Count(1, 16), 8: heapdump.Count(1, 8)}
    assert (dump.certain, dump.guessed) == (1, 0)


END = b"\x00"
EIGHT = block(0x1000, bytes(8))
CASES = {
    "does not begin with its parameters": TYPE,
    "has the unknown kind 63": PARAMS + b"\x3f",
    "not 64-bit little-endian": b"\x06\x01" + PARAMS[2:] + END,
    "the flag at byte 17 is 2": b"\x06\x02" + PARAMS[2:] + END,
    "has more than 64 bits": PARAMS + b"\x03" + b"\xff" * 10 + END,
    "is not UTF-8": PARAMS + b"\x03\x50\x10" + text(b"\xff") + b"\x01",
    "has its parameters twice": PARAMS + PARAMS,
    "has the allocator's figures twice": PARAMS + stats(0, 0) + stats(0, 0),
    "lacks the allocator's figures": PARAMS + END,
    "holds 1 objects; its own figures say 2": PARAMS + EIGHT + stats(2, 8) + END,
    "holds 8 bytes of objects; its own figures say 9": PARAMS + EIGHT + stats(1, 9) + END,
    "0x1008 lies within": PARAMS + block(0x1008, bytes(8)) + block(0x1000, bytes(16)) + stats(2, 24) + END,
    "0x2ff8 is outside the heap": PARAMS + block(0x2FF8, bytes(16)),
    "a field 8 of kind 1": PARAMS + block(0x1000, bytes(8), 8),
    "a field 4 of kind 1": PARAMS + block(0x1000, bytes(16), 4),
    "a field 0 of kind 1": PARAMS + block(0x1000, bytes(16), 0, 0),
    "the pointer 0x2010 leads to no block": FINE.replace(b"\x08\x10" + bytes(6), b"\x10\x20" + bytes(6)),
    "is of an unknown type": FINE.replace(TYPE, b""),
    "takes an object of an unknown type": PARAMS + b"\x07" + b"\x00" * 5 + stats(0, 0) + END,
    "has no block before it": PARAMS + TYPE + b"\x40" + uvarint(0x1000) + b"\x00\x50\x01",
    "does not fit the block before it": FINE.replace(b"\x00\x50\x01", b"\x08\x50\x01"),
    "belongs to no goroutine": PARAMS + b"\x05\x10\x00\x00\x00\x00\x00\x00\x01f\x00",
}


@pytest.mark.parametrize("why", CASES)
def test_says_what_is_wrong(why: str) -> None:
    with pytest.raises(heapdump.DumpError, match=why):
        heapdump.read(heapdump.HEADER + CASES[why])
