"""``run`` against a twin of the server, in virtual time."""

from __future__ import annotations

import io
import signal
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import msgspec
import pytest
import trio
from trio.testing import MockClock

from crush_trio.addresses import Address
from crush_trio.cli.interrupts import Interrupts
from crush_trio.cli.output import Output
from crush_trio.cli.prompting import Request, prompt_workspace
from crush_trio.client import WorkspaceClient, open_client
from crush_trio.errors import BadRequestError, ResponseError, ServerUnavailableError
from crush_trio.wire.messages import WireMessage
from crush_trio.wire.runs import AgentMessage, RunResult
from crush_trio.wire.workspaces import ErrorBody
from twin_kit import Reply, Twin, open_twin


@attrs.define(eq=False)
class World:
    """A twin, and what ``run`` prints."""

    twin: Twin
    out: Path
    err: io.StringIO
    interrupt: trio.MemorySendChannel[int]
    signals: AsyncIterator[int]
    gone: bool = False

    async def run(self, request: Request) -> RunResult | None:
        """Do what the command does in a workspace; None if it was left."""
        result: RunResult | None = None
        with self.out.open("wb") as file:
            output = Output(out=file.fileno(), err=self.err, progress=False)
            async with trio.open_nursery() as nursery:
                interrupts = Interrupts(nursery.cancel_scope, output)
                nursery.start_soon(interrupts.heed, self.signals)
                async with self._open() as workspace:
                    result = await prompt_workspace(workspace, request, output, interrupts)
                nursery.cancel_scope.cancel("done")
            output.end_line()
            await output.flush()
        return result

    @asynccontextmanager
    async def _open(self) -> AsyncGenerator[WorkspaceClient]:
        async with open_client(connect=self._connect) as client:
            async with client.open_workspace("/work", linger=True) as workspace:
                yield workspace

    async def _connect(self) -> trio.abc.Stream:
        if self.gone:
            raise ConnectionRefusedError(111, "Connection refused")
        return await self.twin.connect()

    @property
    def printed(self) -> str:
        return self.out.read_text()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncGenerator[World]:
    """A twin, and a program that talks to it."""
    send, receive = trio.open_memory_channel[int](10)
    async with open_twin() as twin:
        yield World(twin, tmp_path / "out", io.StringIO(), send, receive)


def request(prompt: str = "hello", **fields: Any) -> Request:
    return Request(prompt, "/work", **fields)


def answers(world: World, *texts: str, **end: object) -> None:
    """Let the twin answer each prompt with snapshots and an end."""

    def on_prompt(prompt: AgentMessage) -> Reply | None:
        twin = world.twin
        twin.say(prompt.session_id, "user", prompt.prompt)
        message_id = twin.say(prompt.session_id, "assistant", "")
        for text in texts:
            twin.say(prompt.session_id, "assistant", text, message_id=message_id)
        twin.say(
            prompt.session_id, "assistant", texts[-1], message_id=message_id, finish="end_turn"
        )
        twin.complete(prompt, message_id=message_id, text=texts[-1], **end)
        return None

    world.twin.on_prompt = on_prompt


async def test_the_answer_is_printed_and_the_result_returned(world: World) -> None:
    """The plain case: a new session, a prompt, its answer."""
    answers(world, "Hel", "Hello", "Hello you")
    with trio.fail_after(5):
        result = await world.run(request())
    assert result is not None
    assert (result.outcome, result.text, world.printed) == ("completed", "Hello you", "Hello you\n")
    [session] = world.twin.sessions.values()
    [prompt] = world.twin.prompts
    assert session.title == "New Session"
    assert (prompt.local_model, prompt.interactive, bool(prompt.run_id)) == (True, False, True)


async def test_the_stream_is_open_before_the_prompt_is_sent(world: World) -> None:
    """S1: else a quick run's end could be missed, and the program would wait for ever."""
    answers(world, "Hello")
    with trio.fail_after(5):
        await world.run(request())
    paths = [f"{seen.method} {seen.segments[-1]}" for seen in world.twin.seen]
    assert paths.index("GET events") < paths.index("POST agent")


