"""A process that opens a store, for tests that kill it: ``child_process.py DIRECTORY ROLE``.

Each line on its standard output is a fact that its parent may rely on.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import trio

from crush_trio.ids import MessageID, SessionID
from crush_trio.messages import (
    STOP,
    Message,
    Reasoning,
    ReasoningPart,
    Text,
    TextPart,
    ToolCall,
    ToolCallPart,
)
from crush_trio.store import Store, open_store
from crush_trio.wire.events import Event


def say(line: object) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def ignore(event: Event) -> None:
    """Nobody reads events here."""


async def stream(store: Store) -> None:
    """Write an answer without end, saying after each commit how long it is by then."""
    await store.create_session("New Session", session_id=SessionID("s")).wait()
    question = Message(MessageID("u"), SessionID("s"), "user", (TextPart(Text("hi")), STOP))
    await store.create_message(question).wait()
    answer = Message(MessageID("a"), SessionID("s"), "assistant", (), "model", "provider")
    await store.create_message(answer).wait()
    await store.append_journal(answer.id, "reasoning", 0, "let me think").wait()
    thought = ReasoningPart(Reasoning("let me think", started_at=1))
    call = ToolCallPart(ToolCall("call", "bash", '{"comm'))
    said = ""
    while True:
        piece = f"{len(said)} "
        await store.append_journal(answer.id, "text", len(said), piece).wait()
        said += piece
        if len(said) % 7 == 0:
            parts = (thought, TextPart(Text(said)), call)
            answer = msgspec.structs.replace(answer, parts=parts)
            await store.update_message(answer, streaming=True).wait()
        say(len(said))


async def main(directory: str, role: str) -> None:
    async with open_store(Path(directory), ignore, version="9.9.9") as store:
        say("open")
        if role == "stream":
            await stream(store)
        elif role == "hold":
            await trio.sleep_forever()


trio.run(main, sys.argv[1], sys.argv[2])
