"""debugpy, hence pydevd: breakpoints in goroutines, told by a small client of its protocol (DAP)."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import environment

pytest.importorskip("debugpy", reason="debugpy is not installed")

WAITS = 60.0  # seconds, at most, for an answer

PROGRAM = """\
import sys
from gort import chan, go

def worker(n, gate, done):
    while True:
        value = gate.recv()
        total = n + value  # here
        done.send(total)

gate, done = chan(), chan()
go(worker, 1, gate, done)
print("ready", flush=True)
sys.stdin.readline()
gate.send(41)
print("total", done.recv(), flush=True)
sys.exit(7)
"""
LINE = 1 + next(n for n, line in enumerate(PROGRAM.splitlines()) if "# here" in line)


class Client:
    def __init__(self, port: int) -> None:
        deadline = time.monotonic() + WAITS
        while True:
            try:
                self.socket = socket.create_connection(("127.0.0.1", port), timeout=WAITS)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        self.file = self.socket.makefile("rb")
        self.sent = 0
        self.seen: list[dict[str, Any]] = []

    def send(self, command: str, **arguments: Any) -> int:
        self.sent += 1
        message = {"seq": self.sent, "type": "request", "command": command, "arguments": arguments}
        body = json.dumps(message).encode()
        self.socket.sendall(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        return self.sent

    def receive(self, **wanted: Any) -> dict[str, Any]:
        """The first message that has these members, of those that have not been received yet."""
        while True:
            for i, message in enumerate(self.seen):
                if wanted.items() <= message.items():
                    return self.seen.pop(i)
            length = 0
            while line := self.file.readline().strip():
                name, _, value = line.partition(b":")
                length = int(value) if name == b"Content-Length" else length
            assert length, f"the debugger closed the connection before {wanted}"
            self.seen.append(json.loads(self.file.read(length)))

    def event(self, name: str) -> dict[str, Any]:
        return self.receive(type="event", event=name)

    def answer(self, request: int) -> dict[str, Any]:
        message = self.receive(type="response", request_seq=request)
        assert message["success"], message
        body: dict[str, Any] = message.get("body") or {}
        return body

    def call(self, command: str, **arguments: Any) -> dict[str, Any]:
        return self.answer(self.send(command, **arguments))

    def set_breakpoint(self, path: Path, line: int) -> None:
        body = self.call("setBreakpoints", source={"path": str(path)}, breakpoints=[{"line": line}])
        assert [point["verified"] for point in body["breakpoints"]] == [True]


def end(process: subprocess.Popen[str]) -> None:
    """Not communicate(), which would wait for the debugger's own process: it has inherited the pipes."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe:
            pipe.close()


@contextlib.contextmanager
def debugged(program: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The program under debugpy, which waits for a client at this port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    command = [sys.executable, "-X", "frozen_modules=off", "-m", "debugpy", "--listen", f"127.0.0.1:{port}"]
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [*command, "--wait-for-client", str(program)],
        stdin=pipe,
        stdout=pipe,
        env=environment({}),
        text=True,
    )
    try:
        yield process, port
    finally:
        end(process)


@pytest.mark.parametrize("parked", [False, True], ids=["set before it starts", "set while it is parked"])
def test_breakpoint_in_a_goroutine(tmp_path: Path, parked: bool) -> None:
    program = tmp_path / "prog.py"
    program.write_text(PROGRAM)
    with debugged(program) as (process, port):
        assert process.stdin and process.stdout
        client = Client(port)
        client.call("initialize", adapterID="test")
        attached = client.send("attach", justMyCode=False)
        client.event("initialized")
        if not parked:
            client.set_breakpoint(program, LINE)
        client.call("configurationDone")
        client.answer(attached)
        assert process.stdout.readline() == "ready\n"
        if parked:
            client.set_breakpoint(program, LINE)
        process.stdin.write("\n")
        process.stdin.flush()

        stopped = client.event("stopped")["body"]
        assert stopped["reason"] == "breakpoint"
        thread = stopped["threadId"]
        names = {t["id"]: t["name"] for t in client.call("threads")["threads"]}
        assert names[thread] == "goroutine 2"
        (frame,) = client.call("stackTrace", threadId=thread)["stackFrames"]
        assert (frame["name"], frame["line"]) == ("worker", LINE)
        scope = client.call("scopes", frameId=frame["id"])["scopes"][0]
        variables = client.call("variables", variablesReference=scope["variablesReference"])["variables"]
        assert {v["name"]: v["value"] for v in variables}["value"] == "41"
        client.call("continue", threadId=thread)
        assert process.stdout.readline() == "total 42\n"
        client.event("terminated")
        client.socket.close()
        assert process.wait(WAITS) == 7


ATTACHED_LATER = """\
import sys
from gort import chan, go
from gort.runtime import gosched

def step(n, value):
    return n + value  # here

def worker(n, gate, done):
    while True:
        done.send(step(n, gate.recv()))

gate, done = chan(), chan()
go(worker, 1, gate, done)
gosched()
import debugpy
debugpy.listen(int(sys.argv[1]))
debugpy.wait_for_client()
gate.send(41)
print("total", done.recv(), flush=True)
"""


def test_debugger_comes_while_goroutines_are_parked(tmp_path: Path) -> None:
    """What they call from then on is debugged."""
    program = tmp_path / "prog.py"
    program.write_text(textwrap.dedent(ATTACHED_LATER))
    line = 1 + next(n for n, text in enumerate(ATTACHED_LATER.splitlines()) if "# here" in text)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    command = [sys.executable, "-X", "frozen_modules=off", str(program), str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment({}), text=True)
    try:
        client = Client(port)
        client.call("initialize", adapterID="test")
        attached = client.send("attach", justMyCode=False)
        client.event("initialized")
        client.set_breakpoint(program, line)
        client.call("configurationDone")
        client.answer(attached)
        thread = client.event("stopped")["body"]["threadId"]
        frames = client.call("stackTrace", threadId=thread)["stackFrames"]
        assert [frame["name"] for frame in frames] == ["step", "worker"]
        client.call("continue", threadId=thread)
        assert process.stdout and process.stdout.readline() == "total 42\n"
        client.socket.close()
        assert process.wait(WAITS) == 0
    finally:
        end(process)
