"""Graphs of objects to bytes and back, with shared and with cyclic references."""

from __future__ import annotations

import pickle

N = 40_000  # people


class Person:
    def __init__(self, name: str, age: int) -> None:
        self.name = name
        self.age = age
        self.friends: list[Person] = []
        self.home: Home | None = None
        self.notes: dict[str, str] = {}


class Home:
    def __init__(self, number: int) -> None:
        self.number = number
        self.people: list[Person] = []


def build(n: int) -> list[Person]:
    """Homes of four people; who lives together are friends."""
    people = []
    for i in range(0, n, 4):
        home = Home(i)
        for k in range(i, i + 4):
            person = Person(f"person {k}", k % 90)
            person.home = home
            person.notes = {"first": f"note {k}", "second": "the same for all"}
            home.people.append(person)
        for person in home.people:
            person.friends = [other for other in home.people if other is not person]
        people += home.people
    return people


def run(n: int) -> int:
    people = build(n)
    total = 0
    for _ in range(3):
        data = pickle.dumps(people, pickle.HIGHEST_PROTOCOL)
        people = pickle.loads(data)
        total += len(data) + len(people[-1].friends)
    return total + sum(person.age for person in people)
