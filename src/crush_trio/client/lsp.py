"""The language servers of a workspace, from the client's side."""

from __future__ import annotations

from typing import Any

from crush_trio.client.transport import Transport, segment
from crush_trio.wire.lsp import LSPClientInfo, StartLSP


class LSPClient:
    """Language servers. Use ``WorkspaceClient.lsp``; methods raise as those of ``WorkspaceClient``."""

    def __init__(self, transport: Transport, workspace_path: str) -> None:
        self._transport = transport
        self._path = f"{workspace_path}/lsps"

    async def states(self) -> dict[str, LSPClientInfo]:
        """Return the state of each server, by name."""
        answer = await self._transport.call("GET", self._path)
        return answer.decode(dict[str, LSPClientInfo])

    async def diagnostics(self, name: str) -> dict[str, Any]:
        """Return what a server says of documents, by their URIs."""
        answer = await self._transport.call("GET", f"{self._path}/{segment(name)}/diagnostics")
        return answer.decode(dict[str, Any])

    async def start(self, path: str) -> None:
        """Start what handles a file, by its absolute path."""
        await self._transport.call("POST", f"{self._path}/start", body=StartLSP(path))

    async def stop(self) -> None:
        """Stop all of them."""
        await self._transport.call("POST", f"{self._path}/stop")
