"""The concurrent prime sieve."""

from gort import chan, go


def generate(ch):
    n = 2
    while True:
        ch.send(n)
        n += 1


def sift(source, target, prime):
    while True:
        n = source.recv()
        if n % prime:
            target.send(n)


ch = chan()
go(generate, ch)
primes = []
for _ in range(100):
    prime = ch.recv()
    primes.append(prime)
    following = chan()
    go(sift, ch, following, prime)
    ch = following
print(primes[:10], primes[-1])
