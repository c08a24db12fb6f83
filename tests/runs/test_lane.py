"""A session's lane: who runs when, and what a cancel means, with turns that wait at their gates."""

from __future__ import annotations

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from core_kit import Owner, Scene, check_ends, gated, open_scene
from crush_trio.errors import ProviderError, RunIDConflictError, StoreError
from crush_trio.ids import RunID
from crush_trio.messages import Binary, Prompt
from crush_trio.runs import Ending, Run
from crush_trio.settings import Settings
from crush_trio.wire.events import AgentEvent, RunComplete
from crush_trio.wire.runs import CancelReceipt, CoveredRun

# --- order ----------------------------------------------------------------------------------


@pytest.mark.promise("R12", "R1", "R8")
async def test_runs_execute_one_at_a_time_in_order_of_acceptance() -> None:
    """The next one begins when the one before it has settled, not before."""
    with trio.fail_after(5):
        async with open_scene() as scene:
            runs = [scene.accept(name) for name in "abc"]
            for number, run in enumerate(runs):
                await gated(run).playing.wait()
                assert [each.settled for each in runs] == [at < number for at in range(3)]
                gated(run).go.set()
                await run.finished.wait()
            assert scene.log == [
                line
                for name in "abc"
                for line in (f"play {name}", f"played {name}", f"finish {name} completed")
            ]
            assert scene.ends() == [("a", False), ("b", False), ("c", False)]
            assert scene.owner.settled == runs
            assert not scene.owner.unsettled
            check_ends(scene.events, runs)


@pytest.mark.promise("R12", "R13")
async def test_a_run_does_not_overlap_the_unwinding_of_the_one_before() -> None:
    """A cancelled turn that takes its time to let go holds up its session, until it has."""
    let_go = trio.Event()
    with trio.fail_after(5):
        async with open_scene() as scene:
            first = scene.accept("a", let_go=let_go)
            await gated(first).playing.wait()
            scene.lane.cancel("test")
            second = scene.accept("b")
            await wait_all_tasks_blocked()
            assert scene.log == ["play a"]
            let_go.set()
            await gated(second).playing.wait()
            assert scene.log == ["play a", "played a", "finish a cancelled", "play b"]
            assert first.settled


@pytest.mark.promise("R8")
async def test_when_the_end_is_told_the_session_is_idle_or_has_its_next_run() -> None:
    """Whoever hears ``run_complete`` and asks never finds the run that has just ended."""
    with trio.fail_after(5):
        async with open_scene() as scene:
            first, second = scene.accept("a"), scene.accept("b")
            gated(first).go.set()
            gated(second).go.set()
            await second.finished.wait()
            assert scene.heard == [("a", "b"), ("b", None)]
            assert not scene.lane.busy
            assert scene.lane.active is None


@pytest.mark.promise("R8")
async def test_the_finished_or_error_event_comes_right_before_the_end() -> None:
    """One of them for a run that completed or failed, none for one that was cancelled."""
    with trio.fail_after(5):
        async with open_scene() as scene:
            for name, error in (("good", None), ("bad", ProviderError("no"))):
                gated(scene.accept(name, error=error)).go.set()
            gone = scene.accept("gone")
            await gated(gone).playing.wait()
            scene.lane.cancel("test")
            await gone.finished.wait()
            kinds = [
                event.payload.type if isinstance(event.payload, AgentEvent) else event.type
                for event in scene.events
            ]
            assert kinds == [
                "agent_finished",
                "run_complete",
                "error",
                "run_complete",
                "run_complete",
            ]


# --- outcomes ---------------------------------------------------------------------------------


@pytest.mark.promise("R7", "R13", "R14")
async def test_a_run_that_fails_says_why_and_the_next_one_runs() -> None:
    """Each run has its own outcome and text."""
    with trio.fail_after(5):
        async with open_scene() as scene:
            error = ProviderError("bad key", title="Unauthorized", http_status=401)
            first = scene.accept("a", error=error)
            second = scene.accept("b")
            gated(first).go.set()
            gated(second).go.set()
            await second.finished.wait()
            assert (first.outcome, second.outcome) == ("failed", "completed")
            assert first.error is error
            assert (first.ending.error, first.ending.status) == ("unauthorized: bad key", 500)
            assert (second.ending.text, second.ending.message_id) == ("text b", "m-b")
            done = [e.payload for e in scene.events if isinstance(e.payload, RunComplete)]
            assert (done[0].error, done[0].text) == ("unauthorized: bad key", "text a")


