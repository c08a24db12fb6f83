"""Histories of runs, their ends and their callers: broken and caught, or near it and not."""

from __future__ import annotations

from pathlib import Path

from crush_trio.messages import Text, TextPart
from crush_trio.wire.events import (
    Event,
    RunComplete,
)
from crush_trio.wire.messages import (
    WireReasoning,
    WireReasoningPart,
)
from crush_trio.wire.runs import RunAccepted, RunResult
from crush_trio.wire.workspaces import ErrorBody
from story_kit import FINISH, Histories, Log, Story

HISTORIES = Histories()
breaks, keeps = HISTORIES.breaks, HISTORIES.keeps


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
    story.begin("b", session_id="t", lane=object())


@keeps("R12")
def a_copied_project_has_the_same_session(story: Story) -> None:
    copy, hub, lane = object(), Log(), object()
    story.monitor.workspace_opened(copy, Path("/copy"), hub)
    here = story.begin("a")
    there = story.begin("b", owner=copy, lane=lane)
    story.say("m")
    story.say("m", FINISH, change="updated")
    story.cancel(here)
    story.end(here, "cancelled", message_id="m")
    story.monitor.cancelled(story.lane, [], [])
    story.hub = hub
    story.say("n", FINISH)
    story.end(there, message_id="n")


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


# --- the tests


test_a_broken_promise_is_seen = HISTORIES.test_of_the_broken()
test_a_kept_promise_is_not_complained_of = HISTORIES.test_of_the_kept()


def test_each_promise_has_a_history_of_both_kinds() -> None:
    """A check that nothing trips, or that everything trips, would be worth nothing."""
    assert HISTORIES.promises() == {"R1", "R4", "R5", "R8", "R9", "R12", "R14"}
