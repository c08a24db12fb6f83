"""What the program tells about itself while it works: one sync call for each thing that happens.

Hubs, lanes, workspaces, permission gates and the routes of prompts are given an :class:`Observer`
and call it in the very step in which something happens. This one does nothing with it; the monitor
checks the promises. An observer changes nothing, awaits nothing and raises nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from crush_trio.wire.events import Event
from crush_trio.wire.permissions import GrantAction, PermissionRequest
from crush_trio.wire.runs import Outcome


class Observed(Protocol):
    """A run, as far as an observer looks at it."""

    @property
    def id(self) -> str:
        """The run id."""
        ...

    @property
    def session_id(self) -> str:
        """Whose lane it is in."""
        ...

    @property
    def owner(self) -> object:
        """The workspace that accepted it."""
        ...

    @property
    def own_turn(self) -> bool:
        """Whether the caller gave the run id."""
        ...

    @property
    def quiet(self) -> bool:
        """Whether it is nobody's prompt and owes no terminal event, such as a summary."""
        ...

    @property
    def outcome(self) -> Outcome | None:
        """Fixed by the conclusion."""
        ...

    @property
    def message_id(self) -> str:
        """The last assistant message; empty if it has none."""
        ...

    @property
    def text(self) -> str:
        """The text of that message."""
        ...


class ObservedHub(Protocol):
    """A hub, as far as an observer looks at it."""

    @property
    def first_id(self) -> int:
        """The id of the oldest event that its log holds."""
        ...

    @property
    def closed(self) -> bool:
        """Whether nothing more is published."""
        ...


class Observer:
    """Hears everything and does nothing. Every method is sync and called where the thing happens."""

    # --- the hub ---------------------------------------------------------------------

    def published(self, hub: ObservedHub, number: int, event: Event) -> None:
        """Hear of an event that a hub's log has taken under an id."""

    def attached(
        self, reader: object, hub: ObservedHub, cursor: int, *, numbered: bool, deltas: bool
    ) -> None:
        """Hear of a new reader that will be told what comes behind ``cursor``."""

    def delivered(self, reader: object, upto: int, what: bytes | Sequence[Event]) -> None:
        """Hear what a reader was given; it has now been told everything up to an id.

        Where the id is that of before, it was something that only this reader is told.
        """

    def refused(self, reader: object) -> None:
        """Hear that the hub ends a reader's stream."""

    def detached(self, reader: object) -> None:
        """Hear that a reader has left."""

    def hub_closed(self, hub: ObservedHub) -> None:
        """Hear that nothing more is published in a hub."""

    # --- the lane --------------------------------------------------------------------

    def accepted(self, lane: object, run: Observed) -> None:
        """Hear that a lane has taken a run."""

    def started(self, run: Observed) -> None:
        """Hear that a run has become its lane's active one."""

    def folded(self, run: Observed, into: Observed) -> None:
        """Hear that a waiting prompt has joined the active turn."""

    def cancelled(
        self, lane: object, covered: Sequence[Observed], spared: Sequence[Observed]
    ) -> None:
        """Hear which runs a cancel covers and which another owner's it leaves, before one ends."""

    def cleared(self, lane: object, runs: Sequence[Observed]) -> None:
        """Hear which waiting prompts are dropped, before any of them ends."""

    def torn_down(self, run: Observed) -> None:
        """Hear that a run is being cancelled from outside its own scope."""

    def unwound(self, run: Observed) -> None:
        """Hear that nothing of a run's turn is at work any more but the writing of its end."""

    def concluded(self, run: Observed) -> None:
        """Hear that a run's outcome is fixed."""

    def unstored(self, run: Observed) -> None:
        """Hear that a run's end could not be stored."""

    def left(self, run: Observed) -> None:
        """Hear that a run is not in its lane any more."""

    def settled(self, run: Observed) -> None:
        """Hear that a run has settled, after everything about its end was published."""

    # --- callers ---------------------------------------------------------------------

    def post_begun(self, post: object, session_id: str, run_id: str, wanted_id: str) -> None:
        """Hear that a caller waits for a run.

        Args:
            post: Stands for the caller.
            session_id: Where it prompted.
            run_id: The run that it was given.
            wanted_id: The run id that it sent; empty if none.
        """

    def post_answered(self, post: object, status: int, body: object) -> None:
        """Hear what the caller is answered: a struct of the wire, or None for an empty body."""

    def post_left(self, post: object) -> None:
        """Hear that nobody waits there any more, whether it was answered or not."""

    # --- people ----------------------------------------------------------------------

    def asked(self, gate: object, request: PermissionRequest) -> None:
        """Hear that a request is open, before it is published."""

    def answered(self, gate: object, request_id: str, action: GrantAction, *, won: bool) -> None:
        """Hear of an answer, whether or not it is the one that counts, after it was published."""

    def resolved(self, gate: object, request: PermissionRequest, *, granted: bool | None) -> None:
        """Hear what whoever asked is told; None if the request was withdrawn."""

    def recalled(self, gate: object, key: tuple[str, str, str, str]) -> None:
        """Hear that an ask was granted by what was allowed for the session: id, tool, action, path."""

    # --- workspaces ------------------------------------------------------------------

    def workspace_opened(self, workspace: object, directory: Path, hub: ObservedHub) -> None:
        """Hear of a workspace at a resolved directory, when its id becomes known."""

    def workspace_withdrawn(self, workspace: object) -> None:
        """Hear that a workspace's id is no longer known."""

    def workspace_closed(self, workspace: object, left: int) -> None:
        """Hear that a workspace has closed, and how many tasks and processes are left."""


SILENT = Observer()
"""The observer of a program that nobody observes."""
