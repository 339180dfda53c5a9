"""Spheres over a chequered floor, with shadows and mirrors. Every vector is an object."""

from __future__ import annotations

from math import sqrt

N = 210  # pixels in each direction


class Vector:
    __slots__ = ("x", "y", "z")

    def __init__(self, x: float, y: float, z: float) -> None:
        self.x, self.y, self.z = x, y, z

    def __add__(self, other: Vector) -> Vector:
        return Vector(self.x + other.x, self.y + other.y, self.z + other.z)

    def __sub__(self, other: Vector) -> Vector:
        return Vector(self.x - other.x, self.y - other.y, self.z - other.z)

    def __mul__(self, factor: float) -> Vector:
        return Vector(self.x * factor, self.y * factor, self.z * factor)

    def dot(self, other: Vector) -> float:
        return self.x * other.x + self.y * other.y + self.z * other.z

    def unit(self) -> Vector:
        return self * (1 / sqrt(self.dot(self)))


class Sphere:
    def __init__(self, centre: Vector, radius: float, colour: Vector, mirror: float) -> None:
        self.centre, self.radius, self.colour, self.mirror = centre, radius, colour, mirror

    def meet(self, start: Vector, ray: Vector) -> float | None:
        to = self.centre - start
        along = to.dot(ray)
        under = self.radius**2 - to.dot(to) + along * along
        if under < 0:
            return None
        distance = along - sqrt(under)
        return distance if distance > 1e-6 else None

    def normal(self, point: Vector) -> Vector:
        return (point - self.centre).unit()

    def shade(self, point: Vector) -> Vector:
        return self.colour


class Floor:
    mirror = 0.2

    def meet(self, start: Vector, ray: Vector) -> float | None:
        if ray.y >= -1e-6:
            return None
        distance = -start.y / ray.y
        return distance if distance > 1e-6 else None

    def normal(self, point: Vector) -> Vector:
        return Vector(0, 1, 0)

    def shade(self, point: Vector) -> Vector:
        return Vector(1, 1, 1) if (int(point.x // 1) + int(point.z // 1)) % 2 else Vector(0.1, 0.1, 0.1)


class Scene:
    def __init__(self) -> None:
        self.light = Vector(-4, 6, -3)
        self.things: list[Sphere | Floor] = [Floor()]
        for i in range(6):
            colour = Vector(i / 6, 1 - i / 6, 0.5)
            self.things.append(Sphere(Vector(i * 1.1 - 2.7, 0.7 + i % 2, 4 + i % 3), 0.7, colour, 0.3))

    def nearest(self, start: Vector, ray: Vector) -> tuple[float, Sphere | Floor] | None:
        best: tuple[float, Sphere | Floor] | None = None
        for thing in self.things:
            distance = thing.meet(start, ray)
            if distance is not None and (best is None or distance < best[0]):
                best = (distance, thing)
        return best

    def colour(self, start: Vector, ray: Vector, depth: int) -> Vector:
        hit = self.nearest(start, ray)
        if hit is None:
            return Vector(0.4, 0.6, 0.9)
        distance, thing = hit
        point = start + ray * distance
        normal = thing.normal(point)
        to_light = (self.light - point).unit()
        lit = 0.1 if self.nearest(point, to_light) else max(0.1, normal.dot(to_light))
        result = thing.shade(point) * lit
        if depth:
            mirrored = ray - normal * (2 * ray.dot(normal))
            result = result * (1 - thing.mirror) + self.colour(point, mirrored, depth - 1) * thing.mirror
        return result


def run(n: int) -> int:
    scene = Scene()
    eye = Vector(0, 1.5, -4)
    total = Vector(0, 0, 0)
    for row in range(n):
        for column in range(n):
            ray = Vector(column / n - 0.5, 0.4 - row / n, 1).unit()
            total = total + scene.colour(eye, ray, 2)
    return int(total.dot(Vector(1, 1, 1)) * 1000)