async def test_a_failed_run_is_a_failed_result(world: World) -> None:
    """The exit code is made of it."""
    answers(world, "Hel", error="no tokens left")
    with trio.fail_after(5):
        result = await world.run(request())
    assert result is not None
    assert (result.outcome, result.error) == ("failed", "no tokens left")
    assert world.printed == "Hel\n"


async def test_a_refused_prompt_is_an_error(world: World) -> None:
    """What the server says reaches the user."""
    world.twin.on_prompt = lambda _: (409, ErrorBody("workspace closing"))
    with (
        trio.fail_after(5),
        pytest.RaisesGroup(
            pytest.RaisesGroup(pytest.RaisesExc(ResponseError, match="workspace closing"))
        ),
    ):
        await world.run(request())


@pytest.mark.promise("R16")
async def test_a_stream_that_ends_early_is_opened_again_and_the_prompt_not_sent_twice(
    autojump_clock: MockClock, world: World
) -> None:
    """The store has the prompt, so the run is there, or was: it is read and not started again."""
    twin = world.twin

    def on_prompt(prompt: AgentMessage) -> Reply | None:
        twin.busy = True
        twin.say(prompt.session_id, "user", prompt.prompt)
        message_id = twin.say(prompt.session_id, "assistant", "Hel")
        twin.nursery.start_soon(end_and_go_on, prompt, message_id)
        return None

    async def end_and_go_on(prompt: AgentMessage, message_id: str) -> None:
        await trio.sleep(1)
        twin.end_streams()
        twin.say(prompt.session_id, "assistant", "Hello you", message_id=message_id)
        await trio.sleep(5)
        twin.say(
            prompt.session_id, "assistant", "Hello you.", message_id=message_id, finish="end_turn"
        )
        twin.complete(prompt, message_id=message_id, text="Hello you.")

    twin.on_prompt = on_prompt
    with trio.fail_after(60):
        result = await world.run(request())
    assert result is not None
    assert (result.text, world.printed, len(twin.prompts)) == ("Hello you.", "Hello you.\n", 1)


async def test_a_run_that_ended_unseen_is_read_from_the_store(
    autojump_clock: MockClock, world: World
) -> None:
    """As after a restart of the server, which knows no run ids of before (R16)."""
    twin = world.twin

    def on_prompt(prompt: AgentMessage) -> Reply | None:
        twin.say(prompt.session_id, "user", prompt.prompt)
        twin.cut()
        twin.say(prompt.session_id, "assistant", "It is done.", finish="end_turn")
        return None

    twin.on_prompt = on_prompt
    with trio.fail_after(60):
        result = await world.run(request())
    assert result is not None
    assert (result.outcome, world.printed) == ("completed", "It is done.\n")
    assert len(twin.prompts) == 1


@pytest.mark.promise("R16")
async def test_a_prompt_that_was_not_stored_is_sent_again_with_its_run_id(
    autojump_clock: MockClock, world: World
) -> None:
    """Either the server knows the id and the prompt waits in its queue, or it was lost."""
    twin = world.twin

    def on_prompt(prompt: AgentMessage) -> Reply | None:
        if len(twin.prompts) == 1:
            twin.cut()
        else:
            twin.complete(prompt, message_id="m", text="Hello")
        return None

    twin.on_prompt = on_prompt
    with trio.fail_after(60):
        result = await world.run(request())
    assert result is not None
    assert (result.text, world.printed) == ("Hello", "Hello\n")
    first, second = twin.prompts
    assert (first.run_id, first.prompt) == (second.run_id, second.prompt)


async def test_a_server_that_does_not_come_back_is_an_error(
    autojump_clock: MockClock, world: World
) -> None:
    """The wait for it is bounded."""

    def on_prompt(_: AgentMessage) -> Reply | None:
        world.gone = True
        world.twin.cut()
        return None

    world.twin.on_prompt = on_prompt
    with (
        trio.fail_after(60),
        pytest.RaisesGroup(
            pytest.RaisesGroup(pytest.RaisesExc(ServerUnavailableError, match="connection refused"))
        ),
    ):
        await world.run(request())


