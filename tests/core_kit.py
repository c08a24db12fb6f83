"""What the tests of the core share: lanes with turns that stand where a test wants them, the agent's
real turn over a store in memory, and a whole workspace host, all in virtual time.

Nothing here uses a thread, a process or a socket, so a mock clock may jump.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import attrs
import trio

from crush_trio.agent.gear import Gear, Workbench
from crush_trio.agent.histories import Histories
from crush_trio.agent.history import model_messages
from crush_trio.agent.summary import SummaryTurn
from crush_trio.agent.turn import AgentTurn
from crush_trio.config import Chosen, Endpoint
from crush_trio.hub import Hub, Subscription
from crush_trio.ids import ClientID, RunID, SessionID, new_id
from crush_trio.messages import (
    Message,
    Prompt,
    ReasoningPart,
    ToolCallPart,
)
from crush_trio.monitor import Monitor
from crush_trio.permissions import Permissions
from crush_trio.providers.base import Delta, ModelMessage, ModelRequest, Provider
from crush_trio.providers.scripted import ScriptedModel
from crush_trio.providers.strict import complaint
from crush_trio.questions import Questions
from crush_trio.runs import Ending, Lane, Results, Run, Turn
from crush_trio.settings import Settings
from crush_trio.store import Job, Store
from crush_trio.store.database import WriteConnection, connect_writer
from crush_trio.store.opening import prepare
from crush_trio.store.reads import InlineReads
from crush_trio.store.writer import open_task_writer
from crush_trio.tools.base import Surroundings, Tool, ToolAnswer, ToolContext
from crush_trio.tools.jobs import open_jobs
from crush_trio.tools.processes import Shell, run_shell
from crush_trio.wire.config import Model, SelectedModel
from crush_trio.wire.events import AgentEvent, Event, RunComplete
from crush_trio.wire.messages import WireMessage
from crush_trio.wire.permissions import PermissionRequest
from crush_trio.wire.sessions import Session
from crush_trio.wire.workspaces import CreateWorkspace
from crush_trio.workspaces import Equipment, Workspace, WorkspaceHost, open_workspace_host
from monitor_kit import watched

SETTINGS = Settings()
"""The real pauses and graces: virtual time costs nothing."""

LIMIT = 10 * 86_400.0
"""Virtual seconds that a study or a town may stay open; a test that hangs gets there at once."""

EPOCH = 1_700_000_000
"""Unix seconds at which virtual time begins."""


def now() -> float:
    """Return unix seconds on Trio's clock, so that they jump with it."""
    return EPOCH + trio.current_time()


# --- a store that can be made to fail ------------------------------------------------------


@attrs.define(eq=False)
class Disk:
    """What a store writes to.

    Attributes:
        full: Every commit fails until it is false again.
        stuck: What is posted waits until :meth:`let_go`, as behind another program's lock.
    """

    full: bool = False
    stuck: bool = False
    _send: Callable[[Job[Any] | None], None] = lambda _: None
    _waiting: list[Job[Any] | None] = attrs.field(factory=list["Job[Any] | None"])

    def between(self, send: Callable[[Job[Any] | None], None]) -> Callable[[Job[Any] | None], None]:
        """Return what takes a writer's jobs in place of ``send``."""
        self._send = send
        return lambda job: self._waiting.append(job) if self.stuck else send(job)

    def let_go(self) -> None:
        """Write what has waited, and everything from now on."""
        self.stuck = False
        for job in self._waiting:
            self._send(job)
        self._waiting.clear()


