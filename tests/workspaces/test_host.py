"""The host: who shares a workspace, and how it comes and goes."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from core_kit import (
    StubbornModel,
    Town,
    accepted,
    drain,
    live_tasks,
    open_town,
    scripted,
    told,
    write_config,
)
from crush_trio.errors import (
    BadRequestError,
    ClientRetiredError,
    ConfigError,
    DataDirectoryInUseError,
    ServerClosingError,
    StoreError,
    WorkspaceClosingError,
    WorkspaceNotFoundError,
)
from crush_trio.ids import ClientID, RunID
from crush_trio.messages import Prompt
from crush_trio.providers.scripted import Hang, Say, WaitFor
from crush_trio.runs import Run
from crush_trio.wire.events import RunComplete
from crush_trio.wire.sessions import Session
from crush_trio.workspaces import Workspace

LIMIT = 3600
A, B = ClientID("a"), ClientID("b")


class Opener:
    """Somebody who opens a workspace in a task of their own."""

    def __init__(self, town: Town, client: str = "a", **fields: object) -> None:
        self.town = town
        self.client = client
        self.fields = fields
        self.found: Workspace | None = None
        self.error: Exception | None = None
        self.scope = trio.CancelScope()

    async def __call__(self) -> None:
        with self.scope:
            try:
                self.found = await self.town.open(self.client, **self.fields)  # pyright: ignore[reportArgumentType]
            except Exception as error:  # noqa: BLE001 -- what a test looks at
                self.error = error


# --- one for each directory ----------------------------------------------------------------------


@pytest.mark.promise("W1")
async def test_parallel_creates_of_one_path_share_one_workspace(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """However it is spelt; the first creator's flags win; its store is opened once."""
    async with open_town(tmp_path) as town:
        gate = trio.Event()
        town.opening = gate.wait
        (tmp_path / "link").symlink_to(town.directory)
        spellings = [town.directory, tmp_path / "link", town.directory / ".." / "project"]
        openers = [
            Opener(town, f"c{number}", directory=path, yolo=number == 0)
            for number, path in enumerate(spellings)
        ]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(openers[0])
            await wait_all_tasks_blocked()
            for opener in openers[1:]:
                nursery.start_soon(opener)
            await wait_all_tasks_blocked()
            assert len(town.opened) == 1
            gate.set()
        (workspace,) = {opener.found for opener in openers}
        assert workspace is not None
        assert workspace.plan.request.yolo
        assert workspace.permissions.skip
        assert await town.open("later", yolo=False) is workspace
        assert len(town.opened) == 1


