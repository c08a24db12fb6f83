"""A day at the terminal: what Crush's client asks and draws, with our server behind it (wire
contract 5.10, 11.2 to 11.4). Its twin decodes strictly, and what it has drawn from events must be
what it draws from the stored messages when it is started again."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from crush_trio.providers.base import Usage
from crush_trio.providers.scripted import Call, Hang, Report, Say, ScriptedModel, Think, failing
from limits_kit import REAL_LIMIT
from project_kit import config
from terminal_kit import POLL, Terminal, come_to_rest, open_terminal
from world_kit import World, open_served_world

DONE = "* bash done: no output"


@asynccontextmanager
async def at_work(
    tmp_path: Path, *answers: Any, document: object = None
) -> AsyncGenerator[tuple[World, Terminal]]:
    """Start a server, and a terminal client at it."""
    model = ScriptedModel(*answers)
    with trio.fail_after(REAL_LIMIT):
        async with open_served_world(tmp_path, model, document=document) as world:
            async with open_terminal(world) as terminal:
                yield world, terminal


def calling(tool: str, **arguments: Any) -> Call:
    return Call(tool, arguments)


async def test_11_2_a_start_shows_an_empty_page_and_a_ready_agent(
    mock_clock: MockClock, tmp_path: Path
) -> None:
    """Nothing of the start is an error, and afterwards nothing is asked by itself."""
    mock_clock.rate = 1.0
    async with at_work(tmp_path) as (_, terminal):
        await come_to_rest(terminal)
        assert terminal.asked["GET pending-auth"] == 1
        assert (terminal.model, terminal.busy, terminal.screen) == ("Scripted", False, [])
        before = terminal.asked.total()
        mock_clock.jump(4 * POLL)
        await come_to_rest(terminal)
        assert terminal.asked.total() == before


async def test_11_4_a_first_prompt_is_drawn_while_it_streams(tmp_path: Path) -> None:
    """The prompt itself is drawn only from its event. Reasoning, then text word by word, then the
    footer, the notification, and the title."""
    model = [Think("Hm."), Say("Hello "), Say("there."), Report(Usage(input=7, output=3))]
    async with at_work(tmp_path, [*model[:2], *model[2:]]) as (_, terminal):
        await terminal.send("hi")
        await terminal.until_idle()
        assert terminal.screen == ["> hi", "~ Hm.", "Hello there.", "--"]
        await terminal.until(lambda seen: seen.title == "Scripted title")
        assert len(terminal.noted) == 1
        assert terminal.session is not None
        assert terminal.session["message_count"] == 2


async def test_9_1_a_write_is_asked_for_with_its_diff_and_then_done(tmp_path: Path) -> None:
    """The dialog has both texts, from which the client draws the diff; behind it are the result
    with its unified diff, and the file in the panel of modified files with its versions."""
    path = tmp_path / "project" / "new.txt"
    answers = [calling("write", file_path=str(path), content="one\n")], "Done."
    async with at_work(tmp_path, *answers) as (_, terminal):
        await terminal.send("write")
        await terminal.until(lambda seen: seen.dialog)
        await terminal.until(lambda seen: seen.screen[-1:] == ["* write awaiting permission"])
        assert terminal.dialog is not None
        assert terminal.dialog["params"] == {"file_path": str(path), "new_content": "one\n"}
        assert (terminal.busy, path.exists()) == (True, False)
        assert await terminal.decide("allow")
        await terminal.until_idle()
        assert path.read_text() == "one\n"
        _, call, answer, _ = terminal.screen
        assert call.startswith("* write done: <result>\nFile successfully written")
        assert answer == "Done."
        (result,) = terminal.chat.results.values()
        assert '"diff":"--- ' in result["metadata"]
        await terminal.until(lambda seen: [each["version"] for each in seen.files] == [0, 1])
        assert {each["path"] for each in terminal.files} == {str(path)}


async def test_9_2_an_edit_shows_what_was_and_what_will_be(tmp_path: Path) -> None:
    """Read before it is edited; the metadata have both contents and the counts."""
    (tmp_path / "project").mkdir()
    path = tmp_path / "project" / "old.txt"
    path.write_text("one\ntwo\n")
    where = {"file_path": str(path)}
    answers = (
        [calling("view", **where)],
        [calling("edit", **where, old_string="two", new_string="three")],
        "Edited.",
    )
    async with at_work(tmp_path, *answers) as (_, terminal):
        await terminal.send("edit")
        await terminal.until(lambda seen: seen.dialog)
        assert terminal.dialog is not None
        assert terminal.dialog["params"] == {
            "file_path": str(path),
            "old_content": "one\ntwo\n",
            "new_content": "one\nthree\n",
        }
        assert await terminal.decide("allow")
        await terminal.until_idle()
        assert path.read_text() == "one\nthree\n"
        result = terminal.chat.results["call_2"]
        assert '"additions":1,"removals":1' in result["metadata"]


async def test_6_7_a_denied_command_ends_the_turn(tmp_path: Path) -> None:
    """Its result says so in the words by which the client styles it; the turn ends as any other."""
    answers = [Say("I try."), calling("bash", command="touch no", description="d")], "never"
    async with at_work(tmp_path, *answers) as (_, terminal):
        await terminal.send("go")
        await terminal.until(lambda seen: seen.dialog)
        assert await terminal.decide("deny")
        await terminal.until_idle()
        said = ["> go", "I try.", "* bash failed: User denied permission", "--"]
        assert terminal.screen == said
        assert not (tmp_path / "project" / "no").exists()


async def test_11_4_escape_clears_the_queue_and_escape_twice_cancels(tmp_path: Path) -> None:
    """The pill shows the queued prompt at once, as its POST is let go at once (8.9). What was
    cleared is drawn nowhere; what was said before the cancel stays."""
    async with at_work(tmp_path, [Say("Half "), Hang()], "Next.") as (_, terminal):
        await terminal.send("long")
        await terminal.until(lambda seen: seen.screen == ["> long", "Half "])
        await terminal.send("queued")
        assert (terminal.busy, terminal.queue) == (True, ["queued"])
        await terminal.press_escape()
        await terminal._refresh_queue()
        assert (terminal.busy, terminal.queue) == (True, [])
        await terminal.press_escape()
        assert terminal.armed
        await terminal.press_escape()
        await terminal.until(lambda seen: seen.screen[-1:] == ["-- Canceled"])
        await terminal.refresh()
        assert (terminal.busy, terminal.noted) == (False, [])
        await terminal.send("again")
        await terminal.until_idle()
        assert terminal.screen == [
            *("> long", "Half ", "-- Canceled"),
            *("> again", "Next.", "--"),
        ]


async def test_8_5_a_queued_prompt_joins_the_turn_at_its_next_step(tmp_path: Path) -> None:
    """It leaves the pill and appears among the messages; one turn answers both."""
    answers = [calling("bash", command="touch a", description="d")], "Both."
    async with at_work(tmp_path, *answers) as (_, terminal):
        await terminal.send("first")
        await terminal.until(lambda seen: seen.dialog)
        await terminal.send("second")
        assert terminal.queue == ["second"]
        assert await terminal.decide("allow")
        await terminal.until_idle()
        assert [line for line in terminal.screen if line[0] == ">"] == ["> first", "> second"]
        assert terminal.screen[-2:] == ["Both.", "--"]
        assert len(terminal.noted) == 1


async def test_6_6_a_failed_turn_draws_its_reason(tmp_path: Path) -> None:
    """The status line stays empty: the message says it, and the next prompt works."""
    async with at_work(tmp_path, failing(400, "no such model"), "Fine.") as (_, terminal):
        await terminal.send("hi")
        await terminal.until_idle("-- Bad Request: no such model")
        await terminal.send("again")
        await terminal.until_idle()
        assert terminal.screen[-2:] == ["Fine.", "--"]


@pytest.mark.promise("D1")
async def test_9_1_two_clients_see_one_dialog_and_the_first_answer_counts(tmp_path: Path) -> None:
    """Both draw the same; the dialog of the other is closed by the notification, and its late
    answer counts for nothing."""
    answers = [calling("bash", command="touch a", description="d")], "Done."
    async with at_work(tmp_path, *answers) as (world, terminal):
        async with open_terminal(world) as other:
            assert other.workspace["id"] == terminal.workspace["id"]
            await terminal.send("go")
            await other.load(terminal._sid)
            await terminal.until(lambda seen: seen.dialog)
            await other.until(lambda seen: seen.dialog)
            held = other.dialog
            assert await terminal.decide("allow_session")
            await other.until(lambda seen: seen.dialog is None)
            other.dialog = held
            assert not await other.decide("deny")
            await terminal.until_idle()
            await other.until_idle()
            assert terminal.screen == other.screen
            assert other.screen[-3:] == [DONE, "Done.", "--"]
            shown = await terminal.ask("GET", f"/sessions/{terminal._sid}")
            assert shown["attached_clients"] == 2


@pytest.mark.promise("D3")
async def test_8_4_another_clients_cancel_closes_the_dialog_here(tmp_path: Path) -> None:
    """The request is withdrawn on every client (D3); nobody sees an error."""
    ask = calling("bash", command="touch a", description="d")
    async with at_work(tmp_path, [ask], "Next.") as (world, terminal):
        async with open_terminal(world) as other:
            await terminal.send("go")
            await other.load(terminal._sid)
            await terminal.until(lambda seen: seen.dialog)
            await other.until(lambda seen: seen.dialog)
            await other.ask("POST", f"/agent/sessions/{other._sid}/cancel")
            for each in (terminal, other):
                await each.until(lambda seen: seen.dialog is None)
                await each.until_idle("-- Canceled")


async def test_11_3_sessions_are_switched_while_one_of_them_works(tmp_path: Path) -> None:
    """What happens in the other is not drawn here, and is there when one comes back."""
    async with at_work(tmp_path, "One.", [Say("Two "), Hang()]) as (_, terminal):
        await terminal.send("first")
        await terminal.until_idle()
        first = terminal._sid
        await terminal.leave_session()
        await terminal.send("second")
        await terminal.until(lambda seen: seen.screen == ["> second", "Two "])
        second = terminal._sid
        listed = await terminal.ask("GET", "/sessions")
        assert [(each["id"], each["is_busy"]) for each in listed] == [
            (second, True),
            (first, False),
        ]
        await terminal.load(first)
        assert terminal.screen == ["> first", "One.", "--"]
        await terminal.load(second)
        assert terminal.screen == ["> second", "Two "]
        await terminal.ask("POST", f"/agent/sessions/{second}/cancel")
        await terminal.until_idle("-- Canceled")


async def test_11_4_a_rename_is_drawn_everywhere_and_a_deletion_leads_home(tmp_path: Path) -> None:
    """The dialog sends the session as the client knows it; counters and cost stay (R-17). Whoever
    has the deleted session open goes to the landing page."""
    async with at_work(tmp_path, "One.") as (world, terminal):
        async with open_terminal(world) as other:
            await terminal.send("first")
            await terminal.until_idle()
            await terminal.until(lambda seen: seen.title == "Scripted title")
            await other.load(terminal._sid)
            known = await terminal.ask("GET", f"/sessions/{terminal._sid}")
            await terminal.ask("PUT", f"/sessions/{terminal._sid}", known | {"title": "Mine"})
            await other.until(lambda seen: seen.title == "Mine")
            assert other.session is not None
            assert other.session["prompt_tokens"] == known["prompt_tokens"]
            busy = await terminal.ask("GET", f"/agent/sessions/{terminal._sid}")
            assert not busy["is_busy"]
            await terminal.ask("DELETE", f"/sessions/{terminal._sid}")
            for each in (terminal, other):
                await each.until(lambda seen: seen.session is None)
            assert await terminal.ask("GET", "/sessions") == []


async def test_6_8_a_summary_is_drawn_and_the_context_shrinks(tmp_path: Path) -> None:
    """It stays open until it is done; it streams as an answer; the counters are the summary's."""
    summary = [Say("In short."), Report(Usage(input=500, output=40))]
    async with at_work(tmp_path, "One.", summary, "Two.") as (_, terminal):
        await terminal.send("first")
        await terminal.until_idle()
        await terminal.ask("POST", f"/agent/sessions/{terminal._sid}/summarize")
        await terminal.until_idle()
        assert terminal.screen == ["> first", "One.", "--", "In short.", "--"]
        assert terminal.session is not None
        counted = terminal.session["prompt_tokens"], terminal.session["completion_tokens"]
        assert counted == (0, 40)
        assert terminal.session["summary_message_id"] == list(terminal.chat.items)[-1]
        await terminal.send("second")
        await terminal.until(lambda seen: seen.screen[-2:] == ["Two.", "--"])


