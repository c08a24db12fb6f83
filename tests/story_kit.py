"""Short words for what a monitor may hear, and a list of histories told with them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest

from crush_trio.messages import Finish, FinishPart, Text, TextPart
from crush_trio.monitor import Monitor
from crush_trio.wire.events import (
    Event,
    PermissionNotification,
    QuestionNotification,
    RunComplete,
)
from crush_trio.wire.messages import (
    WireMessage,
    WireToolCall,
    WireToolCallPart,
    WireToolResult,
    WireToolResultPart,
)
from crush_trio.wire.numbering import mark
from crush_trio.wire.permissions import PermissionRequest
from crush_trio.wire.questions import QuestionRequest
from crush_trio.wire.runs import Outcome

FINISH = FinishPart(Finish("end_turn", 1))


@attrs.define(eq=False)
class Runner:
    """A run as the monitor sees it."""

    id: str
    session_id: str = "s"
    owner: object = None
    own_turn: bool = True
    quiet: bool = False
    outcome: Outcome | None = None
    message_id: str = ""
    text: str = ""


@attrs.define(eq=False)
class Log:
    """A hub as the monitor sees it."""

    first_id: int = 1
    closed: bool = False
    last: int = 0


@attrs.define(eq=False)
class Reader:
    """Somebody with a place in a log."""


@attrs.define(eq=False)
class Gate:
    """A permission gate."""


@attrs.define(eq=False)
class Story:
    """A monitor, and short words for what it may hear."""

    monitor: Monitor = attrs.field(factory=Monitor)
    hub: Log = attrs.field(factory=Log)
    gate: Gate = attrs.field(factory=Gate)
    place: object = attrs.field(factory=object)
    lane: object = attrs.field(factory=object)

    def __attrs_post_init__(self) -> None:
        self.monitor.workspace_opened(self.place, Path("/somewhere"), self.hub)

    # --- runs

    def accept(self, name: str = "r", *, lane: object = None, **fields: Any) -> Runner:
        fields.setdefault("owner", self.place)
        run = Runner(name, **fields)
        self.monitor.accepted(lane or self.lane, run)
        return run

    def begin(self, name: str = "r", **fields: Any) -> Runner:
        run = self.accept(name, **fields)
        self.monitor.started(run)
        return run

    def conclude(self, run: Runner, outcome: Outcome = "completed") -> None:
        self.monitor.unwound(run)
        run.outcome = outcome
        self.monitor.concluded(run)

    def tell_end(self, run: Runner, message_id: str = "", text: str = "") -> None:
        self.monitor.left(run)
        cancelled = run.outcome == "cancelled"
        self.publish(
            Event(
                "run_complete",
                "updated",
                RunComplete("s", run.id, message_id, text, cancelled=cancelled),
            )
        )

    def settle(self, run: Runner, message_id: str = "", text: str = "") -> None:
        self.tell_end(run, message_id, text)
        self.monitor.settled(run)

    def end(self, run: Runner, outcome: Outcome = "completed", **said: str) -> None:
        self.conclude(run, outcome)
        self.settle(run, **said)

    def cancel(self, *covered: Runner, spared: tuple[Runner, ...] = ()) -> None:
        self.monitor.cancelled(self.lane, covered, spared)

    # --- events

    def publish(self, event: Event, number: int = 0) -> Event:
        self.hub.last = number or self.hub.last + 1
        self.monitor.published(self.hub, self.hub.last, event)
        return event

    def say(
        self,
        name: str,
        *parts: Any,
        change: Any = "created",
        role: str = "assistant",
        streaming: bool = False,
    ) -> Event:
        message = WireMessage(parts, name, role, "s")
        key = name if change == "updated" else None
        return self.publish(Event("message", change, message, message_id=key, streaming=streaming))

    def snapshot(self, name: str, text: str) -> Event:
        part = TextPart(Text(text))
        return self.say(name, part, change="updated", streaming=True)

    def call(self, name: str, call_id: str = "c", *more: Any, change: Any = "created") -> Event:
        return self.say(
            name, WireToolCallPart(WireToolCall(call_id, "t", "{}", True)), *more, change=change
        )

    def result(self, name: str, call_id: str = "c") -> Event:
        result = WireToolResultPart(WireToolResult(call_id, "t", "done"))
        return self.say(name, result, FINISH, role="tool")

    # --- readers

    def read(self, cursor: int = 0, *, numbered: bool = False) -> Reader:
        reader = Reader()
        self.monitor.attached(reader, self.hub, cursor, numbered=numbered, deltas=False)
        return reader

    def give(self, reader: Reader, *events: Event, upto: int = 0) -> None:
        frames = b"".join(event.frame for event in events)
        self.monitor.delivered(reader, upto or self.hub.last, frames)

    def give_numbered(self, reader: Reader, *told: tuple[int, Event], upto: int = 0) -> None:
        frames = b"".join(mark(number, (event.frame,)) for number, event in told)
        self.monitor.delivered(reader, upto or self.hub.last, frames)

    # --- people

    def ask(self, name: str = "q") -> PermissionRequest:
        request = PermissionRequest(name, "s", f"call-{name}", "bash", action="run", path="/p")
        self.notify(request, granted=False, denied=False)
        self.monitor.asked(self.gate, request)
        self.publish(Event("permission_request", "created", request))
        return request

    def notify(self, request: PermissionRequest, *, granted: bool, denied: bool) -> None:
        told = PermissionNotification(request.tool_call_id, granted, denied)
        self.publish(Event("permission_notification", "created", told))

    def question(self, name: str = "b") -> None:
        request = QuestionRequest(id=name, session_id="s", tool_call_id="c", questions=())
        self.publish(Event("question_batch_request", "created", request))

    def decide(self, name: str = "b") -> None:
        told = QuestionNotification(name)
        self.publish(Event("question_batch_notification", "created", told))

    def answer(self, request: PermissionRequest, action: Any = "allow") -> None:
        granted = action != "deny"
        self.notify(request, granted=granted, denied=not granted)
        self.monitor.answered(self.gate, request.id, action, won=True)
        self.monitor.resolved(self.gate, request, granted=granted)


Told = Callable[[Story], None]


@attrs.define
class Histories:
    """Histories that break a promise, and such as look near it and do not.

    Attributes:
        broken: Each with the promise whose check must catch it.
        kept: Each with the promise that it is near.
    """

    broken: list[tuple[str, Told]] = attrs.field(factory=list[tuple[str, Told]])
    kept: list[tuple[str, Told]] = attrs.field(factory=list[tuple[str, Told]])

    def breaks(self, promise: str) -> Callable[[Told], Told]:
        """Mark a history that must be caught."""
        return partial(_added, self.broken, promise)

    def keeps(self, promise: str) -> Callable[[Told], Told]:
        """Mark a history that is near a break and is none."""
        return partial(_added, self.kept, promise)

    def promises(self) -> set[str]:
        """Return the promises that have a history of both kinds."""
        return set(dict(self.broken)) & set(dict(self.kept))

    def test_of_the_broken(self) -> Callable[[str, Told], None]:
        """Return the test, once all have been told, that each broken promise is seen."""

        @_of_each(self.broken)
        def test(promise: str, told: Told) -> None:
            """By the check of that promise."""
            check_broken(promise, told)

        return test

    def test_of_the_kept(self) -> Callable[[str, Told], None]:
        """Return the test that none of the kept ones is complained of."""

        @_of_each(self.kept)
        def test(promise: str, told: Told) -> None:
            """However near it looks."""
            check_kept(told)

        return test


def _added(histories: list[tuple[str, Told]], promise: str, told: Told) -> Told:
    histories.append((promise, told))
    return told


def _of_each(histories: list[tuple[str, Told]]) -> pytest.MarkDecorator:
    """Make histories the cases of a test, called by their names."""
    cases = [pytest.param(*each, id=f"{each[0]}-{each[1].__name__}") for each in histories]
    return pytest.mark.parametrize(("promise", "told"), cases)


def check_broken(promise: str, told: Told) -> None:
    """Check that a history is caught, by the check of its promise."""
    story = Story()
    told(story)
    assert promise in {violation.promise for violation in story.monitor.violations}
    assert not story.monitor.faults


def check_kept(told: Told) -> None:
    """Check that a history is not complained of."""
    story = Story()
    told(story)
    assert story.monitor.violations == ()
    assert not story.monitor.faults
