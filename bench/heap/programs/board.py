"""Go on a small board: both sides play at random, stones without liberties are taken off."""

from __future__ import annotations

import random

N = 110  # games
SIZE = 9
EMPTY, BLACK, WHITE = ".", "x", "o"

NEIGHBOURS = [
    [
        at + step
        for step, inside in (
            (-1, at % SIZE > 0),
            (1, at % SIZE < SIZE - 1),
            (-SIZE, at >= SIZE),
            (SIZE, at < SIZE * (SIZE - 1)),
        )
        if inside
    ]
    for at in range(SIZE * SIZE)
]


class Board:
    def __init__(self) -> None:
        self.fields = [EMPTY] * (SIZE * SIZE)
        self.captured = {BLACK: 0, WHITE: 0}
        self.ko = -1

    def group(self, at: int) -> tuple[set[int], set[int]]:
        """The stones that are connected with the one there, and their liberties."""
        colour = self.fields[at]
        stones, liberties, pending = {at}, set(), [at]
        while pending:
            for near in NEIGHBOURS[pending.pop()]:
                if self.fields[near] == EMPTY:
                    liberties.add(near)
                elif self.fields[near] == colour and near not in stones:
                    stones.add(near)
                    pending.append(near)
        return stones, liberties

    def is_eye(self, at: int, colour: str) -> bool:
        return all(self.fields[near] == colour for near in NEIGHBOURS[at])

    def play(self, at: int, colour: str) -> bool:
        """False: the move is not allowed, and nothing has changed."""
        if self.fields[at] != EMPTY or at == self.ko or self.is_eye(at, colour):
            return False
        other = WHITE if colour == BLACK else BLACK
        self.fields[at] = colour
        taken: set[int] = set()
        for near in NEIGHBOURS[at]:
            if self.fields[near] == other and near not in taken:
                stones, liberties = self.group(near)
                if not liberties:
                    taken |= stones
        for stone in taken:
            self.fields[stone] = EMPTY
        if not taken and not self.group(at)[1]:
            self.fields[at] = EMPTY
            return False
        self.ko = taken.pop() if len(taken) == 1 else -1
        self.captured[colour] += len(taken) or self.ko >= 0
        return True


def game(dice: random.Random) -> int:
    board = Board()
    colour, passes = BLACK, 0
    for _ in range(3 * SIZE * SIZE):
        free = [at for at, field in enumerate(board.fields) if field == EMPTY]
        dice.shuffle(free)
        passes = 0 if any(board.play(at, colour) for at in free) else passes + 1
        if passes == 2:
            break
        colour = WHITE if colour == BLACK else BLACK
    score = board.fields.count(BLACK) - board.fields.count(WHITE)
    return score + board.captured[BLACK] + 7 * board.captured[WHITE]


def run(n: int) -> int:
    dice = random.Random(4)
    return sum(game(dice) for _ in range(n))