async def test_6_9_a_shell_command_answers_its_user_and_is_drawn_by_nobody_else(
    tmp_path: Path,
) -> None:
    """The reply is what is drawn; a failing command is no error; a turn beside it goes on."""
    async with at_work(tmp_path, "One.") as (_, terminal):
        await terminal.send("first")
        await terminal.until_idle()
        path, before = f"/agent/sessions/{terminal._sid}/shell", terminal.screen
        body = {"session_id": "", "command": "echo out; echo err >&2; exit 3", "term_width": 80}
        ran = await terminal.ask("POST", path, body)
        assert ran == {"output": "out\n\nerr\n", "exit_code": 3}
        await terminal.until(lambda seen: "shell_command" in str(seen.events[-1:]))
        assert terminal.screen == before


async def test_11_4_another_model_answers_after_a_switch(tmp_path: Path) -> None:
    """Every client draws the new name; the answer's message names the model that is selected, so
    that loading the session switches nothing back (6.2)."""
    document = config()
    models = document["providers"]["scripted"]["models"]
    models.append(models[0] | {"id": "scripted-2", "name": "Other"})
    async with at_work(tmp_path, "One.", document=document) as (world, terminal):
        async with open_terminal(world) as other:
            await terminal.switch_model("scripted-2")
            chosen = {"model": "scripted-2", "provider": "scripted"}

            def is_chosen(seen: Terminal) -> bool:
                large = seen.workspace["config"]["models"]["large"]
                return {key: large[key] for key in chosen} == chosen

            await terminal.until(is_chosen)
            await other.until(is_chosen)
            await other.refresh()
            assert (terminal.model, other.model) == ("Other", "Other")
            await terminal.send("hi")
            await terminal.until_idle()
            answer = list(terminal.chat.items.values())[-1]
            assert (answer["model"], answer["provider"]) == ("scripted-2", "scripted")