@pytest.mark.promise("C3", "R7", "R1")
@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("broken"),
        ExceptionGroup("many", [ExceptionGroup("inner", [RuntimeError("broken")])]),
        ExceptionGroup("many", [RuntimeError("broken"), ValueError("too")]),
    ],
    ids=["plain", "nested group", "group of two"],
)
async def test_whatever_a_turn_raises_stays_in_its_run(error: Exception) -> None:
    """Groups as well; the text is that of what was raised first."""
    with trio.fail_after(5):
        async with open_scene() as scene:
            run = scene.accept("a", error=error)
            gated(run).go.set()
            await run.finished.wait()
            assert run.outcome == "failed"
            assert run.ending.error == "broken"
            after = scene.accept("b")
            gated(after).go.set()
            await after.finished.wait()
            assert after.outcome == "completed"


class SpeechlessError(Exception):
    """An error that cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.promise("R1", "C3")
@pytest.mark.parametrize(
    "error",
    [SpeechlessError(), RuntimeError("no file named \udcff"), RuntimeError("")],
    ids=["speechless", "half a surrogate", "empty"],
)
async def test_an_error_that_cannot_be_told_as_it_is_settles_its_run_all_the_same(
    error: Exception,
) -> None:
    """What is told of it is never empty, and always something that an event can carry."""
    with trio.fail_after(5):
        async with open_scene() as scene:
            run = scene.accept("a", error=error)
            gated(run).go.set()
            await run.finished.wait()
            assert run.outcome == "failed"
            assert run.ending.error
            for event in scene.events:
                assert event.frame


@pytest.mark.promise("R4")
@pytest.mark.parametrize("raised", [RuntimeError("broken"), ExceptionGroup("g", [OSError("x")])])
async def test_what_the_unwinding_raises_stands_beside_a_cancel(raised: Exception) -> None:
    """The outcome stays ``cancelled``; the error is told with it."""
    with trio.fail_after(5):
        async with open_scene() as scene:
            run = scene.accept("a", unwind_error=raised)
            await gated(run).playing.wait()
            scene.lane.cancel("test")
            await run.finished.wait()
            assert (run.outcome, run.ending.outcome) == ("cancelled", "cancelled")
            assert run.ending.error in {"broken", "x"}
            (done,) = [e.payload for e in scene.events if isinstance(e.payload, RunComplete)]
            assert (done.cancelled, done.error) == (True, run.ending.error)


@pytest.mark.promise("C2")
async def test_a_run_whose_end_cannot_be_stored_has_failed() -> None:
    """A completed one becomes ``failed`` with that reason, a cancelled one stays cancelled."""
    with trio.fail_after(5):
        async with open_scene() as scene:
            first = scene.accept("a", finish_error=StoreError("disk full"))
            gated(first).go.set()
            second = scene.accept("b", finish_error=StoreError("disk full"))
            await gated(second).playing.wait()
            scene.lane.cancel("test")
            await second.finished.wait()
            third = scene.accept(
                "c", error=ProviderError("first"), finish_error=StoreError("disk full")
            )
            gated(third).go.set()
            await third.finished.wait()
            endings = [(run.outcome, run.ending.error) for run in (first, second, third)]
            assert endings == [
                ("failed", "disk full"),
                ("cancelled", "disk full"),
                ("failed", "first"),
            ]


@pytest.mark.promise("C2", "R1")
async def test_an_end_that_cannot_be_stored_in_time_is_given_up(
    autojump_clock: MockClock,
) -> None:
    """After the bound the run settles as failed, and the next one runs."""
    with trio.fail_after(60):
        async with open_scene(Settings(finish_timeout=5)) as scene:
            run = scene.accept("a", stored=trio.Event())
            gated(run).go.set()
            behind = scene.accept("b")
            await run.finished.wait()
            assert trio.current_time() == pytest.approx(5)
            assert run.outcome == "failed"
            assert "in time" in run.ending.error
            await gated(behind).playing.wait()


# --- cancel ------------------------------------------------------------------------------------


@pytest.mark.promise("R4", "R5", "R15")
async def test_a_cancel_covers_the_active_run_and_all_that_wait() -> None:
    """Also the one that was accepted in this very step; each settles as cancelled."""
    with trio.fail_after(5):
        async with open_scene() as scene:
            first, second = scene.accept("a"), scene.accept("b", own=False)
            await gated(first).playing.wait()
            third = scene.accept("c")
            receipt = scene.lane.cancel("test")
            assert receipt.runs == (first, second, third)
            assert (second.settled, third.settled, first.settled) == (True, True, False)
            assert receipt.snapshot() == CancelReceipt(
                (
                    CoveredRun(first.id, None),
                    CoveredRun(second.id, "cancelled"),
                    CoveredRun(third.id, "cancelled"),
                ),
                settled=False,
            )
            await receipt.wait_settled()
            assert receipt.snapshot().settled
            assert {run.outcome for run in receipt.runs} == {"cancelled"}
            assert scene.log == ["play a", "played a", "finish a cancelled"]
            assert scene.ends() == [("b", True), ("c", True), ("a", True)]


@pytest.mark.promise("R4", "R5")
async def test_a_run_that_is_cancelled_before_it_begins_plays_nothing() -> None:
    """It is at the head of its lane and stores its end; nothing of its work is done."""
    with trio.fail_after(5):
        async with open_scene() as scene:
            run = scene.accept("a")
            scene.lane.cancel("test")
            await run.finished.wait()
            assert run.outcome == "cancelled"
            assert scene.log == ["play a", "played a", "finish a cancelled"]
            assert not gated(run).playing.is_set()


@pytest.mark.promise("R5", "R6")
async def test_a_prompt_accepted_after_a_cancel_runs() -> None:
    """Though the cancelled run is still unwinding, and though both come in one step."""
    with trio.fail_after(5):
        async with open_scene() as scene:
            first = scene.accept("a")
            await gated(first).playing.wait()
            receipt = scene.lane.cancel("test")
            later = scene.accept("b")
            assert later not in receipt.runs
            await gated(later).playing.wait()
            assert later.cancelled_by is None
            gated(later).go.set()
            await later.finished.wait()
            assert (first.outcome, later.outcome) == ("cancelled", "completed")


@pytest.mark.promise("R6", "R15")
async def test_a_cancel_of_an_idle_lane_changes_nothing_and_says_so() -> None:
    """The receipt is empty and settled; the next prompt runs."""
    with trio.fail_after(5):
        async with open_scene() as scene:
            receipt = scene.lane.cancel("test")
            assert receipt.snapshot() == CancelReceipt((), settled=True)
            await receipt.wait_settled()
            run = scene.accept("a")
            gated(run).go.set()
            await run.finished.wait()
            assert run.outcome == "completed"
            assert scene.events[-1].type == "run_complete"


@pytest.mark.promise("R5", "R15", "R13")
async def test_a_run_that_has_concluded_keeps_its_outcome_and_is_not_in_the_receipt() -> None:
    """A cancel that strikes during its last write covers only those behind it."""
    with trio.fail_after(5):
        async with open_scene() as scene:
            stored = trio.Event()
            first = scene.accept("a", stored=stored)
            second = scene.accept("b")
            gated(first).go.set()
            await gated(first).finishing.wait()
            receipt = scene.lane.cancel("test")
            assert receipt.runs == (second,)
            later = scene.accept("c")
            stored.set()
            await gated(later).playing.wait()
            assert (first.outcome, second.outcome) == ("completed", "cancelled")


@pytest.mark.promise("R5")
@pytest.mark.parametrize("first", ["cancel", "end"])
async def test_a_cancel_in_the_tick_in_which_the_work_ends_is_decided_by_who_was_first(
    first: str,
) -> None:
    """The work's last step and the cancel in one step of a third party: the cancel covers the run,
    since it has not concluded, and what it covers settles as cancelled."""
    with trio.fail_after(5):
        async with open_scene() as scene:
            run = scene.accept("a")
            await gated(run).playing.wait()
            if first == "end":
                gated(run).go.set()
                receipt = scene.lane.cancel("test")
            else:
                receipt = scene.lane.cancel("test")
                gated(run).go.set()
            await run.finished.wait()
            assert receipt.runs == (run,)
            assert run.outcome == "cancelled"
            # Which came first decides only whether the work was seen to its end.
            assert scene.log[-1] == "finish a cancelled"


@pytest.mark.promise("R4", "R15")
async def test_a_second_cancel_covers_the_same_run_and_changes_nothing() -> None:
    """Two people cancel: both learn of the same run, which ends once."""
    with trio.fail_after(5):
        async with open_scene() as scene:
            run = scene.accept("a")
            await gated(run).playing.wait()
            receipts = [scene.lane.cancel(reason) for reason in ("first", "second")]
            for receipt in receipts:
                await receipt.wait_settled()
                assert receipt.runs == (run,)
            assert run.cancelled_by == "first"
            assert scene.ends() == [("a", True)]


@pytest.mark.promise("R3", "R15")
async def test_a_clear_drops_what_waits_and_leaves_the_active_run() -> None:
    """Those that waited settle as cancelled with an end each; a folded prompt does not wait."""
    with trio.fail_after(5):
        async with open_scene() as scene:
            first = scene.accept("a", on_step=lambda: None)
            await gated(first).playing.wait()
            folded = scene.accept("f", own=False)
            assert scene.lane.fold() == [folded]
            waiting = [scene.accept("b"), scene.accept("c", own=False)]
            receipt = scene.lane.clear("test")
            assert list(receipt.runs) == waiting
            assert receipt.snapshot().settled
            assert scene.lane.waiting == ()
            gated(first).go.set()
            await first.finished.wait()
            assert [run.outcome for run in (first, folded, *waiting)] == [
                "completed",
                "completed",
                "cancelled",
                "cancelled",
            ]
            assert scene.ends() == [("b", True), ("c", True), ("a", False)]
            dropped = scene.events[0].payload
            assert isinstance(dropped, RunComplete)
            assert dropped.message_id == ""


# --- folding --------------------------------------------------------------------------------------


@pytest.mark.promise("R12", "R14", "R8")
async def test_a_prompt_without_a_run_id_folds_and_ends_with_the_turn() -> None:
    """It has no turn and no end of its own, and gets that run's outcome and text."""
    with trio.fail_after(5):
        async with open_scene() as scene:
            active = scene.accept("a")
            await gated(active).playing.wait()
            own, joining = scene.accept("own"), scene.accept("j", own=False)
            assert scene.lane.fold() == [joining]
            assert scene.lane.waiting == (own,)
            gated(active).go.set()
            await joining.finished.wait()
            ending = joining.ending
            assert (ending.outcome, ending.text, ending.message_id, ending.folded_into) == (
                "completed",
                "text a",
                "m-a",
                active.id,
            )
            await gated(own).playing.wait()
            assert scene.ends() == [("a", False)]
            assert "play j" not in scene.log
            assert scene.owner.settled == [active, joining]


