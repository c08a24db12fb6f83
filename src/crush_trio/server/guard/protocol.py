"""Which HTTP a connection speaks: 1.1, or 2 if it begins with HTTP/2's preface."""

from __future__ import annotations

from typing import Any

from hypercorn.events import Event, RawData
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.h11 import H2ProtocolAssumedError

from crush_trio.server.guard.h1 import GuardedH11Protocol
from crush_trio.server.guard.h2 import GuardedH2Protocol


class GuardedProtocol(ProtocolWrapper):
    """Hypercorn's switch between its protocols, over our subclasses of them."""

    protocol: GuardedH11Protocol | GuardedH2Protocol

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._parts = parts
        self.protocol = GuardedH11Protocol(*parts)

    async def handle(self, event: Event) -> None:
        """Take what has arrived."""
        try:
            await self.protocol.handle(event)
        except H2ProtocolAssumedError as preface:
            self.protocol = GuardedH2Protocol(*self._parts)  # pyright: ignore[reportIncompatibleVariableOverride]  only we set it
            await self.protocol.initiate()
            await self.protocol.handle(RawData(preface.data))
