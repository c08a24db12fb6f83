"""Find the session or the workspace that the user means."""

from __future__ import annotations

import os
from pathlib import Path

import xxhash

from crush_trio.client import Client, WorkspaceClient
from crush_trio.errors import BadRequestError
from crush_trio.wire.sessions import Session

SHORT = 7
"""Characters of a session's hash that lists show (agent contract 8.5)."""


def session_hash(session_id: str) -> str:
    """Return the hash that stands for a session on the command line (wire contract 11.5)."""
    return xxhash.xxh3_64_hexdigest(session_id.encode())


async def find_session(workspace: WorkspaceClient, text: str) -> Session:
    """Return the session whose id or hash is, or begins with, ``text``.

    Raises:
        BadRequestError: there is none, or more than one.
    """
    sessions = await workspace.sessions()
    found = [session for session in sessions if session.id == text] or [
        session
        for session in sessions
        if text and (session.id.startswith(text) or session_hash(session.id).startswith(text))
    ]
    if len(found) == 1:
        return found[0]
    if found:
        which = ", ".join(f"{session_hash(session.id)[:12]} ({session.title})" for session in found)
        raise BadRequestError(f"session {text!r} may be any of {which}")
    if "$$" in text:
        raise BadRequestError(f"session {text!r} is a sub-agent's and cannot be used directly")
    raise BadRequestError(
        f"session {text!r} is not in {workspace.info.path}: 'crush-trio sessions' lists what is"
    )


async def find_last_session(workspace: WorkspaceClient) -> Session:
    """Return the session that was used last.

    Raises:
        BadRequestError: there is none.
    """
    sessions = await workspace.sessions()
    if not sessions:
        raise BadRequestError(f"there is no session to continue in {workspace.info.path}")
    return max(sessions, key=lambda session: session.updated_at)


async def find_workspace(client: Client, path: str) -> WorkspaceClient | None:
    """Return the workspace that is open at ``path``, without a claim on it; None if none is."""
    wanted = os.path.realpath(path)  # noqa: ASYNC240  local directories; the server does the same
    for info in await client.workspaces():
        if os.path.realpath(Path(info.path)) == wanted:  # noqa: ASYNC240
            return client.workspace(info)
    return None
