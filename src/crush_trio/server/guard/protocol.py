"""Which HTTP a connection speaks: 2 if TLS has agreed on it or it begins with its preface; else 1.1."""

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

    def __init__(self, *parts: Any, agreed: str | None = None) -> None:
        super().__init__(*parts)
        self._parts = parts
        chosen = GuardedH2Protocol if agreed == "h2" else GuardedH11Protocol
        self.protocol = chosen(*parts)

    async def handle(self, event: Event) -> None:
        """Take what has arrived."""
        try:
            await self.protocol.handle(event)
        except H2ProtocolAssumedError as preface:
            self.protocol = GuardedH2Protocol(*self._parts)  # pyright: ignore[reportIncompatibleVariableOverride]  only we set it
            await self.protocol.initiate()
            await self.protocol.handle(RawData(preface.data))