@attrs.define(eq=False)
class _FaultyConnection(WriteConnection):
    disk: Disk = attrs.field(factory=Disk)

    def execute(self, sql: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        if sql == "COMMIT" and self.disk.full:
            raise sqlite3.OperationalError("database or disk is full")
        return super().execute(sql, values)


@asynccontextmanager
async def open_faulty_store(
    publish: Callable[[Event], None], disk: Disk | None = None, name: str | Path = ":memory:"
) -> AsyncGenerator[Store]:
    """Open the store in memory, or without a thread in a file, on a disk that may fail."""
    plain = connect_writer(name)
    writing = _FaultyConnection(plain.connection, str(name), disk=disk or Disk())
    with closing(writing.connection):
        prepare(writing, int(now()), lambda: False)
        async with open_task_writer(writing, publish, now) as writer:
            writer._send = writing.disk.between(writer._send)
            yield Store(writer, InlineReads(writing.connection))


async def rows(store: Store, query: str, *values: object) -> list[tuple[Any, ...]]:
    """Return what a query finds in a store's database."""
    return await store._reads.read(lambda connection: connection.execute(query, values).fetchall())


async def break_writes(
    store: Store, statement: str = "INSERT", *, role: str = "%", text: str = ""
) -> None:
    """Let a store refuse to change messages of a role that hold a text, until mended."""
    row = "OLD" if statement == "DELETE" else "NEW"
    trigger = (
        f"CREATE TEMP TRIGGER broken BEFORE {statement} ON main.messages "
        f"WHEN {row}.role LIKE '{role}' AND {row}.parts LIKE '%{text}%' "
        "BEGIN SELECT RAISE(ABORT, 'disk I/O error'); END"
    )
    await store._writer.post(lambda writing: (writing.execute(trigger), None)).wait()


async def mend_writes(store: Store) -> None:
    """Let a store write everything again."""
    await store._writer.post(lambda writing: (writing.execute("DROP TRIGGER broken"), None)).wait()


# --- a lane with turns that stand where a test wants them ------------------------------------


class Owner:
    """A workspace as a lane sees it."""

    def __init__(self, nursery: trio.Nursery, name: str = "w") -> None:
        self.name = name
        self._nursery = nursery
        self.unsettled: list[Run] = []
        self.settled: list[Run] = []

    @property
    def nursery(self) -> trio.Nursery:
        return self._nursery

    def run_accepted(self, run: Run) -> None:
        self.unsettled.append(run)

    def run_settled(self, run: Run) -> None:
        assert run.settled
        self.unsettled.remove(run)
        self.settled.append(run)


@attrs.define(eq=False)
class GatedTurn:
    """A turn that waits at its gates and does as it is told.

    Attributes:
        go: Lets the turn's work end.
        error: What the work raises at its end.
        let_go: What the end of the work waits for, whoever cancels.
        unwind_error: What is raised then.
        stored: Lets the end be written.
        finish_error: What writing the end raises.
        on_step: Called when the work begins, as a turn's step begins with :meth:`Lane.fold`.
    """

    log: list[str] = attrs.field(factory=list[str])
    name: str = ""
    go: trio.Event = attrs.field(factory=trio.Event)
    error: BaseException | None = None
    let_go: trio.Event | None = None
    unwind_error: Exception | None = None
    stored: trio.Event | None = None
    finish_error: Exception | None = None
    on_step: Callable[[], object] = lambda: None
    playing: trio.Event = attrs.field(factory=trio.Event)
    finishing: trio.Event = attrs.field(factory=trio.Event)

    async def play(self, run: Run) -> None:
        self.log.append(f"play {self.name}")
        try:
            await trio.lowlevel.checkpoint()
            self.on_step()
            run.message_id, run.text = f"m-{self.name}", f"text {self.name}"
            self.playing.set()
            await self.go.wait()
            if self.error is not None:
                raise self.error
        finally:
            if self.let_go is not None:
                with trio.move_on_after(3600, shield=True):
                    await self.let_go.wait()
            self.log.append(f"played {self.name}")
            if self.unwind_error is not None:
                raise self.unwind_error

    async def finish(self, run: Run) -> None:
        self.log.append(f"finish {self.name} {run.outcome}")
        self.finishing.set()
        if self.stored is not None:
            await self.stored.wait()
        if self.finish_error is not None:
            raise self.finish_error

    def farewell(self, run: Run) -> list[Event]:
        kind = {"completed": "agent_finished", "failed": "error"}.get(str(run.outcome))
        if kind is None:
            return []
        told = AgentEvent(type="error" if kind == "error" else "agent_finished", run_id=run.id)
        return [Event("agent_event", "created", told)]

    async def flush(self) -> None:
        await trio.lowlevel.checkpoint()


@attrs.define(eq=False)
class Scene:
    """A lane, its owner, and what was published.

    Attributes:
        hub: What the monitor hears.
        heard: What each terminal event found: run id, outcome of the lane at that moment.
    """

    lane: Lane
    owner: Owner
    results: Results
    hub: Hub
    log: list[str] = attrs.field(factory=list[str])
    events: list[Event] = attrs.field(factory=list[Event])
    heard: list[tuple[str, str | None]] = attrs.field(factory=list[tuple[str, str | None]])
    turns: list[Turn] = attrs.field(factory=list[Turn])

    def publish(self, event: Event) -> None:
        """Hear an event; note who is at the head of the lane at that moment."""
        self.events.append(event)
        self.hub.publish(event)
        if isinstance(event.payload, RunComplete):
            head = self.lane.active
            self.heard.append((event.payload.run_id, None if head is None else head.id))

    def turn(self, name: str, **fields: Any) -> GatedTurn:
        """Return a turn that writes into the scene's log."""
        return GatedTurn(self.log, name, **fields)

    def run(
        self,
        name: str,
        *,
        own: bool = True,
        text: str | None = None,
        owner: Owner | None = None,
        turn: Turn | None = None,
        **fields: Any,
    ) -> Run:
        """Return a run that is not accepted yet; ``fields`` are those of its turn."""
        turn = turn or self.turn(name, **fields)
        self.turns.append(turn)
        prompt = Prompt(name if text is None else text)
        session = self.lane.session_id
        return Run(RunID(name), session, prompt, turn, owner or self.owner, own_turn=own)

    def accept(self, name: str, **fields: Any) -> Run:
        """Accept a run and return it."""
        run = self.run(name, **fields)
        assert self.lane.accept(run) is run
        return run

    def let_go(self) -> None:
        """Open the gates that hold turns against every cancel, so that a test that fails ends."""
        for turn in self.turns:
            if isinstance(turn, GatedTurn) and turn.let_go is not None:
                turn.let_go.set()

    def ends(self) -> list[tuple[str, bool]]:
        """Return the terminal events: run id, and whether cancelled."""
        return [
            (event.payload.run_id, event.payload.cancelled is True)
            for event in self.events
            if isinstance(event.payload, RunComplete)
        ]


def gated(run: Run) -> GatedTurn:
    """Return a run's turn."""
    assert isinstance(run.turn, GatedTurn)
    return run.turn


@asynccontextmanager
async def open_scene(settings: Settings = SETTINGS) -> AsyncGenerator[Scene]:
    """Open a lane in a nursery; leaving the block cancels what is left of it."""
    with watched() as monitor:
        async with trio.open_nursery() as nursery:
            results = Results(settings.result_kept)
            events: list[Event] = []
            lane = Lane(SessionID("s"), events.append, results, settings, monitor)
            scene = Scene(lane, Owner(nursery), results, Hub(observer=monitor), events=events)
            lane._publish = scene.publish
            try:
                yield scene
                nursery.cancel_scope.cancel("the test is over")
            finally:
                scene.let_go()


class StubbornModel(ScriptedModel):
    """A model whose connection is not gone before ``let_go`` is set, whoever cancels."""

    def __init__(self, *answers: Any) -> None:
        super().__init__(*answers)
        self.leaving = trio.Event()
        self.let_go = trio.Event()

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[Delta]]:
        """Open a stream that is slow to close."""
        async with super().stream(request) as deltas:
            try:
                yield deltas
            finally:
                self.leaving.set()
                with trio.move_on_after(3600, shield=True):
                    await self.let_go.wait()


