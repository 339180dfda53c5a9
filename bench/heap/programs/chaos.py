"""The chaos game: a point jumps along one of two splines, drawn each time. Counts where it lands."""

from __future__ import annotations

import random

N = 60_000  # jumps
GRID = 200


class Point:
    __slots__ = ("x", "y")

    def __init__(self, x: float, y: float) -> None:
        self.x, self.y = x, y

    def __add__(self, other: Point) -> Point:
        return Point(self.x + other.x, self.y + other.y)

    def __sub__(self, other: Point) -> Point:
        return Point(self.x - other.x, self.y - other.y)

    def scaled(self, factor: float) -> Point:
        return Point(self.x * factor, self.y * factor)


class Spline:
    """A curve through the middles of a polygon's sides, of second degree."""

    def __init__(self, points: list[Point]) -> None:
        self.points = points

    def at(self, t: float) -> Point:
        count = len(self.points) - 2
        i = min(int(t * count), count - 1)
        u = t * count - i
        a, b, c = self.points[i : i + 3]
        start, end = (a + b).scaled(0.5), (b + c).scaled(0.5)
        near, far = start + (b - start).scaled(u), b + (end - b).scaled(u)
        return near + (far - near).scaled(u)

    def direction(self, t: float) -> Point:
        return (self.at(min(t + 1e-3, 1)) - self.at(max(t - 1e-3, 0))).scaled(500)


def run(n: int) -> int:
    dice = random.Random(6)
    corners = [(0.1, 0.2), (0.3, 0.9), (0.5, 0.1), (0.7, 0.8), (0.9, 0.3), (0.95, 0.6)]
    splines = [
        Spline([Point(x, y) for x, y in corners]),
        Spline([Point(y, x) for x, y in reversed(corners)]),
    ]
    grid = [bytearray(GRID) for _ in range(GRID)]
    point = Point(0.5, 0.5)
    for _ in range(n):
        spline = splines[dice.random() < 0.4]
        base, way = spline.at(point.x), spline.direction(point.x)
        point = base + Point(-way.y, way.x).scaled(0.1 * (point.y - 0.5))
        point = Point(min(max(point.x, 0.0), 0.999), min(max(point.y, 0.0), 0.999))
        row = grid[int(point.y * GRID)]
        column = int(point.x * GRID)
        row[column] = min(row[column] + 1, 255)
    return sum(sum(row) * (i + 1) for i, row in enumerate(grid))
