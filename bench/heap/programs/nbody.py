"""The sun and four planets under their gravity."""

from __future__ import annotations

from itertools import combinations

N = 120_000  # steps

# Position and velocity (astronomical units, years), mass (solar masses): rounded, round orbits.
SUN = ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0], 1.0)
PLANETS = [
    ([5.20, 0.0, 0.1], [0.0, 2.75, 0.0], 9.5e-4),
    ([0.0, 9.58, 0.2], [-2.03, 0.0, 0.1], 2.9e-4),
    ([-19.2, 0.0, -0.2], [0.0, -1.43, 0.0], 4.4e-5),
    ([0.0, -30.1, 0.3], [1.14, 0.0, 0.0], 5.2e-5),
]
GRAVITY = 39.478  # 4 pi squared


def run(n: int) -> int:
    bodies = [(position[:], velocity[:], mass) for position, velocity, mass in (SUN, *PLANETS)]
    pairs = list(combinations(bodies, 2))
    dt = 0.005
    for _ in range(n):
        for (p, v, m), (q, w, k) in pairs:
            dx = p[0] - q[0]
            dy = p[1] - q[1]
            dz = p[2] - q[2]
            pull = GRAVITY * dt * (dx * dx + dy * dy + dz * dz) ** -1.5
            v[0] -= dx * k * pull
            v[1] -= dy * k * pull
            v[2] -= dz * k * pull
            w[0] += dx * m * pull
            w[1] += dy * m * pull
            w[2] += dz * m * pull
        for p, v, _mass in bodies:
            p[0] += dt * v[0]
            p[1] += dt * v[1]
            p[2] += dt * v[2]
    return int(sum(abs(x) for position, _, _ in bodies for x in position) * 1e6)