# --- the agent's turn over a store in memory ---------------------------------------------------


CHOSEN = Chosen(
    SelectedModel("scripted-1", "scripted"),
    Model("scripted-1", "Scripted", default_max_tokens=1000, supports_attachments=True),
    "scripted",
)


@attrs.define(eq=False)
class FunctionTool:
    """A tool that is a function."""

    name: str
    function: Callable[[ToolContext], Awaitable[ToolAnswer]]
    parallel: bool = False
    description: str = "A tool."
    parameters: Mapping[str, Any] = attrs.field(factory=lambda: {"type": "object"})
    ran: list[str] = attrs.field(factory=list[str])

    async def run(self, arguments: bytes | str, context: ToolContext) -> ToolAnswer:  # noqa: ARG002 -- the seam has them
        """Do what the function does."""
        self.ran.append(context.tool_call_id)
        return await self.function(context)


def tool(name: str, answer: str = "done", **fields: Any) -> FunctionTool:
    """Return a tool that answers at once."""

    async def answering(_: ToolContext) -> ToolAnswer:
        await trio.lowlevel.checkpoint()
        return ToolAnswer(answer)

    return FunctionTool(name, answering, **fields)


def asking(name: str = "ask") -> FunctionTool:
    """Return a tool that needs a permission."""

    async def ask(context: ToolContext) -> ToolAnswer:
        granted = await context.around.permissions.ask(
            session_id=context.session_id,
            tool_call_id=context.tool_call_id,
            tool_name=name,
            action="do",
            description="Do it",
            params={},
            path="/p",
        )
        return ToolAnswer("granted" if granted else "denied", is_error=not granted)

    return FunctionTool(name, ask)


