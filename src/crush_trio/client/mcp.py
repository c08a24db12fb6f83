"""The MCP servers of a workspace, from the client's side."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from crush_trio.client.transport import Transport
from crush_trio.wire.mcp import (
    AuthURL,
    GetPrompt,
    MCPClientInfo,
    MCPName,
    MCPPrompt,
    PendingAuth,
    PromptText,
    ReadResource,
    ResourceContents,
)


class MCPClient:
    """MCP servers. Use ``WorkspaceClient.mcp``; methods raise as those of ``WorkspaceClient``."""

    def __init__(self, transport: Transport, workspace_path: str) -> None:
        self._transport = transport
        self._path = f"{workspace_path}/mcp"

    async def states(self) -> dict[str, MCPClientInfo]:
        """Return the state of each server, by name."""
        answer = await self._transport.call("GET", f"{self._path}/states")
        return answer.decode(dict[str, MCPClientInfo])

    async def prompts(self) -> list[MCPPrompt]:
        """Return the prompts that servers offer."""
        answer = await self._transport.call("GET", f"{self._path}/prompts")
        return answer.decode_list(MCPPrompt)

    async def get_prompt(
        self, server: str, prompt_id: str, args: Mapping[str, str] | None = None
    ) -> str:
        """Return a prompt's text, filled in."""
        body = GetPrompt(server, prompt_id, dict(args or {}))
        answer = await self._transport.call("POST", f"{self._path}/get-prompt", body=body)
        return answer.decode(PromptText).prompt

    async def read_resource(self, server: str, uri: str) -> list[ResourceContents]:
        """Return what a resource holds."""
        body = ReadResource(server, uri)
        answer = await self._transport.call("POST", f"{self._path}/read-resource", body=body)
        return answer.decode_list(ResourceContents)

    async def refresh_tools(self, server: str) -> None:
        """Let the agent ask a server for its tools again."""
        await self._post("refresh-tools", MCPName(server))

    async def refresh_prompts(self, server: str) -> None:
        """Let the workspace ask a server for its prompts again."""
        await self._post("refresh-prompts", MCPName(server))

    async def refresh_resources(self, server: str) -> None:
        """Let the workspace ask a server for its resources again."""
        await self._post("refresh-resources", MCPName(server))

    async def pending_auth(self) -> list[PendingAuth]:
        """Return the servers that need a login."""
        answer = await self._transport.call("GET", f"{self._path}/pending-auth")
        return answer.decode_list(PendingAuth)

    async def auth(self, server: str) -> None:
        """Log in to a server: waits for somebody who opens :meth:`auth_url` in a browser."""
        await self._post("auth", MCPName(server))

    async def auth_url(self, server: str) -> str | None:
        """Return where a login that runs wants a browser to go; None while it does not."""
        query = {"name": server}
        answer = await self._transport.call("GET", f"{self._path}/auth-url", query=query)
        url = answer.decode(AuthURL).auth_url
        return None if url is msgspec.UNSET else url

    async def enable_docker(self) -> None:
        """Use Docker's MCP servers."""
        await self._post("docker/enable")

    async def disable_docker(self) -> None:
        """Use Docker's MCP servers no more."""
        await self._post("docker/disable")

    async def _post(self, what: str, body: msgspec.Struct | None = None) -> None:
        await self._transport.call("POST", f"{self._path}/{what}", body=body)
