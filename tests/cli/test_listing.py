"""What sessions, receipts and events look like to people."""

from __future__ import annotations

import json

import msgspec
import pytest
import trio

from crush_trio.cli.cancelling import describe
from crush_trio.cli.finding import find_session, session_hash
from crush_trio.cli.listing import to_json, to_text
from crush_trio.cli.watching import event_line
from crush_trio.client import open_client
from crush_trio.errors import BadRequestError
from crush_trio.messages import Finish, FinishPart, Text, TextPart
from crush_trio.wire.events import AgentEvent, Event, PermissionNotification, RunComplete
from crush_trio.wire.messages import WireMessage, WireToolCall, WireToolCallPart
from crush_trio.wire.runs import CancelReceipt, CoveredRun
from crush_trio.wire.sessions import Session
from twin_kit import open_twin

SESSION = Session(id="s1", title="Fix\n\x1b[2Jit", created_at=1, updated_at=86400, is_busy=True)
SHORT = session_hash("s1")[:7]


def test_a_session_is_one_line() -> None:
    """A title is a model's or a stranger's text, and must not steer the terminal."""
    assert to_text([SESSION]).startswith(f"{SHORT}  19")
    assert to_text([SESSION]).endswith("busy  Fix \\x1b[2Jit")


def test_sessions_as_json_have_crushs_shape() -> None:
    """Agent contract 8.5, and whether they are busy."""
    assert json.loads(to_json([SESSION])) == [
        {
            "id": session_hash("s1"),
            "uuid": "s1",
            "title": "Fix\n\x1b[2Jit",
            "created": "1970-01-01T00:00:01Z",
            "modified": "1970-01-02T00:00:00Z",
            "busy": True,
        }
    ]


def test_the_session_hash_is_crushs() -> None:
    """XXH3 with 64 bits and seed 0 (wire contract 11.5)."""
    assert session_hash("") == "2d06800538d394c2"


def test_a_receipt_names_its_runs() -> None:
    """R15; and R6: cancelling an idle session says so."""
    runs = (CoveredRun("r1", "cancelled"), CoveredRun("r2", None))
    assert describe(CancelReceipt(runs, settled=False)) == "r1  cancelled\nr2  cancelling"
    assert describe(CancelReceipt((), settled=True)) == "nothing to cancel"


@pytest.mark.parametrize(
    ("payload", "line"),
    [
        (WireMessage((TextPart(Text("partial")),), "m", "assistant", "s1"), None),
        (
            WireMessage(
                (
                    TextPart(Text("Look:")),
                    WireToolCallPart(WireToolCall("c", "bash", '{"command":"ls"}', finished=True)),
                    FinishPart(Finish("canceled")),
                ),
                "m",
                "assistant",
                "s1",
            ),
            f"{SHORT}  assistant: Look: [bash: ls] (canceled)",
        ),
        (RunComplete("s1", "r", error="no"), f"{SHORT}  run r failed no"),
        (PermissionNotification("c", granted=False, denied=False), None),
        (PermissionNotification("c", granted=True, denied=False), "-------  c granted"),
        (AgentEvent(type="agent_finished", session_id="s1"), None),
        (AgentEvent(type="error", error="broken", session_id="s1"), f"{SHORT}  error: broken"),
        (SESSION, f"{SHORT}  session updated: Fix\n\x1b[2Jit"),
    ],
)
def test_an_event_is_one_line_or_none(payload: msgspec.Struct, line: str | None) -> None:
    """Streaming updates say nothing that the finished message does not say."""
    found = event_line(Event("any", "updated", payload))
    assert (found.strip() if found is not None else None) == line


async def test_an_ambiguous_session_is_refused_with_the_candidates() -> None:
    """To guess would be to prompt, or to cancel, the wrong one."""
    with trio.fail_after(5):
        async with open_twin() as twin, open_client(connect=twin.connect) as client:
            for session_id in ("abc-1", "abc-2"):
                twin.sessions[session_id] = Session(id=session_id, title=f"title {session_id}")
            async with client.open_workspace("/work") as workspace:
                with pytest.raises(BadRequestError, match=r"title abc-1.*title abc-2"):
                    await find_session(workspace, "abc")
                assert (await find_session(workspace, "abc-2")).id == "abc-2"
                by_hash = await find_session(workspace, session_hash("abc-1")[:9])
                assert by_hash.id == "abc-1"
