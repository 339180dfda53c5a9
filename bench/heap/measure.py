"""One process of the heap's bench: does one program's work and prints one line of JSON.

    python bench/heap/measure.py PART PROGRAM [SCALE [SECONDS]]

PART is time, allocator, idle or pauses; SCALE the amount of work, 1 for a full run; SECONDS how long `idle`
idles. Run by `gort run` it measures gort. Process start and imports are outside of the times, and
inside of the memory: hence nothing is imported that is not needed.
"""

from __future__ import annotations

import gc
import importlib
import sys
import time

PARTS = ("time", "allocator", "idle", "pauses")

Figures = dict[str, float]


def status(field: str) -> int:
    """A field of /proc/self/status that is in kB, in bytes."""
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    raise LookupError(field)


def heap() -> Figures:
    """gort's own figures, if its heap is in use."""
    if "gort" not in sys.modules:
        return {}
    from gort import runtime

    try:
        m = runtime.read_mem_stats()
    except runtime.Error:
        return {}
    return {"heap_inuse": m.heap_inuse, "heap_unreleased": m.heap_idle - m.heap_released}


def collections() -> int:
    return sum(generation["collections"] for generation in gc.get_stats())


def clocked(program: str, scale: float) -> Figures:
    """Does the work. Times in seconds; CPU time is that of all threads."""
    module = importlib.import_module(f"programs.{program}")
    n = max(1, int(module.N * scale))
    before = collections()
    wall, cpu = time.perf_counter(), time.process_time()
    result = module.run(n)
    figures = {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}
    figures |= {"result": result, "n": n, "collections": collections() - before}
    return {**figures, "peak_rss": status("VmHWM")}


def allocator_alone(program: str, scale: float) -> Figures:
    """The best of three, the collector off."""
    from programs import allocator

    gc.disable()
    runs = []
    for _ in range(3):
        wall, cpu = time.perf_counter(), time.process_time()
        allocator.PROGRAMS[program](scale)
        runs.append((time.process_time() - cpu, time.perf_counter() - wall))
    return dict(zip(("cpu_s", "wall_s"), min(runs), strict=True))


def idled(seconds: float) -> Figures:
    """What is resident some time after the work."""
    time.sleep(seconds)
    resident = status("VmRSS")
    # The kernel counts in batches, and two readings may differ by some pages.
    return {"peak_rss": max(status("VmHWM"), resident), "idle_rss": resident, **heap()}


def scattered_survivors(scale: float, seconds: float) -> Figures:
    from programs import scattered

    nodes = scattered.build(max(1, int(scattered.N * scale)))
    peak = heap()
    kept = scattered.survivors(nodes)
    del nodes
    figures = {"result": sum(len(node.name) for node in kept), **idled(seconds)}
    if peak:
        figures["peak_heap"] = peak["heap_inuse"] + peak["heap_unreleased"]
    return figures


def paused(program: str, scale: float) -> Figures:
    """How long the collector stopped the program, as gc.callbacks tells."""
    pauses: list[float] = []
    started = 0.0

    def callback(phase: str, info: dict[str, int]) -> None:
        nonlocal started
        if phase == "start":
            started = time.perf_counter()
        else:
            pauses.append(time.perf_counter() - started)

    importlib.import_module(f"programs.{program}")  # which may be stopped, too
    gc.callbacks.append(callback)
    figures = clocked(program, scale)
    gc.callbacks.remove(callback)
    figures["longest_ms"] = max(pauses, default=0) * 1e3
    figures["total_ms"] = sum(pauses) * 1e3
    return figures


def main(part: str, program: str, scale: float = 1, seconds: float = 10) -> None:
    if part == "time":
        figures = clocked(program, scale)
    elif part == "allocator":
        figures = allocator_alone(program, scale)
    elif part == "pauses":
        figures = paused(program, scale)
    elif part != "idle":
        raise SystemExit(f"{part!r} is none of {', '.join(PARTS)}")
    elif program == "scattered":
        figures = scattered_survivors(scale, seconds)
    else:
        figures = {**clocked(program, scale), **idled(seconds)}
    import json

    about = {"part": part, "program": program, "python": sys.version.split()[0]}
    print(json.dumps({**about, "gort": "gort" in sys.modules, "heap": bool(heap()), **figures}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(float, sys.argv[3:5]))
