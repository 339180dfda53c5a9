"""A simulated operating system: devices and a worker, tasks with priorities, packets that wait in queues."""

from __future__ import annotations

from abc import ABC, abstractmethod

N = 160_000  # packets that the idle task lets loose


class Packet:
    def __init__(self, kind: int, target: int) -> None:
        self.kind = kind
        self.target = target
        self.next: Packet | None = None
        self.data = [0, 0, 0, 0]


class Task(ABC):
    """Runs while it has packets and is not held."""

    def __init__(self, system: System, number: int, priority: int) -> None:
        self.system = system
        self.number = number
        self.priority = priority
        self.first: Packet | None = None
        self.last: Packet | None = None
        self.held = False
        self.count = 0

    def put(self, packet: Packet) -> None:
        packet.next = None
        if self.last is None:
            self.first = packet
        else:
            self.last.next = packet
        self.last = packet

    def take(self) -> Packet | None:
        packet = self.first
        if packet is not None:
            self.first = packet.next
            if self.first is None:
                self.last = None
        return packet

    def ready(self) -> bool:
        return self.first is not None and not self.held

    def step(self) -> None:
        packet = self.take()
        assert packet is not None
        self.count += 1
        self.handle(packet)

    @abstractmethod
    def handle(self, packet: Packet) -> None:
        """Does with a packet what the task is for."""


class Idle(Task):
    """Holds and frees the devices in turn, and lets new packets loose."""

    def __init__(self, system: System, number: int, packets: int) -> None:
        super().__init__(system, number, 0)
        self.left = packets
        self.seed = 1

    def ready(self) -> bool:
        return self.left > 0

    def step(self) -> None:
        self.left -= 1
        self.count += 1
        self.seed = self.seed * 48271 % 2147483647
        device = self.system.tasks[1 + self.seed % 2]
        device.held = self.seed & 4 == 0 and self.left > 1
        self.system.send(Packet(self.seed & 1, 3))
        if self.left <= 1:
            for task in self.system.tasks:
                task.held = False

    def handle(self, packet: Packet) -> None:
        """Nobody sends it any."""


class Device(Task):
    def handle(self, packet: Packet) -> None:
        packet.data[3] += self.number
        self.system.finished += sum(packet.data)


class Handler(Task):
    """Passes data packets on to the devices, work packets to the worker."""

    def handle(self, packet: Packet) -> None:
        packet.target = 4 if packet.kind else 1 + packet.data[0] % 2
        self.system.send(packet)


class Worker(Task):
    """Fills a packet and sends it back to the handler."""

    def handle(self, packet: Packet) -> None:
        for i in range(4):
            packet.data[i] = (self.count * 7 + i) % 26
        packet.kind, packet.target = 0, 3
        self.system.send(packet)


class System:
    def __init__(self, packets: int) -> None:
        self.finished = 0
        self.tasks: list[Task] = [
            Idle(self, 0, packets),
            Device(self, 1, 40),
            Device(self, 2, 30),
            Handler(self, 3, 20),
            Worker(self, 4, 10),
        ]

    def send(self, packet: Packet) -> None:
        self.tasks[packet.target].put(packet)

    def run(self) -> int:
        """Until no task is ready: a step of the ready one with the highest priority."""
        while True:
            best = None
            for task in self.tasks:
                if task.ready() and (best is None or task.priority > best.priority):
                    best = task
            if best is None:
                return self.finished + sum(task.count * task.number for task in self.tasks)
            best.step()


def run(n: int) -> int:
    return System(n).run()
