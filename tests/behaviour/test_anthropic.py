"""A whole server whose model is behind Anthropic's form: from ``crush.json`` to the bytes on a socket."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from crush_trio.server.serve import open_provider
from crush_trio.wire.messages import WireMessage, WireReasoningPart
from wire_kit import open_wire, response
from world_kit import open_served_world

KEY = "sk-ant-of-this-test"


def events(*found: dict[str, Any]) -> bytes:
    return response(b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in found))


def start(index: int, **block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def grow(index: int, **delta: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": delta}


def stop(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def ending(reason: str) -> dict[str, Any]:
    usage = {"output_tokens": 30}
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage}


def said(text: str) -> bytes:
    return events(
        BEGIN,
        start(0, type="text", text=""),
        grow(0, type="text_delta", text=text),
        stop(0),
        ending("end_turn"),
        END,
    )


BEGIN = {
    "type": "message_start",
    "message": {"usage": {"input_tokens": 100, "cache_read_input_tokens": 900}},
}
END = {"type": "message_stop"}
CALLING = events(
    BEGIN,
    start(0, type="thinking", thinking=""),
    grow(0, type="thinking_delta", thinking="I look first."),
    grow(0, type="signature_delta", signature="c2lnbmVk"),
    stop(0),
    start(1, type="tool_use", id="toolu_1", name="ls", input={}),
    grow(1, type="input_json_delta", partial_json="{}"),
    stop(1),
    ending("tool_use"),
    END,
)


def document(base_url: str) -> dict[str, Any]:
    model = {
        "id": "claude-x",
        "name": "Claude X",
        "context_window": 200_000,
        "default_max_tokens": 8000,
        "cost_per_1m_out": 10,
    }
    claude = {"type": "anthropic", "base_url": base_url, "api_key": KEY, "models": [model]}
    large = {"provider": "claude", "model": "claude-x", "think": True}
    return {"providers": {"claude": claude}, "models": {"large": large}}


@pytest.mark.promise("R9", "R14")
async def test_a_turn_with_thinking_and_a_tool(tmp_path: Path) -> None:
    """What was thought is shown, stored with its signature and sent back with the tool's result."""
    turn = iter([CALLING, said("Here.")])

    async def by_request(stream: trio.SocketStream) -> None:
        is_title = b'"tools":' not in wire.requests[-1][1]
        await stream.send_all(said("A title") if is_title else next(turn))

    async with open_wire(*[by_request] * 3) as wire:
        async with open_served_world(
            tmp_path, document=document(wire.base_url), open_provider=open_provider
        ) as world:
            async with (
                world.client() as client,
                client.open_workspace(str(world.directory), yolo=True) as workspace,
            ):
                assert (await workspace.agent()).is_ready
                session = await workspace.create_session("s")
                result = await session.prompt("look around")
                assert (result.outcome, result.text) == ("completed", "Here.")
                messages = await session.messages()
                stored = await session.get()
    bodies = [json.loads(body) for _, body in wire.requests]
    turns = [body for body in bodies if body.get("tools")]
    assert all(f"x-api-key: {KEY}" in head for head, _ in wire.requests)
    assert thought(messages[1]) == ("I look first.", "c2lnbmVk")
    first, second = turns
    assert first["thinking"] == {"type": "enabled", "budget_tokens": 2000}
    assert second["messages"][-2]["content"][:2] == [
        {"type": "thinking", "thinking": "I look first.", "signature": "c2lnbmVk"},
        {
            "type": "tool_use",
            "id": "toolu_1",
            "name": "ls",
            "input": {},
            "cache_control": {"type": "ephemeral"},
        },
    ]
    answered = second["messages"][-1]["content"][0]
    assert (answered["type"], answered["tool_use_id"]) == ("tool_result", "toolu_1")
    assert (stored.prompt_tokens, stored.completion_tokens) == (1000, 30)
    assert stored.cost >= 2 * 30 * 10 / 1e6  # and the title's


def thought(message: WireMessage) -> tuple[str, str]:
    """Return reasoning and signature of an answer."""
    (part,) = (part.data for part in message.parts if isinstance(part, WireReasoningPart))
    return part.thinking, part.signature
