"""The client: a server's vocabulary from the other side, typed, on Trio.

Synopsis::

    async with open_client() as client, client.open_workspace("/home/me/project") as workspace:
        session = await workspace.create_session("Fix the parser")
        result = await session.prompt("what does this project do?")

It knows the wire and no server; ``connect`` of :func:`open_client` makes it speak to one in the
same process. A program on AnyIO can use it where AnyIO runs on Trio; on asyncio it cannot run.
"""

from __future__ import annotations

from crush_trio.client.client import Client, open_client
from crush_trio.client.connection import Connect
from crush_trio.client.events import EventStream
from crush_trio.client.lasting import LastingEvents
from crush_trio.client.lsp import LSPClient
from crush_trio.client.mcp import MCPClient
from crush_trio.client.project import ProjectClient
from crush_trio.client.session import SessionClient
from crush_trio.client.settings import SettingsClient
from crush_trio.client.workspace import WorkspaceClient

__all__ = [
    "Client",
    "Connect",
    "EventStream",
    "LSPClient",
    "LastingEvents",
    "MCPClient",
    "ProjectClient",
    "SessionClient",
    "SettingsClient",
    "WorkspaceClient",
    "open_client",
]
