"""Two goroutines hand a ball to each other over two channels: gort run examples/pingpong.py [ROUNDS]"""

import sys
import time

from gort import Chan, chan, go


def pong(ping: Chan[int], back: Chan[int]) -> None:
    for ball in ping:
        back.send(ball)
    back.close()


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    ping: Chan[int] = chan()
    back: Chan[int] = chan()
    go(pong, ping, back)
    started = time.perf_counter()
    for ball in range(rounds):
        ping.send(ball)
        if back.recv() != ball:
            raise SystemExit(f"ball {ball} did not come back")
    wall = time.perf_counter() - started
    ping.close()
    print(f"{rounds:,} round trips, {wall / max(rounds, 1) * 1e9:,.0f} ns each")
    print("pong has ended:", back.recv_ok() == (None, False))


main()
