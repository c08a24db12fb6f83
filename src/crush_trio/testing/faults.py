"""What can be wrong with a connection, as values: a script is a list of them.

Bytes are counted from the moment at which the fault begins, so that "after 300 bytes" is in the
middle of the same frame in every run. *Answers* are the bytes from the server to its client,
*requests* those of the other direction.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Literal

import attrs


@attrs.frozen
class Refused:
    """Nobody listens: the connection is not made."""


@attrs.frozen
class Latency:
    """Whatever is sent arrives this many seconds later, in both directions."""

    seconds: float


@attrs.frozen
class SlowReader:
    """The client reads this many bytes a second."""

    rate: float


@attrs.frozen
class StalledReader:
    """The client reads this many bytes more, then nothing until it is resumed."""

    after: int = 0


@attrs.frozen
class HalfClose:
    """The client says that it sends nothing more once it has sent this many bytes."""

    after: int = 0


@attrs.frozen
class Cut:
    """The connection breaks when exactly this many bytes have been sent; these arrive."""

    after: int
    of: Literal["answers", "requests"] = "answers"


@attrs.frozen
class Reset:
    """The connection is reset this many seconds later; what is on its way then is lost."""

    after: float


@attrs.frozen
class ServerStop:
    """The server is told to stop once it has sent this many bytes."""

    after: int = 0


Fault = Refused | Latency | SlowReader | StalledReader | HalfClose | Cut | Reset | ServerStop

BYTES = 2_000
"""Bytes within which a drawn fault strikes: about the length of a short exchange."""

SECONDS = 5.0
"""Seconds within which a drawn reset strikes."""


def drawn(numbers: random.Random, chance: float) -> Sequence[Fault]:
    """Return the fault of one connection, drawn by chance; most often none.

    Never :class:`ServerStop`, which is not a connection's own.
    """
    if numbers.random() >= chance:
        return ()
    draws: list[Callable[[], Fault]] = [
        Refused,
        lambda: Latency(numbers.uniform(0.001, 0.5)),
        lambda: SlowReader(numbers.choice((100, 1_000, 10_000))),
        lambda: StalledReader(numbers.randrange(BYTES)),
        lambda: HalfClose(numbers.randrange(BYTES)),
        lambda: Cut(numbers.randrange(BYTES)),
        lambda: Cut(numbers.randrange(BYTES), of="requests"),
        lambda: Reset(numbers.uniform(0.0, SECONDS)),
    ]
    return (numbers.choice(draws)(),)
