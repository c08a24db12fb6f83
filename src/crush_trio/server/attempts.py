"""How many wrong tokens a peer may show (A1). Counts in bounded memory, on Trio's clock.

Wrong ones only: the right token is always let in, or everybody on this machine, whose address they
all share, could lock its owner out. So this keeps guesses out of the log and makes them dear; that
they are hopeless is due to the token's length.
"""

from __future__ import annotations

import math
from ipaddress import IPv4Address, IPv6Network, ip_address

import trio

from crush_trio.settings import Settings

MOST_PEERS = 1024
"""Peers that are remembered; the one whose last failure is longest ago is forgotten first."""


class Attempts:
    """The failures of each peer, forgiven one by one as time goes by."""

    def __init__(self, settings: Settings) -> None:
        self._allowed = settings.token_failures
        self._pause = settings.token_pause
        self._owed: dict[str, tuple[float, float]] = {}

    def __repr__(self) -> str:
        return f"<Attempts of {len(self._owed)} peers>"

    def fail(self, host: str) -> int:
        """Note a wrong token from an IP address. Not a checkpoint.

        Returns:
            0, or the seconds until another failure is forgiven if there were too many.
        """
        peer, now = _peer(host), trio.current_time()
        owed, since = self._owed.pop(peer, (0.0, now))
        owed = max(0.0, owed - (now - since) / self._pause)
        excess = owed + 1 - self._allowed
        if excess <= 0:
            owed += 1
        self._owed[peer] = owed, now  # at the end: the order is that of the last failures
        if len(self._owed) > MOST_PEERS:
            del self._owed[next(iter(self._owed))]
        return math.ceil(excess * self._pause) if excess > 0 else 0


def _peer(host: str) -> str:
    """Return who is behind an address: of IPv6, everybody has a whole network of 64 bits."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    mapped = address if isinstance(address, IPv4Address) else address.ipv4_mapped
    return str(mapped or IPv6Network((int(address) >> 64 << 64, 64)))