async def test_9_4_a_form_is_drawn_filled_in_and_closed_on_every_client(tmp_path: Path) -> None:
    """The second to answer is told that it came too late."""
    question = {"type": "yes_no", "question": "Sure?", "description": "d"}
    async with at_work(tmp_path, [calling("question", questions=[question])], "So.") as (
        world,
        terminal,
    ):
        async with open_terminal(world) as other:
            await terminal.send("ask me")
            await terminal.until(lambda seen: seen.form)
            await other.until(lambda seen: seen.form)
            assert terminal.form is not None
            (asked,) = terminal.form["questions"]
            answer = {"request_id": asked["id"], "yes": True}
            body = {"batch_request_id": "", "responses": [answer]}
            assert await terminal.ask("POST", "/questions/answer", body) == {"resolved": True}
            await other.until(lambda seen: seen.form is None)
            assert await other.ask("POST", "/questions/cancel") == {"resolved": False}
            await terminal.until_idle()
            assert any("User answered: yes" in line for line in terminal.screen)


async def test_9_3_skipping_permissions_is_seen_by_the_other_client(tmp_path: Path) -> None:
    """ctrl+y tells by no event: the other one sees it at its next refresh, and no dialog opens."""
    answers = [calling("bash", command="touch a", description="d")], "Done."
    async with at_work(tmp_path, *answers) as (world, terminal):
        async with open_terminal(world) as other:
            await terminal.ask("POST", "/permissions/skip", {"skip": True})
            await other.refresh()
            assert other.skip
            await other.send("go")
            await other.until_idle()
            assert not [each for each in other.events if each["type"].startswith("permission")]


