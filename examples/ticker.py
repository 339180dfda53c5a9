"""A ticker, a deadline and a cancelled context in one select: gort run examples/ticker.py"""

from gort import chan, context, go, select, time


def main() -> None:
    ctx, cancel = context.with_timeout(context.background(), 10)
    ticker = time.Ticker(0.05)
    stopped = chan()

    def watch() -> None:
        ctx.done().recv()  # None: the channel of a context is closed, nothing is ever sent
        stopped.send(ctx.err())

    go(watch)
    ticks = 0
    while ticks < 5:
        match select(ticker.c, time.after(10), ctx.done()):
            case 0, _, _:
                ticks += 1
                print("tick", ticks)
            case _:
                raise SystemExit("ten seconds without a tick")
    ticker.stop()
    cancel()
    print("the watcher saw:", repr(stopped.recv()))


main()
