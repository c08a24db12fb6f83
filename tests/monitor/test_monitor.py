"""Histories that break a promise and are caught, and histories that look near it and are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from crush_trio.messages import Finish, FinishPart, Text, TextPart
from crush_trio.monitor import Monitor, Violation
from crush_trio.monitor.ledger import KEPT, RECENT
from crush_trio.wire.events import Event, PermissionNotification, RunComplete
from crush_trio.wire.messages import (
    WireMessage,
    WireReasoning,
    WireReasoningPart,
    WireToolCall,
    WireToolCallPart,
    WireToolResult,
    WireToolResultPart,
)
from crush_trio.wire.numbering import mark
from crush_trio.wire.permissions import PermissionRequest
from crush_trio.wire.runs import Outcome, RunAccepted, RunResult
from crush_trio.wire.workspaces import ErrorBody

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

    def __attrs_post_init__(self) -> None:
        self.monitor.workspace_opened(self.place, Path("/somewhere"), self.hub)

    # --- runs

    def accept(self, name: str = "r", **fields: Any) -> Runner:
        run = Runner(name, owner=self.place, **fields)
        self.monitor.accepted(run)
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
        self.monitor.cancelled("s", covered, spared)

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

    def answer(self, request: PermissionRequest, action: Any = "allow") -> None:
        granted = action != "deny"
        self.notify(request, granted=granted, denied=not granted)
        self.monitor.answered(self.gate, request.id, action, won=True)
        self.monitor.resolved(self.gate, request, granted=granted)


Told = Callable[[Story], None]
BROKEN: list[tuple[str, Told]] = []
KEPT_NEARLY: list[tuple[str, Told]] = []


def breaks(promise: str) -> Callable[[Told], Told]:
    """Mark a history that must be caught by the check of a promise."""

    def add(told: Told) -> Told:
        BROKEN.append((promise, told))
        return told

    return add


def keeps(promise: str) -> Callable[[Told], Told]:
    """Mark a history that is near a break of a promise and is none."""

    def add(told: Told) -> Told:
        KEPT_NEARLY.append((promise, told))
        return told

    return add


# --- R1 settled once -----------------------------------------------------------------------------


@breaks("R1")
def a_run_settles_twice(story: Story) -> None:
    run = story.begin()
    story.end(run)
    story.monitor.settled(run)


@breaks("R1")
def a_run_concludes_twice(story: Story) -> None:
    run = story.begin()
    story.conclude(run)
    story.end(run)


@breaks("R1")
def a_workspace_closes_over_a_run(story: Story) -> None:
    story.begin()
    story.hub.closed = True
    story.monitor.hub_closed(story.hub)
    story.monitor.workspace_closed(story.place, 0)


@breaks("R1")
def a_completed_run_settles_as_failed_although_its_end_was_stored(story: Story) -> None:
    run = story.begin()
    story.conclude(run)
    run.outcome = "failed"
    story.settle(run)


@keeps("R1")
def a_completed_run_settles_as_failed_because_its_end_was_not_stored(story: Story) -> None:
    run = story.begin()
    story.conclude(run)
    story.monitor.unstored(run)
    run.outcome = "failed"
    story.settle(run)


@keeps("R1")
def an_id_is_used_again_when_its_run_is_long_over(story: Story) -> None:
    for _ in range(2):
        story.end(story.begin("same"))


# --- R4 cancel is a normal completion ---------------------------------------------------------------


def cancelled_run(story: Story) -> object:
    run, post = story.begin(), object()
    story.monitor.post_begun(post, "s", "r", "r")
    story.cancel(run)
    story.end(run, "cancelled")
    return post


@breaks("R4")
def a_cancelled_runs_caller_gets_500(story: Story) -> None:
    story.monitor.post_answered(cancelled_run(story), 500, ErrorBody("no", "r"))


@breaks("R4")
def a_cancelled_runs_caller_is_not_told_so(story: Story) -> None:
    body = RunResult("r", "s", "completed", False, "", "")
    story.monitor.post_answered(cancelled_run(story), 200, body)


@keeps("R4")
def a_cancelled_runs_caller_gets_200(story: Story) -> None:
    body = RunResult("r", "s", "cancelled", True, "", "", error="beside")
    story.monitor.post_answered(cancelled_run(story), 200, body)


@keeps("R4")
def a_failed_runs_caller_gets_500(story: Story) -> None:
    run, post = story.begin(), object()
    story.monitor.post_begun(post, "s", "r", "r")
    story.end(run, "failed")
    story.monitor.post_answered(post, 500, ErrorBody("why", "r"))


# --- R5 a cancel is never lost ------------------------------------------------------------------------


@breaks("R5")
def a_cancel_misses_a_waiting_run(story: Story) -> None:
    active = story.begin("a")
    story.accept("b")
    story.cancel(active)


@breaks("R5")
def a_covered_run_completes(story: Story) -> None:
    run = story.begin()
    story.cancel(run)
    story.end(run, "completed")


@breaks("R5")
def a_run_is_cancelled_by_nobody(story: Story) -> None:
    story.end(story.begin(), "cancelled")


@breaks("R5")
def a_receipt_names_a_concluded_run(story: Story) -> None:
    run = story.begin()
    story.conclude(run)
    story.cancel(run)


@keeps("R5")
def a_cancel_comes_after_the_conclusion(story: Story) -> None:
    run = story.begin()
    story.conclude(run)
    story.cancel()
    story.settle(run)


@keeps("R5")
def a_closing_workspace_spares_its_neighbours_run(story: Story) -> None:
    mine = story.begin("a")
    theirs = story.accept("b")
    story.cancel(mine, spared=(theirs,))
    story.end(mine, "cancelled")
    story.monitor.started(theirs)
    story.end(theirs)


# --- R8 one terminal event, last ----------------------------------------------------------------------


@breaks("R8")
def two_terminal_events(story: Story) -> None:
    run = story.begin()
    story.conclude(run)
    story.tell_end(run)
    story.settle(run)


@breaks("R8")
def a_terminal_event_again_after_the_settlement(story: Story) -> None:
    run = story.begin()
    story.end(run)
    story.tell_end(run)


@breaks("R8")
def no_terminal_event(story: Story) -> None:
    run = story.begin()
    story.conclude(run)
    story.monitor.left(run)
    story.monitor.settled(run)


@breaks("R8")
def a_message_after_the_terminal_event(story: Story) -> None:
    run = story.begin()
    story.say("m")
    story.say("m", FINISH, change="updated")
    story.end(run, message_id="m")
    story.say("m", FINISH, change="updated")


@breaks("R8")
def a_terminal_event_while_the_lane_is_busy_with_the_run(story: Story) -> None:
    run = story.begin()
    story.conclude(run)
    story.publish(Event("run_complete", "updated", RunComplete("s", "r")))


@keeps("R8")
def a_terminal_event_behind_the_last_message(story: Story) -> None:
    run = story.begin()
    story.say("m")
    story.say("m", FINISH, change="updated")
    story.end(run, message_id="m")


@keeps("R8")
def a_message_of_a_disk_that_was_too_late(story: Story) -> None:
    run = story.begin()
    story.say("m")
    story.conclude(run, "failed")
    story.monitor.unstored(run)
    story.settle(run, message_id="m")
    story.say("m", FINISH, change="updated")


# --- R9 history stays usable ----------------------------------------------------------------------------


@breaks("R9")
def a_message_without_a_finish(story: Story) -> None:
    run = story.begin()
    story.say("m")
    story.end(run, message_id="m")


@breaks("R9")
def a_tool_call_without_a_result(story: Story) -> None:
    run = story.begin()
    story.call("m")
    story.call("m", "c", FINISH, change="updated")
    story.end(run)


@breaks("R9")
def a_tool_call_with_two_results(story: Story) -> None:
    story.begin()
    story.call("m")
    story.result("t1")
    story.result("t2")


@breaks("R9")
def reasoning_that_stays_open(story: Story) -> None:
    run = story.begin()
    story.say("m", WireReasoningPart(WireReasoning("hm", "", 1)), FINISH)
    story.end(run)


@keeps("R9")
def a_tool_call_with_its_result(story: Story) -> None:
    run = story.begin()
    story.call("m")
    story.result("t")
    story.call("m", "c", FINISH, change="updated")
    story.end(run)


@keeps("R9")
def a_model_that_uses_a_call_id_again(story: Story) -> None:
    run = story.begin()
    for number in range(2):
        story.call(f"m{number}")
        story.result(f"t{number}")
        story.call(f"m{number}", "c", FINISH, change="updated")
    story.end(run)


@keeps("R9")
def a_call_that_a_retry_has_withdrawn(story: Story) -> None:
    run = story.begin()
    story.call("m")
    story.snapshot("m", "")
    story.say("m", FINISH, change="updated")
    story.end(run)


# --- R12 one at a time, in order ------------------------------------------------------------------------


@breaks("R12")
def a_run_starts_beside_another_one(story: Story) -> None:
    story.begin("a")
    story.begin("b")


@breaks("R12")
def a_run_overtakes_another_one(story: Story) -> None:
    story.accept("a")
    story.begin("b")


@breaks("R12")
def a_run_settles_before_its_turn_has_unwound(story: Story) -> None:
    run = story.begin()
    run.outcome = "completed"
    story.monitor.concluded(run)
    story.settle(run)


@breaks("R12")
def a_folded_prompt_has_an_end_of_its_own(story: Story) -> None:
    active, joined = story.begin("a"), story.accept("b", own_turn=False)
    story.monitor.folded(joined, active)
    story.conclude(active)
    joined.outcome = "completed"
    story.tell_end(joined)


@breaks("R12")
def a_prompt_joins_a_turn_that_is_being_cancelled(story: Story) -> None:
    active = story.begin("a")
    story.cancel(active)
    story.monitor.folded(story.accept("b", own_turn=False), active)


@keeps("R12")
def the_next_run_starts_when_the_first_has_settled(story: Story) -> None:
    first, second = story.begin("a"), story.accept("b")
    story.end(first)
    story.monitor.started(second)
    story.end(second)


@keeps("R12")
def two_sessions_run_side_by_side(story: Story) -> None:
    story.begin("a")
    story.begin("b", session_id="t")


@keeps("R12")
def a_folded_prompt_settles_with_its_turn(story: Story) -> None:
    active, joined = story.begin("a"), story.accept("b", own_turn=False)
    story.monitor.folded(joined, active)
    story.end(active)
    joined.outcome = "completed"
    story.monitor.settled(joined)


@keeps("R12")
def a_folded_prompt_is_cancelled_out_of_a_turn_that_goes_on(story: Story) -> None:
    active, joined = story.begin("a"), story.accept("b", own_turn=False)
    story.monitor.folded(joined, active)
    story.cancel(joined, spared=(active,))
    joined.outcome = "cancelled"
    story.monitor.concluded(joined)
    story.monitor.settled(joined)
    story.end(active)


# --- R14 your own answer ----------------------------------------------------------------------------------


def completed_post(story: Story, *, wanted: str = "r") -> object:
    run, post = story.begin(), object()
    story.monitor.post_begun(post, "s", "r", wanted)
    story.say("m", TextPart(Text("mine")))
    story.say("m", TextPart(Text("mine")), FINISH, change="updated")
    story.end(run, message_id="m", text="mine")
    return post


@breaks("R14")
def a_caller_gets_anothers_answer(story: Story) -> None:
    body = RunResult("other", "s", "completed", False, "m", "mine")
    story.monitor.post_answered(completed_post(story), 200, body)


@breaks("R14")
def a_caller_gets_another_text(story: Story) -> None:
    body = RunResult("r", "s", "completed", False, "m", "another")
    story.monitor.post_answered(completed_post(story), 200, body)


@breaks("R14")
def a_caller_waits_for_a_run_that_it_did_not_ask_for(story: Story) -> None:
    completed_post(story, wanted="other")


@breaks("R14")
def a_caller_is_answered_before_the_end(story: Story) -> None:
    story.begin()
    post = object()
    story.monitor.post_begun(post, "s", "r", "r")
    body = RunResult("r", "s", "completed", False, "", "")
    story.monitor.post_answered(post, 200, body)


@breaks("R14")
def an_end_names_the_message_of_the_run_before(story: Story) -> None:
    completed_post(story)
    story.end(story.begin("next"), message_id="m", text="mine")


@keeps("R14")
def a_caller_gets_its_own_answer(story: Story) -> None:
    body = RunResult("r", "s", "completed", False, "m", "mine")
    story.monitor.post_answered(completed_post(story), 200, body)


@keeps("R14")
def a_caller_is_let_go_at_once(story: Story) -> None:
    story.begin()
    post = object()
    story.monitor.post_begun(post, "s", "r", "r")
    story.monitor.post_answered(post, 202, RunAccepted("r", "s"))
    story.monitor.post_left(post)


# --- S1 and S2 nothing missed, nothing dropped --------------------------------------------------------------


@breaks("S1")
def a_snapshot_is_left_out_without_a_newer_one(story: Story) -> None:
    reader = story.read()
    story.snapshot("m", "1")
    story.give(reader, story.say("x"))


@breaks("S1")
def a_stream_ends_before_its_reader_was_told_everything(story: Story) -> None:
    reader = story.read()
    story.say("x")
    story.hub.closed = True
    story.monitor.hub_closed(story.hub)
    story.monitor.refused(reader)


@keeps("S1")
def a_snapshot_is_replaced_by_a_newer_one(story: Story) -> None:
    reader = story.read()
    story.snapshot("m", "1")
    story.give(reader, story.snapshot("m", "12"))


@keeps("S1")
def a_stream_ends_behind_the_last_event(story: Story) -> None:
    reader = story.read()
    story.give(reader, story.say("x"))
    story.hub.closed = True
    story.monitor.hub_closed(story.hub)
    story.monitor.refused(reader)


@breaks("S2")
def a_lagging_reader_is_spared_a_creation(story: Story) -> None:
    reader = story.read()
    first = story.say("x")
    story.say("y")
    story.give(reader, first, story.say("z"))


@breaks("S2")
def a_reader_with_ids_is_spared_a_creation(story: Story) -> None:
    reader = story.read(numbered=True)
    story.say("x")
    story.give_numbered(reader, (2, story.say("y")))


@breaks("S2")
def an_id_stands_before_an_empty_frame(story: Story) -> None:
    reader = story.read(numbered=True)
    story.say("x")
    story.monitor.delivered(reader, 1, mark(1, (b"\n",)))


@keeps("S2")
def a_lagging_reader_is_told_in_pieces(story: Story) -> None:
    reader = story.read()
    events = [story.say("x"), story.say("y"), story.say("z")]
    story.give(reader, *events[:2], upto=2)
    story.give(reader, events[2])


@keeps("S2")
def a_resuming_reader_is_only_told_the_id_of_what_is_over(story: Story) -> None:
    story.say("x")
    reader = story.read(numbered=True)
    story.monitor.delivered(reader, 1, mark(1, (b"\n",)))


# --- S3 a slow reader is alone ---------------------------------------------------------------------------------


@breaks("S3")
def a_slow_reader_is_cut(story: Story) -> None:
    reader = story.read()
    story.say("x")
    story.monitor.refused(reader)


@keeps("S3")
def a_reader_that_fell_off_the_log_is_ended(story: Story) -> None:
    reader = story.read()
    for _ in range(3):
        story.say("x", change="deleted")
    story.hub.first_id = 3
    story.monitor.refused(reader)


# --- S4 order ------------------------------------------------------------------------------------------------


@breaks("S4")
def events_in_another_order(story: Story) -> None:
    reader = story.read()
    first, second = story.say("x"), story.say("y")
    story.give(reader, second, first)


@breaks("S4")
def a_reader_goes_back(story: Story) -> None:
    reader = story.read()
    first = story.say("x")
    story.give(reader, first, story.say("y"))
    story.give(reader, first, upto=1)


@breaks("S4")
def a_result_before_its_call(story: Story) -> None:
    story.begin()
    story.result("t")


@breaks("S4")
def a_result_after_the_finish_of_its_step(story: Story) -> None:
    story.begin()
    story.call("m", "c", FINISH)
    story.result("t")


@breaks("S4")
def an_update_before_the_creation(story: Story) -> None:
    story.begin()
    story.snapshot("m", "x")


@keeps("S4")
def events_in_order(story: Story) -> None:
    reader = story.read()
    story.give(reader, story.say("x"), story.say("y"))


@keeps("S4")
def a_workspace_that_opens_in_the_middle_of_a_neighbours_turn(story: Story) -> None:
    story.begin()
    story.say("m")
    story.hub = Log()
    story.monitor.workspace_opened(object(), Path("/beside"), story.hub)
    story.snapshot("m", "x")
    story.result("t")


# --- S5 resumable ----------------------------------------------------------------------------------------------


@breaks("S5")
def an_id_is_left_out_by_the_hub(story: Story) -> None:
    story.say("x")
    story.publish(Event("run_complete", "updated", RunComplete("t", "x")), number=3)


@breaks("S5")
def ids_that_go_back(story: Story) -> None:
    reader = story.read(numbered=True)
    first, second = story.say("x"), story.say("y")
    story.give_numbered(reader, (2, second), (1, first))


@breaks("S5")
def an_id_of_no_event(story: Story) -> None:
    reader = story.read(numbered=True)
    first = story.say("x")
    story.give_numbered(reader, (1, first), (7, first))


@keeps("S5")
def the_id_of_a_replaced_snapshot_is_absent(story: Story) -> None:
    reader = story.read(numbered=True)
    first = story.say("m")
    story.snapshot("m", "1")
    story.give_numbered(reader, (1, first), (3, story.snapshot("m", "12")))


# --- D1 the first answer wins ------------------------------------------------------------------------------------


@breaks("D1")
def two_answers_count(story: Story) -> None:
    request = story.ask()
    story.answer(request)
    story.answer(request)


@breaks("D1")
def who_asked_is_told_something_else(story: Story) -> None:
    request = story.ask()
    story.notify(request, granted=False, denied=True)
    story.monitor.answered(story.gate, request.id, "deny", won=True)
    story.monitor.resolved(story.gate, request, granted=True)


@breaks("D1")
def a_permission_is_remembered_though_it_lost(story: Story) -> None:
    request = story.ask()
    story.answer(request)
    story.monitor.answered(story.gate, request.id, "allow_session", won=False)
    story.monitor.recalled(story.gate, ("s", "bash", "run", "/p"))


@breaks("D1")
def nobody_is_told_of_the_answer(story: Story) -> None:
    request = story.ask()
    story.monitor.answered(story.gate, request.id, "allow", won=True)


@keeps("D1")
def a_late_answer_does_not_count(story: Story) -> None:
    request = story.ask()
    story.answer(request, "deny")
    story.monitor.answered(story.gate, request.id, "allow", won=False)


@keeps("D1")
def a_permission_is_remembered_that_won(story: Story) -> None:
    story.answer(story.ask(), "allow_session")
    story.monitor.recalled(story.gate, ("s", "bash", "run", "/p"))


# --- D3 a cancelled run asks nothing ---------------------------------------------------------------------------------


@breaks("D3")
def a_cancelled_run_asks(story: Story) -> None:
    story.cancel(story.begin())
    story.ask()


@breaks("D3")
def a_cancelled_runs_request_stays_open(story: Story) -> None:
    run = story.begin()
    story.ask()
    story.cancel(run)
    story.end(run, "cancelled")


@breaks("D3")
def nobody_is_told_of_a_withdrawal(story: Story) -> None:
    run = story.begin()
    request = story.ask()
    story.cancel(run)
    story.monitor.resolved(story.gate, request, granted=None)


@keeps("D3")
def a_cancelled_runs_request_is_withdrawn(story: Story) -> None:
    run = story.begin()
    request = story.ask()
    story.cancel(run)
    story.notify(request, granted=False, denied=True)
    story.monitor.resolved(story.gate, request, granted=None)
    story.end(run, "cancelled")


@keeps("D3")
def a_prompt_is_dropped_while_the_active_run_asks(story: Story) -> None:
    active, waiting = story.begin("a"), story.accept("b")
    request = story.ask()
    story.monitor.cleared("s", [waiting])
    waiting.outcome = "cancelled"
    story.monitor.concluded(waiting)
    story.settle(waiting)
    story.answer(request)
    story.end(active)


# --- W1 and W5 workspaces --------------------------------------------------------------------------------------------


@breaks("W1")
def two_workspaces_in_one_directory(story: Story) -> None:
    story.monitor.workspace_opened(object(), Path("/somewhere/../somewhere"), Log())


@keeps("W1")
def a_directory_is_opened_again_when_its_workspace_has_closed(story: Story) -> None:
    story.hub.closed = True
    story.monitor.hub_closed(story.hub)
    story.monitor.workspace_withdrawn(story.place)
    story.monitor.workspace_closed(story.place, 0)
    story.monitor.workspace_opened(object(), Path("/somewhere"), Log())


@breaks("W5")
def a_task_is_left(story: Story) -> None:
    story.hub.closed = True
    story.monitor.workspace_closed(story.place, 1)


@breaks("W5")
def a_hub_is_left_open(story: Story) -> None:
    story.monitor.workspace_closed(story.place, 0)


@keeps("W5")
def nothing_is_left(story: Story) -> None:
    story.hub.closed = True
    story.monitor.workspace_closed(story.place, 0)


# --- the tests --------------------------------------------------------------------------------------------------------


@keeps("R9")
def a_quiet_run_s_last_event_comes_behind_its_settlement(story: Story) -> None:
    """A summary's session is idle before the last thing that is told of it."""
    for end in ("used", "failed", "cancelled"):
        run = story.begin(end, quiet=True)
        story.say(f"m-{end}")
        if end == "used":
            story.say("m-used", FINISH, change="updated")
        if end == "cancelled":
            story.cancel(run)
        story.conclude(run, "cancelled" if end == "cancelled" else "completed")
        story.monitor.left(run)
        story.monitor.settled(run)
        if end == "failed":
            story.say("m-failed", FINISH, change="updated")
        if end == "cancelled":
            story.say("m-cancelled", change="deleted")