@pytest.mark.parametrize(("yolo", "granted"), [(False, False), (True, True)])
async def test_without_a_terminal_permissions_are_denied_unless_yolo(
    world: World, yolo: bool, granted: bool
) -> None:
    """A run must not wait for somebody who is not there; the note says what to do about it."""
    twin = world.twin
    decided: list[bool] = []

    async def ask(prompt: AgentMessage) -> None:
        decided.append(
            await twin.permissions.ask(
                session_id=prompt.session_id,
                tool_call_id="c1",
                tool_name="bash",
                action="execute",
                description="Execute command: make",
                params={},
                path="/work",
            )
        )
        twin.complete(prompt, message_id="m")

    def on_prompt(prompt: AgentMessage) -> Reply | None:
        twin.say(prompt.session_id, "user", prompt.prompt)
        twin.nursery.start_soon(ask, prompt)
        return None

    twin.on_prompt = on_prompt
    with trio.fail_after(5):
        await world.run(request(yolo=yolo))
    assert decided == [granted]
    assert ("--yolo" in world.err.getvalue()) is not granted


async def test_another_sessions_permissions_are_left_to_others(
    autojump_clock: MockClock, world: World
) -> None:
    """D1: a program answers for its own run only."""
    twin = world.twin

    async def ask() -> None:
        await twin.permissions.ask(
            session_id="another",
            tool_call_id="c1",
            tool_name="bash",
            action="execute",
            description="make",
            params={},
            path="/work",
        )

    def on_prompt(prompt: AgentMessage) -> Reply | None:
        twin.nursery.start_soon(ask)
        twin.nursery.start_soon(end_later, prompt)
        return None

    async def end_later(prompt: AgentMessage) -> None:
        await trio.sleep(5)
        twin.complete(prompt, message_id="m")

    twin.on_prompt = on_prompt
    with trio.fail_after(60):
        await world.run(request(yolo=True))
    assert not [seen for seen in twin.seen if seen.segments[-1] == "grant"]


async def test_the_first_ctrl_c_cancels_the_run_and_prints_what_there_was(
    autojump_clock: MockClock, world: World
) -> None:
    """The run ends through the server, so everybody sees the same end (R4)."""
    twin = world.twin

    def on_prompt(prompt: AgentMessage) -> Reply | None:
        twin.say(prompt.session_id, "user", prompt.prompt)
        twin.say(prompt.session_id, "assistant", "Hel")
        twin.nursery.start_soon(press)
        return None

    async def press() -> None:
        await trio.sleep(1)
        world.interrupt.send_nowait(signal.SIGINT)

    twin.on_prompt = on_prompt
    twin.on_cancel = lambda _: twin.complete(twin.prompts[0], message_id="m", cancelled=True)
    with trio.fail_after(60):
        result = await world.run(request())
    assert result is not None
    assert (result.outcome, world.printed) == ("cancelled", "Hel\n")
    assert "again leaves at once" in world.err.getvalue()


async def test_a_ctrl_c_while_the_prompt_is_on_its_way_is_not_lost(
    autojump_clock: MockClock, world: World
) -> None:
    """A cancel that overtook the prompt would cancel nothing (R6), and the run would go on."""
    twin = world.twin
    order: list[str] = []

    async def hold(_: AgentMessage) -> None:
        world.interrupt.send_nowait(signal.SIGINT)
        await trio.sleep(1)
        order.append("accepted")

    def on_cancel(_: str) -> None:
        order.append("cancelled")
        twin.complete(twin.prompts[0], message_id="m", cancelled=True)

    twin.hold_prompt = hold
    twin.on_cancel = on_cancel
    with trio.fail_after(60):
        result = await world.run(request())
    assert result is not None
    assert (result.outcome, order) == ("cancelled", ["accepted", "cancelled"])


async def test_the_second_ctrl_c_leaves_at_once(autojump_clock: MockClock, world: World) -> None:
    """Also when the server is slow to cancel, or hangs."""
    twin = world.twin

    def on_prompt(_: AgentMessage) -> Reply | None:
        twin.nursery.start_soon(press_twice)
        return None

    async def press_twice() -> None:
        for _ in range(2):
            await trio.sleep(1)
            world.interrupt.send_nowait(signal.SIGINT)

    twin.on_prompt = on_prompt
    with trio.fail_after(3):
        assert await world.run(request()) is None
    assert [seen.segments[-1] for seen in twin.seen].count("cancel") == 1