@pytest.mark.promise("R5", "R12", "R15")
async def test_a_cancel_covers_a_folded_prompt() -> None:
    """It is in the receipt behind its turn's run and settles as cancelled with it."""
    with trio.fail_after(5):
        async with open_scene() as scene:
            active, joining = scene.accept("a"), scene.accept("j", own=False)
            await gated(active).playing.wait()
            scene.lane.fold()
            receipt = scene.lane.cancel("test")
            assert receipt.runs == (active, joining)
            assert not joining.settled
            await receipt.wait_settled()
            assert joining.outcome == "cancelled"
            assert scene.ends() == [("a", True)]


@pytest.mark.promise("R12", "C2")
@pytest.mark.parametrize("how", ["fails", "cannot be stored"])
async def test_a_folded_prompt_shares_a_failure(how: str) -> None:
    """Also the one that only shows when the end is to be stored."""
    with trio.fail_after(5):
        async with open_scene() as scene:
            active, joining = scene.accept("a"), scene.accept("j", own=False)
            await gated(active).playing.wait()
            scene.lane.fold()
            if how == "fails":
                gated(active).error = ProviderError("broken")
            else:
                gated(active).finish_error = StoreError("broken")
            gated(active).go.set()
            await joining.finished.wait()
            assert (joining.outcome, joining.ending.error) == ("failed", "broken")


