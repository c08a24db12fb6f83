"""Histories of questions and workspaces: broken and caught, or near it and not."""

from __future__ import annotations

from pathlib import Path

from story_kit import Histories, Log, Story

HISTORIES = Histories()
breaks, keeps = HISTORIES.breaks, HISTORIES.keeps


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


@breaks("D1")
def a_batch_of_questions_is_decided_twice(story: Story) -> None:
    story.begin()
    story.question()
    story.decide()
    story.decide()


@breaks("D3")
def a_cancelled_run_asks_questions(story: Story) -> None:
    story.cancel(story.begin())
    story.question()


@breaks("D3")
def a_cancelled_runs_questions_stay_open(story: Story) -> None:
    run = story.begin()
    story.question()
    story.cancel(run)
    story.end(run, "cancelled")


@keeps("D3")
def a_cancelled_runs_questions_are_withdrawn(story: Story) -> None:
    run = story.begin()
    story.question()
    story.cancel(run)
    story.decide()
    story.end(run, "cancelled")


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
    story.monitor.cleared(story.lane, [waiting])
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


# --- the tests


test_a_broken_promise_is_seen = HISTORIES.test_of_the_broken()
test_a_kept_promise_is_not_complained_of = HISTORIES.test_of_the_kept()


def test_each_promise_has_a_history_of_both_kinds() -> None:
    """A check that nothing trips, or that everything trips, would be worth nothing."""
    assert HISTORIES.promises() == {"D1", "D3", "W1", "W5"}
