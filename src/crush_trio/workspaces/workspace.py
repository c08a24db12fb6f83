"""A workspace: a directory being worked on, and the nursery that owns every run in it.

Above it is the host, whose task is the workspace's lifetime; below it the lanes, the agent, the
event hub and the permission gate. A request only *submits* to it: what it accepts lives here and
not in the request (R2).
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import attrs
import trio

from crush_trio.agent.agent import Agent, EmbeddedModel, Home
from crush_trio.agent.providers import ProviderOpener, Providers, open_providers
from crush_trio.config import ConfigReader, Configuration, Outside, load, renew_endpoint
from crush_trio.errors import (
    BadRequestError,
    ConfigError,
    SessionBusyError,
    UnknownSessionError,
    WorkspaceClosingError,
)
from crush_trio.hub import Hub, Subscription, Wish, first_id
from crush_trio.ids import ClientID, MessageID, RunID, SessionID, new_id
from crush_trio.messages import STOP, Message, Prompt, ShellCommand, ShellCommandPart
from crush_trio.observer import SILENT, Observer
from crush_trio.permissions import Permissions
from crush_trio.questions import Questions
from crush_trio.runs import Ending, Receipt, Run
from crush_trio.settings import Settings
from crush_trio.skills import Skills
from crush_trio.tools.base import Surroundings, Tool
from crush_trio.tools.jobs import Jobs, open_jobs
from crush_trio.tools.processes import Shell, run_shell
from crush_trio.wire.events import ConfigChanged, Event
from crush_trio.wire.runs import AgentInfo
from crush_trio.wire.sessions import Session
from crush_trio.workspaces.claims import Claims
from crush_trio.workspaces.configured import Configured
from crush_trio.workspaces.datadir import DataDirectory
from crush_trio.workspaces.hello import hello_event, replay_rule
from crush_trio.workspaces.outside import ModelLister, ShellAndModels, list_models_of
from crush_trio.workspaces.plan import Plan, find_skills
from crush_trio.workspaces.shell import UserCommand

logger = logging.getLogger(__name__)


@attrs.frozen
class Equipment:
    """What the server lends every workspace: seams with their twins (architecture 6).

    Attributes:
        now: Unix seconds.
        shell: Runs the commands of tools.
        read_config: Reads a directory's configuration; see :func:`crush_trio.config.load`.
        tools: What models may call beside the built-in tools; one of the same name takes its place.
        list_models: Asks a provider's endpoint which models it has.
        remember: Notes that a directory is worked in, with its data directory; None forgets it.
    """

    open_provider: ProviderOpener
    embedded: EmbeddedModel | None = None
    settings: Settings = attrs.field(factory=Settings)
    now: Callable[[], float] = time.time
    shell: Shell = run_shell
    read_config: ConfigReader = load
    tools: tuple[Tool, ...] = ()
    observer: Observer = SILENT
    list_models: ModelLister = list_models_of
    remember: Callable[[Path, Path], Awaitable[None]] | None = None

    @property
    def outside(self) -> Outside:
        """The outside world that configurations are resolved with."""
        return ShellAndModels(self.shell, self.list_models, self.settings)


class Workspace:
    """An open workspace. Use :func:`open_workspace`.

    Attributes:
        id: New for every opening, but for the first one after a restart.
        hub: What happens here, for every stream.
        claims: Who keeps it open.
        closing: Whether new prompts are refused.
        observer: Hears what happens here.
    """

    agent: Agent
    skills: Skills

    def __init__(
        self,
        plan: Plan,
        data: DataDirectory,
        nursery: trio.Nursery,
        jobs: Jobs,
        equipment: Equipment,
        claims: Claims,
    ) -> None:
        self.id = plan.id
        self.plan = plan
        self.data = data
        self.configured = Configured(
            plan,
            equipment.outside,
            equipment.read_config,
            self._start_change,
            self.tell_config_changed,
            self._adopt,
        )
        self.observer = equipment.observer
        self.hub = Hub(
            equipment.settings, first=first_id(equipment.now()), observer=equipment.observer
        )
        self.claims = claims
        self.closing = False
        self._headless = False
        self.permissions = Permissions(
            self.hub.publish,
            allowed_tools=plan.config.wire.permissions.allowed_tools,
            skip=plan.request.yolo,
            working_dir=str(plan.directory),
            observer=equipment.observer,
        )
        self.questions = Questions(self.hub.publish)
        self._nursery = nursery
        self._settings = equipment.settings
        self._shell = equipment.shell
        self._now = equipment.now
        self._runs: set[Run] = set()
        self._idle = trio.Event()
        self._idle.set()
        self.surroundings = Surroundings(
            working_dir=str(plan.directory),
            env=plan.process_env(plan.config),
            permissions=self.permissions,
            questions=self.questions,
            jobs=jobs,
            store=data.store,
            settings=equipment.settings,
            limits=plan.config.wire.tools,
            skills_paths=plan.skills_paths,
            now=equipment.now,
        )

    def __repr__(self) -> str:
        state = "closing" if self.closing else "open"
        return f"<Workspace {self.id} {self.plan.directory} {state} runs {len(self._runs)}>"

    # --- owner of runs ------------------------------------------------------------------

    @property
    def nursery(self) -> trio.Nursery:
        """The nursery that every run of this workspace lives in (R2)."""
        return self._nursery

    def run_accepted(self, run: Run) -> None:
        """Count a run: it keeps the workspace open until it has settled (W2)."""
        self._runs.add(run)
        if self._idle.is_set():
            self._idle = trio.Event()
        self.claims.begin(run)

    def run_settled(self, run: Run) -> None:
        """Stop counting a run."""
        self._runs.discard(run)
        self.data.prune(run.session_id)
        self.claims.end(run)
        if not self._runs:
            self._idle.set()

    # --- prompts --------------------------------------------------------------------------

    def submit(
        self, session_id: SessionID, prompt: Prompt, run_id: RunID | None = None
    ) -> Run | Ending:
        """Accept a prompt, or join the run that has its id (R16). Not a checkpoint.

        Returns what to wait for: a run, or the ending of one that has settled.

        Raises:
            AgentMissingError: the workspace has no usable model.
            ConfigError: the prompt asks for a model that is not there, or cannot be used.
            BadRequestError: the prompt or the session id is empty.
            WorkspaceClosingError: the workspace is closing.
            RunIDConflictError: the run id belongs to another prompt.
        """
        self.agent.check(prompt)
        if not prompt.text.strip() and not any(
            a.mime_type.startswith("text/") for a in prompt.attachments
        ):
            raise BadRequestError("prompt is empty")
        if not session_id:
            raise BadRequestError("session id is missing")
        if self.closing:
            raise WorkspaceClosingError
        run = Run(
            run_id or RunID(new_id()),
            session_id,
            prompt,
            self.agent.turn(session_id),
            self,
            own_turn=run_id is not None
            or bool(prompt.model),  # another model's turn is not its own
        )
        return self.data.lane(session_id).accept(run)

    def summarize(self, session_id: SessionID) -> Run:
        """Begin to summarise a session, as a quiet run of this workspace (R-44). Not a checkpoint.

        Raises:
            AgentMissingError: the workspace has no usable model.
            SessionBusyError: the session has a run, or a summary is being made.
            WorkspaceClosingError: the workspace is closing.
        """
        nothing = Prompt("")
        self.agent.check(nothing)
        if self.closing:
            raise WorkspaceClosingError
        if self.data.busy(session_id):
            raise SessionBusyError
        turn = self.agent.summary(session_id)
        run = Run(RunID(new_id()), session_id, nothing, turn, self, quiet=True)
        self.data.lane(session_id).accept(run)
        return run

    def cancel(self, session_id: SessionID) -> Receipt:
        """Cancel every run of a session that has not concluded (R5). Not a checkpoint."""
        receipt = self.data.lane(session_id).cancel("cancelled by a client")
        self.data.prune(session_id)
        return receipt

    def clear(self, session_id: SessionID) -> Receipt:
        """Drop the prompts that wait in a session. Not a checkpoint."""
        receipt = self.data.lane(session_id).clear("dropped from the queue")
        self.data.prune(session_id)
        return receipt

    def waiting_prompts(self, session_id: SessionID) -> list[str]:
        """Return the texts of the prompts that wait in a session, in order. Not a checkpoint."""
        if not self.data.busy(session_id):
            return []
        return [run.prompt.text for run in self.data.lane(session_id).waiting]

    def _active(self, session_id: SessionID) -> Run | None:
        return self.data.lane(session_id).active if self.data.busy(session_id) else None

    async def flush(self, session_id: SessionID) -> None:
        """Store what a running turn has streamed, so that a reader sees it (R-20)."""
        active = self._active(session_id)
        if active is None:
            await trio.lowlevel.checkpoint()
        else:
            await active.turn.flush()

    # --- sessions ---------------------------------------------------------------------------

    async def session(self, session_id: SessionID) -> Session:
        """Return a stored session.

        Raises:
            UnknownSessionError: there is none with this id.
        """
        session = await self.data.store.session(session_id)
        if session is None:
            raise UnknownSessionError(session_id)
        return session

    async def delete_session(self, session_id: SessionID) -> None:
        """Cancel a session's runs, wait until they have settled, then delete it (R3).

        Raises:
            UnknownSessionError: there is none with this id.
        """
        await self.session(session_id)
        while (active := self._active(session_id)) is not None:  # also one that came meanwhile
            self.cancel(session_id)
            await active.finished.wait()
        self.data.histories.drop(session_id)
        await self.data.store.delete_session(session_id).wait()

    # --- the agent ---------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether a session of this workspace has a run that has not settled, wherever it is from."""
        return bool(self.data.busy_lanes())

    def agent_info(self) -> AgentInfo:
        """Return the agent as clients see it (R-35)."""
        return self.agent.info(busy=self.busy)

    @property
    def config(self) -> Configuration:
        """The configuration in force; the agent has the one of its last update."""
        return self.configured.current

    def _adopt(self, config: Configuration) -> None:
        """Follow a configuration that comes into force, where it does not wait for an update.

        Turns in flight keep the surroundings that they began with, but not what is allowed unasked.
        """
        self.permissions.allow_unasked(config.wire.permissions.allowed_tools)
        env = self.plan.process_env(config)
        self.surroundings = attrs.evolve(self.surroundings, env=env, limits=config.wire.tools)

    async def update_agent(self) -> None:
        """Read the configuration again and let the agent use it (R-38).

        A run in flight keeps what it has. Waits for what the configuration needs from outside.

        Raises:
            BadRequestError: there is no agent to update.
            ConfigError: it cannot be read or used; the agent keeps the old one.
        """
        if not self.agent.ready:
            raise BadRequestError("agent configuration is missing")
        await self.configured.read_again()
        self._configure_agent()

    async def init_agent(self, *, interactive: bool) -> None:
        """Build the agent anew for a client that starts (R-37).

        A run in flight keeps what it has. Waits for what the configuration needs from outside, which
        is asked for again.

        Raises:
            BadRequestError: nothing is configured.
            ConfigError: something is configured and cannot be used.
        """
        await self.configured.read_again(fresh=True)
        self._configure_agent()
        self._headless = self._headless or not interactive
        self.agent.rebuild()

    def _configure_agent(self) -> None:
        if not self.config.is_configured:
            raise BadRequestError("coder agent configuration is missing")
        if self.config.problem is not None:
            raise ConfigError(self.config.problem)
        self.agent.configure(self.config)

    def _start_change(self, work: Callable[[], Awaitable[None]], name: str) -> None:
        if self.closing:
            raise WorkspaceClosingError
        self.start(work, name)

    def tell_config_changed(self) -> None:
        """Let clients read the configuration again. Not a checkpoint."""
        self.hub.publish(Event("config_changed", "updated", ConfigChanged(self.id)))

    def is_interactive(self, said: bool | None, *, has_run_id: bool) -> bool:
        """Whether somebody can be asked questions during a run: what its prompt says decides (R-37)."""
        return said if said is not None else not (has_run_id and self._headless)

    def start(self, work: Callable[[], Awaitable[None]], name: str) -> None:
        """Start work that belongs to this workspace and not to a run, such as a title.

        It keeps the workspace open for a bounded time (wire contract 0), and may go on for longer
        if somebody else keeps it open. An error of it is logged and stays here (C3). Not a
        checkpoint.
        """
        token = object()
        self.claims.begin(token)
        self._nursery.start_soon(self._carry_out, work, token, name=name)

    async def _carry_out(self, work: Callable[[], Awaitable[None]], token: object) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._end_claim, token, name="claim")
                await work()
                nursery.cancel_scope.cancel("the work is done")
        except* Exception:
            logger.exception("side work of workspace %s failed", self.id)
        finally:
            self.claims.end(token)

    async def _end_claim(self, token: object) -> None:
        await trio.sleep(self._settings.title_claim)
        self.claims.end(token)

    # --- users' commands ------------------------------------------------------------------------

    async def run_command(self, session_id: SessionID, command: str) -> ShellCommand:
        """Run a user's command and note it in a session, if there is such a session (R-45).

        If this call is cancelled, the command is ended and nothing is noted.

        Raises:
            BadRequestError: the command cannot be run.
            WorkspaceClosingError: the workspace is closing.
        """
        if self.closing:
            raise WorkspaceClosingError
        env, grace = self.surroundings.env, self._settings.kill_grace
        running = UserCommand(command, self.surroundings.working_dir, env, self._shell, grace)
        self._nursery.start_soon(running.run, name="user's command")
        self.claims.begin(running)
        try:
            await running.finished.wait()
        finally:
            running.scope.cancel("its caller has gone")
            self.claims.end(running)
        done = running.result()
        now = int(self._now())
        parts = (ShellCommandPart(done), STOP)
        message = Message(MessageID(new_id()), session_id, "user", parts, "", "", now, now)
        try:
            await self.data.store.create_message(message).wait()
        except UnknownSessionError:
            logger.info("a command of session %s, which does not exist, is not noted", session_id)
        self.data.histories.drop(session_id)  # the next prompt tells the model of it
        return done

    # --- streams -----------------------------------------------------------------------------

    @contextmanager
    def attach(self, client: ClientID, wish: Wish | None = None) -> Generator[Subscription]:
        """Claim the workspace for a stream, and give it a cursor. Sync on both ends.

        The cursor begins with the requests that are open (D2), in a ``hello`` for one that asks
        for ids; what is published after this call is in it (S1).
        """
        requests, questions = self.permissions.open_requests(), self.questions.open_requests()
        if wish is None:
            initial = self.permissions.open_events() + self.questions.open_events()
        else:
            lanes = self.data.busy_lanes()
            initial = [hello_event(self.hub.last_id, lanes, requests, questions)]
        claim = self.claims.attach(client)
        try:
            with self.hub.subscribe(initial, wish, replay_rule(requests)) as subscription:
                yield subscription
        finally:
            self.claims.detach(client, claim)

    # --- closing -----------------------------------------------------------------------------

    def stop_runs(self, reason: str) -> None:
        """Refuse new prompts and cancel the runs of this workspace. Not a checkpoint (W4).

        Runs that another workspace has in the same lanes go on.
        """
        self.closing = True
        for lane in self.data.busy_lanes():
            lane.cancel(reason, covers=lambda run: run.owner is self)

    @property
    def left(self) -> int:
        """How many tasks and processes of it there still are; none once it has closed (W5)."""
        jobs = sum(not job.finished.is_set() for job in self.surroundings.jobs.all())
        return len(self._nursery.child_tasks) + len(self._runs) + jobs

    async def wait_idle(self) -> None:
        """Wait until every run of this workspace has settled."""
        await self._idle.wait()


