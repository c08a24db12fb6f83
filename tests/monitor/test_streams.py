"""Histories of logs and readers: broken and caught, or near it and not."""

from __future__ import annotations

from pathlib import Path

from crush_trio.wire.events import (
    Event,
    RunComplete,
)
from crush_trio.wire.numbering import mark
from story_kit import FINISH, Histories, Log, Story

HISTORIES = Histories()
breaks, keeps = HISTORIES.breaks, HISTORIES.keeps


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


# --- the tests


test_a_broken_promise_is_seen = HISTORIES.test_of_the_broken()
test_a_kept_promise_is_not_complained_of = HISTORIES.test_of_the_kept()


def test_each_promise_has_a_history_of_both_kinds() -> None:
    """A check that nothing trips, or that everything trips, would be worth nothing."""
    assert HISTORIES.promises() == {"S1", "S2", "S3", "S4", "S5"}