async def test_8_9_two_clients_prompt_one_session_in_the_same_moment(tmp_path: Path) -> None:
    """Both prompts are drawn on both screens in the same order, with one answer or two."""
    async with at_work(tmp_path, "One.", "Two.", "Three.") as (world, terminal):
        async with open_terminal(world) as other:
            await terminal.send("first")
            await terminal.until_idle()
            await other.load(terminal._sid)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(terminal.send, "from here")
                nursery.start_soon(other.send, "from there")
            for each in (terminal, other):
                await each.until(lambda seen: {"> from here", "> from there"} <= set(seen.screen))
                await each.until_idle()
            await other.until(lambda seen: seen.screen == terminal.screen)


@pytest.mark.promise("R2", "W2")
async def test_11_4_a_client_that_quits_leaves_the_others_turn_alone(tmp_path: Path) -> None:
    """Its goodbye takes its own claim; the turn that it began goes on for who is left."""
    answers = [Say("Half "), calling("bash", command="touch a", description="d")], "Done."
    async with at_work(tmp_path, *answers) as (world, terminal):
        async with trio.open_nursery() as nursery:
            quitting = Terminal(world, nursery, str(world.directory))
            await quitting.start()
            await quitting.send("go")
            await terminal.load(quitting._sid)
            await terminal.until(lambda seen: seen.dialog)
            await quitting.leave()
        await come_to_rest(terminal)
        assert terminal.dialog is not None
        assert await terminal.decide("allow")
        await terminal.until_idle()
        assert terminal.screen == ["> go", "Half ", DONE, "Done.", "--"]


async def test_11_4_an_instruction_file_is_offered_once(tmp_path: Path) -> None:
    """Where nobody described the project the client offers to; its answer is remembered for every
    client, and what it sends then is a prompt like any other."""
    async with at_work(tmp_path, "Written.") as (world, terminal):
        (world.directory / "AGENTS.md").unlink()
        assert await terminal.ask("GET", "/project/needs-init") == {"needs_init": True}
        prompt = (await terminal.ask("GET", "/project/init-prompt"))["prompt"]
        assert "AGENTS.md" in prompt
        await terminal.ask("POST", "/project/init")
        assert await terminal.ask("GET", "/project/needs-init") == {"needs_init": False}
        await terminal.send(prompt)
        await terminal.until_idle()
        assert terminal.screen == [f"> {prompt}", "Written.", "--"]