@asynccontextmanager
async def open_workspace(
    plan: Plan, data: DataDirectory, equipment: Equipment, claims: Claims
) -> AsyncGenerator[Workspace]:
    """Open a workspace on an open data directory.

    Leaving the block closes it in order (W4): runs are cancelled and store their ends, what else
    lives here is ended, then the streams end.
    """
    async with (
        open_jobs(equipment.settings, shell=equipment.shell) as jobs,
        open_providers(equipment.open_provider) as providers,
        trio.open_nursery() as nursery,
    ):
        workspace = Workspace(plan, data, nursery, jobs, equipment, claims)
        workspace.skills = await find_skills(plan)
        workspace.agent = Agent(_home(workspace, data, providers, equipment), plan.config)
        data.join(workspace.hub)
        if equipment.remember is not None:
            workspace.start(
                partial(equipment.remember, plan.directory, plan.config.data_dir), "project"
            )
        try:
            yield workspace
        finally:
            workspace.stop_runs("the workspace is closing")
            limit = equipment.settings.close_timeout + equipment.settings.finish_timeout
            with trio.move_on_after(limit, shield=True) as waiting:
                await workspace.wait_idle()
            if waiting.cancelled_caught:
                logger.error("runs of %r did not settle in %s s", workspace, limit)
            nursery.cancel_scope.cancel("the workspace is closing")
            data.leave(workspace.hub)
            workspace.hub.close()


def _home(
    workspace: Workspace, data: DataDirectory, providers: Providers, equipment: Equipment
) -> Home:
    def fold(session_id: str) -> list[Prompt]:
        return [run.prompt for run in data.lane(SessionID(session_id)).fold()]

    return Home(
        directory=workspace.plan.directory,
        store=data.store,
        histories=data.histories,
        surroundings=lambda: workspace.surroundings,
        providers=providers,
        start=workspace.start,
        fold=fold,
        embedded=equipment.embedded,
        settings=equipment.settings,
        now=equipment.now,
        tools=equipment.tools,
        skills=workspace.skills.prompt,
        renew=partial(renew_endpoint, equipment.outside, workspace.plan.directory),
    )