@attrs.define(eq=False)
class Study:
    """A session whose lane plays the agent's real turns.

    Attributes:
        events: What was published, in order.
        titles: Sessions that a title was asked for.
        gear: What turns work with beside the model and the tools; fields of ``Gear``.
        set_back: Seconds by which the clock of the turns is behind.
    """

    owner: Owner
    store: Store
    model: Provider
    surroundings: Surroundings
    settings: Settings
    hub: Hub
    results: Results
    histories: Histories
    events: list[Event]
    disk: Disk
    tools: dict[str, Tool]
    session_id: SessionID = attrs.field(factory=lambda: SessionID(""))
    titles: list[str] = attrs.field(factory=list[str])
    lanes: dict[SessionID, Lane] = attrs.field(factory=dict[SessionID, Lane])
    equip_error: Exception | None = None
    gear: dict[str, Any] = attrs.field(factory=dict[str, Any])
    set_back: float = 0.0

    @property
    def permissions(self) -> Permissions:
        """The permission gate."""
        return self.surroundings.permissions

    @property
    def lane(self) -> Lane:
        """The first session's lane."""
        return self.lane_of(self.session_id)

    def lane_of(self, session_id: SessionID) -> Lane:
        """Return a session's lane."""
        if session_id not in self.lanes:
            self.lanes[session_id] = Lane(
                session_id, self.hub.publish, self.results, self.settings, self.hub.observer
            )
        return self.lanes[session_id]

    def bench(self) -> Workbench:
        """Return what the turns share."""
        return Workbench(
            store=self.store,
            histories=self.histories,
            surroundings=lambda: self.surroundings,
            equip=self._equip,
            model_names=lambda _: ("scripted-1", "scripted"),
            start_title=self._start_title,
            fold=lambda sid: [run.prompt for run in self.lane_of(SessionID(sid)).fold()],
            settings=self.settings,
            now=lambda: now() - self.set_back,
        )

    def _start_title(self, session: Session, prompt: Prompt, gear: Gear) -> None:  # noqa: ARG002
        self.titles.append(session.id)

    async def _equip(self, _: Prompt) -> Gear:
        await trio.lowlevel.checkpoint()
        if self.equip_error is not None:
            raise self.equip_error
        gear = Gear(CHOSEN, "scripted-1", self.model, (), self.tools)
        return attrs.evolve(gear, **self.gear)

    def prompt(
        self,
        text: str = "hello",
        run_id: str | None = None,
        *,
        session_id: SessionID | None = None,
        owner: Owner | None = None,
    ) -> Run:
        """Accept a prompt and return its run."""
        session = session_id or self.session_id
        turn = AgentTurn(session, self.bench())
        identity = RunID(run_id or new_id())
        run = Run(
            identity,
            session,
            Prompt(text),
            turn,
            owner or self.owner,
            own_turn=run_id is not None,
        )
        assert self.lane_of(session).accept(run) is run
        return run

    def summarize(self) -> Run:
        """Begin to summarise the session and return the quiet run."""
        turn = SummaryTurn(self.session_id, self.bench())
        run = Run(RunID(new_id()), self.session_id, Prompt(""), turn, self.owner, quiet=True)
        assert self.lane.accept(run) is run
        return run

    async def play(self, text: str = "hello", run_id: str | None = None) -> Run:
        """Prompt and wait for the settlement."""
        run = self.prompt(text, run_id)
        await run.finished.wait()
        return run

    async def session(self) -> SessionID:
        """Make another session."""
        return SessionID((await self.store.create_session("New Session").wait()).id)

    async def messages(self, session_id: SessionID | None = None) -> list[Message]:
        """Return what is stored."""
        return await self.store.messages(session_id or self.session_id)

    async def until(self, matches: Callable[[Event], object]) -> Event:
        """Wait for the first event that matches, from the beginning."""
        with self.hub.subscribe() as subscription:
            for event in self.events:
                if matches(event):
                    return event
            while True:
                for event in await subscription.receive():
                    if matches(event):
                        return event

    async def until_text(self, text: str) -> WireMessage:
        """Wait until an answer that holds ``text`` is published."""
        event = await self.until(lambda event: text in _answer_text(event))
        assert isinstance(event.payload, WireMessage)
        return event.payload

    async def until_asked(self) -> PermissionRequest:
        """Wait for a request that is open."""
        event = await self.until(
            lambda event: (
                isinstance(event.payload, PermissionRequest)
                and event.payload.id in self.permissions._open
            )
        )
        assert isinstance(event.payload, PermissionRequest)
        return event.payload


