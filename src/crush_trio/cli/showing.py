"""What ``crush-trio session`` does: show, rename and delete stored conversations."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import click
import msgspec

from crush_trio.addresses import Address
from crush_trio.cli.attaching import open_attached
from crush_trio.cli.exits import ExitCode
from crush_trio.cli.finding import SHORT, find_last_session, find_session, session_hash
from crush_trio.cli.following import call_line
from crush_trio.cli.output import printable
from crush_trio.messages import (
    BinaryPart,
    FinishPart,
    ImageURLPart,
    ShellCommandPart,
    TextPart,
)
from crush_trio.wire.messages import (
    WireMessage,
    WirePart,
    WireReasoningPart,
    WireToolCallPart,
    WireToolResultPart,
)
from crush_trio.wire.sessions import Session


class _Resource(msgspec.Struct, frozen=True):
    """What the metadata of ``view`` tells of a file that is more than a file."""

    resource_type: str = ""
    resource_name: str = ""
    resource_description: str = ""


async def show_session(
    cwd: str, host: Address | None, which: str | None, *, as_json: bool
) -> ExitCode:
    """Print a session of the directory ``cwd`` with its messages; the last used one if None.

    Raises:
        BadRequestError: there is no such session, or more than one.
    """
    async with open_attached(host) as client:
        async with client.open_workspace(cwd, linger=True) as workspace:
            found = await (
                find_last_session(workspace) if which is None else find_session(workspace, which)
            )
            messages = await workspace.session(found.id).messages()
    click.echo(to_json(found, messages) if as_json else to_text(found, messages))
    return ExitCode.OK


async def rename_session(
    cwd: str, host: Address | None, which: str, title: str, *, as_json: bool
) -> ExitCode:
    """Give a session of the directory ``cwd`` another title.

    Raises:
        BadRequestError: there is no such session, or more than one.
    """
    async with open_attached(host) as client:
        async with client.open_workspace(cwd, linger=True) as workspace:
            found = await find_session(workspace, which)
            renamed = await workspace.session(found.id).rename(title)
    click.echo(_receipt(renamed, "renamed", as_json=as_json))
    return ExitCode.OK


async def delete_session(cwd: str, host: Address | None, which: str, *, as_json: bool) -> ExitCode:
    """Delete a session of the directory ``cwd``; its runs are cancelled first.

    Raises:
        BadRequestError: there is no such session, or more than one.
    """
    async with open_attached(host) as client:
        async with client.open_workspace(cwd, linger=True) as workspace:
            found = await find_session(workspace, which)
            await workspace.session(found.id).delete()
    click.echo(_receipt(found, "deleted", as_json=as_json))
    return ExitCode.OK


def _receipt(session: Session, done: str, *, as_json: bool) -> str:
    named = session_hash(session.id)
    if as_json:
        told = {"id": named, "uuid": session.id, "title": session.title, done: True}
        return json.dumps(told, ensure_ascii=False)
    return f"{done} {named[:SHORT]}  {printable(' '.join(session.title.split()))}"


# --- JSON (agent contract 8.5) --------------------------------------------------------------


def to_json(session: Session, messages: Sequence[WireMessage]) -> str:
    """Return a session in the shape of agent contract 8.5."""
    meta = {
        "id": session_hash(session.id),
        "uuid": session.id,
        "title": session.title,
        "created": _moment(session.created_at),
        "modified": _moment(session.updated_at),
        "cost": session.cost,
        "prompt_tokens": session.prompt_tokens,
        "completion_tokens": session.completion_tokens,
        "total_tokens": session.prompt_tokens + session.completion_tokens,
        "skills": _skills(messages),
    }
    told = {"meta": meta, "messages": [_message(message) for message in messages]}
    return json.dumps(told, ensure_ascii=False, indent=2)


def _skills(messages: Sequence[WireMessage]) -> list[dict[str, str]]:
    """Return the skills that were loaded, each when it was for the first time (agent contract 2.6)."""
    found: dict[str, dict[str, str]] = {}
    for message in messages:
        for part in message.parts:
            if not isinstance(part, WireToolResultPart):
                continue
            about = _about(part.data.metadata)
            if about.resource_type == "skill":
                told = {"name": about.resource_name, "description": about.resource_description}
                told["loaded_at"] = _moment(message.created_at)
                found.setdefault(about.resource_name, told)
    return list(found.values())


def _about(metadata: str) -> _Resource:
    try:
        return msgspec.json.decode(metadata, type=_Resource)
    except msgspec.MsgspecError:  # a tool may tell clients anything
        return _Resource()


def _message(message: WireMessage) -> dict[str, Any]:
    return _full(
        id=message.id,
        role=message.role,
        created=_moment(message.created_at),
        model=message.model,
        provider=message.provider,
        parts=[_part(part) for part in message.parts],
    )


def _part(part: WirePart) -> dict[str, Any]:
    """Return a part by its own names; of a shell command also an exit code that is 0."""
    told: dict[str, Any]
    match part:
        case TextPart(data):
            told = {"type": "text", "text": data.text}
        case WireReasoningPart(data):
            times = {"started_at": data.started_at, "finished_at": data.finished_at}
            told = {"type": "reasoning", "thinking": data.thinking, **times}
        case WireToolCallPart(data):
            told = {"tool_call_id": data.id, "name": data.name, "input": data.input}
            told = {"type": "tool_call", **told}
        case WireToolResultPart(data):
            told = {"type": "tool_result", "tool_call_id": data.tool_call_id, "name": data.name}
            told |= {"content": data.content, "is_error": data.is_error}
        case BinaryPart(data):
            size = len(data.data or b"")
            told = {"type": "binary", "mime_type": data.mime_type, "size": size}
        case ImageURLPart(data):
            told = {"type": "image_url", "url": data.url}
        case ShellCommandPart(data):
            told = {"type": "shell_command", "command": data.command, "output": data.output}
            return {**_full(**told), "exit_code": data.exit_code}
        case FinishPart(data):
            told = {"type": "finish", "reason": data.reason, "time": data.time}
    return _full(**told)


def _full(**members: Any) -> dict[str, Any]:
    """Return the members that are not empty."""
    return {
        name: value
        for name, value in members.items()
        if value is not msgspec.UNSET and value not in ("", 0, False, [])
    }


def _moment(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


# --- text ---------------------------------------------------------------------------------------


def to_text(session: Session, messages: Sequence[WireMessage]) -> str:
    """Return a session for people: its title, then what was said and done, oldest first."""
    title = " ".join(session.title.split())
    lines = [f"{session_hash(session.id)[:SHORT]}  {_moment(session.created_at)}  {title}"]
    for message in messages:
        said = list(_lines(message))
        if said:
            lines += ["", *said]
    return printable("\n".join(lines))


def _lines(message: WireMessage) -> Iterator[str]:
    who = "you" if message.role == "user" else message.model or message.role
    for part in message.parts:
        match part:
            case TextPart(data) if data.text.strip():
                yield f"[{who}] {data.text.strip()}"
            case WireToolCallPart(data):
                yield call_line(data.name, data.input)
            case WireToolResultPart(data) if data.is_error:
                yield f"  failed: {data.content.strip()}"
            case ShellCommandPart(data):
                yield f"[{who}] $ {data.command}\n{data.output.rstrip()}"
            case BinaryPart(data):
                yield f"[{who}] attached {data.path} ({data.mime_type})"
            case FinishPart(data) if data.reason in {"error", "canceled"}:
                yield f"  {data.reason}: {data.message or ''}".rstrip(": ")
            case _:
                pass
