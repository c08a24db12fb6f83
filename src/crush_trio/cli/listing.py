"""What ``crush-trio sessions`` does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import click

from crush_trio.addresses import Address
from crush_trio.cli.attaching import open_attached
from crush_trio.cli.exits import ExitCode
from crush_trio.cli.finding import SHORT, session_hash
from crush_trio.cli.output import printable
from crush_trio.wire.sessions import Session


async def list_sessions(cwd: str, host: Address | None, *, as_json: bool) -> ExitCode:
    """Print the sessions of the directory ``cwd``, the last used first."""
    async with open_attached(host) as client:
        async with client.open_workspace(cwd, linger=True) as workspace:
            found = await workspace.sessions()
    click.echo(to_json(found) if as_json else to_text(found), nl=bool(found) or as_json)
    return ExitCode.OK


def to_text(sessions: Sequence[Session]) -> str:
    """Return one line for each session: hash, time of the last change, state, title."""
    return "\n".join(
        f"{session_hash(session.id)[:SHORT]}  "
        f"{_time(session.updated_at).astimezone():%Y-%m-%d %H:%M}  "
        f"{'busy' if session.is_busy else 'idle'}  "
        f"{printable(' '.join(session.title.split()))}"
        for session in sessions
    )


def to_json(sessions: Sequence[Session]) -> str:
    """Return the sessions in the shape of agent contract 8.5, and whether they are busy."""
    rows = [
        {
            "id": session_hash(session.id),
            "uuid": session.id,
            "title": session.title,
            "created": f"{_time(session.created_at):%Y-%m-%dT%H:%M:%SZ}",
            "modified": f"{_time(session.updated_at):%Y-%m-%dT%H:%M:%SZ}",
            "busy": session.is_busy,
        }
        for session in sessions
    ]
    return json.dumps(rows, ensure_ascii=False, indent=2)


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
