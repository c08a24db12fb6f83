"""What ``crush-trio watch`` does: a workspace's events, one line each."""

from __future__ import annotations

from datetime import datetime

import click

from crush_trio.addresses import Address
from crush_trio.cli.attaching import open_attached
from crush_trio.cli.exits import ExitCode
from crush_trio.cli.finding import SHORT, session_hash
from crush_trio.cli.following import call_line, outcome_of
from crush_trio.cli.output import printable
from crush_trio.client import LastingEvents
from crush_trio.messages import FinishPart
from crush_trio.wire.events import AgentEvent, Event, File, PermissionNotification, RunComplete
from crush_trio.wire.messages import WireMessage, WireToolCallPart, WireToolResultPart
from crush_trio.wire.permissions import PermissionRequest
from crush_trio.wire.sessions import Session
from crush_trio.wire.streams import TooOld

WIDTH = 200
"""Characters of a line, without its time."""


async def watch_workspace(cwd: str, host: Address | None, *, as_json: bool) -> ExitCode:
    """Print the events of the workspace at ``cwd`` until it closes, over lost connections too."""
    async with open_attached(host) as client:
        async with client.open_workspace(cwd, linger=True) as workspace:
            async with workspace.lasting_events() as events:
                click.echo(f"watching {workspace.info.path}", err=True)
                await (_print_lines(events) if as_json else _print_texts(events))
    click.echo("the server ended the stream", err=True)
    return ExitCode.OK


async def _print_lines(events: LastingEvents) -> None:
    while True:
        try:
            line = await events.receive_line()
        except StopAsyncIteration:
            return
        click.echo(line)


async def _print_texts(events: LastingEvents) -> None:
    async for event in events:
        if (text := event_line(event)) is not None:
            line = printable(" ".join(text.split()))
            short = line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"
            click.echo(f"{datetime.now().astimezone():%H:%M:%S}  {short}")


def event_line(event: Event) -> str | None:
    """Return an event for people; None for one that says nothing new, such as a streaming update."""
    payload = event.payload
    text: str | None = None
    match payload:
        case WireMessage():
            text = _message_text(payload)
        case RunComplete():
            text = f"run {payload.run_id} {outcome_of(payload)} {payload.error or ''}"
        case PermissionRequest():
            text = f"{payload.tool_name} asks: {payload.description}"
        case PermissionNotification() if payload.granted or payload.denied:
            text = f"{payload.tool_call_id} {'granted' if payload.granted else 'denied'}"
        case Session():
            text = f"session {event.change}: {payload.title}"
        case File():
            text = f"file {payload.path} version {payload.version}"
        case AgentEvent() if payload.error:
            text = f"error: {payload.error}"
        case TooOld():
            text = "what happened in between is not known here any more"
        case _:
            pass
    return f"{_session_name(payload)}  {text}" if text is not None else None


def _message_text(message: WireMessage) -> str | None:
    """Return what a complete message says, calls and answers."""
    if not any(isinstance(part, FinishPart) for part in message.parts):
        return None
    said = [message.text] if message.text else []
    for part in message.parts:
        match part:
            case WireToolCallPart(call):
                said.append(f"[{call_line(call.name, call.input)}]")
            case WireToolResultPart(result):
                said.append(f"[{result.name}] {result.content}")
            case FinishPart(finish) if finish.reason in {"error", "canceled"}:
                said.append(f"({finish.message or finish.reason})")
            case _:
                pass
    return f"{message.role}: {' '.join(said)}"


def _session_name(payload: object) -> str:
    """Return the short name of the session that a payload is about."""
    session_id = payload.id if isinstance(payload, Session) else getattr(payload, "session_id", "")
    return session_hash(session_id)[:SHORT] if session_id else "-" * SHORT