@pytest.mark.promise("R6", "R12")
async def test_a_turn_that_is_being_cancelled_takes_no_prompt_with_it() -> None:
    """A prompt accepted after the cancel does not fold into the turn that unwinds: it runs."""
    with trio.fail_after(5):
        async with open_scene() as scene:
            active = scene.accept("a")
            await gated(active).playing.wait()
            scene.lane.cancel("test")
            later = scene.accept("b", own=False)
            assert scene.lane.fold() == []
            await gated(later).playing.wait()
            assert active.settled


@pytest.mark.promise("R12")
async def test_nobody_folds_into_a_turn_that_has_concluded() -> None:
    """It has its outcome; what comes now has a turn of its own."""
    with trio.fail_after(5):
        async with open_scene() as scene:
            stored = trio.Event()
            active = scene.accept("a", stored=stored)
            gated(active).go.set()
            await gated(active).finishing.wait()
            later = scene.accept("b", own=False)
            assert scene.lane.fold() == []
            stored.set()
            await gated(later).playing.wait()


@pytest.mark.promise("R3", "R12")
async def test_a_prompt_of_another_workspace_does_not_fold() -> None:
    """It has another working directory and must not end with a workspace that is not its own."""
    with trio.fail_after(5):
        async with open_scene() as scene:
            neighbour = Owner(scene.owner.nursery, "neighbour")
            active = scene.accept("a")
            await gated(active).playing.wait()
            ours, theirs = (
                scene.accept("ours", own=False),
                scene.accept("theirs", own=False, owner=neighbour),
            )
            assert scene.lane.fold() == [ours]
            receipt = scene.lane.cancel("closing", covers=lambda run: run.owner is scene.owner)
            assert receipt.runs == (active, ours)
            await gated(theirs).playing.wait()
            assert theirs.cancelled_by is None
            assert neighbour.unsettled == [theirs]


