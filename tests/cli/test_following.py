"""Which events are a run's, and what its result is."""

from __future__ import annotations

import io
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from crush_trio.cli.following import Follower, call_line
from crush_trio.cli.output import Output
from crush_trio.messages import Finish, FinishPart, Text, TextPart
from crush_trio.wire.events import Event, RunComplete, run_complete_event
from crush_trio.wire.messages import WireMessage, WireToolCall, WireToolCallPart


class Shown(Output):
    """An output that keeps what it was shown."""

    def __init__(self, out: int) -> None:
        super().__init__(out=out, err=io.StringIO(), progress=False)
        self.texts: list[str] = []

    def show(self, message_id: str, text: str, *, final: bool = False) -> None:
        self.texts.append(text)
        super().show(message_id, text, final=final)


@pytest.fixture
def output() -> Generator[Shown]:
    """An output to nowhere."""
    null = os.open(os.devnull, os.O_WRONLY)
    yield Shown(null)
    os.close(null)


def message(role: str, text: str, finish: str | None = None, **fields: Any) -> WireMessage:
    parts: tuple[Any, ...] = (TextPart(Text(text)),)
    if finish is not None:
        parts = (*parts, FinishPart(Finish(finish, message="why", details="because")))
    return WireMessage(parts, fields.pop("id", text), role, fields.pop("session_id", "s"), **fields)


def event(message: WireMessage) -> Event:
    return Event("message", "created", message)


def test_only_what_follows_the_own_prompt_is_printed(output: Shown) -> None:
    """A continued session may be busy with somebody else's prompt first (R12)."""
    follower = Follower("s", "r", "mine", output, frozenset({"old"}))
    for told in [
        message("assistant", "another's answer"),
        message("user", "mine", id="old"),
        message("assistant", "still another's"),
        message("user", "mine", id="new"),
        message("assistant", "my answer"),
        message("assistant", "elsewhere", session_id="other"),
        message("assistant", "summary", is_summary_message=True),
        message("tool", "tool result"),
    ]:
        follower.take(event(told))
    assert output.texts == ["my answer"]


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        (RunComplete("s", "r", "m", text="hi"), "completed"),
        (RunComplete("s", "r", "m", error="no"), "failed"),
        (RunComplete("s", "r", "m", error="no", cancelled=True), "cancelled"),
    ],
)
def test_the_runs_own_end_is_the_result(output: Shown, end: RunComplete, outcome: str) -> None:
    """R14: another run's end is not ours; R4: an error beside a cancel is no failure."""
    follower = Follower("s", "r", "mine", output)
    assert follower.take(run_complete_event(RunComplete("s", "another", "m"))) is None
    result = follower.take(run_complete_event(end))
    assert result is not None
    assert (result.outcome, result.run_id, result.session_id) == (outcome, "r", "s")


def test_an_answer_that_no_event_brought_is_printed_at_the_end(output: Shown) -> None:
    """The end of a run carries its text, so nothing is lost if its prompt was not recognised."""
    follower = Follower("s", "r", "mine", output, frozenset())
    follower.take(run_complete_event(RunComplete("s", "r", "m", text="hi")))
    assert output.texts == ["hi"]


def test_stored_messages_end_with_the_run(output: Shown) -> None:
    """What the next prompt brought is not this run's."""
    follower = Follower("s", "r", "mine", output, frozenset())
    mine = follower.take_stored(
        [
            message("user", "another's"),
            message("assistant", "another answer", "end_turn"),
            message("user", "mine"),
            message("assistant", "calling", "tool_use"),
            message("tool", "result"),
            message("assistant", "done", "end_turn"),
            message("user", "next"),
            message("assistant", "next answer", "end_turn"),
        ]
    )
    assert output.texts == ["calling", "done"]
    assert (follower.stored_result(mine).text, follower.stored_result(mine).outcome) == (
        "done",
        "completed",
    )


@pytest.mark.parametrize(
    ("finish", "outcome", "error"),
    [
        ("end_turn", "completed", None),
        ("canceled", "cancelled", None),
        ("error", "failed", "why: because"),
        (None, "failed", "the server lost the run"),
    ],
)
def test_a_stored_finish_tells_the_outcome(
    output: Shown, finish: str | None, outcome: str, error: str | None
) -> None:
    """After a restart the store is all there is; what it calls interrupted has failed (C1)."""
    follower = Follower("s", "r", "mine", output, frozenset())
    result = follower.stored_result([message("user", "mine"), message("assistant", "a", finish)])
    assert (result.outcome, result.error or None) == (outcome, error)


def test_permissions_of_the_run_and_its_sub_agents_are_its_own(output: Shown) -> None:
    """A sub-agent asks under its own session, which is named after the message that made it."""
    follower = Follower("s", "r", "mine", output)
    follower.take(event(message("assistant", "calling", id="m1")))
    assert follower.asks("s")
    assert follower.asks("m1$$call")
    assert not follower.asks("m2$$call")
    assert not follower.asks("other")


def test_a_tool_call_is_told_once(tmp_path: Path) -> None:
    """Each snapshot repeats the calls before it."""
    call = WireToolCallPart(WireToolCall("c1", "bash", '{"command": "ls -l"}', finished=True))
    err = io.StringIO()
    with (tmp_path / "out").open("wb") as file:
        follower = Follower("s", "r", "p", Output(out=file.fileno(), err=err, progress=True))
        for _ in range(2):
            follower.take(event(WireMessage((call,), "m", "assistant", "s")))
    assert err.getvalue().count("bash: ls -l") == 1


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ('{"path": "a\\nb", "x": 1}', "view: a b"),
        ('{"todos": [{"content": "\u00e4"}]}', 'view: [{"content": "\u00e4"}]'),
        ("{}", "view"),
        ("[1", "view: [1"),
        ("", "view"),
    ],
)
def test_a_call_is_told_in_one_line(arguments: str, line: str) -> None:
    """Arguments are what a model wrote: anything."""
    assert call_line("view", arguments) == line
