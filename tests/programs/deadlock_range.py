"""Main iterates over a channel whose sender forgot to close it."""
#: exit 2

from gort import chan, go


def produce(ch):
    for i in range(3):
        ch.send(i)


numbers = chan()
go(produce, numbers)
for number in numbers:
    print(number)
