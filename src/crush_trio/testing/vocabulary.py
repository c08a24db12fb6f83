"""What a random story consists of: coarse steps, whose outcomes can be foreseen. Plain data."""

from __future__ import annotations

from typing import Literal

import attrs

Kind = Literal["plain", "slow", "tool", "hang", "ask"]
"""What a prompt makes the model do: answer, answer slowly, call a tool, say half, ask for permission."""

BLOCKING: tuple[Kind, ...] = ("hang", "ask")
"""Kinds that do not settle by themselves."""


@attrs.frozen
class Joins:
    """A client comes, and listens."""

    client: str


@attrs.frozen
class Leaves:
    """A client says goodbye to everything; the last one's ends what runs (R3)."""

    client: str


@attrs.frozen
class Prompts:
    """A client prompts; ``number`` tells the prompts of a story apart. Steering has no run id."""

    client: str
    session: str
    kind: Kind
    number: int
    steers: bool = False

    @property
    def text(self) -> str:
        """What is said."""
        return f"{self.kind} {self.number}"


@attrs.frozen
class PromptsAgain:
    """A client posts an earlier prompt again, with its run id (R16)."""

    client: str
    number: int


@attrs.frozen
class Cancels:
    """A client cancels a session (R5, R6)."""

    client: str
    session: str


@attrs.frozen
class Clears:
    """A client clears a session's queue."""

    client: str
    session: str


@attrs.frozen
class Grants:
    """A client allows what is asked, if something is."""

    client: str


@attrs.frozen
class Waits:
    """Time passes, enough for whatever can settle."""


@attrs.frozen
class SlowsDown:
    """Writes take a second."""


@attrs.frozen
class Restarts:
    """The server is stopped and started again; everybody comes back."""


@attrs.frozen
class Dies:
    """The server is killed and started again; everybody comes back."""


Step = (
    Joins
    | Leaves
    | Prompts
    | PromptsAgain
    | Cancels
    | Clears
    | Grants
    | Waits
    | SlowsDown
    | Restarts
    | Dies
)
