"""What a scenario's clients do, as plain data: a list of these is a scenario's story.

Each is frozen and can be written down, left out or shortened. Whatever has happened meanwhile, it
ends: a request may be refused or lost, and nobody waits for longer than
:data:`~crush_trio.testing.core.PATIENCE`.
"""

from crush_trio.testing.operations.base import Operation
from crush_trio.testing.operations.clients import (
    Answer,
    Cancel,
    Clear,
    Create,
    Deafen,
    Delete,
    Drop,
    Hurry,
    Join,
    Listen,
    Prompt,
    Read,
    Release,
    Retire,
    Stall,
)
from crush_trio.testing.operations.course import (
    FillDisk,
    Kill,
    Open,
    Sleep,
    SlowDisk,
    Start,
    Stop,
    UntilSettled,
    UntilStanding,
    UntilText,
)

__all__ = [
    "Answer",
    "Cancel",
    "Clear",
    "Create",
    "Deafen",
    "Delete",
    "Drop",
    "FillDisk",
    "Hurry",
    "Join",
    "Kill",
    "Listen",
    "Open",
    "Operation",
    "Prompt",
    "Read",
    "Release",
    "Retire",
    "Sleep",
    "SlowDisk",
    "Stall",
    "Start",
    "Stop",
    "UntilSettled",
    "UntilStanding",
    "UntilText",
]
