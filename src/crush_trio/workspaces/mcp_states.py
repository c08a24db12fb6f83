"""What clients are told of MCP servers while there is no client for them (wire contract 3.13).

A server that is configured has the state ``error`` with the reason, so that nobody waits for its
tools; one that is switched off is ``disabled``.
"""

from __future__ import annotations

from collections.abc import Mapping

from crush_trio.wire.config import MCPConfig
from crush_trio.wire.events import Event, MCPEvent
from crush_trio.wire.mcp import MCPClientInfo

NO_CLIENT = "this server cannot talk to MCP servers yet"


def mcp_states(configured: Mapping[str, MCPConfig]) -> dict[str, MCPClientInfo]:
    """Return the states of the configured servers, by name."""
    return {
        name: MCPClientInfo(name=name, state="disabled")
        if entry.disabled
        else MCPClientInfo(name=name, state="error", error=NO_CLIENT)
        for name, entry in sorted(configured.items())
    }


class ToldStates:
    """The states that the clients of one workspace know.

    Args:
        configured: The servers when it was opened.
    """

    def __init__(self, configured: Mapping[str, MCPConfig]) -> None:
        self._told = mcp_states(configured)

    def __repr__(self) -> str:
        return f"<ToldStates {list(self._told)}>"

    def follow(self, configured: Mapping[str, MCPConfig]) -> list[Event]:
        """Return what tells of the servers whose state has changed; one that is gone is disabled."""
        before, self._told = self._told, mcp_states(configured)
        gone = {name: MCPClientInfo(name=name, state="disabled") for name in before}
        now = gone | self._told
        return [_changed(now[name]) for name in sorted(now) if now[name] != before.get(name)]


def _changed(info: MCPClientInfo) -> Event:
    told = MCPEvent(type="state_changed", name=info.name, state=info.state, error=info.error)
    return Event("mcp_event", "updated", told)
