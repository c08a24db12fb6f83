"""Who keeps a workspace open: clients with their streams and holds, and work that is not done.

All methods but :meth:`Claims.wait_unclaimed` are sync. Nothing here closes anything: the
workspace's host task waits, and decides.

Rules (wire contract 7 and 0; W2):

1. A client's claim lives while it has a stream, and for a hold or a grace without one.
2. Work (an unsettled run, a title being made) is a claim too, of nobody: no hold or grace closes
   a workspace under it. When the last work ends and no other claim is left, the grace starts.
3. A release or retire that takes away the last *client's* claim is a goodbye: it has no grace.
   Whoever comes while the workspace is still opening takes it back.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import attrs
import trio

from crush_trio.ids import ClientID
from crush_trio.settings import Settings


@attrs.define(eq=False)
class Claim:
    """One client's reason to keep the workspace.

    Attributes:
        streams: Open event streams.
        expires: When a claim without streams ends, on Trio's clock.
        session: The session that the client shows; empty if it has not said.
        released: The client has said goodbye, but a stream of it is still open.
        version: What the client called itself when it created the workspace.
    """

    expires: float
    streams: int = 0
    session: str = ""
    released: bool = False
    version: str = ""


class Claims:
    """The claims on one workspace.

    Args:
        settings: How long holds and graces are.
        tell: Called when other clients than before, or other versions, have a claim; sync.
    """

    def __init__(self, settings: Settings, tell: Callable[[], None] = lambda: None) -> None:
        self._settings = settings
        self._tell = tell
        self._clients: dict[ClientID, Claim] = {}
        self._work: set[object] = set()
        self._lingers_until = -math.inf
        self._changed = trio.Event()
        self.goodbye = False

    def __repr__(self) -> str:
        return f"<Claims {list(self._clients)} work {len(self._work)} goodbye {self.goodbye}>"

    # --- clients -------------------------------------------------------------------

    def hold(self, client: ClientID, version: str = "") -> None:
        """Register a client that created or joined the workspace (wire contract 7.2).

        Only for a workspace that can still be joined: it is opening, or open and not closing.
        """
        self.goodbye = False
        self._expire()
        expires = trio.current_time() + self._settings.create_hold
        claim = self._clients.setdefault(client, Claim(expires))
        claim.released = False
        claim.expires = expires
        claim.version = version or claim.version
        self._tell()
        self._notify()

    def attach(self, client: ClientID) -> Claim:
        """Count an event stream of a client; a stream needs no hold (wire contract 7.3).

        Returns the claim, which the stream hands back when it ends.
        """
        self._expire()
        claim = self._clients.setdefault(client, Claim(math.inf))
        claim.streams += 1
        self._tell()
        self._notify()
        return claim

    def detach(self, client: ClientID, claim: Claim) -> None:
        """Count an event stream that has ended; the last one of a client starts its grace (7.4).

        If the client was retired meanwhile, the claim is no longer there and nothing happens (R3),
        also to the claim that it may have got since.
        """
        if self._clients.get(client) is not claim:
            return
        claim.streams -= 1
        if claim.streams == 0:
            grace = 0.0 if claim.released else self._settings.detach_grace
            claim.expires = trio.current_time() + grace
        self._expire()
        self._notify()

    def release(self, client: ClientID) -> None:
        """Let a client go once it has no stream (wire contract 7.5)."""
        self._expire()
        claim = self._clients.get(client)
        if claim is None:
            return
        if claim.streams:
            claim.released = True
        else:
            self._part(client)

    def retire(self, client: ClientID) -> None:
        """Let a client go at once, also with open streams (wire contract 7.6)."""
        self._expire()
        if client in self._clients:
            self._part(client)

    def _part(self, client: ClientID) -> None:
        del self._clients[client]
        self.goodbye = self.goodbye or not self._clients
        self._tell()
        self._notify()

    def linger(self) -> None:
        """Keep the workspace for as long as a hold, for whoever may come (wire contract 0, 5.8)."""
        until = trio.current_time() + self._settings.create_hold
        self._lingers_until = max(self._lingers_until, until)
        self._notify()

    def part_all(self) -> None:
        """Say goodbye for everybody: the server is closing the workspace."""
        self._clients.clear()
        self.goodbye = True
        self._notify()

    # --- presence --------------------------------------------------------------------

    def show(self, client: ClientID, session: str) -> bool:
        """Note which session a client shows; return False if it has no stream (R-09)."""
        claim = self._clients.get(client)
        if claim is None or claim.streams == 0:
            return False
        claim.session = session
        return True

    def showing(self, session: str) -> int:
        """Return how many clients with a stream show a session (wire contract 5.9)."""
        return sum(
            claim.streams > 0 and claim.session == session for claim in self._clients.values()
        )

    def clients(self) -> list[tuple[ClientID, str]]:
        """Return who has a claim, and what they called themselves."""
        return [(client, claim.version) for client, claim in self._clients.items()]

    def versions(self) -> list[str]:
        """Return what the present clients called themselves."""
        self._expire()
        return [claim.version for claim in self._clients.values() if claim.version]

    # --- work ------------------------------------------------------------------------

    def begin(self, work: object) -> None:
        """Count something that must be done before the workspace may close."""
        self._work.add(work)
        self._notify()

    def end(self, work: object) -> None:
        """Count work that is done; without any other claim the grace starts now."""
        if work not in self._work:
            return
        self._expire()
        self._work.discard(work)
        if not self._work and not self._clients:
            until = trio.current_time() + self._settings.detach_grace
            self._lingers_until = max(self._lingers_until, until)
        self._notify()

    # --- waiting ----------------------------------------------------------------------

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def _expire(self) -> None:
        """Forget the claims whose hold or grace is over."""
        now = trio.current_time()
        over = [
            client
            for client, claim in self._clients.items()
            if claim.streams == 0 and claim.expires <= now
        ]
        for client in over:
            del self._clients[client]
        if over:
            self._tell()

    def _ends_at(self) -> float:
        """Return when nobody will claim the workspace any more, if nothing changes."""
        if self.goodbye:
            return -math.inf
        if self._work or any(claim.streams for claim in self._clients.values()):
            return math.inf
        return max(
            self._lingers_until,
            *(claim.expires for claim in self._clients.values()),
            -math.inf,
        )

    async def wait_unclaimed(self) -> None:
        """Return once nobody has a claim and every grace is over, or after a goodbye.

        Decided by the state and not by who woke us: a claim that comes in the tick of a deadline
        counts (W2).
        """
        while trio.current_time() < (ends_at := self._ends_at()):
            with trio.move_on_at(ends_at):
                await self._changed.wait()
