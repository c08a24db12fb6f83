"""The client: a server's vocabulary from the other side, typed, on Trio.

Synopsis::

    async with open_client() as client, client.open_workspace("/home/me/project") as workspace:
        session = await workspace.create_session("Fix the parser")
        result = await session.prompt("what does this project do?")

It knows the wire and no server; ``connect`` of :func:`open_client` makes it speak to one in the
same process.
"""

from __future__ import annotations

from crush_trio.client.client import Client, open_client
from crush_trio.client.connection import Connect
from crush_trio.client.events import EventStream
from crush_trio.client.lasting import LastingEvents
from crush_trio.client.session import SessionClient
from crush_trio.client.workspace import WorkspaceClient

__all__ = [
    "Client",
    "Connect",
    "EventStream",
    "LastingEvents",
    "SessionClient",
    "WorkspaceClient",
    "open_client",
]
