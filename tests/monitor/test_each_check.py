"""Checks that no longer history trips: each is made to fail by itself, and says what it says."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from crush_trio.messages import Text, TextPart
from crush_trio.wire.events import Event, RunComplete
from crush_trio.wire.messages import WireToolCall, WireToolCallPart
from crush_trio.wire.runs import RunResult
from story_kit import FINISH, Story, Told

FOUND: list[tuple[str, str, Told]] = []


def says(promise: str, what: str) -> Callable[[Told], Told]:
    """Mark a history of which the monitor must say this."""

    def mark(told: Told) -> Told:
        FOUND.append((promise, what, told))
        return told

    return mark


@says("R1", "a run was accepted twice")
def accepted_twice(story: Story) -> None:
    story.monitor.accepted(story.lane, story.accept())


@says("R1", "two open runs have the same id")
def the_same_id(story: Story) -> None:
    story.accept("a")
    story.accept("a")


@says("R1", "a run settled that was not open")
def settled_before_it_was_accepted(story: Story) -> None:
    run = story.begin()
    story.end(run)
    story.monitor.settled(run)


@says("R1", "a run settled without an outcome")
def no_outcome(story: Story) -> None:
    run = story.begin()
    story.monitor.unwound(run)
    story.monitor.settled(run)


@says("R4", "an end says cancelled: True")
def a_completed_end_says_cancelled(story: Story) -> None:
    run = story.begin()
    story.conclude(run)
    story.monitor.left(run)
    story.publish(Event("run_complete", "updated", RunComplete("s", "r", cancelled=True)))


@says("R8", "an end of nobody's run")
def an_end_of_nobody(story: Story) -> None:
    story.publish(Event("run_complete", "updated", RunComplete("s", "r")))


@says("R8", "a run settled without its terminal event")
def no_end_where_its_workspace_is_closed(story: Story) -> None:
    run = story.begin(owner=object())
    story.conclude(run)
    story.monitor.left(run)
    story.monitor.settled(run)


@says("R9", "a run left a tool call open")
def an_open_call(story: Story) -> None:
    run = story.begin()
    story.say("m", WireToolCallPart(WireToolCall("c", "t", "{", False)))
    story.result("t")
    story.say("m", WireToolCallPart(WireToolCall("c", "t", "{", False)), FINISH, change="updated")
    story.end(run, message_id="m")


@says("R12", "a run started that is not open")
def started_after_its_end(story: Story) -> None:
    run = story.begin()
    story.end(run)
    story.monitor.started(run)


@says("R12", "a prompt folded that is not open")
def folded_into_what_is_over(story: Story) -> None:
    run = story.begin("a")
    story.end(run)
    story.monitor.folded(story.accept("b", own_turn=False), run)


@says("R12", "a prompt with a run id of its own folded")
def folded_though_it_has_a_turn(story: Story) -> None:
    run = story.begin("a")
    story.monitor.folded(story.accept("b"), run)


@says("R14", "a caller waits for a run that is not its own")
def waits_for_the_run_before(story: Story) -> None:
    story.begin("a")
    story.accept("b")
    story.monitor.post_begun(object(), "s", "a", "")


@says("R14", "a caller was answered who did not wait")
def answered_unasked(story: Story) -> None:
    body = RunResult("r", "s", "completed", False, "", "")
    story.monitor.post_answered(object(), 200, body)


@says("R14", "a caller was told failed")
def told_another_outcome(story: Story) -> None:
    run, post = story.begin(), object()
    story.monitor.post_begun(post, "s", "r", "r")
    story.end(run)
    story.monitor.post_answered(post, 200, RunResult("r", "s", "failed", False, "", ""))


@says("R14", "a caller was told of another turn")
def told_of_a_turn_that_it_did_not_join(story: Story) -> None:
    run, post = story.begin(), object()
    story.monitor.post_begun(post, "s", "r", "r")
    story.end(run)
    body = RunResult("r", "s", "completed", False, "", "", folded_into="other")
    story.monitor.post_answered(post, 200, body)


@says("R14", "an end tells another text than the message")
def an_end_with_anothers_text(story: Story) -> None:
    run = story.begin()
    story.say("m", TextPart(Text("mine")), FINISH)
    story.end(run, message_id="m", text="another")


@says("S4", "a message was created twice")
def created_twice(story: Story) -> None:
    story.begin()
    story.say("m")
    story.say("m")


@says("S4", "a reader was told something again")
def greeted_twice(story: Story) -> None:
    reader = story.read()
    for _ in range(2):
        story.monitor.delivered(reader, 0, b"data: {}\n\n")


@says("D1", "the first answer did not count")
def the_first_answer_lost(story: Story) -> None:
    story.monitor.answered(story.gate, story.ask().id, "allow", won=False)


@says("D1", "a request was withdrawn that had been answered")
def withdrawn_after_the_answer(story: Story) -> None:
    request = story.ask()
    story.answer(request)
    story.monitor.resolved(story.gate, request, granted=None)


@says("W1", "a workspace closed that was not open")
def closed_twice(story: Story) -> None:
    story.monitor.workspace_closed(object(), 0)


@pytest.mark.parametrize(
    ("promise", "what", "told"), [pytest.param(*each, id=each[2].__name__) for each in FOUND]
)
def test_the_check_fails_and_says_so(promise: str, what: str, told: Told) -> None:
    story = Story()
    told(story)
    found = [str(violation) for violation in story.monitor.violations]
    assert any(each.startswith(promise) and what in each for each in found), found
    assert not story.monitor.faults
