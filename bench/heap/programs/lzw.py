"""Text to a stream of bits and back, by growing tables of what was seen (LZW with codes of growing width)."""

from __future__ import annotations

import random

N = 1_200_000  # bytes of text
WIDTH_MAX = 14


class BitWriter:
    def __init__(self) -> None:
        self.data = bytearray()
        self.bits = self.count = 0

    def write(self, value: int, width: int) -> None:
        self.bits |= value << self.count
        self.count += width
        while self.count >= 8:
            self.data.append(self.bits & 255)
            self.bits >>= 8
            self.count -= 8

    def finish(self) -> bytes:
        if self.count:
            self.data.append(self.bits)
        return bytes(self.data)


class BitReader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = self.bits = self.count = 0

    def read(self, width: int) -> int:
        while self.count < width:
            self.bits |= self.data[self.at] << self.count
            self.at += 1
            self.count += 8
        value = self.bits & ((1 << width) - 1)
        self.bits >>= width
        self.count -= width
        return value


def text(n: int) -> bytes:
    dice = random.Random(5)
    words = [bytes(dice.choices(b"abcdefghijklmnopqrstuvwxyz", k=dice.randrange(2, 9))) for _ in range(2000)]
    return b" ".join(dice.choices(words, k=n // 5))[:n]


def encode(data: bytes) -> bytes:
    writer = BitWriter()
    table = {bytes([i]): i for i in range(256)}
    width, seen = 9, b""
    for i in range(len(data)):
        longer = seen + data[i : i + 1]
        if longer in table:
            seen = longer
            continue
        writer.write(table[seen], width)
        if len(table) < 1 << WIDTH_MAX:
            table[longer] = len(table)
            width = max(width, (len(table) - 1).bit_length())
        seen = data[i : i + 1]
    if seen:
        writer.write(table[seen], width)
    return writer.finish()


def decode(data: bytes, n: int) -> bytes:
    """n is the length of the text."""
    reader = BitReader(data)
    table = [bytes([i]) for i in range(256)]
    seen = b""
    pieces: list[bytes] = []
    length = 0
    while length < n:
        # One entry behind the encoder, which has made one from this code already.
        full = len(table) == 1 << WIDTH_MAX
        code = reader.read(max(9, (len(table) - (full or not seen)).bit_length()))
        piece = table[code] if code < len(table) else seen + seen[:1]
        if seen and not full:
            table.append(seen + piece[:1])
        pieces.append(piece)
        length += len(piece)
        seen = piece
    return b"".join(pieces)


def run(n: int) -> int:
    data = text(n)
    packed = encode(data)
    assert decode(packed, len(data)) == data
    return len(packed)
