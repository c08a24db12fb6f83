"""Changing bytes, all by the dice of one generator."""

from __future__ import annotations

import random
from collections.abc import Sequence

LIMIT = 80_000
"""Bytes that an input may have: more than the server takes as a head."""


def mutate(dice: random.Random, data: bytes, tokens: Sequence[bytes]) -> bytes:
    """Return ``data`` after one to four changes."""
    changed = bytearray(data)
    for _ in range(dice.choice((1, 1, 1, 2, 2, 3, 4))):
        _change(dice, changed, tokens)
    return bytes(changed[:LIMIT])


def _change(dice: random.Random, data: bytearray, tokens: Sequence[bytes]) -> None:
    start = dice.randrange(len(data) + 1)
    end = min(len(data), start + dice.choice((1, 1, 2, 4, 16, 64)))
    match dice.randrange(8):
        case 0 if start < len(data):
            data[start] ^= 1 << dice.randrange(8)
        case 1 if start < len(data):
            data[start] = dice.randrange(256)
        case 2:
            del data[start:end]
        case 3:
            data[start:start] = data[start:end] * dice.choice((1, 1, 2, 10, 1_000))
        case 4:
            data[start:start] = dice.randbytes(dice.choice((1, 2, 8, 100)))
        case 5:
            del data[start:]
        case 6:
            other = dice.randrange(len(data) + 1)
            data[other:other] = data[start:end]
        case _:
            data[start:start] = dice.choice(tokens)


def cut(dice: random.Random, data: bytes) -> list[bytes]:
    """Return ``data`` in one to three pieces."""
    places = sorted(dice.randrange(len(data) + 1) for _ in range(dice.choice((0, 0, 0, 1, 2))))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]
