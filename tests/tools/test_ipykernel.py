"""A notebook's kernel: what would end a program ends a cell."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

jupyter_client = pytest.importorskip("jupyter_client", reason="jupyter_client is not installed")
kernelspec = pytest.importorskip("jupyter_client.kernelspec", reason="jupyter_client is not installed")
pytest.importorskip("ipykernel", reason="ipykernel is not installed")


class Kernel:
    """ipykernel in a process of its own."""

    def __init__(self) -> None:
        self.manager = jupyter_client.KernelManager()
        self.manager._kernel_spec = kernelspec.KernelSpec(
            argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            display_name="gort",
            language="python",
        )
        self.manager.start_kernel()
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def run(self, cell: str, interrupt: bool = False) -> list[str]:
        """What the cell prints, and the name and the text of the exception that ends it."""
        ident = self.client.execute(cell)
        said: list[str] = []
        while True:
            message: dict[str, Any] = self.client.get_iopub_msg(timeout=60)
            if message["parent_header"].get("msg_id") != ident:
                continue
            content = message["content"]
            match message["msg_type"]:
                case "stream":
                    said.append(content["text"])
                    if interrupt:
                        time.sleep(0.1)
                        self.manager.interrupt_kernel()
                case "error":
                    said.append(f"{content['ename']}: {content['evalue']}")
                case "status" if content["execution_state"] == "idle":
                    return said


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    kernel = Kernel()
    kernel.run("import gort, threading, time\nfrom gort import chan, go")
    yield kernel
    kernel.manager.shutdown_kernel(now=True)


def test_a_panic_is_shown_in_the_cell(kernel: Kernel) -> None:
    text = "".join(kernel.run("go(lambda: 1 / 0); gort.time.sleep(0.05); print('goes on')"))
    assert "ZeroDivisionError: division by zero\n\ngoroutine " in text and "goes on\n" in text


def test_a_deadlock_ends_the_cell(kernel: Kernel) -> None:
    dead = "Error: all goroutines are asleep - deadlock!"
    assert kernel.run("chan().recv()") == [dead]
    assert kernel.run("mu = gort.sync.Mutex(); mu.lock(); mu.lock()") == [dead]
    assert kernel.run("print(6 * 7)") == ["42\n"]


def test_the_programs_threads_count(kernel: Kernel) -> None:
    cell = "c = chan(); threading.Timer(0.5, c.send, (7,)).start(); print(c.recv())"
    assert kernel.run(cell) == ["7\n"]


def test_a_cell_can_be_interrupted(kernel: Kernel) -> None:
    said = kernel.run("go(gort.time.sleep, 1000); print('now', flush=True); chan().recv()", interrupt=True)
    assert said == ["now\n", "KeyboardInterrupt: "]


def test_goroutines_run_between_cells(kernel: Kernel) -> None:
    kernel.run(
        "n = 0\ndef tick():\n    global n\n    while True:\n        gort.time.sleep(0.01); n += 1\ngo(tick)"
    )
    deadline = time.monotonic() + 60
    while kernel.run("print(n > 20)") != ["True\n"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