@breaks("R9")
def a_quiet_run_leaves_its_message_open(story: Story) -> None:
    run = story.begin(quiet=True)
    story.say("m")
    story.conclude(run)
    story.monitor.left(run)
    story.monitor.settled(run)
    story.say("m", change="updated")


@breaks("R12")
def a_quiet_run_has_an_end(story: Story) -> None:
    story.end(story.begin(quiet=True))


CHECKED = [
    "R1",
    "R4",
    "R5",
    "R8",
    "R9",
    "R12",
    "R14",
    "S1",
    "S2",
    "S3",
    "S4",
    "S5",
    "D1",
    "D3",
    "W1",
    "W5",
]


def _named(histories: list[tuple[str, Told]]) -> list[Any]:
    return [pytest.param(*each, id=f"{each[0]}-{each[1].__name__}") for each in histories]


@pytest.mark.parametrize(("promise", "told"), _named(BROKEN))
def test_a_broken_promise_is_seen(promise: str, told: Told) -> None:
    """By the check of that promise."""
    story = Story()
    told(story)
    assert promise in {violation.promise for violation in story.monitor.violations}
    assert not story.monitor.faults


@pytest.mark.parametrize(("promise", "told"), _named(KEPT_NEARLY))
def test_a_kept_promise_is_not_complained_of(promise: str, told: Told) -> None:
    """However near it looks."""
    story = Story()
    told(story)
    assert story.monitor.violations == ()
    assert not story.monitor.faults