def _answer_text(event: Event) -> str:
    payload = event.payload
    if isinstance(payload, WireMessage) and payload.role == "assistant":
        return payload.text
    return ""


@asynccontextmanager
async def open_study(
    *answers: Any,
    model: Provider | None = None,
    tools: Iterable[Tool] = (),
    settings: Settings = SETTINGS,
    disk: Disk | None = None,
) -> AsyncGenerator[Study]:
    """Open a store in memory with one session; leaving the block cancels the runs that are left.

    For virtual time, of which there is a bound.

    Args:
        answers: The script of the model.
        model: Instead of a scripted one.
        tools: What the model may call.
        settings: Pauses and limits.
        disk: What the store writes to.
    """
    with watched() as monitor, trio.fail_after(LIMIT):
        async with _open_study(monitor, answers, model, tools, settings, disk or Disk()) as study:
            yield study


@asynccontextmanager
async def _open_study(
    monitor: Monitor,
    answers: Sequence[Any],
    model: Provider | None,
    tools: Iterable[Tool],
    settings: Settings,
    disk: Disk,
) -> AsyncGenerator[Study]:
    hub = Hub(settings, observer=monitor)
    events: list[Event] = []

    def publish(event: Event) -> None:
        events.append(event)
        original(event)

    original, hub.publish = hub.publish, publish
    async with open_faulty_store(publish, disk) as store, open_jobs(settings) as jobs:
        permissions = Permissions(publish, working_dir="/p", observer=monitor)
        around = Surroundings("/p", {}, permissions, Questions(publish), jobs, store, settings)
        histories = Histories(store, settings.history_bytes)
        async with trio.open_nursery() as nursery:
            study = Study(
                Owner(nursery),
                store,
                model or ScriptedModel(*answers),
                around,
                settings,
                hub,
                Results(settings.result_kept),
                histories,
                events,
                disk,
                {each.name: each for each in tools},
            )
            study.session_id = await study.session()
            yield study
            nursery.cancel_scope.cancel("the test is over")


# --- a workspace host ------------------------------------------------------------------------------


def document(**more: Any) -> dict[str, Any]:
    """Return a ``crush.json`` with one provider."""
    model = {"id": "scripted-1", "name": "Scripted", "default_max_tokens": 1000}
    provider = {"type": "openai-compat", "base_url": "http://model.invalid/v1", "models": [model]}
    return {"providers": {"scripted": provider}, **more}