async def test_a_session_is_found_by_the_beginning_of_its_id(world: World) -> None:
    """Nobody types a whole UUID."""
    answers(world, "Hello")
    world.twin.add_session("first")
    chosen = world.twin.add_session("second")
    with trio.fail_after(5):
        await world.run(request(session=chosen.id[:13]))
    assert world.twin.prompts[0].session_id == chosen.id


async def test_continue_takes_the_session_used_last(world: World) -> None:
    """Whatever order the server lists them in."""
    answers(world, "Hello")
    for second in [5, 9, 7]:
        world.twin.add_session(f"at {second}", updated_at=second)
    with trio.fail_after(5):
        await world.run(request(continue_last=True))
    assert world.twin.sessions[world.twin.prompts[0].session_id].title == "at 9"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"session": "nope"}, r"session 'nope' is not in /work"),
        ({"session": "m$$c"}, r"sub-agent's"),
        ({"continue_last": True}, r"no session to continue in /work"),
        ({"model": "huge"}, r"model 'huge' is unknown; there is acme/big"),
    ],
)
async def test_a_wrong_name_is_named_and_nothing_is_sent(
    world: World, fields: dict[str, Any], message: str
) -> None:
    """C4: the message says which thing is wrong, and what there is instead."""
    with trio.fail_after(5), pytest.RaisesGroup(pytest.RaisesExc(BadRequestError, match=message)):
        await world.run(request(**fields))
    assert not world.twin.prompts


@pytest.mark.parametrize("name", ["big", "acme/big"])
async def test_the_model_that_was_asked_for_goes_with_the_prompt(world: World, name: str) -> None:
    """By its full name; the selected model of the workspace stays what it is."""
    answers(world, "Hello")
    with trio.fail_after(5):
        assert await world.run(request(model=name)) is not None
    assert [prompt.model for prompt in world.twin.prompts] == ["acme/big"]


@pytest.mark.parametrize(
    ("answered", "wanted"),
    [
        (("acme", "small"), "acme/small"),
        (("acme", "big"), ""),
        (("acme", "gone"), ""),
        (("nobody", "small"), ""),
    ],
)
async def test_a_session_goes_on_with_the_model_that_answered_last(
    world: World, answered: tuple[str, str], wanted: str
) -> None:
    """Where it is another one than the selected, and still there (agent contract 8.4)."""
    answers(world, "Hello")
    session = world.twin.add_session("first")
    stored = world.twin.messages.setdefault(session.id, [])
    provider, model = answered
    stored.append(WireMessage((), "m1", "assistant", session.id, model, provider))
    summary = WireMessage((), "m2", "assistant", session.id, "other", "acme")
    stored.append(msgspec.structs.replace(summary, is_summary_message=True))
    with trio.fail_after(5):
        assert await world.run(request(continue_last=True)) is not None
        assert await world.run(request(continue_last=True, model="big")) is not None
    assert [prompt.model for prompt in world.twin.prompts] == [wanted, "acme/big"]


@pytest.mark.parametrize(("ready", "route"), [(True, "agent/update"), (False, "agent/init")])
async def test_the_files_are_read_again_before_the_prompt(
    world: World, ready: bool, route: str
) -> None:
    """A key that was mended a moment ago counts, and so does a rule; also while nothing was set up.
    The server is on another machine, so no weights are fetched for it here."""
    world.twin.ready = ready
    answers(world, "Hello")
    elsewhere = Address("tcp", host="192.0.2.1", port=1)
    with trio.fail_after(5):
        assert await world.run(request(host=elsewhere)) is not None
    paths = [seen.path for seen in world.twin.seen if seen.method == "POST"]
    read = next(i for i, path in enumerate(paths) if path.endswith(route))
    sent = next(i for i, path in enumerate(paths) if path.endswith("/agent"))
    assert read < sent


async def test_ctrl_c_before_the_prompt_is_sent_leaves_at_once(world: World) -> None:
    """Nothing runs yet that could be cancelled."""
    leaving = trio.CancelScope()
    world.interrupt.send_nowait(signal.SIGINT)
    with trio.fail_after(5):
        await Interrupts(leaving, Output(err=world.err)).heed(world.signals)
    assert leaving.cancel_called
    assert world.err.getvalue() == ""