@pytest.mark.parametrize("promise", CHECKED)
def test_each_promise_has_a_history_of_both_kinds(promise: str) -> None:
    """A check that nothing trips, or that everything trips, would be worth nothing."""
    assert promise in dict(BROKEN)
    assert promise in dict(KEPT_NEARLY)


def test_a_violation_is_reported_with_what_happened_before() -> None:
    """At once, and with ids only: nobody's text is in it (A2)."""
    reports: list[tuple[Violation, list[str]]] = []
    story = Story(Monitor(lambda violation, recent: reports.append((violation, list(recent)))))
    story.begin()
    for number in range(2 * RECENT):
        story.snapshot("m", f"secret {number}")
    story.begin("second")
    violation, recent = reports[-1]
    assert violation.promise == "R12"
    assert "second" in str(violation)
    assert len(recent) == RECENT
    assert "secret" not in "".join(recent) + str(violation)


def test_what_is_kept_is_bounded() -> None:
    """A defect that shows all the time fills no memory; the number goes on."""
    story = Story()
    run = story.begin()
    story.end(run)
    for _ in range(2 * KEPT):
        story.monitor.settled(run)
    assert story.monitor.count == 2 * KEPT
    assert len(story.monitor.violations) == KEPT


def test_what_has_settled_is_forgotten() -> None:
    """A program that runs for ever: nothing grows with the runs that are over."""
    story = Story()
    for number in range(3000):
        run = story.begin(f"r{number}")
        story.say(f"m{number}", FINISH)
        story.say(f"n{number}", FINISH)
        story.end(run, message_id=f"m{number}")
    assert story.monitor.violations == ()
    assert len(story.monitor._runs._open) == len(story.monitor._runs._lanes) == 0
    assert len(story.monitor._runs._settled) == 1024
    voice = story.monitor._messages._voices[story.hub]
    assert (len(voice.said), len(voice.of_run), len(voice.over)) == (0, 0, 4096)
    assert len(story.monitor._streams._logs[story.hub].events) == 4096


def test_an_error_of_the_monitor_stays_in_it(caplog: pytest.LogCaptureFixture) -> None:
    """What it watches goes on; the first error is logged, and all are counted."""
    monitor = Monitor()
    monitor.delivered(Reader(), 1, b"")
    for _ in range(2):
        monitor.settled(object())  # pyright: ignore[reportArgumentType]
    assert monitor.faults == 2
    assert len(caplog.records) == 1