def write_config(directory: Path, **more: Any) -> None:
    """Write a project's ``crush.json``."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "crush.json").write_text(json.dumps(document(**more)))


@attrs.define(eq=False)
class Town:
    """A host, what it opened, and the model that answers.

    Attributes:
        directory: A project with a configuration.
        opened: The data directories whose stores were opened, in order.
        open_now: How many stores are open.
        opening: Awaited while a store is being opened.
        open_error: What opening a store raises.
        provider_error: What opening a provider raises.
    """

    directory: Path
    model: Provider
    disk: Disk
    host: WorkspaceHost = attrs.field(init=False)
    opened: list[Path] = attrs.field(factory=list[Path])
    open_now: int = 0
    opening: Callable[[], Awaitable[None]] | None = None
    open_error: Exception | None = None
    provider_error: Exception | SystemExit | None = None

    def request(self, directory: Path | None = None, **fields: Any) -> CreateWorkspace:
        """Return a create request."""
        return CreateWorkspace(str(directory or self.directory), **fields)

    async def open(
        self, client: str = "a", directory: Path | None = None, **fields: Any
    ) -> Workspace:
        """Create or join a workspace."""
        return await self.host.open(self.request(directory, **fields), ClientID(client))

    async def session(self, workspace: Workspace) -> SessionID:
        """Make a session."""
        created = await workspace.data.store.create_session("New Session").wait()
        return SessionID(created.id)

    @asynccontextmanager
    async def open_store(
        self, directory: Path, publish: Callable[[Event], None]
    ) -> AsyncGenerator[Store]:
        """Open the store of a data directory, as the test says."""
        self.opened.append(directory)
        if self.opening is not None:
            await self.opening()
        if self.open_error is not None:
            raise self.open_error
        directory.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 -- no thread in virtual time
        self.open_now += 1
        try:
            async with open_faulty_store(publish, self.disk, directory / "crush.db") as store:
                yield store
        finally:
            self.open_now -= 1

    @asynccontextmanager
    async def open_provider(self, _: Endpoint) -> AsyncGenerator[Provider]:
        """Lend the model."""
        if self.provider_error is not None:
            raise self.provider_error
        yield self.model


@asynccontextmanager
async def open_town(
    tmp_path: Path,
    *answers: Any,
    model: Provider | None = None,
    settings: Settings = SETTINGS,
    config: Mapping[str, Any] | None = None,
    shell: Shell = run_shell,
) -> AsyncGenerator[Town]:
    """Open a host with stores that use no thread; leaving the block closes it.

    For virtual time, of which there is a bound.
    """
    directory, home = tmp_path / "project", tmp_path / "home"
    write_config(directory, **(config or {}))
    home.mkdir(exist_ok=True)
    town = Town(directory, model or ScriptedModel(*answers), Disk())
    env = {"HOME": str(home), "PATH": os.environ["PATH"]}
    with watched() as monitor, trio.fail_after(LIMIT):
        equipment = Equipment(town.open_provider, None, settings, now, shell, observer=monitor)
        async with open_workspace_host(equipment, town.open_store, env) as host:
            town.host = host
            yield town


def accepted(found: Run | Ending) -> Run:
    """Return what a submit gave, which must be a run."""
    assert isinstance(found, Run)
    return found


def scripted(provider: Provider) -> ScriptedModel:
    """Return a provider, which must be a scripted model."""
    assert isinstance(provider, ScriptedModel)
    return provider


# --- what must hold ------------------------------------------------------------------------------


def check_history(messages: Sequence[Message]) -> None:
    """Check that a stored conversation is well formed and can be gone on with (R9)."""
    calls: list[str] = []
    results: list[str] = []
    for message in messages:
        assert message.finish is not None, f"{message.role} message {message.id} has no finish"
        for part in message.parts:
            if isinstance(part, ToolCallPart):
                assert part.data.finished, f"call {part.data.id} is open"
                json.loads(part.data.input)
                calls.append(part.data.id)
            if isinstance(part, ReasoningPart):
                assert part.data.finished_at, "the reasoning is open"
        results.extend(result.tool_call_id for result in message.tool_results)
    assert sorted(calls) == sorted(results)
    conversation = [*model_messages(messages, {}), ModelMessage("user", text="next")]
    assert complaint(conversation) == ""


def check_ends(events: Sequence[Event], runs: Iterable[Run]) -> None:
    """Check that each run ended exactly once, after its last message event (R1, R8)."""
    ends = {
        event.payload.run_id: number
        for number, event in enumerate(events)
        if isinstance(event.payload, RunComplete)
    }
    completes = [event for event in events if isinstance(event.payload, RunComplete)]
    assert len(completes) == len(ends)
    for run in runs:
        assert run.settled
        assert run.outcome in {"completed", "cancelled", "failed"}
        assert (run.id in ends) == (run.folded_into is None)
        if run.message_id and run.folded_into is None:
            said = [
                number
                for number, event in enumerate(events)
                if isinstance(event.payload, WireMessage) and event.payload.id == run.message_id
            ]
            assert not said or said[-1] < ends[run.id], f"run {run.id} spoke after its end"


def told(messages: Iterable[Message]) -> list[str]:
    """Return messages as short texts: role, reason of the finish, text or results."""
    return [
        " ".join(
            filter(
                None,
                (
                    message.role,
                    message.finish.reason if message.finish else "open",
                    message.text or " ".join(result.content for result in message.tool_results),
                ),
            )
        )
        for message in messages
    ]


async def drain(subscription: Subscription) -> list[Event]:
    """Return everything that a subscription holds, to its end."""
    found: list[Event] = []
    try:
        while True:
            found.extend(await subscription.receive())
    except trio.EndOfChannel:
        return found


def live_tasks() -> int:
    """Return how many tasks there are in this run of Trio."""
    root = trio.lowlevel.current_root_task()
    assert root is not None
    return _count(root)


def _count(task: trio.lowlevel.Task) -> int:
    return 1 + sum(
        _count(child) for nursery in task.child_nurseries for child in nursery.child_tasks
    )