@pytest.mark.promise("R3", "R5", "R1")
async def test_a_narrow_cancel_takes_a_folded_prompt_out_of_a_turn_that_goes_on() -> None:
    """Whoever is not covered goes on; the covered prompt settles at once, without a run's end."""
    with trio.fail_after(5):
        async with open_scene() as scene:
            active, joining = scene.accept("a"), scene.accept("j", own=False)
            await gated(active).playing.wait()
            scene.lane.fold()
            receipt = scene.lane.cancel("test", covers=lambda run: run is joining)
            assert receipt.snapshot() == CancelReceipt(
                (CoveredRun(joining.id, "cancelled"),), settled=True
            )
            gated(active).go.set()
            await active.finished.wait()
            assert active.outcome == "completed"
            assert scene.owner.settled == [joining, active]
            assert scene.ends() == [("a", False)]


# --- a neighbour's runs in the same lane -------------------------------------------------------


@pytest.mark.promise("R3", "W4", "R12")
@pytest.mark.parametrize("closing_is_active", [True, False])
async def test_a_workspace_that_closes_ends_its_own_runs_in_a_shared_lane(
    closing_is_active: bool,
) -> None:
    """Its neighbour's run goes on, whichever of them is at the head."""
    with trio.fail_after(5):
        async with open_scene() as scene:
            neighbour = Owner(scene.owner.nursery, "neighbour")
            owners = [scene.owner, neighbour] if closing_is_active else [neighbour, scene.owner]
            runs = [
                scene.accept(name, owner=owner) for name, owner in zip("ab", owners, strict=True)
            ]
            await gated(runs[0]).playing.wait()
            mine = next(run for run in runs if run.owner is scene.owner)
            theirs = next(run for run in runs if run.owner is neighbour)
            receipt = scene.lane.cancel("closing", covers=lambda run: run.owner is scene.owner)
            assert receipt.runs == (mine,)
            await receipt.wait_settled()
            await gated(theirs).playing.wait()
            gated(theirs).go.set()
            await theirs.finished.wait()
            assert (mine.outcome, theirs.outcome) == ("cancelled", "completed")


@pytest.mark.promise("R1", "R4", "W4")
async def test_a_nursery_that_goes_down_ends_its_runs_as_cancelled() -> None:
    """Without a goodbye: the run at the head and those behind it store their ends and settle."""
    with trio.fail_after(5):
        async with open_scene() as scene, trio.open_nursery() as nursery:
            doomed = Owner(nursery, "doomed")
            runs = [scene.accept(name, owner=doomed) for name in "ab"]
            await gated(runs[0]).playing.wait()
            nursery.cancel_scope.cancel("torn down")
            with trio.CancelScope(shield=True):
                for run in runs:
                    await run.finished.wait()
        assert [run.outcome for run in runs] == ["cancelled", "cancelled"]
        assert scene.log[-3:] == ["play b", "played b", "finish b cancelled"]
        assert scene.ends() == [("a", True), ("b", True)]


@pytest.mark.promise("R11")
async def test_when_a_run_has_settled_no_task_of_it_is_left() -> None:
    """The last of it is the step in which it settles."""
    with trio.fail_after(5):
        async with open_scene() as scene:
            run = scene.accept("a")
            await gated(run).playing.wait()
            assert len(scene.owner.nursery.child_tasks) == 1
            scene.lane.cancel("test")
            await run.finished.wait()
            assert not scene.owner.nursery.child_tasks