@pytest.mark.promise("W1", "C4")
async def test_other_channels_are_refused_and_change_nothing(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Wire contract 7.2, step 3: not even a claim."""
    async with open_town(tmp_path) as town:
        workspace = await town.open("a", channels=("x",))
        with pytest.raises(BadRequestError, match="requested channels differ"):
            await town.open("b", channels=("y",))
        assert await town.open("c", channels=("x",)) is workspace
        assert set(workspace.claims._clients) == {"a", "c"}


@pytest.mark.promise("C4")
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "path is required"),
        ("file", "not a usable directory"),
        ("a/" * 1_900, "nested too deeply"),
    ],
)
async def test_a_path_that_is_no_directory_is_refused(
    path: str, message: str, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """With a message that names it; nothing is opened."""
    (tmp_path / "file").write_text("x")
    async with open_town(tmp_path) as town:
        request = town.request().__class__(str(tmp_path / path) if path else "")
        with pytest.raises(BadRequestError, match=message):
            await town.host.open(request, A)
        assert town.opened == []
        assert town.host.workspaces == []


@pytest.mark.promise("W1")
async def test_workspaces_share_the_store_of_one_data_directory(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """By whatever name it is known; it is opened by the first and closed by the last."""
    async with open_town(tmp_path) as town:
        data = tmp_path / "data"
        (tmp_path / "alias").symlink_to(data)
        first = await town.open("a", data_dir=str(data))
        other = tmp_path / "other"
        write_config(other)
        second = await town.open("b", other, data_dir=str(tmp_path / "alias"))
        assert first is not second
        assert first.data is second.data
        assert town.opened == [data]
        town.host.release(first.id, A)
        await wait_all_tasks_blocked()
        assert town.open_now == 1
        town.host.release(second.id, B)
        await wait_all_tasks_blocked()
        assert town.open_now == 0


# --- failing to open ------------------------------------------------------------------------------


@pytest.mark.promise("W1", "C3")
async def test_a_failing_open_is_shared_by_all_who_wait_and_tried_again_later(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Each of them gets the reason; the next create starts afresh."""
    async with open_town(tmp_path) as town:
        gate = trio.Event()
        town.opening = gate.wait
        town.open_error = DataDirectoryInUseError("data directory is in use by pid 1")
        openers = [Opener(town, name) for name in "abc"]
        async with trio.open_nursery() as nursery:
            for opener in openers:
                nursery.start_soon(opener)
            await wait_all_tasks_blocked()
            gate.set()
        assert len(town.opened) == 1
        assert {type(opener.error) for opener in openers} == {DataDirectoryInUseError}
        town.open_error = None
        workspace = await town.open("a")
        assert town.host.workspaces == [workspace]


@pytest.mark.promise("C3", "C4")
async def test_a_configuration_that_cannot_be_read_fails_the_create(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """With the file and the reason; when it is mended the next create succeeds."""
    async with open_town(tmp_path) as town:
        good = (town.directory / "crush.json").read_text()
        (town.directory / "crush.json").write_text("{")
        with pytest.raises(ConfigError, match=r"crush\.json"):
            await town.open()
        (town.directory / "crush.json").write_text(good)
        assert (await town.open()).agent.ready


@pytest.mark.promise("C3")
async def test_what_nobody_foresaw_fails_the_create_and_nothing_else(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Told as an error of the store, with its text; another workspace lives on."""
    async with open_town(tmp_path) as town:
        other = tmp_path / "other"
        write_config(other)
        living = await town.open("a", other)
        town.open_error = RuntimeError("unforeseen")
        with pytest.raises(StoreError, match="unforeseen"):
            await town.open("a")
        assert town.host.get(living.id) is living


# --- coming back ----------------------------------------------------------------------------------


@pytest.mark.promise("W3", "W2")
async def test_a_client_that_returns_within_the_grace_finds_its_workspace(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """And one that comes later gets a fresh one, with what was stored."""
    async with open_town(tmp_path) as town:
        workspace = await town.open()
        with workspace.attach(A):
            session = await town.session(workspace)
            await trio.sleep(100)
        await trio.sleep(9)
        assert await town.open() is workspace
        await trio.sleep(29)
        assert town.host.get(workspace.id) is workspace
        await trio.sleep(2)
        with pytest.raises(WorkspaceNotFoundError):
            town.host.get(workspace.id)
        again = await town.open()
        assert again is not workspace
        assert again.id != workspace.id
        assert (await again.sessions.get(session)).id == session


@pytest.mark.promise("W3", "W4")
async def test_a_create_while_the_workspace_closes_gets_a_fresh_one(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """It waits until the old one has stored its runs and closed its store."""
    model = StubbornModel([Say("x"), Hang()])
    async with open_town(tmp_path, model=model) as town:
        workspace = await town.open()
        session = await town.session(workspace)
        run = accepted(workspace.submit(session, Prompt("hello")))
        await model.wait_request(1)
        town.host.release(workspace.id, A)
        await model.leaving.wait()
        openers = [Opener(town, name) for name in "bc"]
        async with trio.open_nursery() as nursery:
            for opener in openers:
                nursery.start_soon(opener)
            await wait_all_tasks_blocked()
            assert [opener.found for opener in openers] == [None, None]
            assert len(town.opened) == 1
            model.let_go.set()
        (fresh,) = {opener.found for opener in openers}
        assert fresh is not None
        assert fresh is not workspace
        assert (run.settled, run.outcome) == (True, "cancelled")
        assert len(town.opened) == 2
        assert [m.role for m in await fresh.data.store.messages(session)] == [
            "user",
            "assistant",
        ]


@pytest.mark.promise("W2", "W3")
async def test_an_opening_that_takes_longer_than_a_hold_is_not_lost(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The hold counts from the moment when the workspace is open."""

    async def slowly() -> None:
        await trio.sleep(100)

    async with open_town(tmp_path) as town:
        town.opening = slowly
        begun = trio.current_time()
        workspace = await town.open()
        assert trio.current_time() - begun == pytest.approx(100)
        assert len(town.opened) == 1
        await trio.sleep(29)
        assert town.host.get(workspace.id) is workspace
        await trio.sleep(2)
        assert town.host.workspaces == []


@pytest.mark.promise("W2")
async def test_a_creator_that_leaves_while_it_is_opened_leaves_a_hold(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """A client that lost its connection finds what it asked for."""
    async with open_town(tmp_path) as town:
        gate = trio.Event()
        town.opening = gate.wait
        opener = Opener(town)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(opener)
            await wait_all_tasks_blocked()
            opener.scope.cancel("the client has gone")
            await wait_all_tasks_blocked()
            gate.set()
            await wait_all_tasks_blocked()
        (workspace,) = town.host.workspaces
        assert await town.open() is workspace


# --- goodbyes ------------------------------------------------------------------------------------


@pytest.mark.promise("W2", "W4", "R3", "R4")
@pytest.mark.parametrize("how", ["release", "retire"])
async def test_the_goodbye_of_the_last_client_withdraws_cancels_and_closes(
    how: str, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """In this order: the id at once, then the runs with their ends stored, then the streams, then
    the store."""
    async with open_town(tmp_path, [Say("Half"), Hang()]) as town:
        workspace = await town.open("a")
        await town.open("b")
        session = await town.session(workspace)
        with workspace.hub.subscribe() as stream:
            run = accepted(workspace.submit(session, Prompt("hello")))
            await _until_text(workspace, "Half")
            town.host.release(workspace.id, B)
            assert town.host.get(workspace.id) is workspace
            if how == "release":
                town.host.release(workspace.id, A)
            else:
                town.host.retire(A)
            with pytest.raises(WorkspaceNotFoundError):
                town.host.get(workspace.id)
            with pytest.raises(WorkspaceClosingError):
                workspace.submit(session, Prompt("more"))
            assert not run.settled
            await run.finished.wait()
            assert town.open_now == 1
            events = await drain(stream)
        assert run.outcome == "cancelled"
        assert isinstance(events[-1].payload, RunComplete)
        await wait_all_tasks_blocked()
        assert town.open_now == 0
        assert town.host.workspaces == []


async def _until_text(workspace: Workspace, text: str) -> None:
    """Wait until an answer is stored that holds ``text``."""
    with workspace.hub.subscribe() as stream:
        while not any(text in str(event.payload) for event in await stream.receive()):
            pass


@pytest.mark.promise("W2", "S6")
async def test_a_retired_client_keeps_its_stream_until_the_workspace_ends(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """With another client there its stream goes on; its claim is gone, and its end changes nothing."""
    async with open_town(tmp_path) as town:
        workspace = await town.open("a")
        await town.open("b")
        with workspace.attach(A) as stream:
            town.host.retire(A)
            session = await town.session(workspace)
            (event,) = await stream.receive()
            assert isinstance(event.payload, Session)
            assert event.payload.id == session
        assert town.host.get(workspace.id) is workspace
        with pytest.raises(ClientRetiredError):
            await town.open("a")
        town.host.retire(B)
        assert town.host.workspaces == []


@pytest.mark.promise("W2", "W3")
async def test_a_client_that_retires_while_it_opens_a_workspace_gets_none(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Its create fails, and nothing is left open for it."""
    async with open_town(tmp_path) as town:
        gate = trio.Event()
        town.opening = gate.wait
        opener = Opener(town)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(opener)
            await wait_all_tasks_blocked()
            town.host.retire(A)
            gate.set()
        assert isinstance(opener.error, ClientRetiredError)
        await wait_all_tasks_blocked()
        assert town.host.workspaces == []
        assert town.open_now == 0


@pytest.mark.promise("W2", "W3")
@pytest.mark.parametrize("first", ["retire", "join"])
async def test_another_client_of_an_opening_workspace_gets_it(
    first: str, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Whether it came before the first one retired or after that; it is opened once."""
    async with open_town(tmp_path) as town:
        gate = trio.Event()
        town.opening = gate.wait
        one, two = Opener(town, "a"), Opener(town, "b")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one)
            await wait_all_tasks_blocked()
            if first == "retire":
                town.host.retire(A)
            nursery.start_soon(two)
            await wait_all_tasks_blocked()
            if first == "join":
                town.host.retire(A)
            gate.set()
        assert isinstance(one.error, ClientRetiredError)
        assert two.found is not None
        assert town.host.get(two.found.id) is two.found
        assert len(town.opened) == 1


@pytest.mark.promise("W2")
async def test_a_release_of_what_is_not_there_changes_nothing(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """An unknown workspace, or a client without a claim (wire contract 7.5)."""
    async with open_town(tmp_path) as town:
        workspace = await town.open("a")
        town.host.release("unknown", A)
        town.host.release(workspace.id, B)
        town.host.retire(B)
        assert town.host.get(workspace.id) is workspace


@pytest.mark.promise("W2", "R3")
@pytest.mark.parametrize("what", ["hold", "stream"])
async def test_no_expiry_closes_a_workspace_under_a_run(
    what: str, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """It goes on for hours without a client; when it settles the grace starts."""
    with trio.fail_after(10 * LIMIT):
        gate = trio.Event()
        async with open_town(tmp_path, [Say("x"), WaitFor(gate), Say("y")]) as town:
            workspace = await town.open()
            session = await town.session(workspace)
            run = accepted(workspace.submit(session, Prompt("hello")))
            if what == "stream":
                with workspace.attach(A):
                    await trio.sleep(1)
            await trio.sleep(3 * 3600)
            assert town.host.get(workspace.id) is workspace
            gate.set()
            await run.finished.wait()
            assert run.outcome == "completed"
            settled = trio.current_time()
            await trio.sleep(9)
            assert town.host.get(workspace.id) is workspace
            await town.host.wait_idle(0)
            assert trio.current_time() - settled == pytest.approx(10)


@pytest.mark.promise("W2")
async def test_a_run_that_settles_in_the_tick_in_which_a_stream_ends_leaves_a_grace(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Whichever of the two comes first."""
    for stream_first in (True, False):
        gate = trio.Event()
        async with open_town(tmp_path, [WaitFor(gate), Say("y")]) as town:
            workspace = await town.open()
            session = await town.session(workspace)
            run = accepted(workspace.submit(session, Prompt("hello")))
            with workspace.attach(A):
                gate.set()
                if not stream_first:
                    await run.finished.wait()
            await run.finished.wait()
            await trio.sleep(9)
            assert town.host.get(workspace.id) is workspace
            await trio.sleep(2)
            assert town.host.workspaces == []


# --- the end ------------------------------------------------------------------------------------------


@pytest.mark.promise("W4", "W5", "R4", "S6")
async def test_a_host_that_closes_ends_everything_in_order(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Runs settle as cancelled, streams end, stores close, and no task is left."""
    before = live_tasks()
    async with open_town(tmp_path, [Say("a"), Hang()], [Say("b"), Hang()]) as town:
        other = tmp_path / "other"
        write_config(other)
        one, two = await town.open("a"), await town.open("a", other)
        runs = [
            accepted(place.submit(await town.session(place), Prompt("hello")))
            for place in (one, two)
        ]
        with one.hub.subscribe() as stream:
            await scripted(town.model).wait_request(2)
            town.host.begin_closing()
            assert town.host.workspaces == []
            with pytest.raises(ServerClosingError):
                await town.open("b")
            await town.host.wait_closed()
            assert [run.outcome for run in runs] == ["cancelled", "cancelled"]
            assert isinstance((await drain(stream))[-1].payload, RunComplete)
        assert town.open_now == 0
    assert live_tasks() == before


@pytest.mark.promise("W4", "W5")
async def test_closing_while_workspaces_open_waits_for_them(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Whoever waited is told; what was being opened is opened, closed and gone."""
    async with open_town(tmp_path) as town:
        gate = trio.Event()
        town.opening = gate.wait
        opener = Opener(town)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(opener)
            await wait_all_tasks_blocked()
            town.host.begin_closing()
            nursery.start_soon(town.host.wait_closed)
            await wait_all_tasks_blocked()
            assert town.opened
            gate.set()
        assert isinstance(opener.error, ServerClosingError)
        assert town.open_now == 0


@pytest.mark.promise("W3", "W4")
async def test_a_create_that_waits_for_a_closing_workspace_opens_nothing_on_a_closing_server(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """It learns that the server is going, and no store is opened for it."""
    model = StubbornModel([Say("x"), Hang()])
    async with open_town(tmp_path, model=model) as town:
        workspace = await town.open()
        workspace.submit(await town.session(workspace), Prompt("hello"))
        await model.wait_request(1)
        town.host.release(workspace.id, A)
        await model.leaving.wait()
        opener = Opener(town, "b")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(opener)
            await wait_all_tasks_blocked()
            town.host.begin_closing()
            model.let_go.set()
        assert isinstance(opener.error, ServerClosingError)
        await town.host.wait_closed()
        assert len(town.opened) == 1


@pytest.mark.promise("R1", "R4", "R10", "W4", "W5")
async def test_a_host_that_is_cancelled_closes_in_order_all_the_same(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Without a goodbye: what runs and what waits ends as cancelled and is stored, nothing is left."""
    before, runs, towns = live_tasks(), list[Run](), list[Town]()
    with trio.CancelScope() as outside:
        async with open_town(tmp_path, [Say("Half"), Hang()]) as town:
            towns.append(town)
            workspace = await town.open()
            session = await town.session(workspace)
            runs += [
                accepted(workspace.submit(session, Prompt(name), RunID(name))) for name in "ab"
            ]
            await _until_text(workspace, "Half")
            outside.cancel("the process is going down")
            await trio.sleep(1000)
    assert [run.outcome for run in runs] == ["cancelled", "cancelled"]
    assert towns[0].open_now == 0
    assert live_tasks() == before
    async with open_town(tmp_path) as town:
        store = (await town.open()).data.store
        messages = await store.messages(runs[0].session_id)
        assert told(messages) == ["user stop a", "assistant canceled Half"]


async def test_a_server_is_idle_when_no_workspace_has_been_open_for_a_while(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Counted from the start, and anew from the end of the last one; a failed create counts too."""
    async with open_town(tmp_path) as town:
        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            idle_at: list[float] = []

            async def watch() -> None:
                await town.host.wait_idle(60)
                idle_at.append(trio.current_time() - start)

            nursery.start_soon(watch)
            await trio.sleep(50)
            workspace = await town.open()
            await trio.sleep(20)
            town.host.release(workspace.id, A)
            await trio.sleep(50)
            town.open_error = StoreError("no")
            with pytest.raises(StoreError):
                await town.open()
        assert idle_at == [pytest.approx(180)]
