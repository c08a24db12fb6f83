"""The client against a twin of the server, over in-memory streams and over a socket."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
import trio

from crush_trio.addresses import Address
from crush_trio.client import Client, open_client
from crush_trio.errors import BadRequestError, ResponseError, ServerUnavailableError
from crush_trio.wire.events import Event, RunComplete
from crush_trio.wire.permissions import PermissionRequest
from crush_trio.wire.runs import AgentMessage, CoveredRun, RunAccepted, RunResult
from crush_trio.wire.sessions import Session
from twin_kit import Twin, open_twin


@pytest.fixture
async def twin() -> AsyncGenerator[Twin]:
    """A twin of the server."""
    async with open_twin() as twin:
        yield twin


@pytest.fixture
async def client(twin: Twin) -> AsyncGenerator[Client]:
    """A client of the twin over in-memory streams."""
    async with open_client(connect=twin.connect) as client:
        yield client


def result(prompt: AgentMessage, outcome: str = "completed", text: str = "hi") -> RunResult:
    return RunResult(
        prompt.run_id or "r1",
        prompt.session_id,
        outcome,  # pyright: ignore[reportArgumentType]  one of the three
        cancelled=outcome == "cancelled",
        message_id="m1",
        text=text,
    )


async def test_a_prompt_answers_the_runs_result(client: Client, twin: Twin) -> None:
    """The POST that stays open is the plain way to use the server."""
    twin.on_prompt = lambda prompt: (200, result(prompt))
    with trio.fail_after(5):
        async with client.open_workspace("/work") as workspace:
            session = await workspace.create_session("Greetings")
            answer = await session.prompt("hello", interactive=False)
    assert (answer.outcome, answer.text, answer.session_id) == ("completed", "hi", session.id)
    assert (twin.prompts[0].prompt, twin.prompts[0].run_id) == ("hello", "")
    assert "prefer" not in twin.seen[-2].headers


async def test_a_failed_run_is_a_result_and_a_refused_prompt_an_error(
    client: Client, twin: Twin
) -> None:
    """A 500 that names its run says how the run ended; any other says that there is none."""
    replies = iter(
        [
            (500, _Failed("no tokens left", "r1", "s1", "m1")),
            (500, _Refused("prompt is empty")),
            (409, _Refused("workspace closing")),
        ]
    )
    twin.on_prompt = lambda _: next(replies)
    with trio.fail_after(5):
        async with client.open_workspace("/work") as workspace:
            session = workspace.session("s1")
            failed = await session.prompt("hello")
            assert (failed.outcome, failed.error) == ("failed", "no tokens left")
            with pytest.raises(ResponseError, match="prompt is empty") as refused:
                await session.prompt("")
            assert refused.value.status == 500
            with pytest.raises(ResponseError, match="workspace closing"):
                await session.prompt("hello")


async def test_a_prompt_with_a_run_id_asks_again_until_the_run_has_settled(
    client: Client, twin: Twin
) -> None:
    """R16 lets the client join its own run, so a bounded wait is no end of it."""
    replies = iter([None, None, "settled"])
    twin.on_prompt = lambda prompt: (200, result(prompt)) if next(replies) else None
    with trio.fail_after(5):
        async with client.open_workspace("/work") as workspace:
            answer = await workspace.session("s1").prompt("hello", run_id="mine")
    assert (answer.run_id, [prompt.run_id for prompt in twin.prompts]) == ("mine", ["mine"] * 3)


async def test_submit_lets_the_caller_go_at_once(client: Client, twin: Twin) -> None:
    """A submitted prompt is followed through events, by the run id that the answer has."""
    with trio.fail_after(5):
        async with client.open_workspace("/work") as workspace:
            accepted = await workspace.session("s1").submit("hello", local_model=True)
            assert isinstance(accepted, RunAccepted)
            assert twin.seen[-1].headers["prefer"] == "respond-async"
            assert twin.prompts[0].run_id == accepted.run_id
            assert twin.prompts[0].local_model
            await workspace.session("s1").submit("hello", wait=3)
            assert twin.seen[-1].headers["prefer"] == "wait=3"


async def test_a_cancel_brings_its_receipt(client: Client) -> None:
    """R15: the caller learns which runs the cancel covered."""
    with trio.fail_after(5):
        async with client.open_workspace("/work") as workspace:
            session = workspace.session("s1")
            accepted = await session.submit("hello")
            receipt = await session.cancel(wait=2)
    assert receipt.runs == (CoveredRun(accepted.run_id, None),)


async def test_nothing_is_missed_once_the_event_block_is_entered(
    client: Client, twin: Twin
) -> None:
    """S1: the block is entered after the 200, so what happens inside it is in the stream."""
    with trio.fail_after(5):
        async with client.open_workspace("/work") as workspace, workspace.events() as events:
            twin.hub.publish(Event("run_complete", "updated", RunComplete("s1", "r1")))
            twin.hub.publish(Event("session", "created", Session(id="s1", title="ümläut")))
            first, second = await anext(events), await anext(events)
    assert first.payload == RunComplete("s1", "r1")
    assert second.payload == Session(id="s1", title="ümläut")


async def test_event_iteration_ends_with_the_stream(client: Client, twin: Twin) -> None:
    """A stream that the server ends is an end and no error."""
    with trio.fail_after(5):
        async with client.open_workspace("/work") as workspace, workspace.events() as events:
            twin.hub.publish(Event("run_complete", "updated", RunComplete("s1", "r1")))
            twin.end_streams()
            assert [event.type async for event in events] == ["run_complete"]


async def test_event_types_of_a_later_server_are_passed_over(client: Client, twin: Twin) -> None:
    """An old client lives with a new server; whoever wants all lines gets them."""

    class Novelty(msgspec.Struct):
        x: int

    with trio.fail_after(5):
        async with client.open_workspace("/work") as workspace:
            async with workspace.events() as events, workspace.events() as lines:
                twin.hub.publish(Event("novelty", "created", Novelty(1)))
                twin.hub.publish(Event("run_complete", "updated", RunComplete("s1", "r1")))
                assert (await anext(events)).type == "run_complete"
                assert b"novelty" in await lines.receive_line()


async def test_a_stream_that_is_cut_off_is_an_error(client: Client, twin: Twin) -> None:
    """An answer that ends in the middle must not look like an end."""
    with trio.fail_after(5):
        async with client.open_workspace("/work", linger=True) as workspace:
            async with workspace.events() as events:
                twin.cut()
                with pytest.raises(ServerUnavailableError, match="lost the server at unix://"):
                    await anext(events)


async def test_a_prompt_whose_server_goes_away_is_an_error(client: Client, twin: Twin) -> None:
    """The caller must learn that it does not know the outcome."""

    def die(_: AgentMessage) -> None:
        twin.cut()

    twin.on_prompt = die
    with trio.fail_after(5):
        async with client.open_workspace("/work", linger=True) as workspace:
            with pytest.raises(ServerUnavailableError, match="lost the server"):
                await workspace.session("s1").prompt("hello")


async def test_an_unknown_workspace_refuses_the_stream(client: Client, twin: Twin) -> None:
    """A 404 says that the workspace is gone; the block is not entered."""
    with trio.fail_after(5):
        async with client.open_workspace("/work", linger=True) as workspace:
            twin.workspace_id = "another"
            with pytest.raises(ResponseError, match="workspace not found") as refused:
                async with workspace.events():
                    pytest.fail("entered")
    assert refused.value.status == 404


@pytest.mark.parametrize("linger", [True, False])
async def test_leaving_a_workspace_says_goodbye_unless_told_to_linger(
    client: Client, twin: Twin, linger: bool
) -> None:
    """R3: a goodbye may end runs, so there is a way out without one."""
    with trio.fail_after(5):
        async with client.open_workspace("/work", linger=linger):
            pass
    released = [seen for seen in twin.seen if seen.method == "DELETE"]
    assert [seen.query for seen in released] == ([] if linger else [{"client_id": client.id}])


async def test_a_cancelled_client_still_says_goodbye(client: Client, twin: Twin) -> None:
    """Else the workspace would stay open for a grace after every interrupted program."""
    with trio.fail_after(5), trio.CancelScope() as scope:
        async with client.open_workspace("/work"):
            scope.cancel("test")
            await trio.sleep_forever()
    assert twin.seen[-1].method == "DELETE"


async def test_a_permission_is_answered_once(client: Client, twin: Twin) -> None:
    """D1: the client learns whether its answer was the one that counted."""
    granted: list[bool] = []

    async def ask() -> None:
        granted.append(
            await twin.permissions.ask(
                session_id="s1",
                tool_call_id="t1",
                tool_name="bash",
                action="execute",
                description="run it",
                params={"command": "ls"},
                path="/work",
            )
        )

    with trio.fail_after(5):
        async with client.open_workspace("/work") as workspace, workspace.events() as events:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)
                async for event in events:
                    if isinstance(request := event.payload, PermissionRequest):
                        assert await workspace.grant(request, "allow")
                        assert not await workspace.grant(request, "deny")
                        break
    assert granted == [True]


async def test_every_request_names_its_client_and_shows_the_token(twin: Twin) -> None:
    """A1: on TCP the server lets nobody in without the token."""
    address = Address("tcp", host="::1", port=8080)
    with trio.fail_after(5):
        async with open_client(address, token="secret", connect=twin.connect) as client:
            await client.health()
    headers = twin.seen[0].headers
    assert headers["authorization"] == "Bearer secret"
    assert headers["host"] == "[::1]:8080"
    assert headers["user-agent"].startswith("crush-trio/")


@pytest.mark.parametrize(
    ("address", "token"), [("example.org:80", None), ("tcp://h", None), ("tcp://h:1", "a\nb")]
)
async def test_a_senseless_address_or_token_is_refused(address: str, token: str | None) -> None:
    """C4: the message names the thing, before anything is sent."""
    with pytest.raises(BadRequestError, match=r"address|token"):
        async with open_client(address, token=token):
            pytest.fail("entered")


async def test_a_missing_server_is_named(tmp_path: Path) -> None:
    """The user must see which address was tried."""
    async with open_client(f"unix://{tmp_path}/none.sock") as client:
        with (
            trio.fail_after(5),
            pytest.raises(ServerUnavailableError, match=r"none\.sock: no such"),
        ):
            await client.health()


async def _over_unix(path: Path) -> tuple[str, trio.SocketListener]:
    sock = trio.socket.socket(socket.AF_UNIX)
    await sock.bind(os.fspath(path / "s.sock"))
    sock.listen()
    return f"unix://{path}/s.sock", trio.SocketListener(sock)


async def _over_tcp(_: Path) -> tuple[str, trio.SocketListener]:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    return f"tcp://127.0.0.1:{listener.socket.getsockname()[1]}", listener


@pytest.mark.parametrize("listen", [_over_unix, _over_tcp])
async def test_a_socket_and_an_injected_stream_are_the_same_to_the_client(
    twin: Twin,
    tmp_path: Path,
    listen: Callable[[Path], Awaitable[tuple[str, trio.SocketListener]]],
) -> None:
    """What holds over in-memory streams must hold over sockets: prompt, events, end."""
    twin.on_prompt = lambda prompt: (200, result(prompt))
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            address, listener = await listen(tmp_path)
            nursery.start_soon(twin.serve_socket, listener)
            async with open_client(address, token="t") as client:
                async with client.open_workspace("/work") as workspace:
                    async with workspace.events() as events:
                        twin.hub.publish(Event("run_complete", "updated", RunComplete("s", "r")))
                        assert (await anext(events)).type == "run_complete"
                    assert (await workspace.session("s1").prompt("hello")).text == "hi"
            nursery.cancel_scope.cancel("done")


class _Failed(msgspec.Struct):
    message: str
    run_id: str
    session_id: str
    message_id: str


class _Refused(msgspec.Struct):
    message: str