# --- a way back ---------------------------------------------------------------------------------


@pytest.mark.promise("R16")
async def test_the_same_prompt_with_a_known_run_id_joins_its_run() -> None:
    """While it waits, while it runs, and while its end is being stored; it is accepted once."""
    with trio.fail_after(5):
        async with open_scene() as scene:
            stored = trio.Event()
            first, second = scene.accept("a", stored=stored), scene.accept("b")
            assert scene.lane.accept(scene.run("b")) is second
            assert scene.lane.accept(scene.run("a")) is first
            gated(first).go.set()
            await gated(first).finishing.wait()
            assert scene.lane.accept(scene.run("a")) is first
            assert scene.owner.unsettled == [first, second]
            assert scene.lane.waiting == (second,)
            stored.set()


@pytest.mark.promise("R16", "R14")
async def test_after_the_settlement_the_same_prompt_gets_the_ending(
    autojump_clock: MockClock,
) -> None:
    """For ten minutes; then the id is as good as new."""
    with trio.fail_after(3600):
        async with open_scene() as scene:
            run = scene.accept("a")
            gated(run).go.set()
            await run.finished.wait()
            await trio.sleep(600)
            found = scene.lane.accept(scene.run("a"))
            assert found == run.ending
            assert isinstance(found, Ending)
            assert (found.outcome, found.text) == ("completed", "text a")
            await trio.sleep(0.1)
            again = scene.lane.accept(scene.run("a"))
            assert isinstance(again, Run)
            assert again is not run


@pytest.mark.promise("R16", "C4")
@pytest.mark.parametrize("when", ["waiting", "active", "folded", "settled"])
async def test_a_run_id_of_another_prompt_is_a_conflict(when: str) -> None:
    """And nothing changes."""
    with trio.fail_after(5):
        async with open_scene() as scene:
            active = scene.accept("active")
            await gated(active).playing.wait()
            folded = scene.accept("folded", own=False)
            scene.lane.fold()
            scene.accept("waiting")
            if when == "settled":
                settled = scene.accept("settled", own=False)
                assert scene.lane.fold() == [settled]
                gated(active).go.set()
                await settled.finished.wait()
            before = list(scene.owner.unsettled)
            with pytest.raises(RunIDConflictError):
                scene.lane.accept(scene.run(when, text="another prompt"))
            assert scene.owner.unsettled == before
            assert folded.folded_into is active


@pytest.mark.promise("R16")
@pytest.mark.parametrize("how", ["cancelled", "dropped", "failed"])
async def test_a_run_that_ended_badly_is_joined_all_the_same(how: str) -> None:
    """A client that asks again learns how it ended, and prompts only once."""
    with trio.fail_after(5):
        async with open_scene() as scene:
            head = scene.accept("head")
            await gated(head).playing.wait()
            run = head if how == "failed" else scene.accept("a")
            match how:
                case "failed":
                    gated(head).error = ProviderError("broken")
                    gated(head).go.set()
                case "dropped":
                    scene.lane.clear("test")
                case _:
                    scene.lane.cancel("test")
            await run.finished.wait()
            found = scene.lane.accept(scene.run(run.id))
            assert isinstance(found, Ending)
            assert found.outcome == ("failed" if how == "failed" else "cancelled")


def test_a_prompt_with_another_attachment_or_model_is_another_prompt() -> None:
    """The fingerprint covers text, files and model, each by itself, and nothing else (R16)."""
    plain, file = Prompt("hello"), Prompt("hello", (Binary("a.txt", "text/plain", b"1"),))
    other = Prompt("hello", (Binary("a.txt", "text/plain", b"2"),))
    assert len({plain.fingerprint, file.fingerprint, other.fingerprint}) == 3
    text, model = "Ask gpt", "-5"
    told = [Prompt(text, model=model), Prompt(text + model), Prompt(text, model=model + " ")]
    assert len({prompt.fingerprint for prompt in told}) == 3
    assert attrs.evolve(plain, interactive=True).fingerprint == plain.fingerprint


async def test_a_scene_says_what_it_is() -> None:
    """The representations are for whoever debugs: states, never prompts."""
    async with open_scene() as scene:
        run = scene.accept("a", text="secret")
        assert repr(scene.lane) == "<Lane s ['active']>"
        assert "secret" not in repr(run.turn)
        assert isinstance(scene, Scene)
        assert run.id == RunID("a")
