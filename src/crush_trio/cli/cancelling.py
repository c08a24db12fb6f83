"""What ``crush-trio cancel`` does."""

from __future__ import annotations

import click
import msgspec

from crush_trio.addresses import Address
from crush_trio.cli.attaching import open_attached
from crush_trio.cli.exits import ExitCode
from crush_trio.cli.finding import SHORT, find_session, find_workspace, session_hash
from crush_trio.client import WorkspaceClient
from crush_trio.errors import BadRequestError
from crush_trio.wire.runs import CancelReceipt

WAIT = 60
"""Seconds that ``--wait`` waits: many times what a cancel may take (2 s of grace and 5 s of writing)."""


async def cancel_session(
    session: str | None, cwd: str, host: Address | None, *, wait: bool, as_json: bool
) -> ExitCode:
    """Cancel a session's runs and print the receipt. Opens no workspace and starts no server.

    Raises:
        BadRequestError: it is not clear which session is meant.
        ServerUnavailableError: no server answers.
    """
    receipt = CancelReceipt((), settled=True)
    async with open_attached(host, start=False) as client:
        workspace = await find_workspace(client, cwd)
        if workspace is None and session is not None:
            raise BadRequestError(f"no workspace is open at {cwd}, so nothing of it runs")
        chosen = await _choose(workspace, session) if workspace is not None else None
        if workspace is not None and chosen is not None:
            receipt = await workspace.session(chosen).cancel(wait=WAIT if wait else None)
    click.echo(msgspec.json.encode(receipt).decode() if as_json else describe(receipt))
    return ExitCode.OK if receipt.settled or not wait else ExitCode.FAILED


async def _choose(workspace: WorkspaceClient, text: str | None) -> str | None:
    """Return the session that is meant; None if none was named and none is busy."""
    if text is not None:
        return (await find_session(workspace, text)).id
    busy = [session for session in await workspace.sessions() if session.is_busy]
    if len(busy) > 1:
        which = ", ".join(f"{session_hash(one.id)[:SHORT]} ({one.title})" for one in busy)
        raise BadRequestError(f"several sessions are busy, say which one: {which}")
    return busy[0].id if busy else None


def describe(receipt: CancelReceipt) -> str:
    """Return a receipt for people: one line for each run."""
    if not receipt.runs:
        return "nothing to cancel"
    return "\n".join(f"{run.run_id}  {run.outcome or 'cancelling'}" for run in receipt.runs)
